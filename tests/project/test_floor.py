"""The count of floating-point operations, which benchmarks/floor.md compares with time."""

from types import ModuleType
from typing import Any

import pytest

import inprocess
from conftest import REPOSITORY
from convline.commands.run import load_recipe

RECIPES = sorted(path.stem for path in (REPOSITORY / "recipes").glob("*.yaml"))


@pytest.fixture
def training_step(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's module, with a backend chosen for Keras."""
    inprocess.configure()
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import training_step

    return training_step


def build(**changes: object) -> Any:
    """The network of params.yaml with `changes` in its section, for MNIST."""
    from networks import convnet

    params = convnet.Params.model_validate(inprocess.DEFAULTS["convnet"] | changes)
    return convnet.build((28, 28, 1), 10, params)


def test_training_costs_what_it_does_by_hand(training_step: ModuleType) -> None:
    first = (26 * 26 * 32) * (3 * 3 * 1)
    others = [
        (11 * 11 * 64) * (3 * 3 * 32),
        (3 * 3 * 64) * (3 * 3 * 64),
        (3 * 3 * 64) * 64,
        64 * 10,
    ]
    assert training_step.training_flop(build()) == 2 * (2 * first + 3 * sum(others))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_forward_pass_costs_what_tensorflow_counts(
    training_step: ModuleType, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    import tensorflow as tf

    monkeypatch.chdir(REPOSITORY)
    model = build(**load_recipe(recipe)["convnet"])
    forward = tf.function(lambda images: model(images, training=True))
    graph = forward.get_concrete_function(tf.TensorSpec((1, 28, 28, 1))).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    counted = profiler.profile(graph, cmd="op", options=options.with_empty_output().build())

    # A tree of one branch: each kind of operation is the child of the one before
    flop = {}
    node = counted
    while node.children:
        (node,) = node.children
        flop[node.name] = node.float_ops
    expected = 2 * sum(training_step.multiply_adds(model).values())
    assert flop["Conv2D"] + flop["MatMul"] == expected
