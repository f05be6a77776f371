"""Revisions of the project: their files, commits and outdated stages."""

import shutil
from pathlib import Path

import pytest

from conftest import STAGES, Project
from convline import revisions
from convline.problems import Problem


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of the test's own, which is the working directory."""
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", project.environment["DVC_SITE_CACHE_DIR"])
    return project


@pytest.mark.parametrize("revision", ["", "mian", "HEAD~99"])
def test_there_is_no_such_revision(here: Project, revision: str) -> None:
    expected = f"there is no branch, tag, commit or experiment {revision!r}"
    for call in (
        lambda: revisions.read("params.yaml", revision),
        lambda: revisions.commit(revision),
    ):
        with pytest.raises(Problem) as caught:
            call()
        assert str(caught.value) == expected


def test_files_and_changes_of_the_workspace_and_of_a_commit(here: Project) -> None:
    head = here.run("git", "rev-parse", "HEAD").stdout[:7]
    assert revisions.commit("main") == revisions.commit(revisions.WORKSPACE) == head
    assert revisions.outdated("main", "evaluate") == []

    (here.path / "untracked").touch()
    assert revisions.commit(revisions.WORKSPACE) == head
    here.set_params(epochs=7)
    assert revisions.commit(revisions.WORKSPACE) == f"{head} with uncommitted changes"
    assert revisions.outdated(revisions.WORKSPACE, "evaluate") == ["train"]
    assert "epochs: 7" in revisions.read("params.yaml", revisions.WORKSPACE)
    assert "epochs: 2" in revisions.read("params.yaml", "main")
    assert revisions.read("metrics/predictions.csv", "main").startswith("index,actual,")


def test_outputs_that_are_nowhere(here: Project) -> None:
    md5 = here.objects()["metrics/predictions.csv"]
    (Path(".dvc/cache/files/md5") / md5[:2] / md5[2:]).unlink()
    with pytest.raises(revisions.MissingFile, match=r"^main: metrics/predictions\.csv is neither "):
        revisions.read("metrics/predictions.csv", "main")


def test_outputs_that_only_a_remote_has_which_is_newer_than_the_revision(here: Project) -> None:
    expected = revisions.read("metrics/predictions.csv", "main")
    here.run("git", "tag", "before")
    here.add_remote(str(here.path.parent / "storage"))
    here.commit("Add a remote")
    here.dvc("push")
    shutil.rmtree(".dvc/cache")
    assert revisions.read("metrics/predictions.csv", "before") == expected


def test_a_project_that_never_ran(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", clone.environment["DVC_SITE_CACHE_DIR"])
    assert revisions.outdated("main", "preprocess") == ["fetch", "preprocess"]
    with pytest.raises(Problem, match=r"^main has no dvc\.lock: `dvc repro` there$"):
        revisions.read("dvc.lock", "main")


def test_what_dvc_prints_or_says(here: Project) -> None:
    assert revisions.dvc_prints("stage", "list", "--name-only").split()[0] == STAGES[0]
    with pytest.raises(Problem, match=r"^`dvc stage list nowhere` failed: ERROR: .*nowhere"):
        revisions.dvc_prints("stage", "list", "nowhere")
