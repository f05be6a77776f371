<<<<<<< HEAD
"""Exported models for tests: small ones whose answers are known, made without Keras."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from conftest import CLASSES, SHAPE
from convline.exported import KEY, About


def about(**changes: Any) -> About:
    """What a model of the tiny dataset says of itself, with `changes`."""
    values = {
        "dataset": "tiny",
        "classes": CLASSES,
        "shape": (*SHAPE, 1),
        "fit": "pad",
        "background": "black",
        "ink": False,
        "quantization": "none",
        "model_md5": "0" * 32,
    }
    return About.model_validate(values | changes)


def content(shift: int = 0, **changes: Any) -> bytes:
    """The bytes of an ONNX file, the same for the same arguments.

    Of as many equal bands of rows as there are classes, the brightest is the class; with a `shift`,
    the class so many later. Models with different shifts disagree on every picture that has one
    brightest band.
    """
    says = about(**changes)
    height, width, channels = says.shape
    count = len(says.classes)
    bands = np.zeros((height, width, channels, count), np.float32)
    for row in range(height):
        bands[row, ..., (row * count // height + shift) % count] = 1
    weights = bands.reshape(-1, count)
    weights *= 0.05 / weights.sum(axis=0)  # one grey value more multiplies the odds by 1.05
    nodes = [
        helper.make_node("Flatten", ["image"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bands",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *says.shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", count])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {KEY: json.dumps(says.model_dump())})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write(path: Path, shift: int = 0, **changes: Any) -> Path:
    """Write `content` to `path`, which is returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(shift, **changes))
    return path
=======
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
QUANTIZED = [("resnet", "float16"), ("resnet", "int8")]


def about(quantization: str) -> About:
    """A description of these models."""
    return About.model_validate(
        {
            "dataset": "tiny",
            "classes": ["ant", "bee", "Mücke"],
            "shape": SHAPE,
            "fit": "pad",
            "background": "black",
            "ink": False,
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
>>>>>>> export
