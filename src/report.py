"""Write report.html: the workspace's last run beside that of a baseline, on one page.

The baseline is a branch, a tag, a commit or an experiment. What of it is not on this machine comes
from the remote. Where the two cannot be compared, the page says why.
"""

import argparse
from contextlib import suppress
from pathlib import Path

from convline import comparison, files, report, runs, stage

REPORT = Path("report.html")


def main() -> None:
    """Read both runs, compare them, draw the plots, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baseline", nargs="?", default="main")
    revision = parser.parse_args().baseline

    baseline = report.Revision(revision, runs.commit(revision))
    candidate = report.Revision(runs.WORKSPACE, runs.commit(runs.WORKSPACE))
    run = runs.load(candidate.name)
    candidate.scores = run.scores

    result = None
    changed_files: list[str] = []
    remarks = run.remarks
    try:
        other = runs.load(baseline.name)
        remarks += other.remarks
        changed_files = report.changed_files(other, run)
        with suppress(stage.Problem):  # they may be older than a figure of the page
            baseline.scores = other.scores
        if other.lock == run.lock:
            raise stage.Problem(f"{candidate.name} and {baseline.name} are the same run")
        result = comparison.compare(other, run)
        conclusion = comparison.conclusion(result)
    except stage.Problem as problem:
        conclusion = str(problem).removeprefix("no comparison: ")

    figures, missing = report.figures(baseline.name if result else None)
    page = report.render(
        candidate=candidate,
        baseline=baseline,
        dataset=run.dataset,
        comparison=result,
        conclusion=conclusion,
        remarks=dict.fromkeys(remarks),
        parameters=report.differences("params", baseline.name),
        changed_files=changed_files,
        metrics=report.differences("metrics", baseline.name),
        figures=figures,
        missing=missing,
        pipeline=report.pipeline(run),
    )
    with files.written(REPORT) as file:
        file.write(page.encode())
    print(f"report: {REPORT}: {conclusion}")


if __name__ == "__main__":
    stage.run(main)
