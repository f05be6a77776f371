"""Whether two runs differ on the same test images by more than chance explains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from tabulate import tabulate

from convline import markdown, scores
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


def to_text(comparison: Comparison) -> str:
    """The figures as a table, the test and the verdict, for people."""
    return _written(comparison, _table, str, conclusion(comparison))


def to_markdown(comparison: Comparison) -> str:
    """What `to_text` has, in Markdown."""
    verdict = conclusion(comparison, markdown.code, markdown.text)
    return _written(comparison, markdown.table, markdown.code, f"**{verdict}**")


def _table(header: list[str], rows: list[list[str]], align: list[str]) -> str:
    return str(tabulate(rows, headers=header, colalign=align, disable_numparse=True))


def _written(
    comparison: Comparison,
    table: Callable[[list[str], list[list[str]], list[str]], str],
    revision: Callable[[str], str],
    verdict: str,
) -> str:
    sides = (comparison.baseline, comparison.candidate)
    rows = [
        ["accuracy", *(f"{side.accuracy:.2%}" for side in sides)],
        ["95 % interval", *("{:.2%} to {:.2%}".format(*side.interval) for side in sides)],
        ["errors", *(f"{side.errors:,}" for side in sides)],
        ["right alone", *(f"{len(side.right_alone):,}" for side in sides)],
    ]
    header = ["", *(revision(side.run.revision) for side in sides)]
    return "\n\n".join(
        [
            table(header, rows, ["left", "right", "right"]),
            *(
                f"Only {revision(side.run.revision)} gets right: {_few(side.right_alone)}"
                for side in sides
                if side.right_alone
            ),
            f"McNemar's exact test: p = {comparison.p_value:.2g}",
            verdict,
        ]
    )


def conclusion(
    comparison: Comparison,
    revision: Callable[[str], str] = str,
    name: Callable[[str], str] = str,
) -> str:
    """The verdict in a sentence that names the revisions and the test images.

    `revision` and `name` write a revision and the dataset's name.
    """
    baseline, candidate = (
        revision(side.run.revision) for side in (comparison.baseline, comparison.candidate)
    )
    if comparison.verdict == NO_EVIDENCE:
        relation = f"No evidence of a difference between {candidate} and"
    else:
        relation = f"{candidate} is {comparison.verdict} than"
    run = comparison.candidate.run
    return (
        f"{relation} {baseline} on the {len(run.predictions):,} test images of {name(run.dataset)}"
    )


def _few(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:SHOWN]))
    return f"images {shown}" + (
        f" and {len(indices) - SHOWN:,} more" if len(indices) > SHOWN else ""
    )
