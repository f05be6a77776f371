"""The figures of a classifier, against their definitions written out."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convline.evaluation import scores

CLASSES = ["ant", "bee", "cat", "dog"]
labels = st.integers(0, len(CLASSES) - 1)
weights = st.lists(st.integers(0, 30), min_size=4, max_size=4).filter(any)


def certain(predicted: list[int], classes: int = len(CLASSES)) -> npt.NDArray[np.float32]:
    """The probabilities of a classifier without doubts."""
    return np.eye(classes, dtype=np.float32)[predicted]


def wilson(correct: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson's formula."""
    z = 1.959963984540054
    share = correct / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return centre - half, centre + half


def summary(
    actual: npt.NDArray[np.intp],
    probabilities: npt.NDArray[np.float32],
    classes: list[str],
    corrupted: tuple[float, ...] = (0.5,),
) -> dict[str, Any]:
    """The figures, where corrupted images have these accuracies."""
    table = pd.DataFrame({"corruption": "fog", "strength": 1, "accuracy": corrupted})
    return scores.summary(actual, probabilities, classes, table)


def share(part: float, whole: float) -> float:
    """`part` of `whole`, 0 of nothing."""
    return part / whole if whole else 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=60))
def test_figures_are_those_of_their_definitions(pairs: list[tuple[int, int]]) -> None:
    actual, predicted = zip(*pairs, strict=True)
    figures = summary(np.array(actual), certain(list(predicted)), CLASSES)

    correct = sum(a == p for a, p in pairs)
    assert figures["images"] == len(pairs)
    assert figures["errors"] == len(pairs) - correct
    assert figures["accuracy"] == pytest.approx(correct / len(pairs), abs=5.1e-5)
    assert figures["accuracy_interval_95"] == pytest.approx(wilson(correct, len(pairs)), abs=5.1e-5)
    recalls = [
        share(sum(a == p == label for a, p in pairs), sum(a == label for a, _ in pairs))
        for label in set(actual)
    ]
    assert figures["balanced_accuracy"] == pytest.approx(sum(recalls) / len(recalls), abs=5.1e-5)
    assert figures["worst_recall"] == pytest.approx(min(recalls), abs=5.1e-5)
    assert figures["never_predicted"] == [CLASSES[i] for i in sorted({*actual} - {*predicted})]
    assert [row["class"] for row in figures["per_class"]] == CLASSES
    for label, row in enumerate(figures["per_class"]):
        right = sum(a == p == label for a, p in pairs)
        images = sum(a == label for a, _ in pairs)
        guesses = sum(p == label for _, p in pairs)
        assert row["images"] == images
        assert row["recall"] == pytest.approx(share(right, images), abs=5.1e-5)
        assert row["precision"] == pytest.approx(share(right, guesses), abs=5.1e-5)
        assert row["f1"] == pytest.approx(share(2 * right, images + guesses), abs=5.1e-5)


@pytest.mark.parametrize(
    ("predicted", "accuracy", "errors", "interval"),
    [
        ([0, 1, 2, 3] * 25, 1.0, 0, [0.963, 1.0]),
        ([1, 2, 3, 0] * 25, 0.0, 100, [0.0, 0.037]),
        ([0, 1, 2, 0] * 25, 0.75, 25, [0.657, 0.8245]),
    ],
)
def test_known_figures(
    predicted: list[int], accuracy: float, errors: int, interval: list[float]
) -> None:
    figures = summary(np.array([0, 1, 2, 3] * 25), certain(predicted), CLASSES)
    assert figures["accuracy"] == accuracy
    assert figures["errors"] == errors
    assert figures["accuracy_interval_95"] == interval


def test_a_class_without_images_has_figures() -> None:
    figures = summary(np.array([0, 1]), certain([0, 1]), CLASSES)
    assert figures["per_class"][2] == {
        "class": "cat",
        "images": 0,
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
    }
    assert figures["balanced_accuracy"] == figures["worst_recall"] == 1
    assert figures["never_predicted"] == []


def test_a_rare_class_weighs_as_much_as_a_frequent_one() -> None:
    figures = summary(np.array([0] * 97 + [1, 1, 2]), certain([0] * 99 + [2]), CLASSES)
    assert figures["accuracy"] == 0.98
    assert figures["balanced_accuracy"] == 0.6667
    assert figures["worst_recall"] == 0
    assert figures["never_predicted"] == ["bee"]


