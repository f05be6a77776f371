"""Measure the server under load, side by side with bare calls of onnxruntime in one run.

The server is `convline serve` with models/model.onnx, in a process of its own; the clients are
threads of this one, each with an open connection and requests made beforehand. Bare calls are made
by as many threads. Run on an otherwise idle machine, from anywhere, with the project's environment,
after `dvc repro export`. Writes benchmarks/serve.md.
"""

import argparse
import io
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from side_by_side import REPOSITORY, report, table

sys.path.append(str(REPOSITORY / "src"))
from convline import exported
from convline.data import fitting
from convline.exported import Bytes, Classifier
from convline.serving.current import THREADS

MANY = 64  # images of a large request
INFER = "/v2/models/classifier/infer"
EDGE = "----------edge"


class Load(NamedTuple):
    """What was answered: images a second, and the milliseconds of each request."""

    rate: float
    milliseconds: list[float]


def main() -> None:
    """Measure all kinds of requests in turns, and report the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=REPOSITORY / "models/model.onnx")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, default 1")
    parser.add_argument("--threads", type=int, default=4, help="clients, default 4")
    options = parser.parse_args()

    classifier = exported.read(options.model, THREADS)
    pictures = [drawn(seed, classifier.about.shape) for seed in range(MANY)]
    rows = []
    with server(options.model) as port:
        for count in (1, MANY):
            some = pictures[:count]
            images = np.stack([fitting.fit(picture, classifier.about) for picture in some])
            kinds: dict[str, Callable[[], Callable[[], None]]] = {
                "onnxruntime": partial(partial, bare, classifier, images),
                "decoding and onnxruntime": partial(partial, decoded, classifier, some),
                "PNG files": partial(client, port, form(some)),
                "binary tensor": partial(client, port, binary(images)),
                "binary tensor, bytes": partial(client, port, binary(images, "UINT8")),
                "JSON tensor": partial(client, port, listed(images)),
            }
            loads: dict[str, list[Load]] = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, connect in kinds.items():
                    loads[kind].append(load(connect, options.threads, options.seconds, count))
            for kind, found in loads.items():
                ratios = [one.rate / own.rate for one, own in zip(found, loads["onnxruntime"])]
                times = np.concatenate([one.milliseconds for one in found])
                rows.append(
                    [
                        kind,
                        str(count),
                        f"{median(one.rate for one in found):,.0f}",
                        f"{median(ratios):.2f}",
                        *(f"{np.percentile(times, share):.2f}" for share in (50, 99)),
                    ]
                )
                print(*rows[-1], flush=True)

    about = classifier.about
    report(
        "serve",
        "The server under load, beside bare calls of onnxruntime",
        f"Model of {about.dataset}, images {' x '.join(map(str, about.shape))}; {options.threads} "
        f"clients at a time; medians of {options.rounds} rounds of {options.seconds:g} seconds. "
        "Clients, server and bare calls share the same processors; a call of the network has "
        f"{THREADS} thread.",
        "Rate: images a second. Ratio: to the rate of bare calls with as many images in the same "
        "round. p50 and p99: milliseconds of a request.",
        table(["request", "images", "rate", "ratio", "p50", "p99"], rows),
    )


def drawn(seed: int, shape: tuple[int, int, int]) -> bytes:
    """A PNG of some strokes."""
    random = np.random.default_rng(seed)
    height, width, channels = shape
    image = Image.new("L" if channels == 1 else "RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        ends = [tuple(point) for point in (random.random((3, 2)) * (width, height)).tolist()]
        draw.line(ends, fill="white", width=max(1, width // 12), joint="curve")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def bare(classifier: Classifier, images: Bytes) -> None:
    """Ask onnxruntime."""
    classifier(images)


def decoded(classifier: Classifier, pictures: list[bytes]) -> None:
    """Fit the pictures and ask onnxruntime."""
    classifier(np.stack([fitting.fit(picture, classifier.about) for picture in pictures]))


def request(path: str, body: bytes, **headers: str) -> bytes:
    """An HTTP request."""
    named = {"host": "localhost", "content-length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def form(pictures: list[bytes]) -> bytes:
    """A request with picture files."""
    parts = [
        f'--{EDGE}\r\nContent-Disposition: form-data; name="file"; filename="{n}.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + picture
        + b"\r\n"
        for n, picture in enumerate(pictures)
    ]
    body = b"".join(parts) + f"--{EDGE}--\r\n".encode()
    return request("/predict", body, content_type=f"multipart/form-data; boundary={EDGE}")


def binary(images: Bytes, kind: str = "FP32") -> bytes:
    """An inference request as Triton's client makes it."""
    raw = images.astype(np.float32 if kind == "FP32" else np.uint8).tobytes()
    tensor: dict[str, object] = {"name": "image", "shape": images.shape, "datatype": kind}
    tensor["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return request(INFER, head + raw, inference_header_content_length=str(len(head)))


def listed(images: Bytes) -> bytes:
    """An inference request in JSON."""
    tensor = {"name": "image", "shape": images.shape, "datatype": "UINT8"}
    tensor |= {"data": images.ravel().tolist()}
    return request(INFER, json.dumps({"inputs": [tensor]}).encode())


def client(port: int, content: bytes) -> Callable[[], None]:
    """A connection: what it returns sends the request and reads the answer."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask() -> None:
        connection.sendall(content)
        answer = connection.recv(1 << 20)
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(1 << 20)
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"the server refuses: {answer[:500]!r}")
        (length,) = [int(line[15:]) for line in head.split(b"\r\n") if line[:15] == LENGTH]
        left = length - len(body)
        while left:
            left -= len(connection.recv(left))

    return ask


LENGTH = b"content-length:"


def load(
    connect: Callable[[], Callable[[], None]], threads: int, seconds: float, count: int
) -> Load:
    """Ask from `threads` threads for some seconds, `count` images at a time."""
    asks = [connect() for _ in range(threads)]
    times: list[list[float]] = [[] for _ in asks]
    for ask in asks:
        ask()
    begin = time.perf_counter()

    def work(ask: Callable[[], None], own: list[float]) -> None:
        now = begin
        while not own or now < begin + seconds:
            ask()
            before, now = now, time.perf_counter()
            own.append(1000 * (now - before))

    workers = [threading.Thread(target=work, args=pair) for pair in zip(asks, times)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    milliseconds = [one for own in times for one in own]
    return Load(count * len(milliseconds) / (time.perf_counter() - begin), milliseconds)


@contextmanager
def server(model: Path) -> Iterator[int]:
    """`convline serve` with `model`: its port."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "dvc.yaml").write_text("stages: {}\n")
        arguments = ("serve", "--port=0", "--model", str(model.resolve()))
        command = [sys.executable, str(REPOSITORY / "src"), *arguments]
        with open(Path(folder, "log"), "w") as log:
            process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                sys.exit(Path(folder, "log").read_text())
            time.sleep(1)  # it describes its model meanwhile
            yield int(line.rpartition(":")[2])
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
