"""Comparisons of real runs: which revisions, where their predictions come from, what it prints."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from conftest import Project


@pytest.fixture
def project(experimented: Project, tmp_path: Path) -> Project:
    """A project of the test's own, with the experiment "worse"."""
    return experimented.copy(tmp_path / "project")


def compare(project: Project, *arguments: str) -> str:
    """What the command prints."""
    return project.convline("compare", *arguments).stdout


def problem(project: Project, *arguments: str) -> str:
    """The one line with which the command ends."""
    result = project.convline("compare", *arguments, ok=False)
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_an_experiment_against_main(experimented: Project) -> None:
    found = json.loads(compare(experimented, "main", "worse", "--json"))
    figures = json.loads((experimented.path / "metrics/evaluate.json").read_text())
    assert found["dataset"] == "tiny"
    assert found["images"] == 90
    assert found["baseline"]["revision"] == "main"
    for key in ("accuracy", "accuracy_interval_95", "errors"):
        assert found["baseline"][key] == figures[key]
    predictions = pd.read_csv(experimented.path / "metrics/predictions.csv")
    right = set(predictions.index[predictions["actual"] == predictions["predicted"]])
    assert set(found["baseline"]["only_correct"]) <= right
    assert not set(found["candidate"]["only_correct"]) & right
    assert found["candidate"]["accuracy"] < 0.6
    assert found["mcnemar_exact_p_value"] < 1e-6
    assert found["verdict"] == "worse"
    text = compare(experimented, "main", "worse")
    assert text.endswith("worse is worse than main on the 90 test images of tiny\n")
    assert "worse is better than" not in text
    assert compare(experimented, "worse", "main").endswith(
        "main is better than worse on the 90 test images of tiny\n"
    )


def test_accuracy_on_corrupted_images_is_compared_by_kind(experimented: Project) -> None:
    found = json.loads(compare(experimented, "main", "worse", "--json"))
    figures = json.loads((experimented.path / "metrics/evaluate.json").read_text())
    rows = pd.DataFrame(figures["per_corruption"])
    assert len(rows) == 30
    assert found["baseline"]["figures"]["corrupted_accuracy"] == pytest.approx(
        rows["accuracy"].mean(), abs=2e-4
    )
    by_kind = found["baseline"]["accuracy_by_corruption"]
    means = rows.groupby("corruption")["accuracy"].mean().to_dict()
    assert by_kind == pytest.approx(means, abs=2e-4)
    assert len(by_kind) == 10
    other = found["candidate"]["accuracy_by_corruption"]
    text = compare(experimented, "main", "worse")
    for kind, accuracy in by_kind.items():
        row = rf"^- {kind} +{accuracy:.2%} +{other[kind]:.2%}  high$".replace(".", r"\.")
        assert re.search(row, text, re.MULTILINE)


def test_the_workspace_is_compared_with_main_unless_told_otherwise(experimented: Project) -> None:
    found = json.loads(compare(experimented, "--json"))
    assert (found["baseline"]["revision"], found["candidate"]["revision"]) == ("main", "workspace")
    assert found["mcnemar_exact_p_value"] == 1
    assert found["verdict"] == "no evidence of a difference"


def test_a_changed_workspace_is_noticed(project: Project) -> None:
    project.set_params(epochs=3)
    result = project.convline("compare")
    assert "`dvc repro` would run train" in result.stderr
    assert project.convline("compare", "main", "worse").stderr == ""


def test_an_unknown_dataset_is_named_with_those_that_are_known(project: Project) -> None:
    project.dvc("exp", "run", "-S", "dataset=xyzzy", ok=False)
    remark = project.convline("compare").stderr
    assert (
        "datasets.yaml has no dataset 'xyzzy' (`dataset` in params.yaml); it has mnist," in remark
    )
    assert "`dvc repro` would run fetch, preprocess, train, evaluate\n" in remark


@pytest.mark.parametrize(
    "command", ["src/train.py", "src compare", "src pushed", "src run", "src/pushed.py"]
)
def test_from_another_folder(reproduced: Project, tmp_path: Path, command: str) -> None:
    elsewhere = Project(tmp_path, reproduced.mirror)
    script, *name = command.split()
    result = elsewhere.run("python", str(reproduced.path / script), *name, ok=False)
    assert result.returncode == 1
    top = reproduced.path.resolve()
    assert result.stderr == (
        f"{Path(command).stem.split()[-1]}: there is no dvc.yaml in this folder; run it in {top}\n"
    )


def test_what_is_not_here_comes_from_the_remote(project: Project, tmp_path: Path) -> None:
    before = compare(project, "main", "worse")
    project.dvc("remote", "add", "--local", "--default", "storage", str(tmp_path / "storage"))
    project.dvc("remote", "modify", "--local", "storage", "verify", "true")
    project.dvc("push")
    project.dvc("exp", "apply", "worse")
    project.dvc("push")
    project.run("git", "checkout", "HEAD", "--", ".")
    project.run("git", "clean", "-dxfq", "--exclude", ".dvc")
    shutil.rmtree(project.path / ".dvc/cache")
    assert compare(project, "main", "worse") == before
    assert json.loads(compare(project, "--json"))["verdict"] == "no evidence of a difference"

    shutil.rmtree(tmp_path / "storage")
    shutil.rmtree(project.path / ".dvc/cache", ignore_errors=True)
    assert "main: metrics/predictions.csv is neither in the cache nor in the remote" in problem(
        project, "main", "worse"
    )


@pytest.mark.parametrize("revision", ["nowhere", "", "main..HEAD", "a b\nc"])
def test_a_revision_that_is_none(experimented: Project, revision: str) -> None:
    assert "there is no branch, tag, commit or experiment" in problem(experimented, revision)


def test_a_revision_without_a_run(experimented: Project) -> None:
    assert problem(experimented, "main~1") == "compare: main~1 has no dvc.lock: `dvc repro` there"


def test_a_commit_without_its_metrics(project: Project) -> None:
    project.run("git", "rm", "--quiet", "metrics/train.json", "metrics/evaluate.json")
    project.commit("Lose the metrics")
    result = project.convline("compare", "main~1", "main")
    assert "main does not say what its model and figures were made from" in result.stderr
    assert "Traceback" not in result.stderr
    (brier,) = re.findall("^Brier score.*", result.stdout, re.MULTILINE)
    assert brier.split()[-2:] == ["-", "low"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n", " is not what the pipeline writes"),
        ("index,actual,predicted,confidence\n", ": actual is []: List should have at least 1 item"),
        (
            "index,actual,predicted,confidence\n0,ant,9\r8,1\n",
            ": predicted.1 is ''; it should not be blank",
        ),
        (
            "index,actual,predicted,confidence\n0,ant,\x1b[31m,1\n",
            ": predicted.0 is '\\x1b[31m'; it should hold no character that cannot be printed",
        ),
    ],
)
def test_predictions_of_something_else(project: Project, content: str, words: str) -> None:
    (project.path / "metrics/predictions.csv").unlink()
    (project.path / "metrics/predictions.csv").write_bytes(content.encode())
    line = problem(project)
    assert line.startswith(f"compare: workspace: metrics/predictions.csv{words}")
    assert "`dvc repro` there" in line


def test_another_dataset(project: Project) -> None:
    project.rewrite_run("tiny", "small")
    assert problem(project) == (
        "compare: no comparison: main used the dataset tiny, workspace small"
    )
