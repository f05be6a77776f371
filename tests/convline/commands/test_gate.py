"""The gate on real runs: what passes, what fails, and how it says so."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project
from convline import revisions
from convline.commands import gate as gates
from convline.evaluation import results
from convline.problems import Problem


@pytest.fixture
def project(experimented: Project, tmp_path: Path) -> Project:
    """A project of the test's own, with the experiment "worse"."""
    return experimented.copy(tmp_path / "project")


def gate(project: Project, *arguments: str) -> tuple[int, list[str], list[str]]:
    """The exit code of the command, and the thresholds that it says were passed and failed."""
    result = project.convline("gate", *arguments, ok=False)
    assert "Traceback" not in result.stderr
    return (
        result.returncode,
        [line.split(":")[1].split()[1] for line in result.stdout.splitlines()],
        [line.split(":")[1].split()[1] for line in result.stderr.splitlines()],
    )


LOW, FALL = "least_accuracy", "largest_fall"
BALANCED, WORST = "least_balanced_accuracy", "least_worst_recall"


@pytest.mark.parametrize(
    ("revision", "thresholds", "expected"),
    [
        ("workspace", {LOW: 0.9, FALL: 0}, (0, [LOW, FALL], [])),
        ("main", {LOW: 0.9, FALL: 0}, (0, [LOW, FALL], [])),
        ("worse", {LOW: 0.9, FALL: 0}, (12, [], [LOW, FALL])),
        ("worse", {LOW: 0.0, FALL: 0}, (8, [LOW], [FALL])),
        ("worse", {LOW: 0.9, FALL: 1}, (4, [FALL], [LOW])),
        ("worse", {LOW: 0.0, FALL: 1}, (0, [LOW, FALL], [])),
    ],
)
def test_thresholds(
    project: Project,
    revision: str,
    thresholds: dict[str, float],
    expected: tuple[int, list[str], list[str]],
) -> None:
    project.set_params(gate={"baseline": "main", **thresholds})
    assert gate(project, revision) == expected


@pytest.mark.parametrize(
    ("revision", "thresholds", "expected"),
    [
        ("workspace", {BALANCED: 0.9, WORST: 0.9}, (0, [LOW, BALANCED, WORST, FALL], [])),
        ("worse", {BALANCED: 0.6, WORST: 0.6}, (4, [LOW, FALL], [BALANCED, WORST])),
        ("worse", {BALANCED: 0.0, WORST: 0.6}, (4, [LOW, FALL], [WORST])),
        ("worse", {BALANCED: 0.6, WORST: 0.0, FALL: 0.0}, (12, [LOW], [BALANCED, FALL])),
    ],
)
def test_thresholds_of_unequal_classes(
    project: Project,
    revision: str,
    thresholds: dict[str, float],
    expected: tuple[int, list[str], list[str]],
) -> None:
    project.set_params(gate={"baseline": "main", LOW: 0.0, FALL: 1.0, **thresholds})
    assert gate(project, revision) == expected


