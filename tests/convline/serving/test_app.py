"""The server as its users meet it: the real command, on loopback."""

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import CLASSES, SHAPE
from convline.serving import app
from served import Running, picture, project

NO_PICTURE = "is not a picture in a supported format, or its header is damaged"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests here. They leave it as it is."""
    with project(tmp_path_factory.mktemp("served")) as running:
        yield running


def curl(server: Running, path: str, *arguments: str, body: bytes | None = None) -> Any:
    """The status and JSON that curl gets."""
    command = ["curl", "-sS", "--write-out", "\n%{http_code}", server.url + path, *arguments]
    result = subprocess.run(command, input=body, capture_output=True, check=True, timeout=60)
    content, _, status = result.stdout.rpartition(b"\n")
    return int(status), json.loads(content)


def test_a_picture_is_classified(server: Running) -> None:
    status, answer = server.predict(("a.png", picture(1)))
    (prediction,) = answer["predictions"]
    assert status == 200
    assert prediction["file_name"] == "a.png"
    assert prediction["class"] == "bee"
    assert list(prediction["probabilities"]) == CLASSES
    assert prediction["probability"] == prediction["probabilities"]["bee"] > 0.9
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert answer["model"] == {
        "md5": "0" * 32,
        "onnx_md5": answer["model"]["onnx_md5"],
        "revision": None,
    }


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_curl_sends_files(server: Running, tmp_path: Path, kind: str) -> None:
    for band in range(3):
        (tmp_path / f"{band}.x").write_bytes(picture(band, kind))
    files = [f"-Ffile{band}=@{tmp_path}/{band}.x" for band in range(3)]
    status, answer = curl(server, "/predict", *files)
    assert status == 200
    assert [p["class"] for p in answer["predictions"]] == CLASSES
    assert [p["file_name"] for p in answer["predictions"]] == ["0.x", "1.x", "2.x"]


@pytest.mark.parametrize("kind", ["image/png", "image/x-any", "application/octet-stream"])
def test_curl_sends_one_as_the_body(server: Running, kind: str) -> None:
    arguments = ("-H", f"Content-Type: {kind}", "--data-binary", "@-")
    status, answer = curl(server, "/predict", *arguments, body=picture(2))
    assert status == 200
    (prediction,) = answer["predictions"]
    assert (prediction["file_name"], prediction["class"]) == (None, "cat")


def test_a_bad_picture_among_several_is_an_error_of_its_own(server: Running) -> None:
    files = [("a.png", picture(0)), ("b.png", b"no picture"), ("c.png", picture(2))]
    status, answer = server.predict(*files)
    assert status == 200
    good, bad, last = answer["predictions"]
    assert (good["class"], last["class"]) == ("ant", "cat")
    assert bad == {"file_name": "b.png", "error": NO_PICTURE}


def test_what_the_network_sees(server: Running) -> None:
    _, answer = server.predict(("a.png", picture(1)), query="?fitted=1")
    (prediction,) = answer["predictions"]
    kind, _, content = prediction["fitted"].partition(",")
    assert kind == "data:image/png;base64"
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    np.testing.assert_array_equal(seen, np.asarray(Image.open(io.BytesIO(picture(1)))))


def test_an_animation_counts_as_its_first_frame(server: Running) -> None:
    frames = [Image.open(io.BytesIO(picture(band))) for band in (2, 0)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    _, answer = server.predict(("a.gif", file.getvalue()))
    assert [p["class"] for p in answer["predictions"]] == ["cat"]


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"no picture", 415, NO_PICTURE),
        (b"", 422, "is empty"),
        (picture(0)[:50], 422, "is damaged"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(100), 415, "is HEIC or a video"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, NO_PICTURE),
        (b"%PDF-1.7", 415, NO_PICTURE),
    ],
)
def test_a_single_bad_picture_is_refused(
    server: Running, content: bytes, status: int, reason: str
) -> None:
    got, answer = server.predict(("x.png", content))
    assert got == status
    assert str(answer["error"]).startswith(f"x.png {reason}")


@pytest.mark.parametrize("name", ['a"b.png', "a;b=c.png", "../../etc/passwd", "ü🐈.png", " "])
def test_names_come_back_as_they_are(server: Running, name: str) -> None:
    _, answer = server.predict((name, picture(0)), ("other", picture(0)))
    assert answer["predictions"][0]["file_name"] == name.replace('"', "%22")


def test_the_page_and_its_headers(server: Running) -> None:
    assert server.get("/model")[1]["x-content-type-options"] == "nosniff"
    for file in sorted(app.PAGE.iterdir()):
        path = "/" if file.name == "index.html" else f"/{file.name}"
        status, headers, content = server.get(path)
        assert (status, content) == (200, file.read_bytes()), path
        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_nobody_elsewhere_may_read(server: Running) -> None:
    for method in ("GET", "OPTIONS"):
        _, headers, _ = server.ask(method, "/model", None, Origin="https://example.com")
        assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "//etc/passwd", 404),
        ("GET", "/predict", 405),
        ("DELETE", "/model", 405),
        ("PURGE", "/model", 405),
    ],
)
def test_what_is_not_there(server: Running, method: str, path: str, status: int) -> None:
    got, headers, content = server.ask(method, path, None)
    assert got == status
    assert headers["content-type"] == "application/json"
    assert json.loads(content).keys() == {"error"}


def test_the_model_is_described(server: Running) -> None:
    status, headers, card = server.get("/model")
    assert status == 200
    assert headers["content-type"] == "text/markdown; charset=utf-8"
    assert card.startswith(b"# Classifier of tiny\n")
    _, _, content = server.get("/model", accept="application/json")
    facts = json.loads(content)
    assert facts["classes"] == CLASSES
    assert facts["shape"] == [*SHAPE, 1]
    assert facts["md5"] == "0" * 32
    assert facts["figures"] is None


def test_metrics(server: Running) -> None:
    def count(line: str) -> float:
        _, _, content = server.get("/metrics")
        values = dict(row.rsplit(" ", 1) for row in content.decode().splitlines())
        return float(values.get(line, 0))

    answered = 'convline_requests_total{method="POST",route="/predict",status="200"}'
    refused = 'convline_requests_total{method="POST",route="/predict",status="415"}'
    cats = 'convline_predictions_total{class="cat"}'
    unknown = 'convline_requests_total{method="GET",route="none",status="404"}'
    before = [count(line) for line in (answered, refused, cats, unknown)]
    server.predict(("a", picture(2)), ("b", picture(2)), ("c", b"?"))
    server.predict(("a", b"?"))
    for path in ("/x", "/y"):
        server.get(path)
    after = [count(line) for line in (answered, refused, cats, unknown)]
    assert np.subtract(after, before).tolist() == [1, 1, 2, 2]
