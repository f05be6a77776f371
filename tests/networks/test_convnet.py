"""The convolutional network: what each of its parameters does, and which images are too small."""

from itertools import product
from typing import Any

import numpy as np
import pytest

import inprocess
from convline.problems import Problem
from networks import convnet


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    """Keras, with its backend chosen."""
    inprocess.configure()
    import keras

    return keras


def layers(**changes: object) -> dict[str, list[Any]]:
    """The layers of the network for MNIST, by their kind."""
    found: dict[str, list[Any]] = {}
    for layer in inprocess.convnet((28, 28, 1), 10, **changes).layers:
        found.setdefault(type(layer).__name__, []).append(layer)
    return found


def test_the_default_network_has_the_parameters_of_the_tutorial(keras: Any) -> None:
    model = inprocess.convnet((28, 28, 1), 10)
    assert model.count_params() == 93_322
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "Rescaling", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Conv2D", "Flatten",
        "Dense", "Dense",
    ]  # fmt: skip
    ramp = np.arange(28 * 28, dtype=np.float32).reshape(1, 28, 28, 1) % 256
    assert float(keras.ops.max(model.layers[0](ramp))) == pytest.approx(1)


def test_stride_replaces_pooling(keras: Any) -> None:
    pooled, strided = layers(downsampling="pool"), layers(downsampling="stride")
    assert [conv.strides for conv in pooled["Conv2D"]] == [(1, 1)] * 3
    assert [conv.strides for conv in strided["Conv2D"]] == [(2, 2), (2, 2), (1, 1)]
    assert len(pooled["MaxPooling2D"]) == 2
    assert "MaxPooling2D" not in strided


def test_the_image_is_halved_after_every_so_many_convolutions(keras: Any) -> None:
    deep: dict[str, Any] = {"filters": [2] * 5, "kernels": [3] * 5, "halve_every": 2}
    strided = layers(**deep, downsampling="stride")["Conv2D"]
    assert [conv.strides[0] for conv in strided] == [1, 2, 1, 2, 1]
    pooled = layers(**deep)
    assert [pool.output.shape[1] for pool in pooled["MaxPooling2D"]] == [12, 4]
    even = layers(filters=[2] * 4, kernels=[3] * 4, halve_every=2)
    assert len(even["MaxPooling2D"]) == 1


def test_convolutions_have_biases_unless_they_are_left_out(keras: Any) -> None:
    assert [conv.use_bias for conv in layers()["Conv2D"]] == [True] * 3
    assert [conv.use_bias for conv in layers(bias=False)["Conv2D"]] == [False] * 3


def test_the_crop_is_cut_off_each_side(keras: Any) -> None:
    model = inprocess.convnet((28, 26, 1), 10, crop=3)
    (crop,) = [layer for layer in model.layers if type(layer).__name__ == "Cropping2D"]
    image = np.arange(28 * 26, dtype=np.float32).reshape(1, 28, 26, 1)
    np.testing.assert_array_equal(np.asarray(crop(image)), image[:, 3:-3, 3:-3])
    assert crop.output.shape == (None, 22, 20, 1)
    assert model.input_shape == (None, 28, 26, 1)


def test_standardized_images_differ_neither_in_brightness_nor_in_contrast(keras: Any) -> None:
    model = inprocess.convnet((28, 28, 1), 10, standardize=True)
    images = np.random.default_rng(0).integers(0, 120, (5, 28, 28, 1)).astype(np.float32)
    expected = model.predict(images, verbose=0)
    changed = np.concatenate([images + 100, 2 * images])
    assert model.predict(changed, verbose=0) == pytest.approx(np.tile(expected, (2, 1)), abs=1e-3)
    assert np.ptp(expected, axis=0).max() > 0.01
    flat = np.full((1, 28, 28, 1), 200, np.uint8)
    assert model.predict(flat, verbose=0) == pytest.approx(np.full((1, 10), 0.1), abs=1e-4)


def test_no_dense_units_leave_the_hidden_layer_out(keras: Any) -> None:
    assert [dense.units for dense in layers(dense_units=0)["Dense"]] == [10]


