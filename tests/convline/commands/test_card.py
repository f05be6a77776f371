"""The model card of a run."""

import hashlib
import html
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from conftest import Project
from convline.commands import card as cards
from convline.evaluation.results import Run, Scores, load
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


Change = Callable[[dict[str, Any]], Any]


def changed_lock(project: Project, change: Change) -> Run:
    """The project's run with a change of its dvc.lock."""
    lock = yaml.safe_load((project.path / "dvc.lock").read_text())
    change(lock["stages"]["preprocess"]["params"])
    return Run("workspace", lock)


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ([24, 32, 3], 0.083, ["colour images: ", "(n, 24, 32, 3)", "8.3 %, chosen by content,"]),
        ([24, 32, 1], 0.2, ["greyscale images: ", "(n, 24, 32, 1)", "20 %, chosen by content,"]),
        ([24, 32], 1 / 12, ["greyscale images: ", "(n, 24, 32, 1)", "8.33 %, stratified by class"]),
        ([24, 32, 3], 5000, ["like those of tiny: colour, 24 x 32 ", "5,000, chosen by content,"]),
    ],
)
def test_images_and_their_split_are_those_of_the_dataset(
    reproduced: Project,
    monkeypatch: pytest.MonkeyPatch,
    shape: list[int],
    size: float,
    words: list[str],
) -> None:
    def change(params: dict[str, Any]) -> None:
        params["datasets.yaml"] = {"tiny": {"shape": shape, "files": {}}}
        params["params.yaml"]["validation_size"] = size

    monkeypatch.chdir(reproduced.path)
    text = " ".join(cards.card(changed_lock(reproduced, change)).split())
    for expected in words:
        assert expected in text


def test_the_shape_of_an_older_run(reproduced: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(params: dict[str, Any]) -> None:
        params["datasets.yaml"] = {"tiny.shape": [24, 32], "tiny.classes": []}

    monkeypatch.chdir(reproduced.path)
    assert "`(n, 24, 32, 1)`" in cards.card(changed_lock(reproduced, change))


def test_classes_that_are_never_predicted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    assert "Never predicted" not in cards.card(load("workspace"))
    figures = Path("metrics/evaluate.json")
    content = json.loads(figures.read_text()) | {"never_predicted": ["bee", "cat"]}
    figures.write_text(json.dumps(content))
    text = cards.card(load("workspace"))
    assert "\n- Never predicted for a test image: bee, cat (2 of 3 classes).\n- The" in text


def test_corrupted_images(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    text = cards.card(load("workspace"))
    figures = Path("metrics/evaluate.json")
    content = json.loads(figures.read_text())
    for kind in ("noise", "compression"):
        accuracies = [
            f"{row['accuracy']:.2%}"
            for row in content["per_corruption"]
            if row["corruption"] == kind
        ]
        assert len(accuracies) == 3
        assert re.search(rf"^\| {kind} +\| {' +. '.join(accuracies)} +\|$", text, re.MULTILINE)
    assert "any others but corrupted copies of them." in text

    del content["per_corruption"]  # an older run
    figures.write_text(json.dumps(content))
    older = cards.card(load("workspace"))
    assert "orrupted test images" not in older
    assert "It was not tested on any others." in older
    assert "\n\n\n" not in text + older


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
