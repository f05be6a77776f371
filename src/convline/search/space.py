"""What a search varies: the section `search` of params.yaml, checked before anything runs."""

import copy
import importlib
import json
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, StrictBool, model_validator

from convline import backend, network, params, pipeline
from convline.paths import PARAMS, PIPELINE, PROCESSED, PROJECT, TRAINING
from convline.problems import Problem
from convline.text import one_line, shortened

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage
    from optuna.trial import Trial

SECTION = "search"
FIXED = ("dataset", "seed", "validation_size")  # which images validate
TEST = "test_*.npy"  # of data/processed

Value: TypeAlias = bool | int | float | str | list[Any] | None


class Range(params.Schema):
    """Numbers from `low` to `high`, both included."""

    low: params.Float
    high: params.Float
    log: StrictBool = False
    step: Annotated[params.Float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g}; it should be less than high, {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}; with log it should be greater than 0")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        return self


class Search(params.Schema):
    """The section `search`. params.yaml says what each key means."""

    vary: Annotated[dict[str, Any], Field(min_length=1)]
    metric: str
    direction: Literal["maximize", "minimize"]
    trials: Annotated[params.Int, Field(ge=1, le=100_000)]
    sampler: Literal["tpe", "random"]
    pruner: Literal["none", "median", "hyperband"]

    @property
    def file(self) -> str:
        """The metrics file that has the metric."""
        return self.metric.partition(":")[0]

    @property
    def key(self) -> str:
        """The metric's key in its file, dotted."""
        return self.metric.partition(":")[2]


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: list[Value]

    @property
    def edges(self) -> list[Value]:
        """The values to check."""
        return self.values

    def draw(self, trial: "Trial", name: str) -> Value:
        """What `trial` suggests. Optuna shows a list as JSON."""
        shown = [json.dumps(value) if isinstance(value, list) else value for value in self.values]
        return self.values[shown.index(trial.suggest_categorical(name, shown))]


@dataclass(frozen=True)
class Numbers:
    """Numbers of a range, whole ones if `whole`."""

    range: Range
    whole: bool

    @property
    def edges(self) -> list[Value]:
        """The values to check."""
        low, high = self.range.low, self.range.high
        return [int(low), int(high)] if self.whole else [low, high]

    def draw(self, trial: "Trial", name: str) -> Value:
        """What `trial` suggests."""
        low, high, log, step = self.range.low, self.range.high, self.range.log, self.range.step
        if self.whole:
            return trial.suggest_int(name, int(low), int(high), log=log, step=int(step or 1))
        return trial.suggest_float(name, low, high, log=log, step=step)


@dataclass(frozen=True)
class Space:
    """The parameters to vary, by their dotted names. `network` is what params.yaml has."""

    dimensions: dict[str, Choices | Numbers]
    network: str

    def edges(self, name: str) -> list[Value]:
        """The values to check of a parameter; none where it is not varied."""
        return self.dimensions[name].edges if name in self.dimensions else []

    def draw(self, trial: "Trial") -> dict[str, Value]:
        """Values for one trial; of networks' own parameters, only those of its network."""
        drawn: dict[str, Value] = {}
        # The network first: it decides which others count
        for name in sorted(self.dimensions, key=lambda name: name != "network"):
            section = owner(name)
            if section in (None, drawn.get("network", self.network)):
                drawn[name] = self.dimensions[name].draw(trial, name)
        return drawn


def owner(name: str) -> str | None:
    """The network whose own parameter `name` is; None where all networks have it."""
    section, dot, _ = name.partition(".")
    return section if dot and section in pipeline.networks() else None


def load() -> tuple[Search, Space]:
    """Read and check the section `search` of params.yaml.

    Raises `Problem` where a value is wrong, a trial could have a parameter that its stage rejects
    or that no stage reads, or the metric is missing or depends on test images.
    """
    settings = params.load_section(SECTION, Search)
    values = params.read_yaml(PARAMS)
    with pipeline.opened() as repo:
        check_metric(settings, repo)
        used = pipeline.used(repo.index.stages, str(PARAMS))
    dimensions = {
        name: dimension(name, value, current(name, values, used))
        for name, value in settings.vary.items()
    }
    check(dimensions, values)
    if settings.pruner != "none" and not prunable(settings):
        raise Problem(
            f"{PARAMS}: search.pruner is {settings.pruner!r}, which needs a figure of each epoch: "
            f"search.metric should be {TRAINING}:accuracy or {TRAINING}:loss"
        )
    return settings, Space(dimensions, values["network"])


def prunable(settings: Search) -> bool:
    """Whether training logs the metric after each epoch."""
    return settings.file == str(TRAINING) and settings.key in ("accuracy", "loss")


