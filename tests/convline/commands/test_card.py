"""The model card of a run."""

import hashlib
import html
import json
import math
import re
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from conftest import Project
from convline.evaluation.results import Scores
from convline.params import validate
from convline.problems import Problem


def card(project: Project, *revision: str) -> str:
    """What the command prints."""
    return project.convline("card", *revision).stdout


def test_it_is_that_of_the_run(experimented: Project) -> None:
    text = card(experimented)
    figures = json.loads((experimented.path / "metrics/evaluate.json").read_text())
    model = (experimented.path / "models/model.keras").read_bytes()
    low, high = figures["accuracy_interval_95"]
    assert hashlib.md5(model, usedforsecurity=False).hexdigest() in text
    assert text.startswith("# Model card: classifier of tiny\n")
    assert "ant, bee, cat" in text
    assert "`(n, 12, 12, 1)`" in text
    assert f"| {figures['accuracy']:.2%} " in text
    assert f"{low:.2%} to {high:.2%}" in text
    assert str(figures["brier_score"]) in text
    assert "60, stratified by class, were held out" in text
    assert re.search(r"^\| learning_rate +\| `0.01` +\|$", text, re.MULTILINE)
    assert re.search(r"^\| convnet.filters +\| `\[4, 8\]` +\|$", text, re.MULTILINE)
    assert "## Limits" in text


def test_of_an_experiment(experimented: Project) -> None:
    text = card(experimented, "worse")
    assert re.search(r"^\| learning_rate +\| `1e-05` +\|$", text, re.MULTILINE)
    assert "at revision `worse`" in text
    assert "| 100.00%" not in text


def test_of_a_run_that_lacks_figures(experimented: Project) -> None:
    result = experimented.convline("card", "main~1", ok=False)
    assert result.returncode == 1
    assert result.stderr == "card: main~1 has no dvc.lock: `dvc repro` there\n"


def test_names_are_shown_as_they_are(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "project")
    of_class, dataset, revision = "- <b>*ant*|`", "<i>_tiny_ #", "a`b|<i>"
    lock = project.path / "dvc.lock"
    lock.write_text(json.dumps(yaml.safe_load(lock.read_text())))  # which is YAML too
    project.rewrite_run("tiny", dataset)
    project.rewrite_run('"ant"', json.dumps(of_class))
    project.commit()
    project.run("git", "branch", revision)

    page = MarkdownIt("commonmark").enable("table").render(card(project, revision))
    shown = " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())
    assert shown.startswith(
        f"Model card: classifier of {dataset} Warning: {revision} changed after its last run: "
    )
    assert f"greyscale images: {of_class}, bee, cat. File: " in shown
    assert f"at revision {revision}, md5" in shown
    assert f"The dataset is {dataset}, identified" in shown
    assert f"F1 {of_class} 30 " in shown
    assert not re.search("<(b|i|em)>", page)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"per_class": []}, "per_class is []: "),
        ({"per_class": None}, "per_class is empty; it should "),
        ({"accuracy": "abc"}, "accuracy is 'abc'; it should "),
        ({"accuracy": True}, "accuracy is True: a number is expected"),
        ({"accuracy": 1.5}, "accuracy is 1.5; it should be less than or equal to 1"),
        ({"errors": -1}, "errors is -1; it should "),
        ({"brier_score": math.nan}, "brier_score is nan; it should be a finite number"),
        ({"accuracy_interval_95": [0, 1, 2]}, "accuracy_interval_95"),
    ],
)
def test_odd_figures(reproduced: Project, change: dict[str, object], words: str) -> None:
    figures = json.loads((reproduced.path / "metrics/evaluate.json").read_text()) | change
    with pytest.raises(Problem) as caught:
        validate(Scores, figures, "here")
    assert str(caught.value).startswith(f"here: {words}")


@pytest.mark.parametrize("value", ["\x1b]0;", " "])
def test_a_class_whose_name_cannot_be_shown(project: Project, value: str) -> None:
    figures = project.path / "metrics/evaluate.json"
    content = json.loads(figures.read_text())
    content["per_class"][1]["class"] = value
    figures.write_text(json.dumps(content))
    result = project.convline("card", "workspace", ok=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        f"card: workspace: metrics/evaluate.json: per_class.1.class is {value!r}; it should "
    )
