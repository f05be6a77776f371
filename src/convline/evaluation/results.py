"""The last run of the pipeline at any revision: what ran, its figures and predictions."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from dvc.utils.serialize import parse_yaml
from pydantic import ConfigDict, FailFast, Field, create_model

from convline import revisions
from convline.data import datasets
from convline.data.arrays import NAMES
from convline.data.datasets import Name
from convline.evaluation.figures import FIGURES
from convline.objects import check_lock
from convline.params import Float, Int, Schema, SchemaT, read_yaml, validate
from convline.paths import EVALUATION, EXPORT, LOCK, PARAMS, PREDICTIONS, TRAINING
from convline.problems import Problem
from convline.provenance import Record, contradiction, digest
from convline.revisions import WORKSPACE
from convline.text import one_line

TARGET = "evaluate"  # the stage that writes the figures
COMMIT = '`git commit --all --message "Run on this machine"`'

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

Count = Annotated[Int, Field(ge=0)]
Share = Annotated[Float, Field(ge=0, le=1)]


class ClassScores(Schema):
    """The figures of one class."""

    model_config = ConfigDict(extra="ignore")

    name: Name = Field(alias="class")
    images: Count
    precision: Share
    recall: Share
    f1: Share


class CorruptionScore(Schema):
    """The accuracy on images corrupted in one kind and strength."""

    corruption: Name
    strength: Count
    accuracy: Share


class FalseRun(Problem):
    """The outputs of a run carry records that contradict its dvc.lock, or are damaged."""


# A number under the key of each of FIGURES; a file may be older than one of them
_FIELDS: dict[str, Any] = {figure.key: (Float, None) for figure in FIGURES}
_Figures: Any = create_model("_Figures", __base__=Schema, **_FIELDS)


class Scores(_Figures):
    """The figures on the test images, as evaluate wrote them."""

    model_config = ConfigDict(extra="ignore")

    accuracy: Share
    accuracy_interval_95: tuple[Share, Share]
    errors: Count
    images: Count
    never_predicted: tuple[Name, ...] = ()  # of the classes with images; older files lack it
    per_class: Annotated[list[ClassScores], Field(min_length=1), FailFast()]
    per_corruption: tuple[CorruptionScore, ...] = ()  # older files lack it

    @property
    def figures(self) -> dict[str, float]:
        """The values of FIGURES by key, those that the file has."""
        values = {figure.key: getattr(self, figure.key) for figure in FIGURES}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def by_corruption(self) -> dict[str, dict[int, float]]:
        """The accuracy by kind of corruption and strength."""
        table: dict[str, dict[int, float]] = {}
        for row in self.per_corruption:
            table.setdefault(row.corruption, {})[row.strength] = row.accuracy
        return table

    @property
    def weakest(self) -> ClassScores:
        """The class with the lowest recall of those that have images; of equals, the first."""
        with_images = [scores for scores in self.per_class if scores.images]
        return min(with_images or self.per_class, key=lambda scores: scores.recall)

    def of(self, name: str) -> ClassScores | None:
        """The figures of the class `name`, where it is one of these."""
        return next((scores for scores in self.per_class if scores.name == name), None)


Names = Annotated[list[Name], Field(min_length=1), FailFast()]


class Predicted(Schema):
    """The names of classes among the predictions."""

    actual: Names
    predicted: Names


class _Records(Schema):
    records: list[Record]


@dataclass(frozen=True)
class Run:
    """A finished run. `lock` is its dvc.lock: what was run, with which parameters, on which bytes.

    Each of `remarks` is a sentence that says why the run may not be one of the revision's own
    parameters and code.

    Its properties raise `Problem` where their file is missing, or is not one of a finished run.
    """

    revision: str
    lock: dict[str, Any]
    remarks: tuple[str, ...] = ()

    def params(self, stage: str, file: str = "params.yaml") -> dict[str, Any]:
        """The parameters that `stage` ran with."""
        return dict(self.lock["stages"][stage]["params"][file])

    @cached_property
    def _outs(self) -> list[tuple[str, str]]:
        """The path of each output, and the stage that writes it."""
        return [
            (out["path"], name)
            for name, stage in self.lock["stages"].items()
            for out in stage.get("outs", [])
        ]

    def sources(self, path: str) -> set[str]:
        """The stages that write `path`, or the folder that it is in, or something within it."""
        return {name for out, name in self._outs if _within(out, path) or _within(path, out)}

    @property
    def project_files(self) -> set[tuple[str, str | None]]:
        """The path and md5 of what stages depend on and none of them writes."""
        return {
            (dep["path"], digest(dep))
            for stage in self.lock["stages"].values()
            for dep in stage.get("deps", [])
            if not self.sources(dep["path"])
        }

    def repeats(self, other: "Run") -> bool:
        """Whether it ran the same stages with the same parameters and files as `other`."""
        one, two = (
            {
                name: (stage["cmd"], stage.get("params"))
                for name, stage in run.lock["stages"].items()
            }
            for run in (self, other)
        )
        return one == two and self.project_files == other.project_files

    @property
    def dataset(self) -> str:
        """The name of its dataset."""
        return str(self.params(TARGET)["dataset"])

    @property
    def test_data(self) -> dict[str, str | None]:
        """The data that evaluate tests the model on, and its md5, by path.

        Not the names of the images, which older runs lack and which change no result.
        """
        return {
            dep["path"]: digest(dep)
            for dep in self.lock["stages"][TARGET]["deps"]
            if self.sources(dep["path"]) - {"train"} and Path(dep["path"]).name != NAMES
        }

    @cached_property
    def scores(self) -> Scores:
        """The figures on the test images."""
        return self._checked(Scores, _parsed(EVALUATION, self.revision, json.loads), EVALUATION)

    @cached_property
    def predictions(self) -> "pd.DataFrame":
        """A row for each test image, in the order of the dataset's file.

        The columns are `index`, `actual` and `predicted` (names of classes), and `confidence`; of a
        dataset whose images have names also `file_name`, which can hold any characters.
        """
        import pandas as pd  # a server that shows figures comes without it

        def parse(text: str) -> pd.DataFrame:
            # A class may be called 1, or NA
            table = pd.read_csv(
                io.StringIO(text),
                dtype={"file_name": str, "actual": str, "predicted": str},
                keep_default_na=False,
            )
            names = ["file_name"] if "file_name" in table else []
            return table[["index", *names, "actual", "predicted", "confidence"]]

        try:
            table = _parsed(PREDICTIONS, self.revision, parse)
        except revisions.MissingFile as problem:
            here = revisions.commit(self.revision) == revisions.commit("HEAD")
            if not (here and computed_here()):
                raise
            raise Problem(
                f"{str(problem).split('; ')[0]}; this machine computed it with other bytes: "
                f"{COMMIT} makes them those of HEAD"
            ) from problem
        names = {column: table[column].unique().tolist() for column in Predicted.model_fields}
        self._checked(Predicted, names, PREDICTIONS)
        return table

    def _checked(self, schema: type[SchemaT], content: object, path: Path) -> SchemaT:
        """The content of `path` as a `schema`. It may be old, or written by something else."""
        try:
            return validate(schema, content, f"{self.revision}: {path}")
        except Problem as problem:
            raise Problem(f"{problem}; `dvc repro` there regenerates it") from problem


def _within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def load(revision: str) -> Run:
    """The run of a branch, tag, commit or experiment, or of `workspace`.

    Raises `Problem` where there is no such revision, the pipeline has not run there, or its
    dvc.lock has something else where the md5 of a file belongs.
    """
    # By DVC's parser: PyYAML takes 1e-05 for a string
    run = Run(revision, _parsed(LOCK, revision, lambda text: parse_yaml(text, str(LOCK))))
    try:
        check_lock(run.lock)
        complete = bool(run.dataset and run.test_data)
    except (AttributeError, KeyError, TypeError):
        complete = False
    if not complete:
        raise Problem(f"{revision}: {LOCK} holds no finished run; `dvc repro` there")
    return replace(run, remarks=tuple(_remarks(run)))


def _remarks(run: Run) -> Iterator[str]:
    """What makes a run doubtful. Raises `FalseRun` where its outputs contradict its dvc.lock."""
    name = "the workspace" if run.revision == WORKSPACE else run.revision
    evaluated = _records(EVALUATION, run.revision)
    others = (*_records(TRAINING, run.revision), *_records(EXPORT, run.revision))
    for record in (*others, *evaluated):
        if difference := contradiction(record, run.lock):
            raise FalseRun(
                f"{name} has outputs that were not made by what its {LOCK} says: {difference}; "
                f"`dvc repro --force {record.stage}` there, then `dvc repro`"
            )
    # The model's own record and that of evaluate are both in the file of evaluate
    if {"train", "evaluate"} - {record.stage for record in evaluated}:
        yield (
            f"{name} does not say what its model and figures were made from; "
            "`dvc repro --force train` there records it"
        )
    if run.revision == WORKSPACE:
        try:
            datasets.load(str(read_yaml(PARAMS).get("dataset")))
        except Problem as problem:  # DVC does not say which names there are
            yield str(problem)
    if stages := revisions.outdated(run.revision, TARGET):
        yield f"{name} changed after its last run: `dvc repro` would run {', '.join(stages)}"


def _records(path: Path, revision: str) -> list[Record]:
    """The records in a metrics file of a revision; none where it has no records, or is missing.

    Raises `FalseRun` where they are not what a stage writes.
    """
    try:
        content = json.loads(revisions.read(str(path), revision))
    except (Problem, ValueError):
        return []
    made_from = content.get("made_from", []) if isinstance(content, dict) else []
    try:
        return validate(_Records, {"records": made_from}, f"{revision}: {path}: made_from").records
    except Problem as problem:
        raise FalseRun(str(problem)) from problem


def _parsed(path: Path, revision: str, parse: Callable[[str], T]) -> T:
    text = revisions.read(str(path), revision)
    try:
        return parse(text)
    except Exception as error:  # whatever deep, odd or damaged JSON, YAML or CSV leads to
        raise Problem(
            f"{revision}: {path} is not what the pipeline writes ({one_line(error)}); "
            "`dvc repro` there"
        ) from error


def computed_here() -> bool:
    """Whether the workspace repeats the run of HEAD, and ended in other bytes.

    Processors round differently: what was committed elsewhere comes out with other last digits.
    """
    try:
        committed, here = load("HEAD"), load(WORKSPACE)
    except Problem:
        return False
    return here.lock != committed.lock and here.repeats(committed)
