"""The description of the server's interface: OpenAPI for programs, a page for people."""

from html import escape
from typing import Any

from convline.serving.current import ARTIFACT
from convline.serving.inference_protocol import HEADER_LENGTH, INPUT, OUTPUT
from convline.serving.limits import MEBIBYTE, Limits

JSON = "application/json"
BINARY = "application/octet-stream"

Schema = dict[str, Any]


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
    }


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
ANY: Schema = {"type": "object"}
FILE: Schema = {"type": "string", "format": "binary"}
MD5: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
NAMED = {"md5": MD5, "onnx_md5": MD5, "revision": {"type": ["string", "null"]}}
TENSOR = {"name": TEXT, "datatype": TEXT, "shape": _list(WHOLE)}
NUMBERS: Schema = {"type": "array", "description": "flat, or nested as the shape says"}
BY_NAME: Schema = {"type": "object", "additionalProperties": NUMBER}

SCHEMAS = {
    "Error": _object({"error": TEXT}),
    "Model": _object(NAMED),
    "Prediction": _object(
        {"file_name": {"type": ["string", "null"]}},
        **{"class": TEXT},
        probability=NUMBER,
        probabilities=BY_NAME,
        fitted={"type": "string", "description": "a data URL: what the network sees"},
        error={"type": "string", "description": "instead of a prediction: why there is none"},
    ),
    "Predictions": _object({"model": _ref("Model"), "predictions": _list(_ref("Prediction"))}),
    "Facts": _object(
        {
            **NAMED,
            "dataset": TEXT,
            "classes": _list(TEXT),
            "shape": _list(WHOLE),
            "fit": TEXT,
            "background": TEXT,
            "ink": {"type": "number"},
            "quantization": TEXT,
            "figures": {**BY_NAME, "type": ["object", "null"]},
        }
    ),
    "Server": _object({"name": TEXT, "version": TEXT, "extensions": _list(TEXT)}),
    "Metadata": _object(
        {
            "name": TEXT,
            "versions": _list(TEXT),
            "platform": TEXT,
            "inputs": _list(_object(TENSOR)),
            "outputs": _list(_object(TENSOR)),
        },
        parameters=ANY,
    ),
    "InferenceRequest": _object(
        {"inputs": _list(_object(TENSOR, parameters=ANY, data=NUMBERS))},
        id=TEXT,
        parameters=ANY,
        outputs=_list(_object({"name": TEXT}, parameters=ANY)),
    ),
    "InferenceResponse": _object(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "outputs": _list(_object(TENSOR, parameters=ANY, data=NUMBERS)),
        },
        id=TEXT,
        parameters=ANY,
    ),
}


def description(limits: Limits) -> dict[str, Any]:
    """The interface as an OpenAPI 3.1 document."""
    infer = {
        JSON: {"schema": _ref("InferenceRequest")},
        BINARY: {"schema": FILE},
    }
    paths: dict[str, Any] = {
        "/predict": {
            "post": _operation(
                "Predict the classes of pictures",
                f"Files of a form, up to {limits.pictures}, or one picture as the body. Of several "
                "files, one that cannot be read gets an `error` instead of a prediction. An "
                "animation counts as its first frame.",
                {JSON: {"schema": _ref("Predictions")}},
                {
                    "multipart/form-data": {
                        "schema": {"type": "object", "additionalProperties": _list(FILE)}
                    },
                    "image/*": {"schema": FILE},
                },
                [_parameter("fitted", "query", "1: add what the network sees", False)],
            )
        },
        "/model": {
            "get": _operation(
                "Describe the model in use",
                "Its card in Markdown, or its facts where `Accept` is application/json.",
                {"text/markdown": {"schema": TEXT}, JSON: {"schema": _ref("Facts")}},
            )
        },
        "/metrics": {
            "get": _operation("Metrics for Prometheus", "", {"text/plain": {"schema": TEXT}})
        },
        "/v2": {"get": _operation("Describe the server", "", {JSON: {"schema": _ref("Server")}})},
        "/v2/health/live": {"get": _operation("Whether it runs", "", {JSON: {"schema": ANY}})},
        "/v2/health/ready": {"get": _operation("Whether it answers", "", {JSON: {"schema": ANY}})},
    }
    name = _parameter("name", "path", f"{ARTIFACT}", True)
    version = _parameter("version", "path", "as the metadata names it", True)
    for path, named in (
        ("/v2/models/{name}", [name]),
        ("/v2/models/{name}/versions/{version}", [name, version]),
    ):
        paths[path] = {
            "parameters": named,
            "get": _operation("Describe the model", "", {JSON: {"schema": _ref("Metadata")}}),
        }
        paths[f"{path}/ready"] = {
            "parameters": named,
            "get": _operation("Whether the model answers", "", {JSON: {"schema": ANY}}),
        }
        paths[f"{path}/infer"] = {
            "parameters": named,
            "post": _operation(
                "Predict the classes of arrays",
                f"The input {INPUT}, FP32 or UINT8 from 0 to 255, (n, height, width, channels); "
                f"the output {OUTPUT}, (n, classes). Tensors may follow the JSON in binary, with "
                f"its length in the header {HEADER_LENGTH}.",
                {JSON: {"schema": _ref("InferenceResponse")}, BINARY: {"schema": FILE}},
                infer,
            ),
        }
    size = f"{limits.body / MEBIBYTE:g} MiB"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Convline",
            "version": "1",
            "description": f"Classifies pictures. A body has at most {size}, also once it is "
            "decompressed (gzip or deflate). Each answer names the model that gave it.",
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _operation(
    summary: str,
    text: str,
    answers: dict[str, Any],
    body: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary}
    if text:
        operation["description"] = text
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    error = {"description": "refused", "content": {JSON: {"schema": _ref("Error")}}}
    operation["responses"] = {"200": {"description": "OK", "content": answers}, "4XX": error}
    return operation


def _parameter(name: str, place: str, text: str, required: bool) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "description": text,
        "required": required,
        "schema": TEXT,
    }


def page(described: dict[str, Any]) -> str:
    """The interface as a page without scripts. It shares the style of the server's own page."""
    rows = [
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(entry['summary'])}. "
        f"{escape(entry.get('description', ''))}</td></tr>"
        for path, entries in described["paths"].items()
        for method, entry in entries.items()
        if method != "parameters"
    ]
    info = described["info"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{info["title"]}: interface</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<main>
<h1>{info["title"]}: interface</h1>
<p>{escape(info["description"])}</p>
<table>
{"".join(rows)}
</table>
<p><a href="openapi.json">OpenAPI</a>, for programs</p>
</main>
</body>
</html>
"""
