"""Parameters: what a stage or command reads from params.yaml, validated."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from convline import pipeline
from convline.paths import PARAMS, PIPELINE
from convline.problems import Problem
from convline.text import one_line, shortened

if TYPE_CHECKING:
    from dvc.stage import Stage

SECTIONS = ("gate", "search")  # keys of params.yaml that no stage reads: the settings of commands
ALIKE = 0.75  # of difflib's ratio, from which on an unused key counts as misspelt


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

    Raises `Problem` where `read` does; where params.yaml holds what looks like a misspelt key of
    Convline; where dvc.yaml lacks the stage; and where the stage does not depend on each key of
    `schema`, because DVC would not notice when one of them changed.
    """
    settings = read(schema)
    with pipeline.opened() as repo:
        stages = {each.addressing: each for each in repo.index.stages}
        if stage not in stages:
            raise Problem(f"{PIPELINE} lacks the stage {stage}; git has it")
        declared = pipeline.declared(stages[stage], str(PARAMS))
        if declared is not None and (missing := set(schema.model_fields) - declared):
            raise Problem(
                f"{PIPELINE} lacks the params {', '.join(sorted(missing))} of the stage {stage}; "
                "`make deps` adds them"
            )
        _check_spelling(read_yaml(PARAMS), repo.index.stages)
    return settings


def read(schema: type[SchemaT]) -> SchemaT:
    """The values in params.yaml of the keys of `schema`.

    Raises `Problem` where a key is missing or has a value that `schema` rejects.
    """
    values = read_yaml(PARAMS)
    if missing := set(schema.model_fields) - set(values):
        key = min(missing)
        close = get_close_matches(key, map(str, values), n=1, cutoff=ALIKE)
        hint = f"did you misspell it as {one_line(close[0])}?" if close else "git has its default"
        raise Problem(f"{PARAMS}: the key {key} is missing; {hint}")
    return validate(schema, {key: values[key] for key in schema.model_fields}, PARAMS)


def _check_spelling(values: dict[Any, Any], stages: "list[Stage]") -> None:
    """Raise `Problem` at a key that no stage uses and that resembles one of Convline's."""
    used = pipeline.used(stages, str(PARAMS))
    of_convline = [stage for stage in stages if stage.addressing in pipeline.STAGES]
    ours = set(SECTIONS).union(*(pipeline.declared(s, str(PARAMS)) or () for s in of_convline))
    section = values.get("network")
    network = values.get(section) if isinstance(section, str) else None
    known = {key: key for key in ours}
    if isinstance(network, dict):
        dotted = {f"{section}.{key}": f"{section}.{key}" for key in network}
        known = {str(key): f"{section}.{key}" for key in network} | dotted | known
    for key in values:
        if not isinstance(key, str) or key in {*used, *SECTIONS, *pipeline.networks()}:
            continue
        if close := get_close_matches(key, known, n=1, cutoff=ALIKE):
            raise Problem(
                f"{PARAMS}: no stage uses the key {_shown(key)}; did you mean {known[close[0]]}?"
            )


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
    """`values` as a `schema`. Raises `Problem`, which names `source` and each wrong value."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        known = list(schema.model_fields)
        reasons = "; ".join(_explain(of_value, known) for of_value in error.errors())
        raise Problem(f"{source}: {reasons}") from error


def _explain(error: Any, known: list[str]) -> str:
    key = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not key:  # the schema compared several keys and names them itself
        return str(message)
    if error["type"] == "extra_forbidden" and (close := get_close_matches(key, known, n=1)):
        return f"{key}: {message}; did you mean {close[0]}?"
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
        return shortened(repr(value))
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "too long to print"


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
