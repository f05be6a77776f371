"""The figures of a classifier, against their definitions written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convline import scores

CLASSES = ["ant", "bee", "cat", "dog"]
labels = st.integers(0, len(CLASSES) - 1)


def wilson(correct: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson's formula."""
    z = 1.959963984540054
    share = correct / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return centre - half, centre + half


def share(part: float, whole: float) -> float:
    """`part` of `whole`, 0 of nothing."""
    return part / whole if whole else 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=60))
def test_figures_are_those_of_their_definitions(pairs: list[tuple[int, int]]) -> None:
    actual, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    figures = scores.summary(actual, predicted, CLASSES)

    correct = sum(a == p for a, p in pairs)
    assert figures["images"] == len(pairs)
    assert figures["errors"] == len(pairs) - correct
    assert figures["accuracy"] == pytest.approx(correct / len(pairs), abs=5.1e-5)
    assert figures["accuracy_interval_95"] == pytest.approx(wilson(correct, len(pairs)), abs=5.1e-5)
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
    figures = scores.summary(np.array([0, 1, 2, 3] * 25), np.array(predicted), CLASSES)
    assert figures["accuracy"] == accuracy
    assert figures["errors"] == errors
    assert figures["accuracy_interval_95"] == interval


def test_a_class_without_images_has_figures() -> None:
    figures = scores.summary(np.array([0, 1]), np.array([0, 1]), CLASSES)
    assert figures["per_class"][2] == {
        "class": "cat",
        "images": 0,
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
    }
