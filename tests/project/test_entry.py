"""`convline`, as `make install` puts it into .venv/bin: it runs the code of its own checkout."""

import shutil
from pathlib import Path

import pytest

from conftest import REPOSITORY, Project

HELLO = '''"""Say where this code is."""


def main() -> None:
    """Print it."""
    print(__file__)
'''


@pytest.fixture
def greeting(clone: Project) -> Project:
    """A clone with a command of its own, and a .venv that has no more than `convline`."""
    (clone.path / "src/convline/commands/hello.py").write_text(HELLO)
    programs = clone.path / ".venv/bin"
    programs.mkdir(parents=True)
    shutil.copy(REPOSITORY / "environment/convline", programs)
    (programs / "python").symlink_to(REPOSITORY / ".venv/bin/python")
    return clone


@pytest.mark.parametrize("way", [".venv/bin/convline", "convline"])
def test_it_runs_the_code_of_this_folder(greeting: Project, way: str) -> None:
    """By its path and by its name, which may be that of another clone's."""
    printed = greeting.run(way, "hello").stdout
    assert Path(printed.strip()) == greeting.path / "src/convline/commands/hello.py"


def test_elsewhere_it_runs_the_code_of_its_own_checkout(greeting: Project, tmp_path: Path) -> None:
    elsewhere = Project(tmp_path, greeting.mirror)
    program = str(greeting.path / ".venv/bin/convline")
    assert "\n  hello " in elsewhere.run(program, "--help").stdout
    result = elsewhere.run(program, "hello", ok=False)
    assert result.returncode == 1
    assert result.stderr == (
        f"hello: there is no dvc.yaml in this folder; run it in {greeting.path}\n"
    )


def test_a_temporary_copy_runs_its_own_code(greeting: Project, tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    command = f"convline hello > {printed}"
    greeting.dvc("stage", "add", "--name", "hello", "--always-changed", command)
    greeting.commit("Add a stage that runs a command")
    greeting.dvc("exp", "run", "--temp", "hello")
    assert printed.read_text().startswith(f"{greeting.path}/.dvc/tmp/exps/")
