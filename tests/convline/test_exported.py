"""Exported models: their answers, and files that are none."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import exports
from conftest import tiny_images
from convline import exported
from convline.exported import KEY, Classifier
from convline.paths import ONNX
from convline.problems import Problem


def test_a_model_answers_and_says_what_it_is(tmp_path: Path) -> None:
    images, labels = tiny_images(90, 2)
    first, second = (
        exported.read(exports.write(tmp_path / str(shift), shift)) for shift in range(2)
    )
    probabilities = first(images[..., None])
    assert probabilities.shape == (90, 3)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(probabilities.argmax(axis=1), labels)
    assert np.array_equal(second(images[..., None]).argmax(axis=1), (labels + 1) % 3)
    assert first.about == exports.about()
    assert first.md5 != second.md5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an exported model"),
        (b"text", "is not an exported model"),
        (b"PK\x03\x04 and more", "it is a Keras file; `dvc repro export` makes models/model.onnx"),
        (b"\x1c\0\0\0TFL3 and more", "it is a LiteRT file; `dvc repro export` makes"),
    ],
)
def test_a_file_of_another_kind_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(Problem) as caught:
        Classifier(content, "file")
    assert str(caught.value).startswith("file is not an exported model: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "was not exported by Convline"),
        ({KEY: "no JSON"}, "was not exported by Convline"),
        ({KEY: json.dumps(exports.about().model_dump() | {"fit": "bend"})}, "fit is 'bend'"),
    ],
)
def test_a_model_that_does_not_say_its_classes_is_refused(
    metadata: dict[str, str], reason: str
) -> None:
    model = onnx.load_from_string(exports.content())
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)
    with pytest.raises(Problem, match=reason):
        Classifier(model.SerializeToString(), "file")


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match="missing; `dvc repro export` creates it"):
        exported.read(ONNX)
    with pytest.raises(Problem, match=r"other is missing$"):
        exported.read(Path("other"))
    with pytest.raises(Problem, match="cannot be read: Is a directory"):
        exported.read(tmp_path)