def test_every_corruption_counts_alike() -> None:
    figures = summary(np.array([0]), certain([0]), CLASSES, (0.25, 1.0, 0.5, 0.33333))
    assert figures["corrupted_accuracy"] == 0.5208
    assert figures["per_corruption"][3] == {"corruption": "fog", "strength": 1, "accuracy": 0.3333}


@settings(deadline=None)
@given(st.lists(st.tuples(labels, weights), min_size=1, max_size=60))
def test_probabilities_are_scored_by_the_definitions(pairs: list[tuple[int, list[int]]]) -> None:
    actual = np.array([label for label, _ in pairs])
    probabilities = np.array([np.divide(w, sum(w)) for _, w in pairs], np.float32)
    figures = summary(actual, probabilities, CLASSES)

    likelihood = brier = 0.0
    bins: dict[int, list[tuple[float, bool]]] = {}
    for label, row in zip(actual.tolist(), probabilities.tolist(), strict=True):
        likelihood -= math.log(max(row[label], 2**-52))
        brier += sum((p - (i == label)) ** 2 for i, p in enumerate(row))
        number = next(k for k in range(15) if max(row) <= (k + 1) / 15)
        bins.setdefault(number, []).append((max(row), row.index(max(row)) == label))
    gap = sum(abs(sum(c - right for c, right in images)) for images in bins.values())
    assert figures["negative_log_likelihood"] == pytest.approx(likelihood / len(pairs), abs=1e-5)
    assert figures["brier_score"] == pytest.approx(brier / len(pairs), abs=1e-5)
    assert figures["expected_calibration_error"] == pytest.approx(gap / len(pairs), abs=6e-5)

    table = scores.reliability(actual, probabilities)
    assert list(table["images"]) == [len(bins[number]) for number in sorted(bins)]
    assert list(table["low"]) == pytest.approx([number / 15 for number in sorted(bins)])
    assert list(table["high"]) == pytest.approx([(number + 1) / 15 for number in sorted(bins)])


def test_known_figures_of_probabilities() -> None:
    """Two images share a bin, 2/3 to 11/15; one of them is right."""
    actual = np.array([0, 2, 2, 1])
    probabilities = np.array(
        [[0.7, 0.1, 0.1, 0.1], [0.1, 0.5, 0.3, 0.1], [0.2, 0.2, 0.45, 0.15], [0.72, 0.28, 0, 0]],
        np.float32,
    )
    figures = summary(actual, probabilities, CLASSES)
    # -ln(0.7 * 0.3 * 0.45 * 0.28) / 4
    assert figures["negative_log_likelihood"] == 0.90803
    # ((0.3^2 + 3 * 0.1^2) + (0.1^2 + 0.5^2 + 0.7^2 + 0.1^2)
    #   + (0.2^2 + 0.2^2 + 0.55^2 + 0.15^2) + 2 * 0.72^2) / 4
    assert figures["brier_score"] == 0.58045
    # (2 * |0.71 - 0.5| + |0.5 - 0| + |0.45 - 1|) / 4
    assert figures["expected_calibration_error"] == 0.3675
    assert scores.reliability(actual, probabilities).round(4).values.tolist() == [
        [0.4, 0.4667, 1, 0.45, 1],
        [0.4667, 0.5333, 1, 0.5, 0],
        [0.6667, 0.7333, 2, 0.71, 0.5],
    ]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("shift", "likelihood", "brier", "calibration", "row"),
    [
        (0, 0.0, 0.0, 0.0, [14 / 15, 1, 100, 1, 1]),
        (1, 36.04365, 2.0, 1.0, [14 / 15, 1, 100, 1, 0]),
    ],
)
def test_certainty_costs_nothing_where_right_and_the_most_where_wrong(
    classes: int, shift: int, likelihood: float, brier: float, calibration: float, row: list[float]
) -> None:
    actual = np.arange(100) % classes
    probabilities = certain(((actual + shift) % classes).tolist(), classes)
    figures = summary(actual, probabilities, CLASSES[:classes])
    assert figures["negative_log_likelihood"] == likelihood
    assert figures["brier_score"] == brier
    assert figures["expected_calibration_error"] == calibration
    assert scores.reliability(actual, probabilities).values.tolist() == [pytest.approx(row)]
