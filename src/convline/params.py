"""A stage's parameters: the keys that dvc.yaml lists for it, validated."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from convline.stage import PIPELINE, Problem, one_line

PARAMS = Path("params.yaml")
SECTIONS = ("gate",)  # keys of params.yaml that no stage reads: the settings of commands


class Schema(BaseModel):
    """Base of everything that is read from YAML: no unknown keys, no infinities, read-only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SchemaT = TypeVar("SchemaT", bound=Schema)


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


# YAML's `true` would pass for 1. Numbers in strings are welcome: DVC writes 1e-05 for
# `-S learning_rate=1e-5`, which PyYAML, a YAML 1.1 parser, reads as a string.
Int = Annotated[int, BeforeValidator(_no_bool)]
Float = Annotated[float, BeforeValidator(_no_bool)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]


def load(stage: str, schema: type[SchemaT]) -> SchemaT:
    """Read the parameters of `stage` from params.yaml.

    Raises `Problem` where a key is missing, is one that no stage reads, or has a value that
    `schema` refuses; and where dvc.yaml does not list exactly the keys of `schema` for the
    stage, because then DVC would not notice that one of them changed.
    """
    keys = {
        name: [key for key in definition.get("params", []) if isinstance(key, str)]
        for name, definition in read_yaml(PIPELINE)["stages"].items()
    }
    if set(keys[stage]) != set(schema.model_fields):
        raise Problem(
            f"{PIPELINE} lists the params {sorted(keys[stage])} for stage {stage}, "
            f"which reads {sorted(schema.model_fields)}: make them the same"
        )

    values = read_yaml(PARAMS)
    known = sorted({key for of_stage in keys.values() for key in of_stage} | set(SECTIONS))
    if unknown := [key for key in values if key not in known]:
        key = _shown(unknown[0])
        close = get_close_matches(key.strip("'"), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(known)}"
        raise Problem(f"{PARAMS}: no stage reads the key {key}; {hint}")
    if missing := [key for key in keys[stage] if key not in values]:
        raise Problem(f"{PARAMS}: the key {missing[0]} is missing; git has its default")
    return validate(schema, {key: values[key] for key in keys[stage]}, PARAMS)


def load_section(name: str, schema: type[SchemaT]) -> SchemaT:
    """Read one of SECTIONS from params.yaml. Raises `Problem` where it is missing or wrong."""
    values = read_yaml(PARAMS)
    if name not in values:
        raise Problem(f"{PARAMS}: the key {name} is missing; git has its default")
    if not isinstance(values[name], dict):
        raise Problem(
            f"{PARAMS}: {name} is {_shown(values[name])}; it should hold the keys "
            f"{', '.join(schema.model_fields)}"
        )
    return validate(schema, values[name], f"{PARAMS}: {name}")


def validate(schema: type[SchemaT], values: object, source: object) -> SchemaT:
    """Make `values` a `schema`, or raise a `Problem` that names `source` and each wrong value."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise Problem(f"{source}: " + "; ".join(map(_explain, error.errors()))) from error


def _explain(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not key:  # the schema compared several keys and names them itself
        return str(message)
    if error["type"] in ("missing", "extra_forbidden"):
        return f"{key}: {message}"
    given = _shown(error["input"])
    separator = "; it " if message.startswith("should") else ": "
    return f"{key} is {given}{separator}{message}"


def _shown(value: object) -> str:
    """`value` as a message quotes it: on one line and short."""
    if value is None:
        return "empty"
    try:
        text = one_line(repr(value))
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "too long to print"
    return text if len(text) <= 60 else text[:57] + "..."


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file. Raises `Problem` where it is missing, broken or no mapping."""
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise Problem(f"{path} is missing; `git restore {path}` brings it back") from error
    try:
        content = yaml.safe_load(text)
    except Exception as error:  # besides its own, PyYAML lets through whatever a value leads to
        raise Problem(f"{path} is no valid YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise Problem(f"{path} should hold one `key: value` a line")
    return content
