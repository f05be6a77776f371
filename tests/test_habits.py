"""The configuration of the contributors' tools is valid and names only what exists."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import REPOSITORY

VALIDATOR = Path(sys.executable).with_name("check-jsonschema")
SCHEMAS = {".github/renovate.json": "vendor.renovate"} | {
    f".github/ISSUE_TEMPLATE/{form.name}": "vendor.github-issue-forms"
    for form in sorted((REPOSITORY / ".github/ISSUE_TEMPLATE").iterdir())
}
PRE_COMMIT = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
LOCKS = ["requirements.txt", "requirements-gpu.txt"]
# The packages whose programs have other names
PACKAGES = dict.fromkeys(
    [
        "check-added-large-files",
        "check-merge-conflict",
        "end-of-file-fixer",
        "trailing-whitespace-fixer",
    ],
    "pre-commit-hooks",
)


@pytest.mark.parametrize("file", SCHEMAS)
def test_the_configuration_is_valid(file: str) -> None:
    command = [str(VALIDATOR), "--builtin-schema", SCHEMAS[file], file]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_hooks_download_nothing() -> None:
    assert [repository["repo"] for repository in PRE_COMMIT["repos"]] == ["local"]
    for hook in PRE_COMMIT["repos"][0]["hooks"]:
        assert hook["language"] == "system", hook["id"]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_brings_the_programs_of_the_hooks(lock: str) -> None:
    locked = set(re.findall(r"^([\w.-]+)==", (REPOSITORY / lock).read_text(), re.MULTILINE))
    for hook in PRE_COMMIT["repos"][0]["hooks"]:
        program = Path(shlex.split(hook["entry"])[0])
        assert program.parent == Path(".venv/bin")
        assert PACKAGES.get(program.name, program.name) in locked
    assert "pre-commit" in locked


@pytest.mark.parametrize("lock", LOCKS)
def test_renovate_can_repeat_the_command_of_the_lock(lock: str) -> None:
    """It reads the command at the top of the lock, and no value apart from its option."""
    program, *arguments = (REPOSITORY / lock).read_text().splitlines()[1].lstrip("# ").split()
    assert [program, *arguments[:2]] == ["uv", "pip", "compile"]
    assert [word for word in arguments[2:] if word[0] != "-"] == ["pyproject.toml"]
    assert f"--output-file={lock}" in arguments


@pytest.mark.parametrize("page", ["CHANGELOG.md", ".github/pull_request_template.md"])
def test_make_has_the_targets_that_a_page_names(page: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(" ".join(re.findall(r"^([a-z0-9 -]+):(?!=)", makefile, re.MULTILINE)).split())
    named = set(re.findall(r"`make ([a-z0-9-]+)", (REPOSITORY / page).read_text()))
    assert named
    assert named <= targets


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_share_a_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist ignores groups without a word where it does not fit pytest."""
    assert request.node.nodeid.endswith("@together") == ("PYTEST_XDIST_WORKER" in os.environ)
