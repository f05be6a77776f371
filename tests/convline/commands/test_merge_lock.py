"""The merge driver, as git calls it in a merge of two branches."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import REPOSITORY, Project

LOCK = (REPOSITORY / "dvc.lock").read_text()  # as DVC writes it
FINISH = "dvc repro && git add dvc.lock metrics && git commit"

slow = pytest.mark.slow
shares_the_branches = pytest.mark.xdist_group("merge")


def changed(lock: str, option: str, *stages: str) -> str:
    """`lock` after an option was added to the commands of `stages`."""
    for stage in stages:
        command = f"    cmd: python src/{stage}.py"
        assert command in lock
        lock = lock.replace(command, f"{command} {option}")
    return lock


def added(lock: str, stage: str) -> str:
    """`lock` with a new stage."""
    return f"{lock}  {stage}:\n    cmd: python src/{stage}.py\n"


def removed(lock: str, stage: str) -> str:
    """`lock` without a stage."""
    rest, count = re.subn(rf"^  {stage}:\n(    .*\n)+", "", lock, flags=re.MULTILINE)
    assert count == 1
    return rest


@pytest.fixture
def hooked(clone: Project) -> Project:
    """A clone after `make hooks`."""
    return hook(clone)


def hook(project: Project) -> Project:
    """Run `make hooks`."""
    project.install()
    project.run("make", "hooks")
    return project


def unmerged(project: Project) -> list[str]:
    """The files that git calls unmerged."""
    return project.run("git", "diff", "--name-only", "--diff-filter=U").stdout.split()


def merge(
    project: Project, base: str | None, ours: str, theirs: str
) -> subprocess.CompletedProcess[str]:
    """Merge two branches whose dvc.lock came from `base`, which None leaves out."""
    lock = project.path / "dvc.lock"
    if base is not None:
        lock.write_text(base)
        project.commit("Base")
    project.run("git", "branch", "theirs")
    for branch, text in (("main", ours), ("theirs", theirs)):
        project.run("git", "checkout", "--quiet", branch)
        lock.write_text(text)
        project.commit(branch)
    project.run("git", "checkout", "--quiet", "main")
    return project.run("git", "merge", "--no-edit", "theirs", ok=False)


def merges(project: Project, base: str | None, ours: str, theirs: str) -> str:
    """The dvc.lock of a merge that has to succeed without a word from the driver."""
    result = merge(project, base, ours, theirs)
    assert (result.returncode, result.stderr) == (0, "")
    assert project.run("git", "status", "--porcelain").stdout == ""
    return (project.path / "dvc.lock").read_text()


def stops(project: Project, base: str | None, ours: str, theirs: str) -> tuple[str, str]:
    """The dvc.lock of a merge that has to stop there, and the driver's one line."""
    result = merge(project, base, ours, theirs)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert unmerged(project) == ["dvc.lock"]
    assert not list(project.path.rglob("*.part"))
    return (project.path / "dvc.lock").read_text(), line


def test_stages_that_one_side_changed_come_from_that_side(hooked: Project) -> None:
    ours, theirs = changed(LOCK, "--ours", "fetch"), changed(LOCK, "--theirs", "evaluate")
    assert merges(hooked, LOCK, ours, theirs) == changed(ours, "--theirs", "evaluate")


def test_stages_are_added_and_removed(hooked: Project) -> None:
    ours = added(removed(LOCK, "preprocess"), "card")
    theirs = added(added(removed(LOCK, "evaluate"), "report"), "gate")
    expected = added(added(removed(ours, "evaluate"), "report"), "gate")
    assert merges(hooked, LOCK, ours, theirs) == expected


def test_equal_changes_are_no_conflict(hooked: Project) -> None:
    both = removed(changed(LOCK, "--both", "train"), "fetch")
    theirs = changed(both, "--theirs", "evaluate")
    assert merges(hooked, LOCK, added(both, "card"), theirs) == added(theirs, "card")


def test_a_stage_that_both_changed_stops_the_merge(hooked: Project) -> None:
    ours = changed(LOCK, "--ours", "fetch", "train", "evaluate")
    theirs = changed(LOCK, "--theirs", "preprocess", "evaluate")
    theirs = theirs.replace("epochs: ", "epochs: 1")  # in train, which git by itself would mix
    lock, line = stops(hooked, LOCK, ours, theirs)
    assert line == f"merge_lock: both sides changed train, evaluate: run `{FINISH}`"
    assert lock == changed(ours, "--theirs", "preprocess")


