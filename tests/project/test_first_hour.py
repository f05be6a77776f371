"""The first hour of a newcomer, on another processor than that of the committed run."""

import re
from pathlib import Path

import pytest
import test_docs
import test_readme

import console
import drawings
from conftest import Project
from fork_server import NEW


@pytest.fixture
def newcomer(reproduced: Project, tmp_path: Path) -> Project:
    """A clone of a run whose model and predictions had other bytes, and nothing else of it."""
    elsewhere = reproduced.copy(tmp_path / "elsewhere")
    for name in ("models/model.keras", "metrics/predictions.csv"):
        md5 = reproduced.objects()[name]
        elsewhere.rewrite_run(md5, md5[::-1])
    elsewhere.commit("Run on another processor")
    elsewhere.run("git", "clone", "--quiet", ".", str(tmp_path / "convline"))
    project = Project(tmp_path / "convline", reproduced.mirror)
    project.run("git", "config", "user.name", "Newcomer")
    project.run("git", "config", "user.email", "newcomer@example.com")
    project.install()
    return project


@pytest.mark.slow
def test_every_command_of_the_readme_and_of_experiments(newcomer: Project) -> None:
    """In the order of the pages, as a reader types them."""
    printed = newcomer.run("make", "run", ok=True, **NEW).stdout
    assert newcomer.run("git", "diff", "HEAD", "--name-only", "dvc.lock").stdout == "dvc.lock\n"
    assert printed.endswith('git commit --all --message "Run on this machine"\n')
    for command in ("compare", "gate"):
        advice = newcomer.convline(command, ok=False).stderr
        assert "main: metrics/predictions.csv is neither in the cache nor in the remote" in advice
        assert '`git commit --all --message "Run on this machine"` makes them' in advice

    script = "\n".join(
        command for command in test_readme.COMMANDS if command not in test_readme.ELSEWHERE
    )
    (newcomer.path / "picture.png").write_bytes(drawings.picture(0))
    result = newcomer.run("bash", "-exc", script, ok=False)
    assert result.returncode == 0, result.stdout + result.stderr

    newcomer.run("bash", "-ec", "git checkout --quiet HEAD -- . && dvc checkout --quiet")
    page = test_docs.PAGES["experiments"]
    shell = console.Shell(newcomer.path, newcomer.environment)
    refreshed = console.refreshed(page, shell)
    for (command, output), (_, shown) in zip(
        console.outputs(refreshed), console.outputs(page), strict=True
    ):
        assert test_docs.words(output) == test_docs.words(shown), command
    assert not re.search("Traceback|not in cache", refreshed)
