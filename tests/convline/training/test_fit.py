"""Fitting: the optimizer that a recipe describes, and a training that diverges."""

import math
from pathlib import Path

import numpy as np
import pytest

import inprocess
from convline.data import arrays
from convline.problems import Problem
from convline.training.recipe import Recipe


@pytest.fixture(scope="module", autouse=True)
def keras() -> None:
    """Keras, with its backend chosen."""
    inprocess.configure()


def test_training_that_diverges_is_refused(tmp_path: Path) -> None:
    from convline.training import fit
    from convline.training.checkpoint import Checkpoint
    from convline.training.training_batches import TrainingBatches

    recipe = inprocess.recipe(epochs=1)
    model = inprocess.convnet((2, 2, 1), 2, filters=[1], kernels=[1])
    model.set_weights([np.full(weight.shape, np.nan) for weight in model.get_weights()])
    data = arrays.Labelled(
        np.zeros((4, 2, 2, 1), np.uint8), np.eye(2, dtype=np.uint8)[[0, 1, 0, 1]]
    )
    with pytest.raises(Problem, match=r"learning_rate is 0\.001, with which training diverged"):
        fit.fit(
            model,
            TrainingBatches(data, recipe, seed=0),
            data,
            recipe,
            Checkpoint(tmp_path / "train.npz", "of this test"),
            callbacks=[],
            verbose=0,
        )


@pytest.mark.parametrize("name", Recipe.model_fields["optimizer"].annotation.__args__)  # type: ignore[union-attr]
def test_the_optimizer_is_the_one_named(name: str) -> None:
    from convline.training import fit

    optimizer = fit.optimizer(inprocess.recipe(optimizer=name, learning_rate=0.02), steps=10)
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam"])
def test_beta_2_is_that_of_the_recipe(name: str) -> None:
    from convline.training import fit

    optimizer = fit.optimizer(inprocess.recipe(optimizer=name, beta_2=0.9), steps=10)
    assert optimizer.beta_2 == 0.9


def cosine(step: float, steps: float) -> float:
    """Half a cosine wave, from 1 down to 0."""
    return (1 + math.cos(math.pi * step / steps)) / 2


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        ("constant", 20, [1.0] * 21),
        ("cosine", 20, [cosine(step, 20) for step in range(21)]),
        ("one_cycle", 20, [step / 5 if step < 5 else cosine(step - 5, 15) for step in range(21)]),
        ("one_cycle", 2, [1.0, 0.5, 0.0]),
        ("one_cycle", 1, [1.0, 0.0]),
    ],
)
def test_the_learning_rate_follows_its_schedule(
    schedule: str, steps: int, expected: list[float]
) -> None:
    from convline.training import fit

    recipe = inprocess.recipe(learning_rate=0.5, learning_rate_schedule=schedule)
    optimizer = fit.optimizer(recipe, steps)
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates == pytest.approx([0.5 * rate for rate in expected], abs=1e-6)
