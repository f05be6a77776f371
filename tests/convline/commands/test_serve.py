"""`convline serve`: how it starts, what it refuses, how it ends."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import exports
import registry
from conftest import REPOSITORY
from served import command, picture, project


def failed(folder: Path, *arguments: str) -> str:
    """The one line with which the command ends."""
    result = subprocess.run(
        [sys.executable, str(REPOSITORY / "src"), "serve", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = result.stderr.splitlines()
    assert (result.returncode, len(lines), result.stdout) == (1, 1, ""), result.stderr
    return lines[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that passes for a project."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    return tmp_path


def test_it_serves_the_workspace_on_loopback_alone(tmp_path: Path) -> None:
    with project(tmp_path, shift=1) as server:
        _, answer = server.predict(("a", picture(0)))
        assert answer["predictions"][0]["class"] == "bee"
        exports.write(tmp_path / "models/model.onnx", 2)
        for _ in range(100):
            _, answer = server.predict(("a", picture(0)))
            if answer["predictions"][0]["class"] == "cat":
                break
            time.sleep(0.1)
        else:
            pytest.fail("the new file was not picked up")
        assert server.process
        loaded = Path(f"/proc/{server.process.pid}/maps")
        if loaded.exists():
            assert not re.search("/(tensorflow|keras|pandas|sklearn|scipy)/", loaded.read_text())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert server.process.stdout
        assert server.process.stdout.read() == ""
    assert len(registry.events(tmp_path, "model in use")) == 2
    request, *_ = registry.events(tmp_path, "request")
    assert (request["method"], request["path"], request["status"]) == ("POST", "/predict", 200)
    assert request["client"] == "127.0.0.1"


def test_ctrl_c_ends_it(folder: Path) -> None:
    model = exports.write(folder / "a.onnx")
    with command(folder, "--model", str(model)) as server:
        assert server.process
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 130
    assert (folder / "log").read_text().endswith("serve: interrupted\n")


def test_a_missing_model(folder: Path) -> None:
    assert failed(folder) == ("serve: models/model.onnx is missing; `dvc repro export` creates it")
    assert failed(folder, "--model", "no.onnx").startswith("serve: no.onnx is missing")


def test_a_taken_port(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = failed(folder, "--port", str(port))
    assert line == f"serve: cannot listen on 127.0.0.1:{port}: Address already in use"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port", "99999"], "cannot listen on 127.0.0.1:99999: "),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:8000: "),
        (["--host", "no such host"], "cannot listen on no such host:8000: "),
    ],
)
def test_an_address_that_is_none(folder: Path, arguments: list[str], reason: str) -> None:
    assert failed(folder, *arguments).startswith(f"serve: {reason}")
