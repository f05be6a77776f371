"""Agreement: what an exported model answers, compared with Keras."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from convline.data.arrays import Labelled
from convline.data.batches import Batches
from convline.exported import Bytes, Floats
from convline.problems import Problem

# Classes whose probabilities differ by less are tied: which of them comes first is rounding, in
# which formats and processors differ, by up to about 1e-6
TIE = 1e-4


class Agreement(NamedTuple):
    """How the answers of an exported model differ from those of Keras, on the same images.

    `largest_difference` is that of any probability. `changed_predictions` counts the images whose
    predicted class differs, ties aside. Both accuracies are shares.
    """

    images: int
    largest_difference: float
    changed_predictions: int
    accuracy: float
    accuracy_of_keras: float


def compare(classify: Callable[[Bytes], Floats], data: Labelled, expected: Floats) -> Agreement:
    """Compare the answers of `classify` about `data` with those of Keras, `expected`."""
    batches = Batches(data)
    found = np.concatenate([classify(batches[i][0]) for i in range(len(batches))])
    actual = data.labels.argmax(axis=1)
    rows = np.arange(len(actual))
    # What Keras thinks of the class that the exported model predicts
    behind = expected.max(axis=1) - expected[rows, found.argmax(axis=1)]
    return Agreement(
        len(actual),
        float(np.abs(found - expected).max()),
        int((behind > TIE).sum()),
        _accuracy(found, actual),
        _accuracy(expected, actual),
    )


def _accuracy(probabilities: Floats, actual: npt.NDArray[np.intp]) -> float:
    return float((probabilities.argmax(axis=1) == actual).mean())


def check(path: Path, agreement: Agreement, quantization: str, largest_loss: float) -> None:
    """Raise `Problem` where the model for `path` differs from Keras by more than it may.

    Without quantization, no prediction may change; with it, accuracy may fall by `largest_loss`.
    """
    # Rounded, because 1 - 0.99 is more than 0.01
    loss = round(agreement.accuracy_of_keras - agreement.accuracy, 9)
    if not np.isfinite(agreement.largest_difference):
        raise Problem(f"{path} would return numbers that are not finite")
    if quantization == "none" and agreement.changed_predictions:
        raise Problem(
            f"{path} would predict {agreement.changed_predictions:,} of {agreement.images:,} "
            "validation images differently than Keras, with probabilities that differ by up to "
            f"{agreement.largest_difference:.2g}"
        )
    if quantization != "none" and loss > largest_loss:
        raise Problem(
            f"{path}: quantization {quantization} would lower the validation accuracy from "
            f"{agreement.accuracy_of_keras:.2%} to {agreement.accuracy:.2%}; quantization_loss in "
            f"params.yaml allows {largest_loss:.2%}"
        )
