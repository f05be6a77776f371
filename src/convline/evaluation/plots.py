"""The plots of dvc.yaml, drawn without a browser."""

import base64
import json
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert

from convline import revisions
from convline.files import temporary_folder
from convline.problems import Problem
from convline.text import one_line

NARROW = {"legend": {"orient": "bottom", "columns": 1}, "header": {"title": None}}  # for phones
UNDRAWABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # not in XML


@dataclass(frozen=True)
class Plot:
    """A plot: an SVG element, or the data: URI of a picture."""

    title: str
    svg: str = ""
    uri: str = ""


def draw(baseline: str | None) -> tuple[list[Plot], list[str]]:
    """Every plot of dvc.yaml, and what of their data is missing, as "FILE of REVISION".

    The plots show the workspace, beside `baseline` where it is given.
    """
    with temporary_folder() as folder:
        command = ["diff", baseline] if baseline else ["show"]
        plots = json.loads(revisions.dvc_prints("plots", *command, "--out", str(folder), "--json"))
        drawn = [
            _drawn(name, plot) for name, parts in plots.get("data", {}).items() for plot in parts
        ]
    missing = {
        f"{error.get('source', error.get('name'))} of {error['rev']}"
        for error in plots.get("errors", [])
    }
    return drawn, sorted(missing)


def _drawn(name: str, plot: dict[str, Any]) -> Plot:
    if plot["type"] == "image":
        image = Path(plot["url"])
        kind, _ = mimetypes.guess_type(image)
        content = base64.b64encode(image.read_bytes()).decode()
        title = f"{Path(name).stem.capitalize()} of {plot['revisions'][0]}"
        return Plot(title, uri=f"data:{kind};base64,{content}")
    spec = plot["content"]
    title = spec.pop("title", name)  # the page has it as a heading
    for parameter in spec.get("params", []):
        if parameter.get("bind") == {"input": "checkbox"}:  # nobody can tick it in a drawing
            parameter["value"] = True
    return Plot(title["text"] if isinstance(title, dict) else title, svg=svg(name, spec))


def svg(name: str, spec: dict[str, Any]) -> str:
    """The SVG element of a Vega-Lite plot. Raises `Problem`, which calls it `name`, where none is.

    Nothing is loaded for it.
    """
    try:
        return vl_convert.vegalite_to_svg(_drawable(spec), config=NARROW, allowed_base_urls=[])
    except ValueError as error:
        raise Problem(f"the plot {name} cannot be drawn: {one_line(error)}") from error


def _drawable(spec: Any) -> Any:
    """`spec` with U+FFFD for what no SVG can hold: vl-convert would abort, Python and all."""
    if isinstance(spec, str):
        return UNDRAWABLE.sub("\ufffd", spec)
    if isinstance(spec, list):
        return [_drawable(item) for item in spec]
    if isinstance(spec, dict):
        return {_drawable(key): _drawable(value) for key, value in spec.items()}
    return spec
