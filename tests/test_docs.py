"""Every command of docs/experiments.md runs and prints what the page says; its figures are so."""

import re

import pytest

import console
from conftest import REPOSITORY, Project

PAGE = (REPOSITORY / "docs/experiments.md").read_text()


def words(text: str) -> list[str]:
    """The words of the first line, without what depends on the dataset."""
    line = text.partition("\n")[0]
    return re.findall(r"[^\W\d]+", re.sub(r"mnist|tiny|passed|FAILED", "", line))


@pytest.mark.slow
def test_every_command_runs_and_prints_the_like(project: Project) -> None:
    """In the order of the page, on the tiny dataset, for which its figures are others."""
    project.install()

    def execute(command: str) -> str:
        return project.run("bash", "-c", f"exec 2>&1; {command}").stdout

    printed = console.outputs(console.refreshed(PAGE, execute))
    for (command, output), (_, shown) in zip(printed, console.outputs(PAGE), strict=True):
        assert words(output) == words(shown), command


def test_the_commands_are_found() -> None:
    commands = [command for command, _ in console.outputs(PAGE)]
    for expected in ("exp run", "exp show", "exp diff", "exp apply", "exp branch", "queue start"):
        assert any(f"dvc {expected} " in f"{command} " for command in commands)
    assert len(commands) == len(re.findall(r"^\$ ", PAGE, re.MULTILINE))


def test_the_verdicts_are_those_of_the_benchmark() -> None:
    report = (REPOSITORY / "benchmarks/verdicts.md").read_text()
    (table,) = re.findall(r"^\|.*?(?=\n\n)", report, re.DOTALL | re.MULTILINE)
    assert table in PAGE


def test_the_named_files_are_there() -> None:
    for link in re.findall(r"\]\((?!http)(.*?)\)", PAGE):
        assert (REPOSITORY / "docs" / link).exists(), link
