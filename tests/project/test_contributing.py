"""CONTRIBUTING, played: from a clone to a pull request, with one of each kind of addition."""

import json
import re
from pathlib import Path

import pytest

from conftest import REPOSITORY, Project, ran

PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def follow(project: Project) -> str:
    """Change files and run commands, in the order of the page, and return what they print.

    A block is of the file that the text before it names last. What is there already, is left.
    """
    # What mypy found out about these files once, it need not find out again
    cache = str(REPOSITORY / ".mypy_cache")
    printed = ""
    for block in BLOCK.finditer(PAGE):
        kind, text = block.groups()
        path = project.path / (re.findall(r"`([\w/]+\.\w+)`", PAGE[: block.start()]) or [""])[-1]
        if kind == "sh":
            result = project.run("bash", "-exc", text, ok=False, MYPY_CACHE_DIR=cache)
            assert result.returncode == 0, result.stdout + result.stderr
            printed += result.stdout
        elif kind == "python":
            path.write_text(text)
        else:
            lines = [(line[:1], line[1:]) for line in text.splitlines(keepends=True)]
            old = "".join(line for sign, line in lines if sign != "+")
            new = "".join(line for sign, line in lines if sign != "-")
            content = path.read_text()
            if new not in content:
                assert not old or content.count(old) == 1, f"{path}: {old}"
                path.write_text(content.replace(old, new) if old else content + new)
    return printed


@pytest.mark.slow
def test_from_clone_to_pull_request(reproduced: Project, tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    upstream = reproduced.copy(tmp_path / "upstream")
    upstream.add_remote(str(tmp_path / "storage"))
    upstream.set_params(gate={"least_accuracy": 0.5, "largest_fall": 1.0})
    upstream.commit("Configure a remote and the gate")
    upstream.dvc("push")
    upstream.run("git", "clone", "--quiet", "--bare", ".", str(origin))

    upstream.run("git", "clone", "--quiet", str(origin), str(tmp_path / "clone"))
    project = Project(tmp_path / "clone", upstream.mirror)
    project.run("git", "config", "user.name", "A")
    project.run("git", "config", "user.email", "a@example.com")
    project.install()
    project.dvc("pull")

    printed = follow(project)
    figures = json.loads((project.path / "metrics/evaluate.json").read_text())
    assert 0 < figures["macro_f1"] <= 1
    assert "macro-averaged F1" in printed  # of the comparison
    assert json.loads((project.path / "metrics/balance.json").read_text())["smallest_class"] == 80
    experiments = project.dvc("exp", "list", "--all", "--name-only").split()
    assert {"branches", "wider", "clipped"} <= set(experiments)
    assert "balanced" in project.run("git", "branch", "--remotes").stdout
    assert project.convline("pushed", "balanced").returncode == 0
    assert project.run("git", "status", "--porcelain").stdout == ""

    project.set_params(branches={"filters": 9}, least_per_class=1000)
    assert ran(project.dvc("repro", "--dry")) == ["balance"]
    result = project.stage("balance")
    assert (result.returncode, result.stderr) == (
        1,
        "balance: params.yaml: least_per_class is 1000, but class 0 has 80 training images\n",
    )

    # What guards dvc.yaml and the documents holds with all of it
    files = ["project/test_dvc_yaml", "project/test_structure", "convline/evaluation/test_figures"]
    arguments = ("--numprocesses=0", f"--basetemp={tmp_path / 'inner'}")
    outcome = project.run(
        *("python", "-m", "pytest", *arguments),
        *(f"tests/{file}.py" for file in files),
        ok=False,
    )
    assert outcome.returncode == 0, outcome.stdout


def test_the_table_counts_the_places() -> None:
    rows = re.findall(r"^\| a (.*?) \| (\d) \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for what, number, places in rows:
        assert len(re.split(r"`, | in `?\w+\.py`?, |, ", places)) == int(number), what
