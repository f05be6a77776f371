"""What a run was made from: recorded in its outputs, and held against dvc.lock by every command."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import Project
from convline import provenance

pytestmark = pytest.mark.xdist_group("provenance")

FALSE = (
    "has outputs that were not made by what its dvc.lock says: train ran with epochs 2, and not 3"
)


def command(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of our commands, whatever its exit code."""
    return project.convline(*arguments, ok=False)


def refused(project: Project, *arguments: str) -> str:
    """The one line with which a command ends."""
    result = command(project, *arguments)
    assert result.returncode == 1, result
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def lied(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The workspace is a run of two epochs that DVC takes for three. Tests leave it as it is.

    `epochs` was changed, and saved without a run; since then DVC finds that run in its cache.
    """
    project = reproduced.copy(tmp_path_factory.mktemp("lied") / "project")
    project.set_params(epochs=3)
    project.dvc("exp", "save", "--name", "saved")
    project.run("git", "checkout", "HEAD", "--", ".")
    project.dvc("checkout")
    printed = project.dvc("exp", "run", "--name", "ran", "-S", "epochs=3")
    assert "Stage 'train' is cached - skipping run" in printed
    assert "up to date" in project.dvc("status")
    return project


def test_the_outputs_say_what_made_them(reproduced: Project) -> None:
    training = json.loads((reproduced.path / "metrics/train.json").read_text())
    evaluation = json.loads((reproduced.path / "metrics/evaluate.json").read_text())
    (trained,) = training["made_from"]
    of_model, evaluated = evaluation["made_from"]
    assert trained["params"]["params.yaml"]["epochs"] == 2
    assert trained["outs"]["models/model.keras"] == evaluated["deps"]["models/model.keras"]
    assert of_model == trained | {"outs": {}}
    for path in ("src/convline/training/fit.py", "data/processed/train_images.npy"):
        assert len(trained["deps"][path]) == 32


@pytest.mark.parametrize("revision", ["workspace", "ran", "saved"])
def test_a_run_that_never_was_is_refused(lied: Project, revision: str) -> None:
    for arguments in (
        ("gate", revision),
        ("compare", "main", revision),
        ("compare", revision, "main"),
        ("card", revision),
    ):
        assert FALSE in refused(lied, *arguments)


def test_the_report_refuses_it_and_says_so_of_a_baseline(lied: Project, tmp_path: Path) -> None:
    assert FALSE in refused(lied, "report", "main")
    project = lied.copy(tmp_path / "project")
    project.run("git", "checkout", "HEAD", "--", ".")
    project.dvc("checkout")
    assert FALSE in command(project, "report", "ran").stdout


def test_the_push_check_refuses_it(lied: Project, tmp_path: Path) -> None:
    project = lied.copy(tmp_path / "project")
    project.dvc("remote", "add", "--local", "--default", "storage", str(tmp_path / "storage"))
    project.commit("Train for three epochs, they say")
    project.dvc("push")
    result = command(project, "pushed", "main")
    assert result.returncode == 4
    assert f"pushed: FAILED: main {FALSE}" in result.stderr


def test_its_advice_helps(lied: Project, tmp_path: Path) -> None:
    project = lied.copy(tmp_path / "project")
    assert "`dvc repro --force train` there, then `dvc repro`" in refused(project, "gate")
    project.dvc("repro", "--force", "train")
    project.dvc("repro")
    assert command(project, "compare", "main").returncode == 0


def test_figures_that_were_edited_are_refused(project: Project) -> None:
    """`dvc commit` blesses whatever lies there."""
    predictions = project.path / "metrics/predictions.csv"
    text = predictions.read_text()
    predictions.unlink()
    predictions.write_text(text.replace(",ant,ant,", ",ant,bee,", 1))
    project.dvc("commit", "--force", "evaluate")
    assert "evaluate ran with metrics/predictions.csv " in refused(project, "compare", "main")


def test_a_commit_whose_parameters_or_code_never_ran_is_refused(project: Project) -> None:
    project.run("git", "checkout", "--quiet", "-b", "code")
    with (project.path / "src/convline/evaluation/scores.py").open("a") as code:
        code.write("# changed\n")
    project.commit("Change the code")
    project.run("git", "checkout", "--quiet", "-b", "params", "main")
    project.set_params(epochs=3)
    project.commit("Change a parameter")
    project.run("git", "checkout", "--quiet", "main")
    for revision, stage in (("code", "evaluate"), ("params", "train")):
        remark = f"{revision} changed after its last run: `dvc repro` would run {stage}"
        assert refused(project, "gate", revision) == f"gate: {remark}"
        # The run is another one's, and still the run that it is
        assert command(project, "compare", "main", revision).stderr == f"compare: {remark}\n"
        warning = "> **Warning**: " + remark.replace("`", "\\`")
        assert warning in command(project, "card", revision).stdout
        command(project, "report", revision)
        assert remark.split("`")[0] in (project.path / "report.html").read_text()


def test_a_frozen_stage_is_no_way_out(project: Project) -> None:
    # By hand: `dvc freeze` refuses stages with ${...} in dvc.yaml
    pipeline = project.path / "dvc.yaml"
    train = "    cmd: python src/train.py\n"
    pipeline.write_text(pipeline.read_text().replace(train, f"{train}    frozen: true\n"))
    project.set_params(epochs=3)
    assert "up to date" in project.dvc("repro")
    assert refused(project, "gate") == (
        "gate: the workspace changed after its last run: `dvc repro` would run train"
    )


def test_a_damaged_record_is_refused(project: Project) -> None:
    figures = project.path / "metrics/evaluate.json"
    figures.write_text(figures.read_text().replace('"stage": "train"', '"stage": 1'))
    assert "metrics/evaluate.json: made_from: records.0.stage is 1" in refused(project, "compare")
    project.dvc("remote", "add", "--local", "--default", "storage", "../storage")
    project.dvc("push")
    project.commit("Damage a record")
    assert command(project, "pushed").returncode == 4


def test_a_parameter_of_one_name_in_two_files() -> None:
    def lock(seed: int) -> dict[str, Any]:
        params = {"params.yaml": {"seed": seed}, "other.yaml": {"seed": 0}}
        return {"stages": {"train": {"params": params}}}

    made = provenance.Record(
        stage="train", params={"params.yaml": {"seed": 1}, "other.yaml": {"seed": 0}}, deps={}
    )
    assert provenance.contradiction(made, lock(1)) is None
    assert provenance.contradiction(made, lock(2)) == "train ran with seed 1, and not 2"


def test_a_run_from_before_there_were_records_is_marked(project: Project) -> None:
    for name in ("train", "evaluate"):
        path = project.path / f"metrics/{name}.json"
        content = json.loads(path.read_text())
        del content["made_from"]
        path.write_text(json.dumps(content))
    project.dvc("commit", "--force")
    project.commit("Record nothing")
    remark = "main does not say what its model and figures were made from"
    assert remark in refused(project, "gate", "main")
    result = command(project, "compare", "main")
    assert result.returncode == 0
    assert remark in result.stderr
