"""What becomes of one plot of DVC: a drawing without a browser, a picture, or a problem."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from convline import revisions
from convline.evaluation import plots
from convline.problems import Problem

SPEC = {
    "title": "Points",
    "data": {"values": [{"x": 1, "y": "<a & b>"}, {"x": 2, "y": "\x1b[31m"}]},
    "mark": "point",
    "encoding": {"x": {"field": "x"}, "y": {"field": "y", "type": "nominal"}},
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that draws what DVC is said to answer, and notes what it was asked."""

    def draw(answer: dict[str, Any], baseline: str | None = None) -> Any:
        def prints(*arguments: str) -> str:
            draw.asked = arguments[:3]  # type: ignore[attr-defined]
            return json.dumps(answer)

        monkeypatch.setattr(revisions, "dvc_prints", prints)
        return plots.draw(baseline)

    return draw


def vega(spec: object) -> dict[str, Any]:
    return {"type": "vega", "revisions": ["workspace"], "content": spec}


def test_the_workspace_alone_or_beside_a_baseline(drawn: Any) -> None:
    assert drawn({}) == ([], [])
    assert drawn.asked[:2] == ("plots", "show")
    assert drawn({}, "main") == ([], [])
    assert drawn.asked == ("plots", "diff", "main")


def test_a_drawing_holds_no_character_that_svg_cannot(drawn: Any) -> None:
    ((plot,), missing) = drawn({"data": {"name": [vega(SPEC)]}})
    assert (plot.title, plot.uri, missing) == ("Points", "", [])
    assert plot.svg.startswith("<svg")
    assert "&lt;a &amp; b&gt;" in plot.svg
    assert "\ufffd[31m" in plot.svg


@pytest.mark.parametrize(
    ("title", "shown"), [({"text": "Deep", "fontSize": 9}, "Deep"), (None, "name")]
)
def test_the_title_is_taken_out_of_the_drawing(drawn: Any, title: object, shown: str) -> None:
    spec = {key: value for key, value in SPEC.items() if key != "title"}
    ((plot,), _) = drawn({"data": {"name": [vega(spec | ({"title": title} if title else {}))]}})
    assert plot.title == shown
    assert ">Deep<" not in plot.svg


def test_what_cannot_be_drawn_is_a_problem(drawn: Any) -> None:
    with pytest.raises(Problem, match=r"^the plot name cannot be drawn: "):
        drawn({"data": {"name": [vega(SPEC | {"mark": "nonsense"})]}})


def test_a_picture_is_part_of_the_page(drawn: Any, tmp_path: Path) -> None:
    picture = tmp_path / "x.png"
    picture.write_bytes(b"bytes")
    part = {"type": "image", "revisions": ["main"], "url": str(picture)}
    ((plot,), _) = drawn({"data": {"metrics/mistakes.png": [part]}})
    assert plot.title == "Mistakes of main"
    assert plot.uri == f"data:image/png;base64,{base64.b64encode(b'bytes').decode()}"


def test_missing_data_is_named_once(drawn: Any) -> None:
    errors = [
        {"name": "Loss", "source": "loss.tsv", "rev": "main"},
        {"name": "Loss", "source": "loss.tsv", "rev": "main"},
        {"name": "mistakes.png", "rev": "main"},
    ]
    assert drawn({"errors": errors}) == ([], ["loss.tsv of main", "mistakes.png of main"])
