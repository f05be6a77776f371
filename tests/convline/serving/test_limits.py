"""Requests beyond the limits: each is refused, clearly, and the server goes on."""

import gzip
import io
import json
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

import exports
from convline.serving.limits import MEBIBYTE, Limits, encoded
from served import Running, inprocess, picture, project

LIMITS = Limits(
    body=200_000, json=20_000, bodies=500_000, pictures=4, pixels=10_000, body_seconds=0.6
)
INFER = "/v2/models/classifier/infer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with low limits."""
    model = exports.write(tmp_path_factory.mktemp("limited") / "model.onnx")
    with inprocess(model, LIMITS) as running:
        yield running


def refusal(
    server: Running, body: bytes | Iterator[bytes], path: str = "/predict", **headers: str
) -> tuple[int, str]:
    """The status and reason with which the server refuses a body; it then answers as ever."""
    headers.setdefault("content_type", "image/png")
    status, _, content = server.ask("POST", path, body, **headers)
    assert server.predict(("a", picture(0)))[0] == 200
    return status, json.loads(content)["error"]


def test_a_large_body(server: Running) -> None:
    assert refusal(server, bytes(200_001)) == (413, "the body is larger than 0.190735 MiB")


def test_a_large_body_without_its_length(server: Running) -> None:
    chunks = (bytes(50_000) for _ in range(200))
    assert refusal(server, chunks) == (413, "the body is larger than 0.190735 MiB")


def test_a_large_body_is_refused_before_it_is_sent(server: Running) -> None:
    """As curl asks, which waits for the answer to its headers."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            b"Content-Length: 10000000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_decompression_bomb(server: Running, pack: object) -> None:
    assert callable(pack)
    bomb = pack(bytes(100 * MEBIBYTE))
    assert len(bomb) < LIMITS.body
    encoding = "gzip" if pack is gzip.compress else "deflate"
    status, reason = refusal(server, bomb, content_encoding=encoding)
    assert (status, reason) == (413, "the body is larger than 0.190735 MiB")


@pytest.mark.parametrize("path", ["/predict", INFER])
@pytest.mark.parametrize(
    ("body", "encoding", "status", "reason"),
    [
        (gzip.compress(picture(0), mtime=0)[:-9], "gzip", 400, "no valid gzip: it ends too early"),
        (
            gzip.compress(picture(0), mtime=0) + b"x",
            "gzip",
            400,
            "no valid gzip: data after its end",
        ),
        (b"no gzip", "gzip", 400, "no valid gzip: "),
        (b"", "gzip", 400, "no valid gzip: it ends too early"),
        (picture(0), "br", 415, "compressed with gzip or deflate"),
        (picture(0), "gzip, gzip", 415, "compressed with gzip or deflate"),
    ],
    ids=["cut off", "data after it", "no gzip", "empty", "brotli", "twice"],
)
def test_a_wrong_compression(
    server: Running, path: str, body: bytes, encoding: str, status: int, reason: str
) -> None:
    got, text = refusal(server, body, path, content_encoding=encoding)
    assert (got, reason in text) == (status, True), text


def test_compressed_pictures_are_read(server: Running) -> None:
    headers = {"content_type": "image/png", "content_encoding": "gzip"}
    status, _, _ = server.ask("POST", "/predict", gzip.compress(picture(0)), **headers)
    assert status == 200


def test_large_json(server: Running) -> None:
    status, reason = refusal(server, b'{"id": "' + b"x" * 30_000 + b'"}', INFER)
    assert (status, reason[:42]) == (413, "the JSON is larger than 0.0190735 MiB; sen")


def test_large_json_before_a_tensor(server: Running) -> None:
    body = b"[" * 30_000
    status, _ = refusal(server, body, INFER, inference_header_content_length="30000")
    assert status == 413


def test_many_pictures(server: Running) -> None:
    status, answer = server.predict(*[("a", picture(0))] * 5)
    assert status == 413
    assert answer["error"] == "a request may bring 4 pictures; send several requests"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "JPEG"])
def test_a_picture_of_many_pixels(server: Running, kind: str) -> None:
    file = io.BytesIO()
    Image.new("1" if kind in ("BMP", "PNG") else "L", (101, 100)).save(file, kind)
    status, answer = server.predict(("a.x", file.getvalue()))
    assert status == 422
    assert answer["error"] == "a.x has 10,100 pixels; the server's limit is 10,000"


def test_a_header_that_claims_many_pixels(server: Running) -> None:
    content = b"P5 2000000000 2000000000 255\n"
    status, answer = server.predict(("a.pgm", content))
    assert status == 422
    assert "pixels" in str(answer["error"])


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({"content_type": "text/plain"}, b"x", "the content type is text/plain; send files as"),
        ({"content_type": ""}, b"x", "the content type is missing; send files as"),
        ({"content_type": "application/x-www-form-urlencoded"}, b"a=b", "the content type is"),
    ],
)
def test_another_content_type(
    server: Running, headers: dict[str, str], body: bytes, reason: str
) -> None:
    status, text = refusal(server, body, **headers)
    assert (status, text[: len(reason)]) == (415, reason)


@pytest.mark.parametrize("path", ["/predict", INFER])
def test_a_slow_body(server: Running, path: str) -> None:
    """A byte now and then: the whole has a limit, not the pauses."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            "Content-Length: 100\r\n\r\n".encode()
        )
        client.settimeout(0.1)
        answer = b""
        for _ in range(100):
            client.sendall(b"x")
            try:
                answer = client.recv(10_000)
                client.settimeout(10)
                while part := client.recv(10_000):
                    answer += part
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        assert b"the body did not arrive within 0.6 seconds" in answer


