"""LiteRT files: the same bytes from any process, with the answers of Keras."""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inprocess
from conversions import IMAGES, PLAIN, QUANTIZED, SHAPE, SUFFIXES, about
from convline.export.calibration import Calibration
from convline.exported import About
from inprocess import NETWORKS

pytestmark = pytest.mark.xdist_group("exports")


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    """Keras, with its backend chosen."""
    inprocess.configure()
    import keras

    return keras


def opened(path: Path) -> Callable[..., Any]:
    """The model at `path`, ready to answer."""
    from convline.export import litert

    with warnings.catch_warnings(action="ignore"):  # TensorFlow's, about another package
        return litert.classifier(path.read_bytes(), 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_answers_as_keras_does(exports: Path, name: str) -> None:
    """Whatever the network and the number of images."""
    classify = opened(exports / f"{name}.none.tflite")
    expected = np.load(exports / f"{name}.npy")
    for images in (IMAGES, IMAGES[:1], IMAGES[:7].astype(np.float32)):
        assert classify(images) == pytest.approx(expected[: len(images)], abs=1e-5)


@pytest.mark.parametrize(("quantization", "largest"), [("float16", 1e-3), ("int8", 0.1)])
def test_a_quantized_model_answers_nearly_as_keras_does(
    exports: Path, quantization: str, largest: float
) -> None:
    classify = opened(exports / f"resnet.{quantization}.tflite")
    difference = np.abs(classify(IMAGES) - np.load(exports / "resnet.npy")).max()
    assert 1e-6 < difference < largest


def test_it_comes_with_what_it_is(exports: Path) -> None:
    for name, quantization in (*PLAIN, *QUANTIZED):
        with zipfile.ZipFile(exports / f"{name}.{quantization}.tflite") as archive:
            assert archive.namelist() == ["convline.json"]
            content = json.loads(archive.read("convline.json"))
        assert About.model_validate(content) == about(quantization)


def test_another_process_writes_the_same_bytes(exports: Path, tmp_path: Path) -> None:
    """In both formats, with other hashes."""
    jobs = [("resnet", "none"), *QUANTIZED, ("subclassed", "none")]
    inprocess.run(f"import conversions; conversions.write({str(tmp_path)!r}, {jobs})", hash_seed=2)
    names = [f"{name}.{kind}{suffix}" for name, kind in jobs for suffix in SUFFIXES]
    assert [n for n in names if (exports / n).read_bytes() != (tmp_path / n).read_bytes()] == []


def test_a_recurrent_layer_needs_to_be_unrolled(keras: Any, tmp_path: Path) -> None:
    from convline.export import litert

    def convert(unroll: bool) -> bytes:
        image = keras.Input(SHAPE)
        rows = keras.layers.Reshape((12, 12))(keras.layers.Rescaling(1 / 255)(image))
        features = keras.layers.SimpleRNN(4, unroll=unroll)(rows)
        model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(features))
        return litert.convert(model, about("none"), Calibration(IMAGES), tmp_path)

    with pytest.raises(Exception, match="TensorListReserve"):
        convert(unroll=False)
    assert zipfile.is_zipfile(io.BytesIO(convert(unroll=True)))
