"""The tree of src/: which module may import which, and where each is tested."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from conftest import REPOSITORY
from convline import pipeline

SRC = REPOSITORY / "src"
TESTS = REPOSITORY / "tests"
FILES = {file.relative_to(SRC): file for file in sorted(SRC.rglob("*.py"))}
SHIMS = {"merge_lock", "pushed"}  # for git configurations and hooks from before the commands
COMMANDS = [
    f"convline.commands.{path.stem}" for path in (SRC / "convline/commands").glob("[!_]*.py")
]


def module(path: Path) -> str:
    """The import name of `path`, a file in src/."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): file for path, file in FILES.items()}


def imports(file: Path) -> set[str]:
    """The modules of src/ that `file` imports, wherever the import stands.

    Those for type checkers count too.
    """
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} has a relative import, which `make deps` does not see"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= whole & set(MODULES) or {str(node.module)}
    return names & set(MODULES)


GRAPH = {name: imports(file) for name, file in MODULES.items()}


def folder(name: str) -> str:
    """Where a module belongs: a folder of convline/, "base", "networks" or "stages"."""
    parts = name.split(".")
    if parts[0] != "convline":
        return parts[0] if len(parts) > 1 else "stages"
    return parts[1] if (SRC / "convline" / "/".join(parts[1:2])).is_dir() and parts[1:] else "base"


# What each may import beside its own folder
ALLOWED = {
    "base": set(),
    "data": {"base"},
    "training": {"base", "data"},
    "evaluation": {"base", "data"},
    "export": {"base", "data"},
    "networks": {"base"},
    "serving": {"base", "data", "evaluation"},
    "search": {"base", "evaluation"},
    "commands": {"base", "data", "training", "evaluation", "search", "serving", "stages"},
    "stages": {"base", "data", "training", "evaluation", "export"},
}


def test_modules_import_in_no_circle() -> None:
    TopologicalSorter(GRAPH).prepare()  # raises CycleError


@pytest.mark.parametrize("name", sorted(set(MODULES) - SHIMS))
def test_a_module_imports_nothing_above_it(name: str) -> None:
    here = folder(name)
    above = {other for other in GRAPH[name] if folder(other) not in {here, *ALLOWED[here]}}
    assert above == set()


def mirrored() -> list[str]:
    """The modules that are tested by a file of their own: those of Convline.

    A stage or a network that somebody adds needs none.
    """
    names = [n for n in MODULES if n.startswith("convline.") and FILES[path(n)].name[0] != "_"]
    return [*names, *pipeline.STAGES, "__main__"]


def path(name: str) -> Path:
    return MODULES[name].relative_to(SRC)


@pytest.mark.parametrize("name", mirrored())
def test_a_module_has_its_test_file(name: str) -> None:
    place = path(name)
    assert (TESTS / place.with_name(f"test_{place.stem.strip('_')}.py")).exists()


@pytest.mark.parametrize("test", sorted(p for p in TESTS.rglob("test_*.py")), ids=lambda p: p.stem)
def test_names_of_test_files_are_unique(test: Path) -> None:
    """Pytest imports them by their names alone."""
    assert list(TESTS.rglob(test.name)) == [test]


def test_no_command_runs_on_import(tmp_path: Path) -> None:
    """Nor does a stage or a shim: nothing is printed or written, and no dvc.yaml is needed."""
    names = [*COMMANDS, *SHIMS, *pipeline.STAGES]
    code = f"import sys; sys.path.insert(0, {str(SRC)!r}); import {', '.join(names)}"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_main_and_a_summary(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text())
    assert "main" in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    assert summary.endswith(".")
    assert len(summary) < 100
