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
        "ink": 0.0,
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