def dimension(name: str, value: object, now: Value) -> Choices | Numbers:
    """The entry `name` of `vary`, whose value in params.yaml is `now`."""
    source = f"{PARAMS}: search.vary.{name}"
    if isinstance(value, dict):
        numbers = params.validate(Range, value, source)
        bounds = [numbers.low, numbers.high, *([numbers.step] if numbers.step else [])]
        whole = isinstance(now, int) and all(bound == int(bound) for bound in bounds)
        return Numbers(numbers, whole)
    if not isinstance(value, list) or not value:
        raise Problem(
            f"{source} is {shortened(repr(value))}; it should be a list of values, or a range such "
            "as {low: 0.001, high: 0.1, log: true}"
        )
    for one in value:
        if not isinstance(one, bool | int | float | str | list | None):
            raise Problem(
                f"{source} has {shortened(repr(one))}; a value should be a number, a text, true, "
                "false, null or a list"
            )
    if len({json.dumps(one) for one in value}) < len(value):
        raise Problem(f"{source} has a value twice")
    return Choices(value)


def current(name: str, values: dict[Any, Any], used: set[str]) -> Value:
    """The value of `name` in params.yaml. Raises `Problem` if it cannot be varied."""
    source = f"{PARAMS}: search.vary.{name}"
    top, *path = name.split(".")
    known = sorted({key for key in {*used, *pipeline.networks()} if key in values})
    if name in FIXED:
        raise Problem(
            f"{source}: {name} decides which images validate, so trials could not be compared"
        )
    if top not in known:
        close = get_close_matches(top, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise Problem(f"{source}: no stage uses a key {one_line(top)}{hint}")
    value = values[top]
    for key in path:
        if not isinstance(value, dict) or key not in value:
            raise Problem(f"{source}: {PARAMS} has no key {one_line(name)}")
        value = value[key]
    if isinstance(value, dict):
        raise Problem(f"{source} is a section; name one of its keys, such as {name}.{min(value)}")
    return value  # type: ignore[no-any-return]


def check(dimensions: dict[str, Choices | Numbers], values: dict[Any, Any]) -> None:
    """Raise `Problem` where a stage would reject an edge of a dimension."""
    _accepted(values, str(PARAMS))
    start = copy.deepcopy(values)
    for name, one in dimensions.items():
        _set(start, name, one.edges[0])
    for name, one in dimensions.items():
        for value in one.edges:
            changed = copy.deepcopy(start)
            _set(changed, name, value)
            if section := owner(name):
                changed["network"] = section
            _accepted(changed, f"{PARAMS}: search.vary.{name}")


def _accepted(values: dict[Any, Any], source: str) -> None:
    """Validate `values` as each stage of Convline would."""
    for stage in pipeline.STAGES:
        if not (PROJECT / f"src/{stage}.py").exists():
            continue  # a project may do without
        schema = importlib.import_module(stage).Params
        params.validate(
            schema, {key: values[key] for key in schema.model_fields if key in values}, source
        )
    settings = {key: values[key] for key in backend.BackendParams.model_fields}
    backend.choose(backend.BackendParams(**settings))  # a network's file may import Keras
    schema = network.imported(values["network"]).Params
    params.validate(schema, values.get(values["network"]), f"{source}: {values['network']}")


def _set(values: dict[Any, Any], name: str, value: Value) -> None:
    *path, last = name.split(".")
    for key in path:
        values = values[key]
    values[last] = value


def check_metric(settings: Search, repo: "Repo") -> None:
    """Raise `Problem` where no stage writes the metric, or it depends on test images."""
    source = f"{PARAMS}: search.metric is {settings.metric!r}"
    written = {out.def_path: stage for stage in repo.index.stages for out in stage.metrics}
    if not settings.key or settings.file not in written:
        raise Problem(
            f"{source}; it should be FILE:KEY, and FILE one of the metrics of {PIPELINE}: "
            f"{', '.join(sorted(written))}"
        )
    if written[settings.file] in of_test_images(repo.index.stages):
        raise Problem(
            f"{source}, which depends on test images: they would choose the parameters; use a "
            f"figure of validation images, such as {TRAINING}:accuracy"
        )
    if not settings.file.endswith(".json"):
        raise Problem(f"{source}; a search reads JSON only")


def of_test_images(stages: "list[Stage]") -> list["Stage"]:
    """The stages that read the processed test images, or what such a stage writes."""
    reading: list[Stage] = []
    outs = [out.def_path for stage in stages for out in stage.outs]
    of_test = {path for path in outs if fnmatch(path, str(PROCESSED / TEST))}

    def touches(path: str) -> bool:
        return any(
            path == one or path.startswith(f"{one}/") or one.startswith(f"{path}/")
            for one in of_test
        )

    while True:
        more = [
            stage
            for stage in stages
            if stage not in reading and any(touches(dep.def_path) for dep in stage.deps)
        ]
        if not more:
            return reading
        reading += more
        of_test |= {out.def_path for stage in more for out in stage.outs}


def overrides(values: dict[str, Value]) -> list[str]:
    """`values` as `dvc exp run --set-param` takes them, in the grammar of Hydra."""
    return [f"{name}={_hydra(value)}" for name, value in values.items()]


def _hydra(value: Value) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_hydra, value))}]"
    if isinstance(value, str):
        # Within quotes, a backslash counts only before a quote or at the end
        return "'" + value.replace("'", r"\'") + "'"
    return json.dumps(value)
