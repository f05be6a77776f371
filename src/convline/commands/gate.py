"""Check a run against the thresholds under `gate` in params.yaml, and say which it fails.

The run is the last one of a branch, tag, commit or experiment, or of "workspace". Exit codes: 0 if
it passes, 4 if its accuracy is too low, 8 if the accuracy fell too far below the baseline, 12 for
both, 1 if the check is not possible.
"""

import argparse
import sys
from typing import Annotated

from pydantic import Field

from convline import params, revisions
from convline.evaluation import comparison, results
from convline.problems import Problem

LOW_ACCURACY = 4
FALL = 8

Share = Annotated[params.Float, Field(ge=0, le=1)]


class Gate(params.Schema):
    """The thresholds. params.yaml says what each means."""

    least_accuracy: Share
    baseline: Annotated[str, Field(min_length=1)]
    largest_fall: Share


def main() -> None:
    """Read the thresholds and both runs, check, print each result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", default=revisions.WORKSPACE)
    revision = parser.parse_args().revision

    thresholds = params.load_section("gate", Gate)
    baseline_run, run = results.load(thresholds.baseline), results.load(revision)
    if run.remarks:
        raise Problem("; ".join(run.remarks))
    for remark in baseline_run.remarks:
        print(f"gate: {remark}", file=sys.stderr)
    result = comparison.compare(baseline_run, run)
    candidate, baseline = result.candidate, result.baseline

    low = candidate.accuracy < thresholds.least_accuracy
    report(
        "least_accuracy",
        low,
        f"{candidate.accuracy:.2%}, and at least {thresholds.least_accuracy:.2%} is required",
    )
    # Counted in images: a difference of two shares is not exact
    fall = (candidate.errors - baseline.errors) / len(candidate.correct)
    fell = fall > thresholds.largest_fall and result.verdict == "worse"
    report(
        "largest_fall",
        fell,
        f"{abs(fall):.2%} {'below' if fall > 0 else 'above'} {thresholds.baseline} "
        f"(p = {result.p_value:.2g}), and {thresholds.largest_fall:.2%} is allowed if significant",
    )
    sys.exit(LOW_ACCURACY * low + FALL * fell)


def report(threshold: str, failed: bool, text: str) -> None:
    """Print one check, on stderr where it failed."""
    if failed:
        print(f"gate: FAILED {threshold}: {text}", file=sys.stderr)
    else:
        print(f"gate: passed {threshold}: {text}")