def test_a_threshold_for_corrupted_images(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.set_params(gate={LOW: 0.0, FALL: 1.0, "least_corrupted_accuracy": 0.6})
    monkeypatch.chdir(project.path)
    value = results.load("worse").scores.figures["corrupted_accuracy"]
    assert project.convline("gate", "worse", ok=False).stderr == (
        f"gate: FAILED least_corrupted_accuracy: {value:.2%}, and at least 60.00% is required\n"
    )
    assert "gate: passed least_corrupted_accuracy: " in project.convline("gate").stdout


def test_the_class_with_the_lowest_recall_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.set_params(gate={LOW: 0.0, FALL: 1.0, WORST: 0.6})
    monkeypatch.chdir(project.path)
    weakest = results.load("worse").scores.weakest
    assert project.convline("gate", "worse", ok=False).stderr == (
        f"gate: FAILED least_worst_recall: {weakest.recall:.2%} of {weakest.name}, and at least "
        "60.00% is required\n"
    )


def test_a_params_yaml_without_the_newer_thresholds(project: Project) -> None:
    project.set_params(gate=None)
    project.set_params(gate={"baseline": "main", LOW: 0.9, FALL: 0})
    assert gate(project) == (0, [LOW, FALL], [])


def test_without_a_baseline_only_the_minimums_are_checked(project: Project) -> None:
    project.set_params(gate={"baseline": "none", LOW: 0.9, FALL: 0, WORST: 0.1})
    passed = project.convline("gate")
    assert passed.stdout.endswith("\ngate: skipped largest_fall: gate.baseline is none\n")
    assert passed.stderr == ""
    assert gate(project, "worse") == (4, [FALL], [LOW, WORST])


def in_process(
    project: Project, monkeypatch: pytest.MonkeyPatch, change: Callable[[results.Run], Any]
) -> str:
    """The problem that the gate has with the workspace where `change` was done to its run."""
    load = results.load

    def changed(revision: str) -> results.Run:
        run = load(revision)
        if revision == "workspace":
            change(run)
        return run

    monkeypatch.chdir(project.path)
    monkeypatch.setattr(sys, "argv", ["gate"])
    monkeypatch.setattr(results, "load", changed)
    monkeypatch.setattr(revisions, "outdated", lambda *_: [])
    with pytest.raises(Problem) as caught:
        gates.main()
    return str(caught.value)


def test_a_baseline_of_another_dataset(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(run: results.Run) -> None:
        run.lock["stages"]["evaluate"]["params"]["params.yaml"]["dataset"] = "small"

    assert in_process(project, monkeypatch, change) == (
        "no comparison: main used the dataset tiny, workspace small; in params.yaml, set "
        "gate.baseline to a revision that used this dataset, or to none, which checks no fall"
    )
    assert capsys.readouterr().out == ""


def test_a_run_that_is_older_than_a_figure(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(run: results.Run) -> None:
        run.__dict__["scores"] = run.scores.model_copy(update={"worst_recall": None})

    project.set_params(gate={LOW: 0.9, WORST: 0.1})
    assert in_process(project, monkeypatch, change) == (
        "workspace: metrics/evaluate.json has no worst_recall: the run is older than this figure; "
        "`dvc repro` with this code adds it, or set gate.least_worst_recall in params.yaml to 0.0"
    )
    assert capsys.readouterr().out == ""


def test_a_rise_is_no_fall(project: Project) -> None:
    project.set_params(gate={"baseline": "worse", LOW: 0.9, FALL: 0})
    assert gate(project) == (0, [LOW, FALL], [])


def test_a_fall_that_chance_explains_passes(project: Project) -> None:
    """Three more errors of 90, and none fewer: p = 0.25."""
    predictions = project.path / "metrics/predictions.csv"
    lines = predictions.read_text().splitlines()
    spoilt = [line.replace(",ant,ant,", ",ant,bee,") for line in lines]
    changed = [i for i, line in enumerate(lines) if line != spoilt[i]]
    predictions.unlink()
    predictions.write_text("\n".join(spoilt[: changed[2] + 1] + lines[changed[2] + 1 :]) + "\n")
    figures = project.path / "metrics/evaluate.json"
    content = json.loads(figures.read_text())
    digest = hashlib.md5(predictions.read_bytes(), usedforsecurity=False).hexdigest()
    content["made_from"][1]["outs"]["metrics/predictions.csv"] = digest
    figures.write_text(json.dumps(content))
    project.dvc("commit", "--force", "evaluate")
    project.set_params(gate={"baseline": "main", LOW: 0.9, FALL: 0})
    result = project.convline("gate")
    assert "3.33% below main (p = 0.25)" in result.stdout


def test_a_workspace_that_changed_after_its_run_is_refused(project: Project) -> None:
    project.set_params(epochs=3)
    assert project.problem("gate") == (
        "gate: the workspace changed after its last run: `dvc repro` would run train"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"baseline": "main", LOW: 1.5, FALL: 0}, "gate: least_accuracy is 1.5"),
        ({"baseline": "main", LOW: "high", FALL: 0}, "gate: least_accuracy is 'high'"),
        ({"baseline": "main", LOW: 0.9}, "gate: largest_fall: Field required"),
        ({"baseline": "nowhere", LOW: 0.9, FALL: 0}, "experiment 'nowhere'"),
        ({"baseline": "main~1", LOW: 0.9, FALL: 0}, "main~1 has no dvc.lock"),
        ({"baseline": "main", LOW: 0.9, FALL: 0, "least": 1}, "gate: least: "),
        (None, "gate is empty"),
    ],
)
def test_bad_settings(project: Project, settings: object, reason: str) -> None:
    project.set_params(gate=None)
    project.set_params(gate=settings)  # and no other keys of the section
    assert reason in project.problem("gate")


def test_the_gate_is_no_concern_of_the_stages(project: Project) -> None:
    project.set_params(gate={"baseline": "main", LOW: 0.1, FALL: 1})
    assert "up to date" in project.dvc("status")