def test_a_client_that_hangs_up(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxx")
    assert server.predict(("a", picture(0)))[0] == 200


def test_large_bodies_at_once(server: Running) -> None:
    """All bodies together have a limit; who comes too late may try again."""
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(4)]
    try:
        for client in clients:
            client.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                b"Content-Length: 200000\r\n\r\n" + bytes(150_000)
            )
        statuses = sorted(client.recv(100)[9:12] for client in clients)
        assert statuses == [b"408", b"408", b"408", b"503"]
        assert server.predict(("a", picture(0)))[0] == 200
    finally:
        for client in clients:
            client.close()


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """The real command, with its own limits, under what tries to fill it."""
    with project(tmp_path) as running:
        assert running.process
        process = psutil.Process(running.process.pid)

        def attack() -> int:
            statuses = []
            bomb = gzip.compress(bytes(200 * MEBIBYTE), 1)
            headers = {"content_type": "image/png", "content_encoding": "gzip"}
            statuses.append(running.ask("POST", "/predict", bomb, **headers)[0])
            chunks = (bytes(MEBIBYTE) for _ in range(100))
            statuses.append(running.ask("POST", "/predict", chunks, content_type="image/png")[0])
            deep = b"[" * (8 * MEBIBYTE)
            statuses.append(running.ask("POST", INFER, deep)[0])
            file = io.BytesIO()
            Image.new("L", (9_000, 9_000)).save(file, "PNG")
            statuses.append(running.predict(("a.png", file.getvalue()))[0])
            assert statuses == [413, 413, 400, 422]
            return int(process.memory_info().rss)

        first = attack()
        assert max(attack() for _ in range(4)) < first + 48 * MEBIBYTE


def test_answers_are_encoded_for_those_who_ask() -> None:
    long = b"x" * 2000
    assert encoded(long, "") == (long, {})
    assert encoded(b"short", "gzip") == (b"short", {})
    packed, headers = encoded(long, "identity, GZIP;q=1")
    assert gzip.decompress(packed) == long
    assert headers["content-encoding"] == "gzip"
