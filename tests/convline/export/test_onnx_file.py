"""ONNX files: they answer as Keras does, in any batch, and say what they are."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import inprocess
from conversions import IMAGES, PLAIN, QUANTIZED, SHAPE, about
from convline import exported
from convline.export.calibration import Calibration
from inprocess import NETWORKS

pytestmark = pytest.mark.xdist_group("exports")


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    """Keras, with its backend chosen."""
    inprocess.configure()
    import keras

    return keras


@pytest.mark.parametrize("name", NETWORKS)
def test_it_answers_as_keras_does(exports: Path, name: str) -> None:
    """Whatever the network and the number of images."""
    classify = exported.read(exports / f"{name}.none.onnx")
    expected = np.load(exports / f"{name}.npy")
    assert len(np.unique(expected)) > 3
    for images in (IMAGES, IMAGES[:1], IMAGES[:7].astype(np.float32)):
        assert classify(images) == pytest.approx(expected[: len(images)], abs=1e-6)


@pytest.mark.parametrize(("quantization", "largest"), [("float16", 1e-3), ("int8", 0.1)])
def test_a_quantized_model_answers_nearly_as_keras_does(
    exports: Path, quantization: str, largest: float
) -> None:
    classify = exported.read(exports / f"resnet.{quantization}.onnx")
    expected = np.load(exports / "resnet.npy")
    difference = np.abs(classify(IMAGES) - expected).max()
    assert 1e-6 < difference < largest
    assert classify(IMAGES[:1]).shape == (1, 3)


def test_it_says_what_it_is(exports: Path) -> None:
    for name, quantization in (*PLAIN, *QUANTIZED):
        classify = exported.read(exports / f"{name}.{quantization}.onnx")
        assert classify.about == about(quantization)


def test_it_takes_and_returns_float32(exports: Path) -> None:
    for name, quantization in (*PLAIN, *QUANTIZED):
        graph = onnx.load(exports / f"{name}.{quantization}.onnx").graph
        types = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
        assert types == [TensorProto.FLOAT, TensorProto.FLOAT]


@pytest.mark.parametrize(
    ("quantization", "kind"), [("float16", TensorProto.FLOAT16), ("int8", TensorProto.INT8)]
)
def test_kernels_and_matrices_are_quantized(exports: Path, quantization: str, kind: int) -> None:
    graph = onnx.load(exports / f"resnet.{quantization}.onnx").graph
    weights = [tensor for tensor in graph.initializer if np.prod(tensor.dims) > 16]
    assert weights
    assert {tensor.data_type for tensor in weights} == {kind}
    softmax = next(node for node in graph.node if node.op_type == "Softmax")
    assert list(softmax.output) == ["probabilities"]


def test_two_products_fit_16_bits(exports: Path) -> None:
    """In which processors without VNNI add them, without a sign that they overflowed."""
    graph = onnx.load(exports / "resnet.int8.onnx").graph
    weights = [numpy_helper.to_array(t) for t in graph.initializer if np.prod(t.dims) > 16]
    largest = max(int(np.abs(tensor.astype(int)).max()) for tensor in weights)
    assert largest > 32 and 2 * 255 * largest < 2**15


def test_probabilities_are_not_rounded(exports: Path) -> None:
    """The mean of two, in 256 steps, would often be equal for different images."""
    probabilities = exported.read(exports / "mirrored.int8.onnx")(IMAGES)
    assert len(np.unique(probabilities)) > 0.9 * probabilities.size


def test_augmentation_is_switched_off(keras: Any, tmp_path: Path) -> None:
    """Keras traces such layers for ONNX as they are in training; GELU needs what ONNX lacks."""
    from convline.export import onnx_file

    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.RandomTranslation(0.4, 0.4),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="gelu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    with pytest.warns(FutureWarning, match=r"np\.object"):  # of Keras, about NumPy
        content = onnx_file.convert(model, about("none"), Calibration(IMAGES), tmp_path)
    expected = model.predict(IMAGES, verbose=0)
    assert onnx_file.classifier(content, 1)(IMAGES) == pytest.approx(expected, abs=1e-6)
