"""Whether two runs differ on the same test images by more than chance explains."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from tabulate import tabulate

from convline import markdown
from convline.evaluation import scores
from convline.evaluation.figures import MORE
from convline.evaluation.results import Run
from convline.problems import Problem
from convline.text import few, one_line

SIGNIFICANCE = 0.05  # a smaller p-value is evidence of a difference
NO_EVIDENCE = "no evidence of a difference"


class NotComparable(Problem):
    """Two runs were not evaluated on the same images."""


@dataclass(frozen=True)
class Side:
    """One run on the test images: which it classifies correctly (n,), and which only it does."""

    run: Run
    correct: npt.NDArray[np.bool_]
    only_correct: list[int]

    @property
    def only_correct_files(self) -> list[str]:
        """The file names of the images that only it classifies correctly; none without names."""
        table = self.run.predictions
        return table["file_name"].iloc[self.only_correct].tolist() if "file_name" in table else []

    @property
    def accuracy(self) -> float:
        """The share of the images that it classifies correctly."""
        return float(self.correct.mean())

    @property
    def errors(self) -> int:
        """The number of images that it misclassifies."""
        return int((~self.correct).sum())

    @property
    def figures(self) -> dict[str, float]:
        """Its figures by key; none where their file is missing or damaged."""
        try:
            return self.run.scores.figures
        except Problem:
            return {}

    @property
    def by_corruption(self) -> dict[str, float]:
        """Its mean accuracy by kind of corruption; none where its file lacks or misses them."""
        try:
            table = self.run.scores.by_corruption
        except Problem:
            return {}
        return {kind: fmean(of_kind.values()) for kind, of_kind in table.items()}

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

        Images that both runs classify correctly, or both misclassify, say nothing about a
        difference. Each of the others would be correct in either run with probability one half if
        the runs were equally good (Q. McNemar, "Note on the sampling error of the difference
        between correlated proportions or percentages", 1947).
        """
        one, other = len(self.candidate.only_correct), len(self.baseline.only_correct)
        return float(binomtest(one, one + other).pvalue) if one + other else 1.0

    @property
    def verdict(self) -> str:
        """The candidate is "better" or "worse", or there is "no evidence of a difference"."""
        if self.p_value >= SIGNIFICANCE:
            return NO_EVIDENCE
        return "better" if self.candidate.accuracy > self.baseline.accuracy else "worse"


def compare(baseline: Run, candidate: Run) -> Comparison:
    """Compare two runs. Raises `NotComparable` where these are of different test images."""
    if baseline.dataset != candidate.dataset:
        raise NotComparable(
            f"no comparison: {baseline.revision} used the dataset {baseline.dataset}, "
            f"{candidate.revision} {candidate.dataset}"
        )
    first, second = baseline.predictions, candidate.predictions
    if baseline.test_data != candidate.test_data or not first["actual"].equals(second["actual"]):
        raise NotComparable(
            f"no comparison: {baseline.revision} and {candidate.revision} used different versions "
            f"of {baseline.dataset}, with different test images"
        )
    one, other = ((run["actual"] == run["predicted"]).to_numpy() for run in (first, second))
    return Comparison(
        Side(baseline, one, np.flatnonzero(one & ~other).tolist()),
        Side(candidate, other, np.flatnonzero(other & ~one).tolist()),
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison for programs: figures, indices and names of images, test and verdict."""
    return {
        **{
            name: {
                "revision": side.run.revision,
                "accuracy": round(side.accuracy, 4),
                "accuracy_interval_95": side.interval,
                "errors": side.errors,
                "only_correct": side.only_correct,
                **({"only_correct_files": files} if (files := side.only_correct_files) else {}),
                "figures": side.figures,
                "accuracy_by_corruption": {k: round(v, 4) for k, v in side.by_corruption.items()},
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
    return _written(comparison, _table, str, one_line, conclusion(comparison))


def to_markdown(comparison: Comparison) -> str:
    """What `to_text` has, in Markdown."""
    verdict = conclusion(comparison, markdown.code, markdown.text)
    return _written(comparison, markdown.table, markdown.code, markdown.code, f"**{verdict}**")


def _table(header: list[str], rows: list[list[str]], align: list[str]) -> str:
    return str(tabulate(rows, headers=header, colalign=align, disable_numparse=True))


def _written(
    comparison: Comparison,
    table: Callable[[list[str], list[list[str]], list[str]], str],
    revision: Callable[[str], str],
    file: Callable[[str], str],
    verdict: str,
) -> str:
    sides = (comparison.baseline, comparison.candidate)
    corrupted = [side.by_corruption for side in sides]
    rows = [
        ["accuracy", *(f"{side.accuracy:.2%}" for side in sides), "high"],
        ["95 % interval", *("{:.2%} to {:.2%}".format(*side.interval) for side in sides), ""],
        ["errors", *(f"{side.errors:,}" for side in sides), "low"],
        ["only this one correct", *(f"{len(side.only_correct):,}" for side in sides), ""],
        *(
            [
                figure.label,
                *(
                    figure.text(values[figure.key]) if figure.key in values else "-"
                    for values in (side.figures for side in sides)
                ),
                figure.better,
            ]
            for figure in MORE
        ),
        *(
            [
                f"- {kind}",
                *(f"{values[kind]:.2%}" if kind in values else "-" for values in corrupted),
                "high",
            ]
            for kind in dict.fromkeys(kind for values in corrupted for kind in values)
        ),
    ]
    header = ["", *(revision(side.run.revision) for side in sides), "better"]
    return "\n\n".join(
        [
            table(header, rows, ["left", "right", "right", "left"]),
            *(
                f"Correct only in {revision(side.run.revision)}: {_images(side, file)}"
                for side in sides
                if side.only_correct
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


def _images(side: Side, file: Callable[[str], str]) -> str:
    """A few of the images that only `side` classifies correctly; `file` writes a file name."""
    if files := side.only_correct_files:
        return few(files, file)
    return f"images {few(side.only_correct)}"
