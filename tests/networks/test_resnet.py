"""The residual network: what its parameters do, and images of any size."""

from typing import Any

import numpy as np
import pytest
from scipy.fft import dctn

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


def test_each_stage_halves_the_image_and_adds_its_blocks() -> None:
    blocks = kinds(build((29, 29, 1), filters=[3, 5], depth=2), "Add")
    assert [block.output.shape[1:] for block in blocks] == [*[(14, 14, 3)] * 2, *[(7, 7, 5)] * 2]


def test_without_blocks_each_number_of_filters_is_of_one_convolution() -> None:
    model = build(filters=[2, 3, 5], depth=0)
    assert not kinds(model, "Add")
    assert [layer.output.shape[1:] for layer in kinds(model, "Conv2D")] == [
        (27, 27, 8),
        (27, 27, 2),
        (13, 13, 3),
        (6, 6, 5),
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_stem_is_the_cosine_transform_of_pixels_and_channels_and_stays(channels: int) -> None:
    model = build((2, 2, channels), filters=[1])
    stem = kinds(model, "Conv2D")[0]
    random = np.random.default_rng(0)
    images = random.normal(size=(5, 2, 2, channels)).astype(np.float32)
    expected = dctn(images, axes=(1, 2, 3), norm="ortho").reshape(5, -1)
    found = np.asarray(stem(images)).reshape(5, -1)
    np.testing.assert_allclose(found, np.concatenate([expected, -expected], axis=1), atol=1e-6)
    assert not any(weight is stem.kernel for weight in model.trainable_variables)


def test_a_block_adds_its_input(keras: Any) -> None:
    """Where the convolutions of all blocks give 0, what a stage begins with is what is left."""
    model = build(filters=[2], depth=2)
    _, _, *others = kinds(model, "BatchNormalization")
    for normalization in others:
        normalization.gamma.assign(np.zeros(2))
    _, start_of_stage, *_ = kinds(model, "Activation")
    both = keras.Model(model.input, [start_of_stage.output, kinds(model, "Add")[-1].output])
    start, end = both.predict(np.arange(784).reshape(1, 28, 28, 1) % 256, verbose=0)
    assert len(np.unique(start)) > 2
    np.testing.assert_array_equal(start, end)


def test_probabilities_are_of_the_largest_features_scaled_down(keras: Any) -> None:
    model = build(filters=[2], dropout=0)
    pooled, dense = kinds(model, "GlobalMaxPooling2D")[0], kinds(model, "Dense")[0]
    parts = keras.Model(model.input, [pooled.input, dense.output, model.output])
    features, logits, probabilities = parts.predict(
        np.arange(784).reshape(1, 28, 28, 1) % 256, verbose=0
    )
    np.testing.assert_allclose(logits, features.max(axis=(1, 2)) @ dense.kernel, rtol=1e-4)
    expected = np.exp(resnet.LOGIT_SCALE * logits)
    np.testing.assert_allclose(probabilities, expected / expected.sum(), rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 8, 3), (33, 20, 1)])
def test_images_may_be_of_any_size(shape: tuple[int, int, int]) -> None:
    model = build(shape, filters=[1] * 5)
    probabilities = model.predict(np.zeros((2, *shape), np.uint8), verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_dropout_drops_its_share_of_the_features() -> None:
    assert not kinds(build(dropout=0), "Dropout")
    assert [layer.rate for layer in kinds(build(dropout=0.3), "Dropout")] == [0.3]
