"""Several processes: whether all have come, and how all end where one does.

No one computes here; tests/project/test_several_devices.py trains.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import jobs
from convline import processes
from convline.problems import Problem
from servers import free_port

# A stage that goes on for ten minutes, or does in process 1 what its argument says
STAGE = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2] / "src")!r})
from convline import problems, processes

role, processes.COME_WITHIN, processes.STUCK_FOR = sys.argv[1], *map(float, sys.argv[2:])

def main():
    number = processes.here().number
    Path(f"began{{number}}").touch()
    for turn in range(12_000):
        if role == "stuck" and turn == (21, 20)[number]:  # where 0 waits for 1
            time.sleep(600)
        if number == 1 and turn == 20:
            if role == "problem":
                raise problems.Problem("its disk is full")
            if role == "error":
                raise KeyError("missing")
        if role == "good" and turn == 20:
            return
        processes.go_on()
        time.sleep(0.05)

processes.run(main)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stage.py").write_text(STAGE)
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).touch()
    return tmp_path


@contextmanager
def team(
    folder: Path,
    role: str,
    numbers: list[int],
    *,
    counts: list[int] | None = None,
    come: float = 120,
    stuck: float = 600,
) -> Iterator[list[jobs.Member]]:
    """Processes with these numbers of two, or of as many as `counts` says, on the same port."""
    port = free_port()
    places = zip(numbers, counts or [2] * len(numbers))
    with jobs.started(
        ["python", "stage.py", role, str(come), str(stuck)],
        [folder] * len(numbers),
        [jobs.variables(*place, port) for place in places],
    ) as members:
        yield members


def all_begun(folder: Path, members: list[jobs.Member]) -> None:
    """Wait until all children run."""
    while not all((folder / f"began{number}").exists() for number in range(len(members))):
        assert all(member.process.poll() is None for member in members)
        time.sleep(0.05)


def test_alone_a_stage_runs_in_its_own_process(folder: Path) -> None:
    with jobs.started(["python", "stage.py", "good", "1", "1"], [folder], [{}]) as (member,):
        assert member.ended() == (0, [])


def test_all_end_well(folder: Path) -> None:
    with team(folder, "good", [0, 1]) as members:
        assert [member.ended() for member in members] == [(0, [])] * 2


def test_processes_that_do_not_come_are_named(folder: Path) -> None:
    line = "stage: 2 of 4 processes have not come within 5 s: number 1, 2"
    with team(folder, "good", [0, 3], counts=[4, 4], come=5) as members:
        assert [member.ended() for member in members] == [(1, [line])] * 2
    assert not (folder / "began0").exists()


def test_a_first_process_that_does_not_come_is_named(folder: Path) -> None:
    with team(folder, "good", [1], come=2) as (member,):
        code, (line,) = member.ended()
    assert code == 1
    assert line.startswith("stage: process 0 at 127.0.0.1:")
    assert line.endswith(" cannot be reached within 2 s: Connection refused")


def test_a_wrong_count_is_refused(folder: Path) -> None:
    with team(folder, "good", [0, 1], counts=[2, 3]) as members:
        ends = [member.ended() for member in members]
    for code, (line,) in ends:
        assert code == 1
        assert line.startswith("stage: process 1 (")
        assert line.endswith(") is one of 3, and process 0 one of 2")


def test_a_number_that_two_have_is_refused(folder: Path) -> None:
    with team(folder, "good", [0, 1, 1], counts=[3, 3, 3]) as members:
        ends = [member.ended() for member in members]
    assert ends == [(1, ["stage: two processes have the number 1"])] * 3


def test_other_parameters_are_refused(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    for name in ("stage.py", "dvc.yaml"):
        (other / name).write_bytes((folder / name).read_bytes())
    (other / "params.yaml").write_text("epochs: 7\n")
    port = free_port()
    with jobs.started(
        ["python", "stage.py", "good", "120", "600"],
        [folder, other],
        [jobs.variables(number, 2, port) for number in range(2)],
    ) as members:
        for member in members:
            code, (line,) = member.ended()
            assert code == 1
            assert "has another params.yaml than process 0 (" in line


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({processes.NUMBER: "2"}, "this is process 2 of 2, which have the numbers 0 to 1"),
        ({processes.NUMBER: "x"}, "and the number of this one, from 0; they are "),
        ({processes.COUNT: ""}, "their number and the number of this one"),
        ({processes.ADDRESS: "node1"}, "should be HOST:PORT of the first one"),
    ],
)
def test_wrong_variables_are_refused(
    change: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (jobs.variables(0, 2, 1) | change).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Problem, match=expected):
        processes.launched()


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "node1", "SLURM_PROCID": "0"},
        {"SLURM_NTASKS": "2", "SLURM_PROCID": "0"},
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
    ],
)
def test_one_process_of_a_launcher_is_alone(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is one in a job of Slurm that srun has not started."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert processes.launched() == processes.Place()


def test_open_mpi_5_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(Problem, match="does not say where the first process is, as Open MPI 5"):
        processes.launched()


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("whom", ["process", "child"])
def test_the_death_of_one_ends_all(folder: Path, number: int, whom: str) -> None:
    with team(folder, "goes on", [0, 1]) as members:
        all_begun(folder, members)
        children = [member.child for member in members]
        os.kill(getattr(members[number], whom).pid, signal.SIGKILL)
        code, (line,) = members[1 - number].ended(jobs.WITHIN)
        assert code == 1
        died = "was killed by SIGKILL" if whom == "child" else "has ended: it was killed, or the "
        assert line.startswith(f"stage: process {number} (")
        assert f") {died}" in line
        members[number].ended(jobs.WITHIN)
        psutil.wait_procs(children, timeout=jobs.WITHIN)
        assert not any(child.is_running() for child in children)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("whom", ["process", "child"])
def test_a_stopped_one_ends_the_others(folder: Path, number: int, whom: str) -> None:
    with team(folder, "goes on", [0, 1]) as members:
        all_begun(folder, members)
        os.kill(getattr(members[number], whom).pid, signal.SIGSTOP)
        code, (line,) = members[1 - number].ended(jobs.WITHIN)
        assert code == 1
        assert line.startswith(f"stage: process {number} (")
        assert ") has not answered for 15 s: it was stopped, or " in line


def test_one_that_is_alive_and_stuck_ends_all(folder: Path) -> None:
    with team(folder, "stuck", [0, 1], stuck=8) as members:
        for code, (line,) in [member.ended() for member in members]:
            assert code == 1
            assert line.startswith("stage: no process has gone on for 8 s; waiting for process 1 (")


def test_a_problem_of_one_is_the_problem_of_all(folder: Path) -> None:
    with team(folder, "problem", [0, 1]) as members:
        for code, (line,) in [member.ended() for member in members]:
            assert code == 1
            assert line.startswith("stage: process 1 (")
            assert line.endswith(") has stopped: its disk is full")


def test_an_error_shows_its_traceback_where_it_is(folder: Path) -> None:
    with team(folder, "error", [0, 1]) as members:
        (code, (line,)), (_, lines) = [member.ended() for member in members]
    assert code == 1
    assert line.endswith(") has failed: KeyError: 'missing'")
    assert lines[0].startswith("Traceback")
    assert lines[-2:] == ["KeyError: 'missing'", line]


def test_ctrl_c_ends_all(folder: Path) -> None:
    with team(folder, "goes on", [0, 1]) as members:
        all_begun(folder, members)
        child = members[0].child
        for process in (members[0].process, child):
            os.kill(process.pid, signal.SIGINT)
        assert members[0].ended(jobs.WITHIN) == (130, ["stage: interrupted"])
        assert members[1].ended(jobs.WITHIN)[0] == 1
        psutil.wait_procs([child], timeout=jobs.WITHIN)
        assert not child.is_running()
