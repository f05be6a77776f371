"""Every command of the pages in docs/ runs and prints what the page says; figures are so."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

import console
import drawings
import servers
from conftest import CLASSES, REPOSITORY, Project

PAGES = {page.stem: page.read_text() for page in sorted((REPOSITORY / "docs").glob("*.md"))}


# What depends on the dataset
OF_DATASET = re.compile(
    "|".join(["mnist", "tiny", *CLASSES, "passed", "FAILED", "[0-9a-f]{32}", r"(?<=\d)e-\d+"])
)


def words(text: str) -> list[str]:
    """The words of the first line, but those of the dataset, and no md5s or exponents."""
    return re.findall(r"[^\W\d]+", OF_DATASET.sub("", text.partition("\n")[0]))


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"experiments"}))  # see test_first_hour
def test_every_command_runs_and_prints_the_like(
    page: str, reproduced: Project, tmp_path: Path
) -> None:
    """In the order of the page, on the tiny dataset, for which its figures are others."""
    project = reproduced.copy(tmp_path / "convline")
    project.install()
    shell = console.Shell(project.path, project.environment)
    text = PAGES[page]
    with ExitStack() as stack:
        if "example.com" in text:
            if reason := servers.missing(*servers.NEEDED):
                pytest.skip(reason)
            example = servers.example(tmp_path, project.path)
            shell.addresses, variables = stack.enter_context(example)
            shell.environment = shell.environment | variables
        if console.PICTURES in text:
            shell.addresses = {console.PICTURES: str(drawings.draw_all(tmp_path / "pictures"))}
        if console.SERVE in text:
            port = stack.enter_context(console.free_port(project.path))
            shell.addresses = shell.addresses | port
        printed = console.outputs(console.refreshed(text, shell))
    for (command, output), (_, shown) in zip(printed, console.outputs(text), strict=True):
        assert words(output) == words(shown), command


@pytest.mark.slow
def test_a_path_is_never_run(reproduced: Project, tmp_path: Path) -> None:
    folder = tmp_path / "it's ;touch x;"
    folder.mkdir()
    project = reproduced.copy(folder / "project")
    page = project.path / "page.md"
    page.write_text("```console\n$ git log -1 --format=%s\n```\n")
    project.run("python", "docs/console.py", "page.md", TMPDIR=str(folder))
    assert page.read_text() == "```console\n$ git log -1 --format=%s\nReproduce\n```\n"
    assert project.run("git", "status", "--porcelain").stdout == "?? page.md\n"


def test_the_commands_are_found() -> None:
    commands = [command for command, _ in console.outputs(PAGES["experiments"])]
    for expected in ("exp run", "exp show", "exp diff", "exp apply", "exp branch", "queue start"):
        assert any(f"dvc {expected} " in f"{command} " for command in commands)
    for page in PAGES.values():
        assert len(console.outputs(page)) == len(re.findall(r"^\$ ", page, re.MULTILINE))
    assert console.outputs(PAGES["sharing"])


@pytest.mark.parametrize(
    ("page", "benchmark", "shown"),
    [
        ("experiments", "verdicts", None),
        ("sharing", "remotes", None),
        ("pictures", "pictures", None),
        ("measurements", "recipes", 2),
        ("measurements", "backends", None),
        ("measurements", "search", None),
        ("measurements", "samplers", None),
        ("measurements", "cost", 2),
        ("measurements", "startup", 2),
        ("measurements", "growth", 2),
        ("measurements", "floor", 1),
        ("measurements", "formats", None),
        ("measurements", "serve", None),
        ("devices", "scaling", None),
    ],
)
def test_the_tables_are_those_of_the_benchmark(
    page: str, benchmark: str, shown: int | None
) -> None:
    """The first tables of each, which `shown` counts, or all, and the command behind them."""
    report = (REPOSITORY / f"benchmarks/{benchmark}.md").read_text()
    tables = re.findall(r"^\|.*?(?=\n\n)", report, re.DOTALL | re.MULTILINE)[:shown]
    assert tables
    for table in tables:
        assert table in PAGES[page]
    (command, *_) = re.findall(r"^From `(.*?)`", report, re.MULTILINE)
    assert command in PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_the_named_files_are_there(page: str) -> None:
    for link in re.findall(r"\]\((?!http)(.*?)\)", PAGES[page], re.DOTALL):
        assert (REPOSITORY / "docs" / link).exists(), link
