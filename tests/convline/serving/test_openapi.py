"""The description of the interface: true of the server, and nothing from elsewhere."""

import json
import re
from collections.abc import Iterator

import jsonschema
import pytest

import exports
from convline.serving import openapi
from convline.serving.limits import Limits
from served import Running, inprocess, picture

DOCUMENT = openapi.description(Limits())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server to compare it with."""
    with inprocess(exports.write(tmp_path_factory.mktemp("s") / "model.onnx"), Limits()) as running:
        yield running


def schema(name: str) -> dict[str, object]:
    """One of its schemas, with all that it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def test_it_is_served(server: Running) -> None:
    assert json.loads(server.get("/openapi.json")[2]) == json.loads(json.dumps(DOCUMENT))


def test_every_path_is_there_with_its_methods(server: Running) -> None:
    for path, entries in DOCUMENT["paths"].items():
        real = path.replace("{name}", "classifier").replace("{version}", "0" * 32)
        for method in entries.keys() - {"parameters"}:
            assert server.ask(method.upper(), real, None)[0] not in (404, 405), path


def test_its_schemas_are_valid() -> None:
    for name in DOCUMENT["components"]["schemas"]:
        jsonschema.Draft202012Validator.check_schema(schema(name))
    references = set(re.findall("#/components/schemas/(\\w+)", json.dumps(DOCUMENT)))
    assert references == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v2", "Server"), ("/v2/models/classifier", "Metadata"), ("/nothing", "Error")],
)
def test_answers_are_what_it_says(server: Running, path: str, name: str) -> None:
    jsonschema.validate(json.loads(server.get(path)[2]), schema(name))


def test_predictions_are_what_it_says(server: Running) -> None:
    for query in ("", "?fitted=1"):
        _, answer = server.predict(("a", picture(0)), ("b", b"?"), query=query)
        jsonschema.validate(answer, schema("Predictions"))


def test_the_page_lists_all_and_fetches_nothing(server: Running) -> None:
    status, headers, content = server.get("/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = content.decode()
    for path in DOCUMENT["paths"]:
        assert path in page
    assert re.findall('(?:src|href)="(.*?)"', page) == ["style.css", "openapi.json"]
    assert "<script" not in page