def test_batch_normalization_comes_before_the_activation(keras: Any) -> None:
    assert "BatchNormalization" not in layers()
    model = inprocess.convnet((28, 28, 1), 10, batch_normalization=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    block = ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation"]
    assert kinds[1:12] == [*block, *block, "Conv2D", "BatchNormalization", "Activation"]
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert layer.activation is keras.activations.linear
            assert not layer.use_bias
        elif isinstance(layer, keras.layers.Activation):
            assert layer.activation is keras.activations.relu


def test_only_the_last_convolution_is_normalized_where_the_parameters_say_so(keras: Any) -> None:
    found = layers(batch_normalization="last")
    assert [conv.use_bias for conv in found["Conv2D"]] == [True, True, False]
    assert [norm.output.shape[1] for norm in found["BatchNormalization"]] == [3]


@pytest.mark.parametrize(("share", "seed"), [(0.25, 0), (0.9, 2**32 - 1)])
def test_dropout_drops_its_share_of_the_features(keras: Any, share: float, seed: int) -> None:
    assert "Dropout" not in layers(dropout=0)
    keras.utils.set_random_seed(seed)
    (dropout,) = layers(dropout=share)["Dropout"]
    dropped = np.asarray(dropout(np.ones((100, 100), np.float32), training=True)) == 0
    assert dropped.mean() == pytest.approx(share, abs=0.02)


def test_widths_and_kernels_are_those_of_the_parameters(keras: Any) -> None:
    found = layers(filters=[3, 5], kernels=[5, 1], dense_units=7)
    assert [conv.filters for conv in found["Conv2D"]] == [3, 5]
    assert [conv.kernel_size for conv in found["Conv2D"]] == [(5, 5), (1, 1)]
    assert [dense.units for dense in found["Dense"]] == [7, 10]
    assert found["Dense"][1].activation is keras.activations.softmax


def works(keras: Any, side: int, params: convnet.Params) -> bool:
    """Whether Keras itself makes a network for images of `side` x `side + 3`, and values for it."""
    try:
        model = convnet.build((side, side + 3, 1), 2, params)
    except ValueError:
        return False
    return all(size for layer in model.layers for size in layer.output.shape[1:])


@pytest.mark.parametrize("downsampling", ["pool", "stride"])
def test_images_are_too_small_where_keras_cannot_make_the_network(
    keras: Any, monkeypatch: pytest.MonkeyPatch, downsampling: str
) -> None:
    checked = convnet.check_size
    monkeypatch.setattr(convnet, "check_size", lambda *_: None)

    def fits(side: int, params: convnet.Params) -> bool:
        try:
            checked((side, side + 3, 1), params)
        except Problem as problem:
            assert f"images of {side} x {side + 3} are too small for" in str(problem)
            return False
        return True

    kernels = ([1], [4], [1, 1], [3, 1], [2, 3, 3], [3, 3, 2, 2])
    for sizes, every, crop in product(kernels, (1, 2), (0, 2)):
        params = convnet.Params.model_validate(
            inprocess.DEFAULTS["convnet"]
            | {
                "filters": [1] * len(sizes),
                "kernels": sizes,
                "halve_every": every,
                "crop": crop,
                "downsampling": downsampling,
                "dense_units": 0,
            }
        )
        smallest = next(side for side in range(1, 100) if fits(side, params))
        assert works(keras, smallest, params), params
        assert smallest == 1 or not works(keras, smallest - 1, params), params


def test_images_that_are_too_small_are_a_problem() -> None:
    with pytest.raises(
        Problem,
        match=r"^params\.yaml: images of 12 x 5 are too small for convnet\.filters \[2, 2\] with "
        r"kernels \[3, 3\], downsampling stride and crop 1; use fewer convolutions, smaller "
        "kernels or a smaller crop$",
    ):
        inprocess.convnet(
            (12, 5, 1), 3, filters=[2, 2], kernels=[3, 3], downsampling="stride", crop=1
        )
