"""Exported models, opened without Keras."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from convline import exported
from convline.problems import Problem

ABOUT: dict[str, Any] = {
    "dataset": "tiny",
    "classes": ["ant", "bee"],
    "shape": [1, 2, 1],
    "fit": "pad",
    "background": "black",
    "ink": False,
    "quantization": "none",
    "model_md5": "0" * 32,
}


def content(metadata: dict[str, str]) -> bytes:
    """An ONNX model that takes two pixels for probabilities."""
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["probabilities"])],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 2, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 15)])
    helper.set_model_props(model, metadata)
    return bytes(model.SerializeToString())


def test_it_answers_and_says_what_it_is(tmp_path: Path) -> None:
    """Keys of a later version are no obstacle."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content({"convline": json.dumps(ABOUT | {"later": 1}), "other": "x"}))
    classify = exported.read(path, threads=1)
    assert classify.about == exported.About.model_validate(ABOUT)
    assert len(classify.md5) == 32
    images = np.arange(6, dtype=np.uint8).reshape(3, 1, 2, 1)
    assert classify(images).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert classify(images).dtype == np.float32


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (b"", " is not an exported model: "),
        (b"PK\x03\x04", " is not an exported model: "),
        (content({}), " was not exported by Convline: it does not say its classes"),
        (content({"convline": "{"}), " was not exported by Convline: it does not say its classes"),
        (content({"convline": "{}"}), ": its metadata: dataset: Field required; classes: "),
        (
            content({"convline": json.dumps(ABOUT | {"fit": "squeeze"})}),
            ": its metadata: fit is 'squeeze'; it should be 'pad', 'crop' or 'stretch'",
        ),
    ],
)
def test_another_file_is_refused(tmp_path: Path, model: bytes, expected: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    with pytest.raises(Problem) as caught:
        exported.read(path)
    assert str(caught.value).startswith(f"{path}{expected}")
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"is missing; `dvc repro export` creates it"):
        exported.read(tmp_path / "model.onnx")
