"""Connections that wait, and too many of them."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import exports
from convline.serving.limits import Limits
from served import Running, inprocess, picture

LIMITS = Limits(connections=20, head_seconds=0.5, body_seconds=20, send_seconds=0.5, idle_seconds=2)
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's file."""
    return exports.write(tmp_path_factory.mktemp("served") / "model.onnx")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Running]:
    """A server that soon loses patience."""
    with inprocess(model, LIMITS) as running:
        yield running


def connect(server: Running) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def rest(client: socket.socket) -> bytes:
    """All that still comes, up to the end of the connection."""
    parts = []
    try:
        while part := client.recv(100_000):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize("sent", [b"", b"POST /pre", HEAD, HEAD + b"X-Y: "])
def test_slow_headers(server: Running, sent: bytes) -> None:
    with connect(server) as client:
        client.sendall(sent)
        answer = rest(client)
    assert answer.startswith(b"HTTP/1.1 408 ")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert json.loads(body) == {"error": "the headers did not arrive within 0.5 seconds"}


def test_headers_that_drip(server: Running) -> None:
    """A byte now and then does not help."""
    with connect(server) as client:
        client.settimeout(0.1)
        client.sendall(HEAD)
        answer = b""
        for _ in range(100):
            try:
                client.sendall(b"x")
                answer = client.recv(100)
                break
            except TimeoutError:
                continue
            except OSError:
                break
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_slow_headers_of_a_second_request(server: Running) -> None:
    with connect(server) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\nGET /v2 HT")
        answers = rest(client)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"408"]


def test_an_idle_connection_is_closed(server: Running) -> None:
    with connect(server) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", rest(client)) == [b"200"]


def test_a_body_that_goes_on_after_the_answer(server: Running) -> None:
    """A GET with a body, which nobody reads, and which does not end."""
    with connect(server) as client:
        client.settimeout(0.1)
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            try:
                client.sendall(b"x")
                if not client.recv(10_000):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("it stayed open")


def test_an_answer_that_is_never_read(server: Running) -> None:
    """Requests without a pause, whose answers nobody takes."""
    with connect(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.settimeout(0.2)
        end = time.monotonic() + 20
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            while time.monotonic() < end:
                try:
                    client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
                except TimeoutError:
                    continue
    assert server.get("/v2")[0] == 200


def test_slow_clients_lock_nobody_out(model: Path) -> None:
    """Hundreds hold on with half a request, and more come all the time."""
    patient = Limits(connections=200)  # nobody is closed for their slowness within this test
    with inprocess(model, patient) as server, ExitStack() as stack:
        for part in (b"", HEAD, HEAD + b"Content-Length: 1000\r\n\r\nx"):
            for _ in range(150):
                stack.enter_context(connect(server)).sendall(part)
        for _ in range(20):
            stack.enter_context(connect(server)).sendall(b"POST")
            assert server.predict(("a", picture(0)))[0] == 200
        _, _, content = server.get("/metrics")
        (line,) = [line for line in content.decode().splitlines() if 'reason="crowded"' in line]
        assert float(line.split()[-1]) > 250


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: other\r\n\r\n",
    ],
)
def test_what_is_no_http(server: Running, sent: bytes) -> None:
    with connect(server) as client:
        client.sendall(sent)
        status = int(rest(client).split()[1])
    assert 400 <= status < 502
    assert server.get("/v2")[0] == 200


def test_what_has_begun_is_finished(model: Path) -> None:
    """A server that is stopped waits for the rest of a body, and answers."""
    with inprocess(model, Limits()) as server:
        client = connect(server)
        body = picture(1)
        client.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:20])
        time.sleep(0.3)
        threading.Timer(0.8, client.sendall, [body[20:]]).start()
    answer = rest(client)
    client.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"class":"bee"' in answer
