"""Write report.html: the workspace's last run beside a baseline, on one page.

The baseline is a branch, a tag, a commit or an experiment; what is not on this machine comes from
the remote. Where the two cannot be compared, the page says why.
"""

import argparse
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from convline import files, pages, revisions
from convline.evaluation import comparison, plots, results
from convline.evaluation.figures import BY_KEY, MINUS, MORE, SPACE, points
from convline.problems import Problem
from convline.text import few, one_line, shortened

REPORT = Path("report.html")
TEMPLATE = "report.html"
NOTHING = "\u2013"  # an en dash


@dataclass
class Revision:
    """One of the two revisions on the page. It has no scores before its first run."""

    name: str
    commit: str
    scores: results.Scores | None = None


@dataclass(frozen=True)
class Difference:
    """A parameter or metric in both revisions, as text."""

    file: str
    name: str
    old: str
    new: str
    change: str

    @property
    def better(self) -> str:
        """Whether the metric is better when it is "high" or "low"; "" where that is not known."""
        return BY_KEY[self.name].better if self.name in BY_KEY else ""

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.old != self.new


@dataclass(frozen=True)
class Stage:
    """A stage as it ran: the stages before it, their outputs that it read, and what it wrote.

    `files` are the other files that it depends on; `params` the names of its parameters.
    """

    name: str
    after: list[str]
    data: list[str]
    files: list[str]
    params: list[str]
    outs: list[str]


def main() -> None:
    """Read both runs, compare them, draw the plots, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baseline", nargs="?", default="main")
    revision = parser.parse_args().baseline

    baseline = Revision(revision, revisions.commit(revision))
    candidate = Revision(revisions.WORKSPACE, revisions.commit(revisions.WORKSPACE))
    run = results.load(candidate.name)
    candidate.scores = run.scores

    result = None
    changed: list[str] = []
    remarks = run.remarks
    try:
        other = results.load(baseline.name)
        remarks += other.remarks
        changed = changed_files(other, run)
        with suppress(Problem):  # they may be older than a figure of the page
            baseline.scores = other.scores
        if other.lock == run.lock:
            raise Problem(f"{candidate.name} and {baseline.name} are the same run")
        result = comparison.compare(other, run)
        conclusion = comparison.conclusion(result)
    except Problem as problem:
        conclusion = str(problem).removeprefix("no comparison: ")

    drawn, missing = plots.draw(baseline.name if result else None)
    page = render(
        candidate=candidate,
        baseline=baseline,
        dataset=run.dataset,
        comparison=result,
        conclusion=conclusion,
        remarks=dict.fromkeys(remarks),
        parameters=differences("params", baseline.name),
        changed_files=changed,
        metrics=differences("metrics", baseline.name),
        plots=drawn,
        more_figures=MORE,
        missing=missing,
        pipeline=pipeline(run),
    )
    with files.written(REPORT) as file:
        file.write(page.encode())
    print(f"report: {REPORT}: {conclusion}")


def differences(kind: str, baseline: str) -> list[Difference]:
    """All "params" or "metrics", `old` in the baseline and `new` in the workspace."""
    show = _metric if kind == "metrics" else _parameter
    shown = json.loads(revisions.dvc_prints(kind, "diff", baseline, "--all", "--json"))
    return [
        Difference(file, name, show(name, row["old"]), show(name, row["new"]), _change(name, row))
        # Sorted, because DVC's order is another one each time
        for file, rows in sorted(shown.items())
        for name, row in sorted(rows.items())
    ]


def changed_files(baseline: results.Run, candidate: results.Run) -> list[str]:
    """The files of the project that stages depend on and that differ between two runs."""
    return sorted({path for path, _ in baseline.project_files ^ candidate.project_files})


def pipeline(run: results.Run) -> list[list[Stage]]:
    """The stages of a run in groups; each stage depends on one of the previous group."""
    stages = {}
    for name, stage in run.lock["stages"].items():
        paths = [dep["path"] for dep in stage.get("deps", [])]
        stages[name] = Stage(
            name,
            after=sorted(set().union(*map(run.sources, paths)) - {name}),
            data=[path for path in paths if run.sources(path)],
            files=[path for path in paths if not run.sources(path)],
            params=[key for keys in stage.get("params", {}).values() for key in keys],
            outs=[out["path"] for out in stage.get("outs", [])],
        )
    order = TopologicalSorter({name: stage.after for name, stage in stages.items()})
    order.prepare()
    groups = []
    while group := order.get_ready():
        groups.append([stages[name] for name in sorted(group)])
        order.done(*group)
    return groups


def render(**facts: Any) -> str:
    """The page, filled with `facts`."""
    filters: dict[str, Callable[..., Any]] = {
        "percent": percent,
        "points": points,
        "count": count,
        "commands": commands,
        "few_files": lambda files: few(files, one_line),
    }
    return pages.render(TEMPLATE, filters, facts)


def commands(text: str) -> list[str]:
    """The parts of a line: every second one is a command that it has within backticks."""
    return re.split("`(dvc [^`]*)`", text)


def percent(share: float) -> str:
    """A share as "99.15 %"."""
    return f"{100 * share:.2f}{SPACE}%"


def count(number: int, sign: str = "") -> str:
    """A count as "10,000"; with "+" for its sign, a difference of counts as "+10,000"."""
    return f"{number:{sign},}".replace("-", MINUS)


def _metric(name: str, value: Any) -> str:
    if value is None:
        return NOTHING
    if not _is_number(value):
        return shortened(value if isinstance(value, str) else json.dumps(value))
    if _is_share(name):
        return percent(value)
    return count(value) if isinstance(value, int) else str(value)


def _is_share(name: str) -> bool:
    return name in BY_KEY and BY_KEY[name].unit == "share"


def _is_number(value: Any) -> bool:
    """Whether it is a number that fits a page: neither a truth value nor infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _parameter(_name: str, value: Any) -> str:
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value)  # `true`, as in params.yaml


def _change(name: str, row: dict[str, Any]) -> str:
    difference = row.get("diff")
    if not difference or not all(map(_is_number, (difference, row["old"], row["new"]))):
        return ""
    if _is_share(name):
        return points(difference)
    if isinstance(difference, int):
        return count(difference, "+")
    return f"{difference:+.6g}".replace("-", MINUS)
