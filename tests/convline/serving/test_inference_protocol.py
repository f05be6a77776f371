"""The Open Inference Protocol, as tritonclient speaks it and as its specification has it."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from conftest import CLASSES, SHAPE
from served import Running, images, project

MODEL = "/v2/models/classifier"
LENGTH = "inference-header-content-length"

# The responses as open_inference_rest.yaml of github.com/kserve/open-inference-protocol has them
TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "parameters": {"type": "object"},
    },
    "required": ["name", "datatype", "shape"],
}
OUTPUT = TENSOR | {"required": [*TENSOR["required"], "data"]}
ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
SCHEMAS: dict[str, dict[str, Any]] = {
    "/v2/": {
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "extensions": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "version", "extensions"],
    },
    MODEL: {
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array", "items": TENSOR},
            "outputs": {"type": "array", "items": TENSOR},
        },
        "required": ["name", "platform"],
    },
    f"{MODEL}/infer": {
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "outputs": {"type": "array", "items": OUTPUT},
        },
        "required": ["model_name", "outputs"],
    },
}


UNPACK: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    None: bytes,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests here."""
    with project(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    """The client of NVIDIA Triton."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as connected:
        yield connected


def asked(kind: str = "FP32", binary: bool = True, bands: tuple[int, ...] = (2, 0, 1)) -> Any:
    """The input of an inference request."""
    array = images(*bands).astype(np.float32 if kind == "FP32" else np.uint8)
    tensor = triton.InferInput("image", list(array.shape), kind)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def infer(server: Running, content: object, path: str = MODEL, **headers: str) -> tuple[int, Any]:
    """The status and JSON of an inference request."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    status, _, answer = server.ask("POST", f"{path}/infer", body, **headers)
    return status, json.loads(answer)


def request(**changes: Any) -> dict[str, Any]:
    """An inference request about one image, with changes of its input."""
    tensor = {
        "name": "image",
        "shape": [1, *SHAPE, 1],
        "datatype": "FP32",
        "data": images(1).ravel().tolist(),
    }
    changed = {key: value for key, value in (tensor | changes).items() if value is not None}
    return {"inputs": [changed]}


def test_tritonclient_with_its_defaults(client: Any) -> None:
    result = client.infer("classifier", [asked()])
    probabilities = result.as_numpy("probabilities")
    assert probabilities.shape == (3, 3)
    assert probabilities.argmax(axis=1).tolist() == [2, 0, 1]
    assert result.get_response()["model_version"] == "0" * 32
    assert result.get_response()["parameters"]["md5"] == "0" * 32


@pytest.mark.parametrize("kind", ["FP32", "UINT8"])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tritonclient_in_every_mode(
    client: Any, kind: str, binary_in: bool, binary_out: bool
) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary_out)]
    result = client.infer("classifier", [asked(kind, binary_in)], outputs=outputs, request_id="7")
    assert result.as_numpy("probabilities").argmax(axis=1).tolist() == [2, 0, 1]
    assert result.get_response()["id"] == "7"
    assert ("data" in result.get_output("probabilities")) is not binary_out


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_with_compression(client: Any, algorithm: str) -> None:
    bands = (0, 1, 2) * 100  # enough for an answer to be worth it
    result = client.infer(
        "classifier",
        [asked(bands=bands)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("probabilities").argmax(axis=1).tolist() == list(bands)


def test_an_answer_is_compressed_where_it_is_worth_it(server: Running) -> None:
    many = request(shape=[300, *SHAPE, 1], data=images(1).ravel().tolist() * 300)
    for content, accepted, encoding in (
        (many, "gzip", "gzip"),
        (many, "br;q=1, deflate;q=0.5", "deflate"),
        (many, "identity", None),
        (request(), "gzip", None),
    ):
        status, headers, answer = server.ask(
            "POST", f"{MODEL}/infer", orjson.dumps(content), accept_encoding=accepted
        )
        assert (status, headers.get("content-encoding")) == (200, encoding)
        unpack = UNPACK[encoding]
        assert json.loads(unpack(answer))["model_name"] == "classifier"


def test_tritonclient_asks_for_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("classifier")
    assert client.is_model_ready("classifier", "0" * 32)
    assert not client.is_model_ready("other")
    assert not client.is_model_ready("classifier", "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    described = client.get_model_metadata("classifier")
    (image,), (probabilities,) = described["inputs"], described["outputs"]
    assert (image["datatype"], image["shape"]) == ("FP32", [-1, *SHAPE, 1])
    assert probabilities["shape"] == [-1, len(CLASSES)]


def test_tritonclient_shows_what_is_wrong(client: Any) -> None:
    tensor = triton.InferInput("image", [1, 5, 5, 1], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 5, 5, 1), np.float32))
    with pytest.raises(InferenceServerException, match=r"shape \[1, 5, 5, 1\]; it should be \[n"):
        client.infer("classifier", [tensor])


def test_tritonclient_asks_in_parallel(client: Any) -> None:
    waiting = [client.async_infer("classifier", [asked(bands=(n % 3,))]) for n in range(20)]
    classes = [one.get_result().as_numpy("probabilities").argmax() for one in waiting]
    assert classes == [n % 3 for n in range(20)]


@pytest.mark.parametrize("path", ["/v2/", "/v2", MODEL, f"{MODEL}/versions/{'0' * 32}"])
def test_metadata_follows_the_specification(server: Running, path: str) -> None:
    status, _, content = server.get(path)
    assert status == 200
    schema = SCHEMAS["/v2/" if path.strip("/") == "v2" else MODEL]
    jsonschema.validate(json.loads(content), {"type": "object"} | schema)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        (f"{MODEL}/ready", {"name": "classifier", "ready": True}),
        (f"{MODEL}/versions/{'0' * 32}/ready", {"name": "classifier", "ready": True}),
    ],
)
def test_health(server: Running, path: str, answer: dict[str, object]) -> None:
    status, _, content = server.get(path)
    assert (status, json.loads(content)) == (200, answer)


