"""Ctrl-C and kill -9 in the middle of each stage: a plain `dvc repro` recovers all."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from conftest import Project, ran
from fork_server import NEW

slow = pytest.mark.slow


def forget(project: Project, stage: str) -> None:
    """Make DVC run `stage`, and it alone, again."""
    path = project.path / "dvc.lock"
    lock = yaml.safe_load(path.read_text())
    lock["stages"][stage]["cmd"] = "another"
    for output in lock["stages"][stage]["outs"]:
        target = project.path / output["path"]
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    path.write_text(yaml.safe_dump(lock, sort_keys=False))
    shutil.rmtree(project.path / ".dvc/cache/runs")


@contextmanager
def half_a_file(mirror: Path) -> Iterator[tuple[str, threading.Event]]:
    """A mirror that sends half of a file and then falls silent, and the event of it."""
    silent, released = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = (mirror / self.path.strip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            silent.set()
            released.wait(60)

        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", silent
        finally:
            released.set()
            server.shutdown()


@contextmanager
def repro(project: Project, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`dvc repro` as the foreground job of a terminal: a process group of its own."""
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=project.path,
        env=project.environment | {"PYTHONUNBUFFERED": "1"} | NEW | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A script that runs the tests in the background makes them, and all below, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def strike(process: subprocess.Popen[str], how: signal.Signals) -> str:
    """Send the signal to DVC and its stage, as a terminal does; return what is still printed."""
    os.killpg(process.pid, how)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    return output


def recovers(project: Project, stage: str, expected: dict[str, str], **environment: str) -> str:
    """Only `stage` runs again, and all ends in the expected bytes. Returns what is printed."""
    output = project.dvc("repro", ok=True, **environment)
    assert ran(output) == [stage]
    assert project.hashes() == expected
    return output


@pytest.fixture(params=[signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def how(request: pytest.FixtureRequest) -> signal.Signals:
    signal_: signal.Signals = request.param
    return signal_


def test_in_the_middle_of_fetch(project: Project, how: signal.Signals) -> None:
    expected = project.hashes()
    forget(project, "fetch")
    with (
        half_a_file(project.mirror) as (url, silent),
        repro(project, CONVLINE_MIRROR=url) as process,
    ):
        assert silent.wait(60)
        output = strike(process, how)
    if how == signal.SIGINT:
        assert "fetch: interrupted" in output
        assert "Traceback" not in output
    assert [file.suffix for file in (project.path / "data/raw").glob("[!.]*")] in ([], [".part"])
    recovers(project, "fetch", expected)


@pytest.mark.parametrize(
    ("stage", "sign", "file"),
    [
        (
            "preprocess",
            "data/processed/train_images.npy.part",
            "data/processed/validation_images.npy",
        ),
        pytest.param("train", "metrics/history/metrics.json", "models/model.keras", marks=slow),
        pytest.param("evaluate", "metrics/predictions.csv", "metrics/evaluate.json", marks=slow),
    ],
)
def test_in_the_middle_of_writing(
    project: Project, stage: str, sign: str, file: str, how: signal.Signals
) -> None:
    """The unfinished `file` is a pipe that nobody reads: there the stage waits for the signal."""
    expected = project.hashes()
    forget(project, stage)
    pipe = project.path / f"{file}.part"
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    with repro(project) as process:
        while not (project.path / sign).exists():
            assert process.poll() is None
            time.sleep(0.01)
        output = strike(process, how)
    if how == signal.SIGINT:
        assert f"{stage}: interrupted" in output
        assert "Traceback" not in output
    pipe.unlink(missing_ok=True)
    assert not (project.path / file).exists()
    recovers(project, stage, expected)


@pytest.fixture(scope="module")
def long(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A reproduced project with all that is random, and too many epochs to end before a signal."""
    project = reproduced.copy(tmp_path_factory.mktemp("long") / "project")
    project.set_params(
        epochs=40,
        convnet={"dropout": 0.5},
        rotation=10,
        zoom=0.1,
        shift=1,
        distortion=0.5,
        label_smoothing=0.1,
    )
    project.dvc("repro")
    return project


def strike_in_epoch_4(project: Project, how: signal.Signals) -> str:
    """Run `dvc repro` until then; return what is printed after the signal."""
    with repro(project) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Epoch 4/"):
                break
        return strike(process, how)


@slow
@pytest.mark.xdist_group("long")
def test_training_goes_on_after_the_last_finished_epoch(
    long: Project, tmp_path: Path, how: signal.Signals
) -> None:
    project = long.copy(tmp_path / "project")
    expected = project.hashes()
    forget(project, "train")
    output = strike_in_epoch_4(project, how)
    if how == signal.SIGINT:
        assert "train: interrupted" in output
        assert "Traceback" not in output

    output = recovers(project, "train", expected)
    resumed = re.search(r"train: resumes after epoch (\d+) of 40\n", output)
    assert resumed
    assert 3 <= int(resumed[1]) < 40
    assert re.findall(r"Epoch (\d+)/40", output)[0] == str(int(resumed[1]) + 1)
    assert not list((project.path / "checkpoints").iterdir())

    # The run-cache holds the resumed run
    lock = project.path / "dvc.lock"
    lock.write_text(lock.read_text().replace("python src/train.py", "another"))
    shutil.rmtree(project.path / "models")
    assert ran(project.dvc("repro")) == []
    assert project.hashes() == expected


@pytest.fixture(scope="module")
def interrupted(long: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose training was killed in its fourth epoch or later."""
    project = long.copy(tmp_path_factory.mktemp("interrupted") / "project")
    forget(project, "train")
    strike_in_epoch_4(project, signal.SIGKILL)
    return project


def cut(path: Path) -> None:
    """Leave half of a file."""
    os.truncate(path, path.stat().st_size // 2)


def comment(path: Path) -> None:
    """Add a line to a source file."""
    with path.open("a") as file:
        file.write("# changed\n")


@slow
@pytest.mark.xdist_group("long")
@pytest.mark.parametrize(
    ("file", "change"), [("checkpoints/train.npz", cut), ("src/networks/convnet.py", comment)]
)
def test_training_starts_afresh(
    interrupted: Project, tmp_path: Path, file: str, change: Callable[[Path], None]
) -> None:
    """After a change, or with a damaged checkpoint."""
    project = interrupted.copy(tmp_path / "project")
    change(project.path / file)
    result = project.stage("train")
    assert result.returncode == 0, result.stderr
    assert "resumes" not in result.stdout
    assert "Epoch 1/40" in result.stdout
    assert not list((project.path / "checkpoints").iterdir())


@slow
def test_an_interrupted_first_run_ends_in_the_bytes_of_an_uninterrupted_one(
    clone: Project, reproduced: Project, how: signal.Signals
) -> None:
    with repro(clone) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Epoch 1/"):
                break
        strike(process, how)
    assert ran(clone.dvc("repro")) == ["train", "evaluate", "export"]
    assert clone.hashes() == reproduced.hashes()