def test_a_stage_that_one_changed_and_the_other_removed_stops_it_too(hooked: Project) -> None:
    ours = changed(removed(LOCK, "fetch"), "--ours", "train")
    theirs = changed(removed(LOCK, "train"), "--theirs", "fetch")
    lock, line = stops(hooked, LOCK, ours, theirs)
    assert "both sides changed train, fetch: run" in line
    assert lock == ours


def test_without_a_base_what_differs_stops_the_merge(hooked: Project) -> None:
    ours = changed(removed(LOCK, "fetch"), "--ours", "train")
    lock, line = stops(hooked, None, ours, changed(LOCK, "--theirs", "train"))
    assert "both sides changed train: run" in line
    fetch = LOCK[LOCK.index("  fetch:\n") : LOCK.index("  preprocess:\n")]
    assert lock == ours + fetch


def test_without_a_base_more_stages_are_no_conflict(hooked: Project) -> None:
    theirs = added(LOCK, "report")
    assert merges(hooked, None, added(LOCK, "card"), theirs) == added(added(LOCK, "card"), "report")


def test_a_merge_of_two_that_merged_each_other_stops_too(hooked: Project) -> None:
    """Each kept its own; for a base, git first merges the two commits from before that."""
    ours, theirs = changed(LOCK, "--ours", "train"), changed(LOCK, "--theirs", "train")
    stops(hooked, LOCK, ours, theirs)
    hooked.run("git", "merge", "--abort")
    hooked.run("git", "tag", "before")
    hooked.run("git", "merge", "--quiet", "--strategy", "ours", "--no-edit", "theirs")
    hooked.run("git", "checkout", "--quiet", "theirs")
    hooked.run("git", "merge", "--quiet", "--strategy", "ours", "--no-edit", "before")
    hooked.run("git", "checkout", "--quiet", "main")
    assert hooked.run("git", "merge", "--no-edit", "theirs", ok=False).returncode == 1
    assert unmerged(hooked) == ["dvc.lock"]
    assert (hooked.path / "dvc.lock").read_text() == ours


@pytest.mark.parametrize(
    ("side", "sound"), [("base", "ours"), ("ours", "theirs"), ("theirs", "ours")]
)
def test_a_damaged_side_stops_the_merge_and_leaves_ours(
    hooked: Project, side: str, sound: str
) -> None:
    sides = {
        "base": LOCK,
        "ours": changed(LOCK, "--ours", "fetch"),
        "theirs": changed(LOCK, "--theirs", "train"),
        side: LOCK.replace("  train:\n", "<<<<<<< HEAD\n  train:\n"),
    }
    lock, line = stops(hooked, **sides)
    assert line == (
        f"merge_lock: the dvc.lock of {side} is damaged: "
        f"run `git checkout --{sound} dvc.lock && {FINISH}`"
    )
    assert lock == sides["ours"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]\n",
        LOCK.replace("md5: ", "md5: ../../"),
        "schema: '2.0'\nstages:\n  train:\n    deps: []\n",
    ],
)
def test_what_dvc_would_not_read_is_damaged(hooked: Project, text: str) -> None:
    lock, line = stops(hooked, LOCK, changed(LOCK, "--ours", "fetch"), text)
    assert "the dvc.lock of theirs is damaged: run `" in line
    assert lock == changed(LOCK, "--ours", "fetch")


def test_without_make_hooks_git_merges_the_text(clone: Project) -> None:
    merge(clone, LOCK, added(LOCK, "card"), added(LOCK, "report"))
    assert "<<<<<<< HEAD" in (clone.path / "dvc.lock").read_text()


@pytest.mark.parametrize("older", ["configuration", "branch"])
def test_what_is_older_merges_too(hooked: Project, older: str) -> None:
    """Until `make hooks` again; a branch that began before hooks/python."""
    if older == "branch":
        (hooked.path / "hooks/python").unlink()
    else:
        driver = ".venv/bin/python src/merge_lock.py %O %A %B"
        hooked.run("git", "config", "merge.dvc-lock.driver", driver)
    ours, theirs = changed(LOCK, "--ours", "fetch"), changed(LOCK, "--theirs", "evaluate")
    assert merges(hooked, LOCK, ours, theirs) == changed(ours, "--theirs", "evaluate")