@pytest.mark.parametrize("kind", ["FP32", "UINT8"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/{'0' * 32}"])
def test_json_follows_the_specification(
    server: Running, kind: str, nested: bool, path: str
) -> None:
    data = images(1).tolist() if nested else images(1).ravel().tolist()
    content = request(datatype=kind, data=data) | {"id": "an id", "outputs": []}
    status, answer = infer(server, content, path)
    assert status == 200
    jsonschema.validate(answer, {"type": "object"} | SCHEMAS[f"{MODEL}/infer"])
    assert answer["id"] == "an id"
    (output,) = answer["outputs"]
    assert output["shape"] == [1, 3]
    assert np.argmax(output["data"]) == 1


BINARY = {"data": None, "parameters": {"binary_data_size": 576}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe{}", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b'{"inputs":' + b"[" * 900 + b"]" * 900 + b"}", "inputs.0"),
        (b"[]", "valid dictionary"),
        (b"7", "valid dictionary"),
        ({}, "inputs"),
        ({"inputs": []}, "should be one, image"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": request()["inputs"] * 2}, "should be one, image"),
        (request(name="other"), "should be one, image"),
        (request(name=None), "name"),
        (request() | {"id": 7}, "id is 7"),
        (request() | {"id": "x" * 1025}, "the limit is 1,024"),
        (request() | {"id": ["a"]}, "id is"),
        (b'{"id":"\\ud800","inputs":[]}', "no valid JSON"),
        (request() | {"parameters": []}, "parameters"),
        (request() | {"outputs": [{"name": "other"}]}, "no output 'other'"),
        (
            request()
            | {"outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]},
            "classification",
        ),
        (request(datatype="FP64"), "should be FP32 or UINT8"),
        (request(datatype="BYTES"), "should be FP32 or UINT8"),
        (request(datatype=1), "datatype"),
        (request(shape=[144]), "should be [n, 12, 12, 1]"),
        (request(shape=[0, 12, 12, 1]), "should be [n, 12, 12, 1]"),
        (request(shape=[-1, 12, 12, 1]), "should be [n, 12, 12, 1]"),
        (request(shape=[1, 12, 12, 3]), "should be [n, 12, 12, 1]"),
        (request(shape=[True, 12, 12, 1]), "shape"),
        (request(shape=[1.5, 12, 12, 1]), "shape"),
        (request(shape=[1e30, 12, 12, 1]), "shape"),
        (request(shape=[2**62, 12, 12, 1]), "holds 144 values"),
        (request(shape="1"), "shape"),
        (request(shape=[2, 12, 12, 1]), "holds 144 values; its shape takes 288"),
        (request(data=[1, 2, 3]), "holds 3 values"),
        (request(data=[]), "holds 0 values"),
        (request(data="x" * 144), "list of numbers"),
        (request(data=["1"] * 144), "list of numbers"),
        (request(data=[True] * 144), "list of numbers"),
        (request(data=[None] * 144), "list of numbers"),
        (request(data=[{}] * 144), "list of numbers"),
        (request(data={"a": 1}), "list of numbers"),
        (request(data=7), "list of numbers"),
        (request(data=[[1, 2], [3]]), "ragged"),
        (request(data=[1e39] * 144), "should be from 0 to 255"),
        (request(data=[256] * 144), "should be from 0 to 255"),
        (request(data=[-0.5] * 144), "should be from 0 to 255"),
        (request(datatype="UINT8", data=[256] * 144), "should be from 0 to 255"),
        (request(datatype="UINT8", data=[-1] * 144), "should be from 0 to 255"),
        (request(datatype="UINT8", data=[0.5] * 144), "holds fractions"),
        (request(data=None), "neither data nor binary_data_size"),
        (request(**BINARY), "0 bytes follow"),
        (request(parameters={"binary_data_size": 576}), "both data and binary_data_size"),
        (request(data=None, parameters={"shared_memory_region": "x"}), "shared memory"),
        (
            b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,12,12,1],"data":[NaN]}]}',
            "JSON",
        ),
        (
            b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,12,12,1],"data":[Infinity]}]}',
            "JSON",
        ),
    ],
)
def test_a_wrong_request_is_refused(server: Running, content: object, reason: str) -> None:
    status, answer = infer(server, content)
    assert status == 400, answer
    assert reason in answer["error"]
    assert len(answer["error"]) < 400


