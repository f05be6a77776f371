"""Exports of the networks in `inprocess`, written in a process of their own."""

import tempfile
from pathlib import Path

import numpy as np

import inprocess
from convline.exported import About
from inprocess import NETWORKS

SHAPE = (12, 12, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), np.uint8)
SUFFIXES = (".onnx", ".tflite")
PLAIN = [(name, "none") for name in NETWORKS]
QUANTIZED = [("resnet", "float16"), ("resnet", "int8"), ("mirrored", "int8")]


def about(quantization: str) -> About:
    """A description of these models."""
    return About.model_validate(
        {
            "dataset": "tiny",
            "classes": ["ant", "bee", "Mücke"],
            "shape": SHAPE,
            "fit": "pad",
            "background": "black",
            "ink": 0.0,
            "quantization": quantization,
            "model_md5": "0" * 32,
        }
    )


def write(folder: str, jobs: list[tuple[str, str]]) -> None:
    """Write NAME.QUANTIZATION.SUFFIX for each of `jobs`, and NAME.npy: what Keras answers.

    The models are saved and loaded again, as between the stages.
    """
    inprocess.configure()
    import keras

    from convline import models
    from convline.export import litert, onnx_file
    from convline.export.calibration import Calibration

    for name, quantization in jobs:
        keras.utils.clear_session()  # which counts the layers of a process, for their names
        model = inprocess.build(name)
        models.output_shape(model, SHAPE)
        random = np.random.default_rng(1)
        for weight in model.weights:
            values = random.normal(0, 0.3, weight.shape)
            weight.assign(np.abs(values) if "variance" in weight.path else values)
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, "model.keras")
            models.save(model, path, inprocess.MADE_FROM)
            model = models.load(path)
            np.save(Path(folder, f"{name}.npy"), model.predict(IMAGES, verbose=0))
            for suffix, target in zip(SUFFIXES, (onnx_file, litert)):
                content = target.convert(
                    model, about(quantization), Calibration(IMAGES), Path(temporary)
                )
                Path(folder, f"{name}.{quantization}{suffix}").write_bytes(content)
