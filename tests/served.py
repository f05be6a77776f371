"""The server while a `with` lasts: as its real command, or within the tests' own process."""

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image
from urllib3 import HTTPConnectionPool

import exports
from conftest import REPOSITORY, SHAPE
from convline.problems import Problem
from convline.serving import connections
from convline.serving.app import application
from convline.serving.current import Current, File, Served
from convline.serving.description import Described
from convline.serving.limits import Limits
from convline.serving.metrics import Metrics


@dataclass
class Running:
    """A server that listens on loopback; `process` is that of the real command."""

    port: int
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.pool = HTTPConnectionPool("127.0.0.1", self.port, maxsize=8, timeout=30, retries=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """The status, headers and body of an answer."""
        return self.ask("GET", path, None, **headers)

    def ask(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """The same of any request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.pool.request(method, path, body=body, headers=named, decode_content=False)
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.data

    def predict(self, *files: tuple[str, bytes], query: str = "") -> tuple[int, Any]:
        """The status and JSON of an answer about files."""
        fields = [("file", (name, content)) for name, content in files]
        answer = self.pool.request("POST", f"/predict{query}", fields=fields)
        return answer.status, orjson.loads(answer.data)


def picture(band: int, kind: str = "PNG") -> bytes:
    """A picture file whose class is the one with that number, for a model without a shift."""
    pixels = np.full(SHAPE, 20, np.uint8)
    pixels[4 * band : 4 * band + 4] = 220
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def images(*bands: int) -> np.ndarray:
    """The same as an array (n, height, width, channels)."""
    return np.stack([np.asarray(Image.open(io.BytesIO(picture(b)))) for b in bands])[..., None]


@contextmanager
def command(folder: Path, *arguments: str, source: Path = REPOSITORY / "src") -> Iterator[Running]:
    """`python src serve` in `folder`, on a free port, stopped by SIGTERM; its log is `log`."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(source), "serve", "--port", "0", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line, (folder / "log").read_text()
        yield Running(int(line.rpartition(":")[2]), process)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextmanager
def project(folder: Path, shift: int = 0) -> Iterator[Running]:
    """The command, with a small model at models/model.onnx of a folder that is no repository."""
    (folder / "dvc.yaml").write_text("stages: {}\n")
    exports.write(folder / "models/model.onnx", shift)
    with command(folder) as running:
        yield running


@contextmanager
def inprocess(model: Path, limits: Limits) -> Iterator[Running]:
    """A server with these limits, in a thread."""
    metrics = Metrics()

    def describe(served: Served) -> Described:
        return Described({}, "")

    def report(_: Served | Problem) -> None:
        """Tell nobody."""

    app = application(Current(File(model), report), metrics, limits, describe)
    server = connections.server(app, limits, metrics)
    listener = connections.listener("127.0.0.1", 0)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
    thread.start()
    try:
        yield Running(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
