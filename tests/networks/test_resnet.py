"""The residual network: what its parameters do, and images of any size."""

from typing import Any

import numpy as np
import pytest

import inprocess
from networks import resnet


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    """Keras, with its backend chosen."""
    inprocess.configure()
    import keras

    return keras


def build(input_shape: tuple[int, int, int] = (28, 28, 1), **changes: object) -> Any:
    """The network of params.yaml, with `changes` of its section, for ten classes."""
    section = inprocess.DEFAULTS["resnet"] | changes
    return resnet.build(input_shape, 10, resnet.Params.model_validate(section))


def kinds(model: Any, kind: str) -> list[Any]:
    """The layers of one kind."""
    return [layer for layer in model.layers if type(layer).__name__ == kind]


def test_each_stage_doubles_the_filters_and_halves_the_image() -> None:
    blocks = kinds(build(width=2, stages=3, depth=2), "Add")
    assert [block.output.shape[1:] for block in blocks] == [
        *[(28, 28, 2)] * 2,
        *[(14, 14, 4)] * 2,
        *[(7, 7, 8)] * 2,
    ]


def test_a_block_adds_its_input(keras: Any) -> None:
    """Where the convolutions of all blocks give 0, the first convolution is what is left."""
    model = build(width=2, stages=1, depth=2)
    _, *others = kinds(model, "BatchNormalization")
    for normalization in others:
        normalization.gamma.assign(np.zeros(2))
    first, *_, last = kinds(model, "Activation")
    both = keras.Model(model.input, [first.output, last.output])
    start, end = both.predict(np.arange(784).reshape(1, 28, 28, 1) % 256, verbose=0)
    assert len(np.unique(start)) > 2
    np.testing.assert_array_equal(start, end)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 8, 3), (33, 20, 1)])
def test_images_may_be_of_any_size(shape: tuple[int, int, int]) -> None:
    model = build(shape, width=1, stages=4)
    probabilities = model.predict(np.zeros((2, *shape), np.uint8), verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_dropout_drops_its_share_of_the_features() -> None:
    assert not kinds(build(dropout=0), "Dropout")
    assert [layer.rate for layer in kinds(build(dropout=0.3), "Dropout")] == [0.3]
