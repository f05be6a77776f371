"""Fitting: the optimizer that a recipe describes, and a training that diverges."""

import math
from pathlib import Path

import numpy as np
import pytest

import inprocess
from convline.data import arrays
from convline.problems import Problem
from convline.training.recipe import Recipe

OPTIMIZERS = Recipe.model_fields["optimizer"].annotation.__args__  # type: ignore[union-attr]


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


def test_class_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    from convline.training import fit

    actual = np.repeat([0, 1, 2], [200, 50, 7])  # 200 and 250 overflow the labels' uint8
    labels = np.eye(3, dtype=np.uint8)[actual]
    assert fit.class_weights(inprocess.recipe(), labels) is None
    found = fit.class_weights(inprocess.recipe(class_weight="balanced"), labels)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=actual)
    assert found == pytest.approx(dict(enumerate(expected)))


def test_a_class_without_images_has_a_finite_weight() -> None:
    from convline.training import fit

    labels = np.eye(3, dtype=np.uint8)[[0, 0, 1, 1]]
    found = fit.class_weights(inprocess.recipe(class_weight="balanced"), labels)
    assert found == pytest.approx({0: 2 / 3, 1: 2 / 3, 2: 4 / 3})


@pytest.mark.parametrize("as_dataset", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_balanced_weights_reach_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_dataset: bool, smoothing: float
) -> None:
    """With all weights 0, the loss is ln 2 for every image, here times a mean weight of 1."""
    from convline import backend
    from convline.training import fit
    from convline.training.checkpoint import Checkpoint
    from convline.training.training_batches import TrainingBatches

    if not as_dataset:  # as with JAX
        monkeypatch.setattr(backend, "feed", lambda batches: batches)
    recipe = inprocess.recipe(
        epochs=1,
        batch_size=5,
        optimizer="sgd",
        learning_rate=1.0,
        class_weight="balanced",
        label_smoothing=smoothing,
    )
    model = inprocess.convnet((2, 2, 1), 2, filters=[1], kernels=[1], dense_units=0)
    model.set_weights([np.zeros(weight.shape) for weight in model.get_weights()])
    data = arrays.Labelled(
        np.zeros((5, 2, 2, 1), np.uint8), np.eye(2, dtype=np.uint8)[[0, 0, 0, 0, 1]]
    )
    checkpoint = Checkpoint(tmp_path / "train.npz", "of this test")
    batches = TrainingBatches(data, recipe, seed=0)
    fit.fit(model, batches, data, recipe, checkpoint, callbacks=[], verbose=0)
    assert checkpoint.logs[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    # The one image of the second class weighs as much as the four of the first
    np.testing.assert_allclose(model.get_weights()[-1], [0, 0], atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
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


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, True)])
def test_momentum_is_nesterovs(momentum: float, nesterov: bool) -> None:
    from convline.training import fit

    optimizer = fit.optimizer(inprocess.recipe(optimizer="sgd", momentum=momentum), steps=10)
    assert (optimizer.momentum, optimizer.nesterov) == (momentum, nesterov)


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "rmsprop"])
def test_momentum_is_of_sgd_alone(name: str) -> None:
    from convline.training import fit

    without, with_it = (
        fit.optimizer(inprocess.recipe(optimizer=name, momentum=momentum), steps=10).get_config()
        for momentum in (0.0, 0.8)
    )
    assert with_it | {"name": name} == without | {"name": name}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_shrinks_weights(name: str) -> None:
    """Where the gradient is 0, decay is all that changes a weight."""
    import keras

    from convline.training import fit

    recipe = inprocess.recipe(optimizer=name, weight_decay=0.5, learning_rate=0.1)
    weight = keras.Variable([1.0, -2.0])
    fit.optimizer(recipe, steps=10).apply([keras.ops.zeros(2)], [weight])
    np.testing.assert_allclose(weight, [0.95, -1.9])


def test_biases_and_weights_of_normalization_do_not_decay() -> None:
    import keras

    from convline.training import fit

    recipe = inprocess.recipe(optimizer="sgd", weight_decay=0.5, learning_rate=0.1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    model.add(keras.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones"))
    weights = model.trainable_variables
    fit.optimizer(recipe, steps=10).apply([keras.ops.zeros(w.shape) for w in weights], weights)
    values = {weight.name: float(np.mean(weight)) for weight in weights}
    assert values == {"gamma": 1, "beta": 0, "kernel": pytest.approx(0.95), "bias": 1}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_decay_only_where_the_recipe_says_so(name: str) -> None:
    from convline.training import fit

    assert not fit.optimizer(inprocess.recipe(optimizer=name), steps=10).weight_decay


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
