"""DVC's own commands for experiments, in the workspace, in temporary copies and in a queue."""

import csv
import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from conftest import REPOSITORY, Project, ran
from convline.data.datasets import FILES
from test_fetch import good, serving

PATIENCE = 200  # seconds for a queue to end

shares_the_queue = pytest.mark.xdist_group("queue")


@dataclass
class Queue:
    """A queue that has ended: its project, what it asked of the mirror, how each task ended."""

    project: Project
    requests: Counter[str]
    states: dict[str, str]


def speak(project: Project, word: str) -> None:
    """Change the code of evaluate: let it end by printing `word`."""
    original = (REPOSITORY / "src/evaluate.py").read_text()
    (project.path / "src/evaluate.py").write_text(f"{original}    print('{word}')\n")


@contextmanager
def workers(project: Project, count: int, **environment: str) -> Iterator[None]:
    """`dvc queue start`. The workers and what they run are of one session, and end with it."""
    start = subprocess.Popen(
        ["dvc", "queue", "start", "--jobs", str(count)],
        cwd=project.path,
        env=project.environment | environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert start.wait(60) == 0
        yield
    finally:
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
                if os.getsid(process.pid) == start.pid:
                    process.kill()


@pytest.fixture(scope="module")
def queue(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Queue:
    """A grid of two experiments and two impossible ones, by two workers on a fresh clone.

    Code and parameters were changed before queueing, and again before the start.
    """
    project = fresh.copy(tmp_path_factory.mktemp("queue") / "project")
    add = ("exp", "run", "--queue", "--name")
    speak(project, "QUEUED")
    project.dvc(*add, "grid", "-S", "epochs=1", "-S", "learning_rate=0.005,0.02")
    project.dvc(*add, "word", "-S", "epochs=abc")
    project.dvc(*add, "negative", "-S", "learning_rate=-1")
    speak(project, "WORKSPACE")
    project.set_params(seed=1)
    with (
        serving(project.mirror, good) as server,
        workers(project, 2, CONVLINE_MIRROR=server.url, no_proxy="127.0.0.1"),
    ):
        end = time.monotonic() + PATIENCE
        states: dict[str, str] = {}
        while len(states) < 4 or {"Queued", "Running"} & set(states.values()):
            assert time.monotonic() < end, states
            time.sleep(1)
            status = project.dvc("queue", "status")
            states = dict(re.findall(r"^\w{7} +(\S+) .* (\w+)$", status, re.MULTILINE))
    project.run("git", "checkout", "HEAD", "--", ".")
    return Queue(project, Counter(server.requests), states)


@pytest.fixture(scope="module")
def alone(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The second experiment of the grid, run in the workspace of another clone."""
    project = fresh.copy(tmp_path_factory.mktemp("alone") / "project")
    speak(project, "QUEUED")
    project.dvc("exp", "run", "-S", "epochs=1", "-S", "learning_rate=0.02")
    return project


@pytest.mark.slow
@shares_the_queue
def test_two_workers_download_each_file_once(queue: Queue) -> None:
    assert queue.requests == Counter(FILES)


@pytest.mark.slow
@shares_the_queue
def test_an_impossible_experiment_fails_alone_and_says_why(queue: Queue) -> None:
    assert queue.states == {
        "grid-1": "Success",
        "grid-2": "Success",
        "word": "Failed",
        "negative": "Failed",
    }
    for name, problem in {
        "word": "params.yaml: epochs is 'abc'; it should be a valid integer",
        "negative": "params.yaml: learning_rate is -1; it should be greater than 0",
    }.items():
        log = queue.project.dvc("queue", "logs", name)
        assert len(re.findall(rf"^\w+: {re.escape(problem)}", log, re.MULTILINE)) == 1
        assert "Traceback" not in log


@pytest.mark.slow
@shares_the_queue
def test_a_queued_experiment_is_that_of_its_queueing(queue: Queue) -> None:
    """Whatever the workspace holds when it runs."""
    for name in ("grid-1", "grid-2"):
        log = queue.project.dvc("queue", "logs", name)
        assert "\nQUEUED\n" in log
        assert "WORKSPACE" not in log


@pytest.mark.slow
@shares_the_queue
def test_nothing_is_left_of_the_temporary_copies(queue: Queue) -> None:
    assert list((queue.project.path / ".dvc/tmp/exps").glob("tmp*")) == []
    assert queue.project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.slow
@shares_the_queue
def test_side_by_side_or_alone_experiments_end_in_the_same_bytes(
    queue: Queue, alone: Project, tmp_path: Path
) -> None:
    project = queue.project.copy(tmp_path / "project")
    project.dvc("exp", "apply", "grid-2")
    assert project.hashes() == alone.hashes()
    for file in ("params.yaml", "src/evaluate.py"):
        assert (project.path / file).read_text() == (alone.path / file).read_text()


@pytest.mark.slow
@shares_the_queue
def test_experiments_are_listed(queue: Queue) -> None:
    table = queue.project.dvc("exp", "show", "--csv")
    rows = {row["Experiment"]: row for row in csv.DictReader(table.splitlines())}
    assert {name: row["State"] for name, row in rows.items() if name} == queue.states
    assert [rows[name]["learning_rate"] for name in ("grid-1", "grid-2")] == ["0.005", "0.02"]
    assert [rows[name]["epochs"] for name in ("grid-1", "grid-2", "word")] == ["1", "1", "abc"]
    assert rows["grid-1"]["errors"].isdigit()
    assert rows["word"]["errors"] == "!"


@pytest.mark.slow
@shares_the_queue
def test_experiments_are_compared(queue: Queue) -> None:
    difference = json.loads(queue.project.dvc("exp", "diff", "grid-1", "grid-2", "--json"))
    assert difference["params"] == {
        "params.yaml": {"learning_rate": {"old": 0.005, "new": 0.02, "diff": 0.015}}
    }
    assert "negative_log_likelihood" in difference["metrics"]["metrics/evaluate.json"]


@pytest.mark.slow
@shares_the_queue
def test_an_experiment_becomes_a_branch(queue: Queue, tmp_path: Path) -> None:
    project = queue.project.copy(tmp_path / "project")
    project.dvc("exp", "branch", "grid-1", "slower")
    project.run("git", "checkout", "--quiet", "slower")
    project.dvc("checkout")
    assert "learning_rate: 0.005" in (project.path / "params.yaml").read_text()
    assert ran(project.dvc("repro", "--dry")) == []


def test_a_temporary_copy_pulls_from_a_remote_beside_the_clone(
    reproduced: Project, tmp_path: Path
) -> None:
    """DVC resolves a relative path for the copy where it stands in config.local only."""
    remote = ("remote", "add", "--local", "--default", "storage", "../storage")
    origin = reproduced.copy(tmp_path / "origin")
    origin.dvc(*remote)
    origin.dvc("push")
    origin.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))

    clone = Project(tmp_path / "clone", Path("/nowhere"))
    clone.dvc(*remote)
    clone.dvc("remote", "modify", "--local", "storage", "verify", "true")
    output = clone.dvc("exp", "run", "--temp", "--pull", "-S", "validation_size=30", "preprocess")
    assert ran(output) == ["preprocess"]
    assert "270 training, 30 validation" in output
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert not list((clone.path / "data").rglob("[!.]*.*"))