def test_without_an_environment_the_merge_waits_for_one(hooked: Project) -> None:
    (hooked.path / ".venv").unlink()
    ours, theirs = changed(LOCK, "--ours", "fetch"), changed(LOCK, "--theirs", "evaluate")
    lock, line = stops(hooked, LOCK, ours, theirs)
    assert lock == ours
    advice = f"run `make install && git checkout --merge dvc.lock && {FINISH}`"
    assert line == f"merge_lock: {hooked.path} has no environment: {advice}"
    hooked.install()
    hooked.run("bash", "-ec", "make install && git checkout --merge dvc.lock")
    assert (hooked.path / "dvc.lock").read_text() == changed(ours, "--theirs", "evaluate")


@pytest.fixture(scope="module")
def branches(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three branches from main, each reproduced. Tests leave them as they are.

    `ours` changes `epochs` (and the network, so that its metrics differ), `theirs` changes
    `learning_rate`, `both` does all at once.
    """
    project = reproduced.copy(tmp_path_factory.mktemp("branches") / "project")
    ours, theirs = {"epochs": 3, "convnet": {"dense_units": 4}}, {"learning_rate": 0.001}
    for branch, values in (("ours", ours), ("theirs", theirs), ("both", ours | theirs)):
        project.run("git", "checkout", "--quiet", "-b", branch, "main")
        project.set_params(**values)
        # Of the checkout's second and of the same size, git may miss it: DVC rewrites the index
        os.utime(project.path / "params.yaml", (0, 0))
        project.dvc("repro")
        project.commit(branch)
    return project


@pytest.fixture
def ours(branches: Project, tmp_path: Path) -> Project:
    """A project of the test's own, with the branch `ours` checked out."""
    project = branches.copy(tmp_path / "project")
    project.run("git", "checkout", "--quiet", "ours")
    project.dvc("checkout")
    return project


def finish(project: Project, recipe: str, ok: bool = True) -> None:
    """Type a recipe."""
    project.run("bash", "-c", recipe, ok=ok, GIT_EDITOR="true")


def assert_is(project: Project, branch: str) -> None:
    """The merge is over, and all that git and DVC track is as on `branch`."""
    assert project.run("git", "log", "-1", "--format=%s").stdout.startswith("Merge branch")
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.run("git", "diff", branch).stdout == ""
    assert project.dvc("status") == "Data and pipelines are up to date.\n"


@slow
@shares_the_branches
def test_the_printed_commands_finish_a_merge_of_two_runs(ours: Project) -> None:
    hook(ours)
    line = ours.run("git", "merge", "theirs", ok=False).stderr
    assert "both sides changed train, evaluate, export: " in line
    assert unmerged(ours) == ["dvc.lock"]
    finish(ours, line.split("`")[1])
    assert_is(ours, "both")


@slow
@shares_the_branches
def test_without_make_hooks_one_more_command_is_needed(ours: Project) -> None:
    ours.run("git", "merge", "theirs", ok=False)
    assert unmerged(ours) == [
        "dvc.lock",
        *(f"metrics/{name}.json" for name in ("evaluate", "export", "train")),
    ]
    finish(ours, f"git checkout --ours dvc.lock metrics && {FINISH}")
    assert_is(ours, "both")


@slow
@shares_the_branches
@pytest.mark.parametrize(("settled", "branch"), [({"learning_rate": 0.001}, "both"), ({}, "ours")])
def test_a_parameter_that_both_changed_is_settled_first(
    ours: Project, settled: dict[str, object], branch: str
) -> None:
    hook(ours)
    ours.run("git", "checkout", "--quiet", "theirs")
    ours.set_params(epochs=4)
    ours.commit("Change epochs too")
    ours.run("git", "checkout", "--quiet", "ours")
    ours.run("git", "merge", "theirs", ok=False)
    assert unmerged(ours) == ["dvc.lock", "params.yaml"]
    finish(ours, FINISH, ok=False)  # too early: nothing is committed
    assert unmerged(ours) == ["dvc.lock", "params.yaml"]
    ours.run("git", "checkout", "--ours", "params.yaml")
    ours.set_params(**settled)
    ours.run("git", "add", "params.yaml")
    finish(ours, FINISH)
    assert_is(ours, branch)
