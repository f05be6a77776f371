"""One training on several devices and in several processes: the same bytes, however it is started.

On two virtual devices, in one process or in two on this machine. What happens to processes that do
not train is tested in tests/convline/test_processes.py.
"""

import os
import re
import shutil
import signal
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import jobs
from conftest import Project, ran
from fork_server import NEW
from servers import LOOPBACK, free_port, slurm
from teams import skip_without

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("jax")]

EPOCHS = 60
# As processes on this machine would see them
MPIRUN = ("mpirun", "-n", "2", "--oversubscribe", "--bind-to", "none", "--mca")
MPIRUN_HERE = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@pytest.fixture(scope="module")
def on_two(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project trained on two virtual devices in one process. Tests leave it as it is.

    With all that is random, batch normalization and, in each epoch, an image that is left over.
    """
    project = reproduced.copy(tmp_path_factory.mktemp("devices") / "project")
    project.set_params(
        backend="jax",
        devices=2,
        epochs=EPOCHS,
        validation_size=61,
        convnet={"dropout": 0.5, "batch_normalization": True},
        rotation=10,
        distortion=0.5,
        average_mirrored=True,
    )
    project.dvc("repro", "preprocess")
    result = project.stage("train", **NEW)
    assert result.returncode == 0, result.stderr
    return project


def fresh(on_two: Project, folder: Path) -> Project:
    """A copy of the project that has not trained yet."""
    project = on_two.copy(folder / "project")
    shutil.rmtree(project.path / "metrics/history")
    for name in ("models/model.keras", "metrics/train.json"):
        (project.path / name).unlink()
    return project


def outputs(project: Project) -> dict[str, str]:
    """The sha256 of all that train writes."""
    return {
        path: sha256
        for path, sha256 in project.hashes().items()
        if re.match(r"models/model.keras|metrics/(train|history)", path)
    }


def environment(project: Project) -> dict[str, str]:
    """The variables of the project's commands, whose output shows at once."""
    return project.environment | NEW | {"PYTHONUNBUFFERED": "1"}


def team(project: Project) -> AbstractContextManager[list[jobs.Member]]:
    """The stage train in two processes, with the three variables."""
    port = free_port()
    return jobs.started(
        ["python", "src/train.py"],
        [project.path] * 2,
        [environment(project) | jobs.variables(number, 2, port) for number in range(2)],
    )


def printed(project: Project) -> str:
    """What the first process has printed so far."""
    return (project.path / "stdout0.txt").read_text()


def in_another_epoch(project: Project, members: list[jobs.Member]) -> None:
    """Wait until the first process has begun an epoch after its first one."""
    while len(re.findall(r"^Epoch ", printed(project), re.MULTILINE)) < 3:
        assert all(member.process.poll() is None for member in members), [
            member.stderr.read_text() for member in members
        ]
        time.sleep(0.02)


def test_two_processes_end_in_the_bytes_of_one_after_all_that_happens(
    on_two: Project, tmp_path: Path
) -> None:
    """Each is killed and stopped once, and the training resumed each time."""
    project = fresh(on_two, tmp_path)
    ends = [(signal.SIGKILL, 0), (signal.SIGKILL, 1), (signal.SIGSTOP, 0), (signal.SIGSTOP, 1)]
    for how, number in ends:
        with team(project) as members:
            in_another_epoch(project, members)
            if how == signal.SIGSTOP:  # as of a machine that hangs: what trains too
                members[number].child.send_signal(how)
            os.kill(members[number].process.pid, how)
            code, (line,) = members[1 - number].ended(jobs.WITHIN)
        assert code == 1
        assert line.startswith(f"train: process {number} (")
        assert not (project.path / "models/model.keras").exists()

    # Not resumed in another number of devices, nor of processes, which with more devices than
    # two gives other weights, too
    checkpoint = (project.path / "checkpoints/train.npz").read_bytes()
    for devices, other in ((1, "1 device in 1 process"), (2, "2 devices in 1 process")):
        project.set_params(devices=devices)
        assert project.problem("train", **NEW) == (
            "train: checkpoints/train.npz is from a training on 2 devices in 2 processes, and "
            f"{other} would end in other weights; start it as before to resume it, or delete the "
            "file"
        )
        assert (project.path / "checkpoints/train.npz").read_bytes() == checkpoint

    with team(project) as members:
        assert [member.ended() for member in members] == [(0, [])] * 2
    assert "train: resumes after epoch " in printed(project)
    assert (project.path / "stdout1.txt").read_text() == ""
    assert outputs(project) == outputs(on_two)

    # What the pipeline has not run itself, DVC takes over
    project.dvc("commit", "--force", "train")
    assert ran(project.dvc("repro", ok=True, **NEW)) == ["evaluate", "export"]


def test_slurm_ends_in_the_same_bytes(on_two: Project, tmp_path: Path) -> None:
    """On two nodes, both of which are this machine."""
    skip_without("slurm")
    project = fresh(on_two, tmp_path)
    (tmp_path / "slurm").mkdir()
    here = {"JAX_COORDINATOR_ADDRESS": f"{LOOPBACK}:{free_port()}"}  # not by the node's name
    with slurm(tmp_path / "slurm", nodes=2) as variables:
        command = ("srun", "-N", "2", "-n", "2", sys.executable, "src/train.py")
        result = project.run(*command, ok=False, **variables, **here, **NEW)
    assert result.returncode == 0, result.stderr
    assert outputs(project) == outputs(on_two)


@pytest.mark.skipif(not shutil.which("mpirun"), reason="needs mpirun of Open MPI 4")
def test_mpirun_ends_in_the_same_bytes(on_two: Project, tmp_path: Path) -> None:
    project = fresh(on_two, tmp_path)
    command = (*MPIRUN, "oob_tcp_if_include", "lo", sys.executable, "src/train.py")
    result = project.run(*command, ok=False, **NEW, **MPIRUN_HERE)
    assert result.returncode == 0, result.stderr
    assert outputs(project) == outputs(on_two)


def test_a_rerun_on_two_devices_gives_the_same_bytes(on_two: Project, tmp_path: Path) -> None:
    project = fresh(on_two, tmp_path)
    assert project.stage("train", **NEW).returncode == 0
    assert outputs(project) == outputs(on_two)


def test_processes_with_other_code_are_refused(on_two: Project, tmp_path: Path) -> None:
    project = fresh(on_two, tmp_path)
    other = project.copy(tmp_path / "other")
    with open(other.path / "src/convline/training/augmentation.py", "a") as file:
        file.write("# changed\n")
    port = free_port()
    with jobs.started(
        ["python", "src/train.py"],
        [project.path, other.path],
        [environment(project) | jobs.variables(number, 2, port) for number in range(2)],
    ) as members:
        for code, (line,) in [member.ended() for member in members]:
            assert code == 1
            assert line.startswith("train: process 1 (")
            assert ": src/convline/training/augmentation.py is " in line
            assert line.endswith(" in process 0: bring all to the same commit and data")


@pytest.mark.parametrize("devices", [1, 3])
def test_processes_that_do_not_fit_the_devices_are_refused(
    devices: int, on_two: Project, tmp_path: Path
) -> None:
    project = fresh(on_two, tmp_path)
    project.set_params(devices=devices, batch_size=30)
    with team(project) as members:
        for code, (line,) in [member.ended() for member in members]:
            assert code == 1
            assert line.endswith(
                f"params.yaml: devices is {devices}, which 2 processes cannot share equally; "
                "set it to 2 or a multiple"
            )
