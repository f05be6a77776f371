"""What an exported model may answer differently."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import inprocess
from convline.data.arrays import Labelled
from convline.problems import Problem

PATH = Path("models/model.onnx")
LABELS = np.eye(2, dtype=np.uint8)[np.arange(300) % 2]
DATA = Labelled((np.arange(300) % 256).astype(np.uint8).reshape(300, 1, 1, 1), LABELS)
KERAS = np.where(LABELS == 1, np.float32(0.75), np.float32(0.25))


@pytest.fixture(scope="module", autouse=True)
def keras() -> None:
    """Keras, with its backend chosen."""
    inprocess.configure()


def compared(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32] = KERAS) -> Any:
    """How a model with the answers `found` agrees with Keras."""
    from convline.export import agreement

    remaining = iter(found)

    def classify(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.stack([next(remaining) for _ in images])

    return agreement.compare(classify, DATA, expected)


def refused(agreement: Any, quantization: str, loss: float) -> str:
    """Why `agreement` is not enough; nothing if it is."""
    from convline.export.agreement import check

    try:
        check(PATH, agreement, quantization, loss)
    except Problem as problem:
        return str(problem)
    return ""


def changed(count: int) -> npt.NDArray[np.float32]:
    """The answers of Keras, of which the first `count` name the other class."""
    return np.concatenate([KERAS[:count, ::-1], KERAS[count:]])


def test_the_same_answers_agree() -> None:
    assert compared(KERAS) == (300, 0.0, 0, 1.0, 1.0)
    assert not refused(compared(KERAS), "none", 0)


def test_a_changed_prediction_is_counted() -> None:
    agreement = compared(changed(3))
    assert agreement == (300, 0.5, 3, 0.99, 1.0)
    assert refused(agreement, "none", 1.0) == (
        "models/model.onnx would predict 3 of 300 validation images differently than Keras, with "
        "probabilities that differ by up to 0.5"
    )


def test_quantization_may_cost_as_much_as_it_is_allowed() -> None:
    assert not refused(compared(changed(3)), "int8", 0.01)
    assert refused(compared(changed(4)), "int8", 0.01) == (
        "models/model.onnx: quantization int8 would lower the validation accuracy from 100.00% to "
        "98.67%; quantization_loss in params.yaml allows 1.00%"
    )


def test_a_better_accuracy_is_no_loss() -> None:
    assert not refused(compared(KERAS, changed(3)), "int8", 0)


def test_classes_that_are_tied_may_change_places() -> None:
    """A model of zeros takes all for equal: rounding decides then, and changes nothing."""
    expected = np.full_like(KERAS, 0.5)
    assert (
        compared(expected + np.array([-1e-6, 1e-6], np.float32), expected).changed_predictions == 0
    )
    apart = expected + np.array([1e-3, -1e-3], np.float32)
    assert compared(apart[:, ::-1], apart).changed_predictions == 300


@pytest.mark.parametrize("quantization", ["none", "float16"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_an_answer_that_is_no_number(quantization: str, number: float) -> None:
    found = KERAS.copy()
    found[-1, -1] = number
    expected = "models/model.onnx would return numbers that are not finite"
    assert refused(compared(found), quantization, 1.0) == expected
