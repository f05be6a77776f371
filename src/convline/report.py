"""A run of the pipeline as one HTML page, beside a baseline."""

import base64
import json
import mimetypes
import re
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from convline import runs
from convline.files import temporary_folder
from convline.stage import Problem, one_line

TEMPLATE = Path(__file__).with_suffix(".html")
SHARES = ("accuracy", "expected_calibration_error")  # metrics to be written in per cent
NARROW = {"legend": {"orient": "bottom", "columns": 1}, "header": {"title": None}}  # for phones
NOTHING = "\u2013"  # an en dash
MINUS = "\u2212"
SPACE = "\u00a0"  # at which no line breaks
UNDRAWABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # not in XML


@dataclass
class Revision:
    """One of the two that the page is about. It has no scores before its first run."""

    name: str
    commit: str
    scores: runs.Scores | None = None


@dataclass(frozen=True)
class Difference:
    """A parameter or metric in both revisions, as text."""

    file: str
    name: str
    old: str
    new: str
    change: str

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.old != self.new


@dataclass(frozen=True)
class Figure:
    """A plot: an SVG element, or the data: URI of a picture."""

    title: str
    svg: str = ""
    uri: str = ""


@dataclass(frozen=True)
class Stage:
    """A stage as it ran: after which others, with what data of theirs and what else, and its outs.

    `files` are those of the project; `params` the names of its parameters.
    """

    name: str
    after: list[str]
    data: list[str]
    files: list[str]
    params: list[str]
    outs: list[str]


def differences(kind: str, baseline: str) -> list[Difference]:
    """All "params" or "metrics", `old` in the baseline and `new` in the workspace."""
    show = _metric if kind == "metrics" else _parameter
    shown = json.loads(runs.dvc_prints(kind, "diff", baseline, "--all", "--json"))
    return [
        Difference(file, name, show(name, row["old"]), show(name, row["new"]), _change(name, row))
        # Sorted, because DVC's order is another one each time
        for file, rows in sorted(shown.items())
        for name, row in sorted(rows.items())
    ]


def changed_files(baseline: runs.Run, candidate: runs.Run) -> list[str]:
    """The files of the project that stages depend on and that differ between two runs."""
    return sorted({path for path, _ in baseline.project_files ^ candidate.project_files})


def figures(baseline: str | None) -> tuple[list[Figure], list[str]]:
    """Every plot of dvc.yaml, and what of their data is missing, as "FILE of REVISION".

    The plots are those of the workspace, beside those of `baseline` where it is given.
    """
    with temporary_folder() as folder:
        command = ["diff", baseline] if baseline else ["show"]
        plots = json.loads(runs.dvc_prints("plots", *command, "--out", str(folder), "--json"))
        drawn = [
            _figure(name, plot) for name, parts in plots.get("data", {}).items() for plot in parts
        ]
    missing = {
        f"{error.get('source', error.get('name'))} of {error['rev']}"
        for error in plots.get("errors", [])
    }
    return drawn, sorted(missing)


def _figure(name: str, plot: dict[str, Any]) -> Figure:
    if plot["type"] == "image":
        image = Path(plot["url"])
        kind, _ = mimetypes.guess_type(image)
        content = base64.b64encode(image.read_bytes()).decode()
        title = f"{Path(name).stem.capitalize()} of {plot['revisions'][0]}"
        return Figure(title, uri=f"data:{kind};base64,{content}")
    spec = plot["content"]
    title = spec.pop("title", name)  # the page has it as a heading
    for parameter in spec.get("params", []):
        if parameter.get("bind") == {"input": "checkbox"}:  # nobody can tick it in a drawing
            parameter["value"] = True
    try:
        svg = vl_convert.vegalite_to_svg(_drawable(spec), config=NARROW, allowed_base_urls=[])
    except ValueError as error:
        raise Problem(f"the plot {name} cannot be drawn: {one_line(error)}") from error
    return Figure(title["text"] if isinstance(title, dict) else title, svg=svg)


def _drawable(spec: Any) -> Any:
    """`spec` with U+FFFD for what no SVG can hold: vl-convert would abort, Python and all."""
    if isinstance(spec, str):
        return UNDRAWABLE.sub("\ufffd", spec)
    if isinstance(spec, list):
        return [_drawable(item) for item in spec]
    if isinstance(spec, dict):
        return {_drawable(key): _drawable(value) for key, value in spec.items()}
    return spec


def pipeline(run: runs.Run) -> list[list[Stage]]:
    """The stages of a run in groups; each stage comes after one of the group before its own."""
    sources = run.sources
    stages = {}
    for name, stage in run.lock["stages"].items():
        paths = [dep["path"] for dep in stage["deps"]]
        stages[name] = Stage(
            name,
            after=sorted({sources[path] for path in paths if path in sources}),
            data=[path for path in paths if path in sources],
            files=[path for path in paths if path not in sources],
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
    """The page, filled with `facts`: those that src/report.py gives."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "count": count,
        "commands": commands,
    }
    return environment.get_template(TEMPLATE.name).render(facts)


def commands(text: str) -> list[str]:
    """The parts of a line: every second one is a command that it has within backticks."""
    return re.split("`(dvc [^`]*)`", text)


def percent(share: float) -> str:
    """A share as "99.15 %"."""
    return f"{100 * share:.2f}{SPACE}%"


def points(difference: float) -> str:
    """A difference of shares as "+0.07 points"."""
    return f"{100 * difference:+.2f}{SPACE}points".replace("-", MINUS)


def count(number: int, sign: str = "") -> str:
    """A count as "10,000"; with "+" for its sign, a difference of counts as "+10,000"."""
    return f"{number:{sign},}".replace("-", MINUS)


def _metric(name: str, value: Any) -> str:
    if value is None:
        return NOTHING
    if not _is_number(value):
        text = one_line(value if isinstance(value, str) else json.dumps(value))
        return text if len(text) <= 60 else text[:57] + "..."
    if name in SHARES:
        return percent(value)
    return count(value) if isinstance(value, int) else str(value)


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
    if name in SHARES:
        return points(difference)
    if isinstance(difference, int):
        return count(difference, "+")
    return f"{difference:+.6g}".replace("-", MINUS)
