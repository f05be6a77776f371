"""The entry point of the commands."""

import ast
from pathlib import Path

import pytest

from conftest import REPOSITORY, Project

COMMANDS = {
    path.stem.strip("_").replace("_", "-"): path
    for path in (REPOSITORY / "src/convline/commands").glob("*.py")
    if path.stem != "__init__"
}


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_each_command_with_its_purpose(fresh: Project, arguments: list[str]) -> None:
    _, _, *lines, _, _ = fresh.convline(*arguments).stdout.splitlines()
    assert dict(line.split(maxsplit=1) for line in lines) == {
        name: (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        for name, path in COMMANDS.items()
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_names_it(fresh: Project, name: str) -> None:
    assert fresh.convline(name, "--help").stdout.startswith(f"usage: convline {name} ")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("comparee", "did you mean compare?"),
        ("zzz", f"the commands are {', '.join(sorted(COMMANDS))}"),
        ("../train", "the commands are "),
    ],
)
def test_an_unknown_command_ends_in_one_line(fresh: Project, name: str, hint: str) -> None:
    result = fresh.convline(name, ok=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"convline: there is no command {name!r}; {hint}")


def test_arguments_reach_the_command(reproduced: Project) -> None:
    """After `--` also those that look like options."""
    result = reproduced.convline("compare", "main", "--", "-x", ok=False)
    assert result.returncode == 1
    assert result.stderr == "compare: there is no branch, tag, commit or experiment '-x'\n"
    assert "unrecognized arguments: --no" in reproduced.convline("gate", "--no", ok=False).stderr


def test_outside_a_project_a_command_says_where_one_is(fresh: Project, tmp_path: Path) -> None:
    program = str(fresh.path / "src")
    for name in ("compare", "merge-lock"):
        result = Project(tmp_path, fresh.mirror).run("python", program, name, ok=False)
        assert result.returncode == 1
        assert result.stderr == (
            f"{name}: there is no dvc.yaml in this folder; run it in {fresh.path}\n"
        )
    outside = Project(tmp_path, fresh.mirror).run("python", program, "--help")
    assert outside.stdout == fresh.convline("--help").stdout