@pytest.mark.parametrize(
    ("size", "tail", "length", "reason"),
    [
        (576, bytes(575), None, "575 bytes follow"),
        (576, bytes(577), None, "577 bytes follow"),
        (4, bytes(4), None, "holds 1 values"),
        (575, bytes(575), None, "575 bytes follow"),
        ("576", bytes(576), None, "576 bytes follow"),
        (-1, bytes(576), None, "576 bytes follow"),
        (True, bytes(1), None, "1 bytes follow"),
        (576, np.full(144, np.nan, np.float32).tobytes(), None, "holds nan"),
        (576, np.full(144, np.inf, np.float32).tobytes(), None, "holds inf"),
        (576, np.full(144, -np.inf, np.float32).tobytes(), None, "holds -inf"),
        (576, bytes(576), "0", "number of bytes of the JSON"),
        (576, bytes(576), "-5", "number of bytes of the JSON"),
        (576, bytes(576), "1e2", "number of bytes of the JSON"),
        (576, bytes(576), "99999999", "number of bytes of the JSON"),
        (576, bytes(576), "10", "no valid JSON"),
    ],
)
def test_a_wrong_binary_request_is_refused(
    server: Running, size: object, tail: bytes, length: str | None, reason: str
) -> None:
    header = orjson.dumps(request(data=None, parameters={"binary_data_size": size}))
    status, answer = infer(
        server,
        header + tail,
        **{LENGTH.replace("-", "_"): str(len(header)) if length is None else length},
    )
    assert status == 400, answer
    assert reason in answer["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/other", 404),
        ("/v2/models/other/infer", 405),
        (f"{MODEL}/versions/1", 404),
        (f"{MODEL}/versions/{'0' * 32}/nothing", 404),
        ("/v2/repository/index", 404),
    ],
)
def test_another_model_is_not_there(server: Running, path: str, status: int) -> None:
    got, _, content = server.get(path)
    assert got == status
    jsonschema.validate(json.loads(content), ERROR)


@pytest.mark.parametrize("identity", ["", "\u0000", "<script>", "ü🐈", "x" * 1024, "\n"])
def test_strange_ids_come_back(server: Running, identity: str) -> None:
    _, answer = infer(server, request() | {"id": identity})
    assert answer["id"] == identity
