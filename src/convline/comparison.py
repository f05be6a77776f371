"""Whether two runs differ on the same test images by more than chance explains."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from tabulate import tabulate

from convline import scores
from convline.runs import Run
from convline.stage import Problem

SIGNIFICANCE = 0.05  # a smaller p-value is evidence of a difference
NO_EVIDENCE = "no evidence of a difference"
SHOWN = 10  # indices of images in text; JSON has all


@dataclass(frozen=True)
class Side:
    """One run on the test images: whether it gets each right (n,), and which ones it alone does."""

    run: Run
    correct: npt.NDArray[np.bool_]
    right_alone: list[int]

    @property
    def accuracy(self) -> float:
        """The share of the images that it gets right."""
        return float(self.correct.mean())

    @property
    def errors(self) -> int:
        """The number of images that it gets wrong."""
        return int((~self.correct).sum())

    @property
    def interval(self) -> list[float]:
        """The 95 % interval of the accuracy."""
        return scores.accuracy_interval(int(self.correct.sum()), len(self.correct))


@dataclass(frozen=True)
class Comparison:
    """A candidate beside a baseline, on the same test images."""

    baseline: Side
    candidate: Side

    @property
    def p_value(self) -> float:
        """The two-sided p-value of McNemar's exact test.

        Images that both get right, or both wrong, tell nothing of a difference. Of the others,
        were there none, each run would get any one right with probability one half
        (Q. McNemar, "Note on the sampling error of the difference between correlated
        proportions or percentages", 1947).
        """
        one, other = len(self.candidate.right_alone), len(self.baseline.right_alone)
        return float(binomtest(one, one + other).pvalue) if one + other else 1.0

    @property
    def verdict(self) -> str:
        """The candidate is "better" or "worse", or there is "no evidence of a difference"."""
        if self.p_value >= SIGNIFICANCE:
            return NO_EVIDENCE
        return "better" if self.candidate.accuracy > self.baseline.accuracy else "worse"


def compare(baseline: Run, candidate: Run) -> Comparison:
    """Compare two runs. Raises `Problem` where they were not evaluated on the same images."""
    if baseline.dataset != candidate.dataset:
        raise Problem(
            f"no comparison: {baseline.revision} is of the dataset {baseline.dataset}, "
            f"{candidate.revision} of {candidate.dataset}"
        )
    first, second = baseline.predictions, candidate.predictions
    if baseline.test_files != candidate.test_files or not first["actual"].equals(second["actual"]):
        raise Problem(
            f"no comparison: {baseline.revision} and {candidate.revision} are of different "
            f"versions of {baseline.dataset}, with other test images"
        )
    one, other = ((run["actual"] == run["predicted"]).to_numpy() for run in (first, second))
    return Comparison(
        Side(baseline, one, np.flatnonzero(one & ~other).tolist()),
        Side(candidate, other, np.flatnonzero(other & ~one).tolist()),
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        **{
            name: {
                "revision": side.run.revision,
                "accuracy": round(side.accuracy, 4),
                "accuracy_interval_95": side.interval,
                "errors": side.errors,
                "right_alone": side.right_alone,
            }
            for name, side in (
                ("baseline", comparison.baseline),
                ("candidate", comparison.candidate),
            )
        },
        "dataset": comparison.baseline.run.dataset,
        "images": len(comparison.baseline.correct),
        "mcnemar_exact_p_value": comparison.p_value,
        "verdict": comparison.verdict,
    }


def to_text(comparison: Comparison, markdown: bool = False) -> str:
    """The figures as a table, the test and the verdict, for people."""
    sides = (comparison.baseline, comparison.candidate)
    rows = [
        ["accuracy", *(f"{side.accuracy:.2%}" for side in sides)],
        ["95 % interval", *("{:.2%} to {:.2%}".format(*side.interval) for side in sides)],
        ["errors", *(f"{side.errors:,}" for side in sides)],
        ["right alone", *(f"{len(side.right_alone):,}" for side in sides)],
    ]
    table = tabulate(
        rows,
        headers=["", *(side.run.revision for side in sides)],
        tablefmt="pipe" if markdown else "simple",
        colalign=("left", "right", "right"),
        disable_numparse=True,
    )
    verdict = conclusion(comparison)
    return "\n\n".join(
        [
            table,
            *(
                f"Only {side.run.revision} gets right: {_few(side.right_alone)}"
                for side in sides
                if side.right_alone
            ),
            f"McNemar's exact test: p = {comparison.p_value:.2g}",
            f"**{verdict}**" if markdown else verdict,
        ]
    )


def conclusion(comparison: Comparison) -> str:
    """The verdict in a sentence that names the revisions and the test images."""
    baseline, candidate = comparison.baseline.run, comparison.candidate.run
    if comparison.verdict == NO_EVIDENCE:
        relation = f"No evidence of a difference between {candidate.revision} and"
    else:
        relation = f"{candidate.revision} is {comparison.verdict} than"
    images = f"the {len(candidate.predictions):,} test images of {candidate.dataset}"
    return f"{relation} {baseline.revision} on {images}"


def _few(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:SHOWN]))
    return f"images {shown}" + (
        f" and {len(indices) - SHOWN:,} more" if len(indices) > SHOWN else ""
    )
