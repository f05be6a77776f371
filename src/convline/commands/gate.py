"""Check a run against the thresholds under `gate` in params.yaml, and say which it fails.

The run is the last one of a branch, tag, commit or experiment, or of "workspace". Exit codes: 0 if
it passes, 4 if one of its figures is too low, 8 if the accuracy fell too far below the baseline, 12
for both, 1 if the check is not possible.
"""

import argparse
import sys
from typing import Annotated

from pydantic import Field

from convline import params, revisions
from convline.evaluation import comparison, results
from convline.paths import EVALUATION, PARAMS
from convline.problems import Problem

LOW = 4
FALL = 8
NO_BASELINE = "none"

Share = Annotated[params.Float, Field(ge=0, le=1)]


class Gate(params.Schema):
    """The thresholds. params.yaml says what each means."""

    least_accuracy: Share
    least_balanced_accuracy: Share = 0.0
    least_worst_recall: Share = 0.0
    least_corrupted_accuracy: Share = 0.0
    baseline: Annotated[str, Field(min_length=1)]
    largest_fall: Share


def main() -> None:
    """Read the thresholds and both runs, check, print each result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", default=revisions.WORKSPACE)
    revision = parser.parse_args().revision

    thresholds = params.load_section("gate", Gate)
    with_baseline = thresholds.baseline != NO_BASELINE
    run = results.load(revision)
    baseline_run = results.load(thresholds.baseline) if with_baseline else run
    if run.remarks:
        raise Problem("; ".join(run.remarks))
    if with_baseline:
        for remark in baseline_run.remarks:
            print(f"gate: {remark}", file=sys.stderr)
    try:
        result = comparison.compare(baseline_run, run)
    except comparison.NotComparable as problem:
        raise Problem(
            f"{problem}; in {PARAMS}, set gate.baseline to a revision that used this dataset, or "
            f"to {NO_BASELINE}, which checks no fall"
        ) from problem
    candidate, baseline = result.candidate, result.baseline

    values = {"accuracy": candidate.accuracy}
    for key in ("balanced_accuracy", "worst_recall", "corrupted_accuracy"):
        if getattr(thresholds, f"least_{key}"):
            values[key] = figure(run, key)
    low = False
    for key, value in values.items():
        required = getattr(thresholds, f"least_{key}")
        low |= value < required
        of = f" of {run.scores.weakest.name}" if key == "worst_recall" else ""
        report(
            f"least_{key}",
            value < required,
            f"{value:.2%}{of}, and at least {required:.2%} is required",
        )
    if not with_baseline:
        print(f"gate: skipped largest_fall: gate.baseline is {NO_BASELINE}")
        sys.exit(LOW * low)
    # Counted in images: a difference of two shares is not exact
    fall = (candidate.errors - baseline.errors) / len(candidate.correct)
    fell = fall > thresholds.largest_fall and result.verdict == "worse"
    report(
        "largest_fall",
        fell,
        f"{abs(fall):.2%} {'below' if fall > 0 else 'above'} {thresholds.baseline} "
        f"(p = {result.p_value:.2g}), and {thresholds.largest_fall:.2%} is allowed if significant",
    )
    sys.exit(LOW * low + FALL * fell)


def figure(run: results.Run, key: str) -> float:
    """A figure of the run. Raises `Problem` where the run is older than the figure."""
    if key not in run.scores.figures:
        raise Problem(
            f"{run.revision}: {EVALUATION} has no {key}: the run is older than this figure; "
            f"`dvc repro` with this code adds it, or set gate.least_{key} in {PARAMS} to 0.0"
        )
    return run.scores.figures[key]


def report(threshold: str, failed: bool, text: str) -> None:
    """Print one check, on stderr where it failed."""
    if failed:
        print(f"gate: FAILED {threshold}: {text}", file=sys.stderr)
    else:
        print(f"gate: passed {threshold}: {text}")
