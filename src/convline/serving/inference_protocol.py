"""The Open Inference Protocol (V2): its requests and responses, as JSON and in binary.

github.com/kserve/open-inference-protocol, with the extension for binary tensors that Triton's
clients use unless told otherwise: after the JSON, whose length a header tells, come the bytes of
the tensors.
"""

import math
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import ConfigDict, Field

from convline.exported import Bytes, Floats
from convline.params import Schema, validate
from convline.problems import Problem
from convline.serving.current import ARTIFACT, Served
from convline.serving.limits import MEBIBYTE, Limits, Refused
from convline.text import one_line, shortened

INPUT, OUTPUT = "image", "probabilities"
HEADER_LENGTH = "inference-header-content-length"
TYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}


class _Message(Schema):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Tensor(_Message):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: Any = None


class _Output(_Message):
    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class _Request(_Message):
    id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: list[_Tensor]
    outputs: list[_Output] = Field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """What an inference request asks: images (n, height, width, channels), and how to answer."""

    id: str | None
    images: Bytes | Floats
    binary: bool


def server() -> dict[str, Any]:
    """What the server says of itself."""
    return {"name": "convline", "version": "2", "extensions": ["binary_tensor_data"]}


def metadata(model: Served) -> dict[str, Any]:
    """What it says of a model."""
    about = model.classifier.about
    return {
        "name": ARTIFACT,
        "versions": [model.version],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, *about.shape]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(about.classes)]}],
        "parameters": parameters(model),
    }


def parameters(model: Served) -> dict[str, str]:
    """The names of a model, as parameters, which cannot be null."""
    return {key: value for key, value in model.named.items() if value is not None}


def question(body: bytes, header_length: str | None, model: Served, limits: Limits) -> Question:
    """What the body of an inference request asks `model`. Raises `Refused`."""
    length = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or not 0 < int(header_length) <= len(body):
            raise Refused(
                400,
                f"{HEADER_LENGTH} is {shortened(header_length)}; it should be the number of bytes "
                "of the JSON at the start of the body",
            )
        length = int(header_length)
    request = _parsed(memoryview(body)[:length], limits)
    if request.id is not None and len(request.id) > limits.id:
        raise Refused(400, f"id has {len(request.id):,} characters; the limit is {limits.id:,}")
    for output in request.outputs:
        if output.name != OUTPUT:
            raise Refused(400, f"there is no output {shortened(output.name)!r}, only {OUTPUT}")
        for name in ("classification", "shared_memory_region"):
            if output.parameters.get(name):
                raise Refused(400, f"the parameter {name} of an output is not supported")
    if [tensor.name for tensor in request.inputs] != [INPUT]:
        names = shortened(", ".join(tensor.name for tensor in request.inputs) or "none")
        raise Refused(400, f"the inputs are {names}; there should be one, {INPUT}")
    images = _tensor(request.inputs[0], memoryview(body)[length:], model)
    wanted = [output.parameters.get("binary_data") for output in request.outputs] or [None]
    default = request.parameters.get("binary_data_output", False)
    return Question(request.id, images, bool(default if wanted[0] is None else wanted[0]))


def _parsed(content: memoryview, limits: Limits) -> _Request:
    if len(content) > limits.json:
        raise Refused(
            413,
            f"the JSON is larger than {limits.json / MEBIBYTE:g} MiB; send the tensor in binary, "
            "or fewer images",
        )
    try:
        values = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is no valid JSON: {shortened(error, 150)}") from error
    try:
        return validate(_Request, values, "the request")
    except Problem as problem:
        raise Refused(400, one_line(problem)) from problem


def _tensor(tensor: _Tensor, binary: memoryview, model: Served) -> Bytes | Floats:
    """The images of an input. `binary` is what comes after the JSON."""
    shape = model.classifier.about.shape
    if tensor.datatype not in TYPES:
        kinds = " or ".join(TYPES)
        raise Refused(
            400, f"{INPUT} has the datatype {shortened(tensor.datatype)}; it should be {kinds}"
        )
    if len(tensor.shape) != 4 or tuple(tensor.shape[1:]) != shape or tensor.shape[0] < 1:
        wanted = ", ".join(map(str, shape))
        raise Refused(
            400, f"{INPUT} has the shape {shortened(tensor.shape)}; it should be [n, {wanted}]"
        )
    kind, size = TYPES[tensor.datatype], tensor.parameters.get("binary_data_size")
    count = math.prod(tensor.shape)
    if "shared_memory_region" in tensor.parameters:
        raise Refused(400, "shared memory is not supported")
    if size is None:
        values = _listed(tensor.data, binary)
    elif tensor.data is not None:
        raise Refused(400, f"{INPUT} has both data and binary_data_size")
    elif type(size) is not int or size != len(binary) or size % kind.itemsize:
        raise Refused(
            400,
            f"binary_data_size is {shortened(size)}, and {len(binary):,} bytes follow the JSON",
        )
    else:
        values = np.frombuffer(binary, kind)
    if values.size != count:
        raise Refused(400, f"{INPUT} holds {values.size:,} values; its shape takes {count:,}")
    if values.dtype != np.uint8:
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 255):  # neither holds for NaN
            wrong = high if low >= 0 else low
            raise Refused(400, f"{INPUT} holds {wrong:g}; its values should be from 0 to 255")
        if kind == np.uint8 and (values % 1).any():
            raise Refused(400, f"{INPUT} holds fractions, which {tensor.datatype} has not")
    return values.astype(kind, copy=False).reshape(tensor.shape)


def _listed(data: object, binary: memoryview) -> npt.NDArray[Any]:
    """The values of a JSON list, flat or nested as the shape says."""
    if data is None:
        raise Refused(400, f"{INPUT} has neither data nor binary_data_size")
    if len(binary):
        raise Refused(400, f"{len(binary):,} bytes follow the JSON, and no input claims them")
    if isinstance(data, list) and set(map(type, data)) <= {int, float}:
        return np.frombuffer(array("d", data))  # ten times faster than NumPy's own way
    try:
        values = np.asarray(data)
    except ValueError as error:  # lists of different lengths
        raise Refused(400, f"the data of {INPUT} is ragged: {shortened(error)}") from error
    if values.dtype.kind not in "iuf" or not values.ndim:
        raise Refused(400, f"the data of {INPUT} should be a list of numbers")
    return values.ravel()


def answer(
    question: Question, probabilities: Floats, model: Served
) -> tuple[bytes, dict[str, str]]:
    """The body of the response, and its headers."""
    tensor: dict[str, Any] = {
        "name": OUTPUT,
        "datatype": "FP32",
        "shape": list(probabilities.shape),
    }
    content: dict[str, Any] = {
        "model_name": ARTIFACT,
        "model_version": model.version,
        "parameters": parameters(model),
        "outputs": [tensor],
    }
    if question.id is not None:
        content["id"] = question.id
    if not question.binary:
        tensor["data"] = probabilities.ravel()
        return dumped(content), {"content-type": "application/json"}
    raw = np.ascontiguousarray(probabilities, TYPES["FP32"]).tobytes()
    tensor["parameters"] = {"binary_data_size": len(raw)}
    header = dumped(content)
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return header + raw, headers


def dumped(content: object) -> bytes:
    """`content` as JSON, NumPy's arrays included."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
