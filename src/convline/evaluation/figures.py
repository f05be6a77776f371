"""The figures of a classifier on the test images: how each is named, rounded and written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MINUS = "\u2212"
SPACE = "\u00a0"  # at which no line breaks


@dataclass(frozen=True)
class Figure:
    """A figure of metrics/evaluate.json.

    `unit` is "share" for a figure from 0 to 1 that people read in per cent, "count" for an integer,
    and otherwise what stands behind the number. `digits` are the decimals that the file keeps.
    """

    key: str
    label: str
    unit: str
    better: Literal["high", "low"]
    digits: int

    def text(self, value: float) -> str:
        """`value` as people read it: "99.09%", "1,234" or "0.02996 nats"."""
        if self.unit == "share":
            return f"{value:.2%}"
        if self.unit == "count":
            return f"{value:,.0f}"
        return f"{value:.{self.digits}f} {self.unit}".rstrip()

    def change(self, difference: float) -> str:
        """A difference of two values, with its sign: "+0.07 points", "+12" or "+0.00031 nats"."""
        if self.unit == "share":
            return points(difference)
        if self.unit == "count":
            text = f"{difference:+,.0f}"
        else:
            text = f"{difference:+.{self.digits}f} {self.unit}".rstrip()
        return text.replace("-", MINUS)


# A figure is computed in scores.py under the same key
FIGURES = (
    Figure("accuracy", "accuracy", "share", better="high", digits=4),
    Figure("errors", "errors", "count", better="low", digits=0),
    Figure("balanced_accuracy", "balanced accuracy", "share", better="high", digits=4),
    Figure("worst_recall", "lowest recall of a class", "share", better="high", digits=4),
    Figure("negative_log_likelihood", "negative log-likelihood", "nats", better="low", digits=5),
    Figure("brier_score", "Brier score, 0 to 2", "", better="low", digits=5),
    Figure(
        "expected_calibration_error",
        "expected calibration error, 15 bins",
        "share",
        better="low",
        digits=4,
    ),
    Figure("corrupted_accuracy", "accuracy on corrupted images", "share", better="high", digits=4),
)
BY_KEY = {figure.key: figure for figure in FIGURES}
MORE = tuple(figure for figure in FIGURES if figure.key not in ("accuracy", "errors"))


def points(difference: float) -> str:
    """A difference of shares as "+0.07 points"."""
    return f"{100 * difference:+.2f}{SPACE}points".replace("-", MINUS)


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """The value of each figure, in the order of FIGURES, rounded to its digits."""
    return {figure.key: round(values[figure.key], figure.digits or None) for figure in FIGURES}
