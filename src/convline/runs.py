"""The last run of the pipeline at any revision, read through DVC."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, TypeVar

import dvc.api
import pandas as pd
from dvc.exceptions import DvcException, PathMissingError
from dvc.repo import Repo
from dvc.scm import RevError, SCMError, resolve_rev
from dvc.stage import Stage
from dvc.utils.serialize import parse_yaml
from dvc_data.hashfile.hash_info import HashInfo
from pydantic import ConfigDict, FailFast, Field

from convline import datasets
from convline.datasets import TEST_IMAGES, TEST_LABELS, Name
from convline.objects import check_lock
from convline.params import PARAMS, Float, Int, Schema, SchemaT, read_yaml, validate
from convline.provenance import Record, contradiction, digest
from convline.stage import Problem, one_line

WORKSPACE = "workspace"
LOCK = "dvc.lock"
TRAINING = "metrics/train.json"
EVALUATION = "metrics/evaluate.json"
PREDICTIONS = "metrics/predictions.csv"
LAST_STAGE = "evaluate"
COMMIT = '`git commit --all --message "Run on this machine"`'

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


class FalseRun(Problem):
    """What the outputs of a run say of themselves is not what its dvc.lock says, or is damaged."""


class Scores(Schema):
    """The figures on the test images, as evaluate wrote them."""

    model_config = ConfigDict(extra="ignore")

    accuracy: Share
    accuracy_interval_95: tuple[Share, Share]
    errors: Count
    images: Count
    negative_log_likelihood: Annotated[Float, Field(ge=0)]
    brier_score: Annotated[Float, Field(ge=0, le=2)]
    expected_calibration_error: Share
    per_class: Annotated[list[ClassScores], Field(min_length=1), FailFast()]

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

    `remarks` say in a sentence each why the run may not be that of the revision's own parameters
    and code.

    Its properties raise `Problem` where the file that they come from is nowhere to be had, or is
    not one of a finished run.
    """

    revision: str
    lock: dict[str, Any]
    remarks: tuple[str, ...] = ()

    def params(self, stage: str, file: str = "params.yaml") -> dict[str, Any]:
        """The parameters that `stage` ran with."""
        return dict(self.lock["stages"][stage]["params"][file])

    @property
    def sources(self) -> dict[str, str]:
        """The stage that writes each output, by the output's path."""
        return {
            out["path"]: name
            for name, stage in self.lock["stages"].items()
            for out in stage.get("outs", [])
        }

    @property
    def project_files(self) -> set[tuple[str, str | None]]:
        """The path and md5 of what stages depend on and none of them writes."""
        return {
            (dep["path"], digest(dep))
            for stage in self.lock["stages"].values()
            for dep in stage.get("deps", [])
            if dep["path"] not in self.sources
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
        return str(self.params("evaluate")["dataset"])

    @property
    def test_files(self) -> dict[str, str]:
        """The dataset's two test files and their md5: the same for the same test images."""
        return {
            dep["path"]: dep["md5"]
            for dep in self.lock["stages"]["preprocess"]["deps"]
            if dep["path"].endswith((TEST_IMAGES, TEST_LABELS))
        }

    @cached_property
    def scores(self) -> Scores:
        """The figures on the test images."""
        return self._checked(Scores, _parsed(EVALUATION, self.revision, json.loads), EVALUATION)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row for each test image, in the order of the dataset's file.

        The columns are `index`, `actual` and `predicted` (names of classes), and `confidence`.
        """

        def parse(text: str) -> pd.DataFrame:
            # A class may be called 1, or NA
            table = pd.read_csv(
                io.StringIO(text),
                dtype={"actual": str, "predicted": str},
                keep_default_na=False,
            )
            return table[["index", "actual", "predicted", "confidence"]]

        table = _parsed(PREDICTIONS, self.revision, parse)
        names = {column: table[column].unique().tolist() for column in Predicted.model_fields}
        self._checked(Predicted, names, PREDICTIONS)
        return table

    def _checked(self, schema: type[SchemaT], content: object, path: str) -> SchemaT:
        """What `path` holds, as a `schema`. It may be older than a figure, or of another hand."""
        try:
            return validate(schema, content, f"{self.revision}: {path}")
        except Problem as problem:
            raise Problem(f"{problem}; `dvc repro` there regenerates it") from problem


def load(revision: str) -> Run:
    """The run of a branch, tag, commit or experiment, or of `workspace`.

    Raises `Problem` where there is no such revision, the pipeline has not run there, or its
    dvc.lock has something else where the md5 of a file belongs.
    """
    # By DVC's parser: PyYAML takes 1e-05 for a string
    run = Run(revision, _parsed(LOCK, revision, lambda text: parse_yaml(text, LOCK)))
    try:
        check_lock(run.lock)
        complete = bool(run.dataset) and len(run.test_files) == 2
    except (AttributeError, KeyError, TypeError):
        complete = False
    if not complete:
        raise Problem(f"{revision}: {LOCK} holds no finished run; `dvc repro` there")
    return replace(run, remarks=tuple(_remarks(run)))


def _remarks(run: Run) -> Iterator[str]:
    """What makes a run doubtful. Raises `FalseRun` where its outputs contradict its dvc.lock."""
    name = "the workspace" if run.revision == WORKSPACE else run.revision
    evaluated = _records(EVALUATION, run.revision)
    for record in (*_records(TRAINING, run.revision), *evaluated):
        if difference := contradiction(record, run.lock):
            raise FalseRun(
                f"{name} has outputs that were not made by what its {LOCK} says: {difference}; "
                f"`dvc repro --force {record.stage}` there, then `dvc repro`"
            )
    # The model's own record and that of evaluate are both in the file of evaluate
    if {"train", "evaluate"} - {record.stage for record in evaluated}:
        yield (
            f"{name} does not say what its model and figures were made from; "
            "`dvc repro --force train` there makes them say so"
        )
    if run.revision == WORKSPACE:
        try:
            datasets.load(str(read_yaml(PARAMS).get("dataset")))
        except Problem as problem:  # DVC names no names
            yield str(problem)
    if stages := outdated(run.revision):
        yield f"{name} changed after its last run: `dvc repro` would run {', '.join(stages)}"


def _records(path: str, revision: str) -> list[Record]:
    """The records in a metrics file of a revision: none where it is older, or not there.

    Raises `FalseRun` where they are not what a stage writes.
    """
    try:
        content = json.loads(read(path, revision))
    except (Problem, ValueError):
        return []
    made_from = content.get("made_from", []) if isinstance(content, dict) else []
    try:
        return validate(_Records, {"records": made_from}, f"{revision}: {path}: made_from").records
    except Problem as problem:
        raise FalseRun(str(problem)) from problem


def _parsed(path: str, revision: str, parse: Callable[[str], T]) -> T:
    text = read(path, revision)
    try:
        return parse(text)
    except Exception as error:  # whatever deep, odd or damaged JSON, YAML or CSV leads to
        raise Problem(
            f"{revision}: {path} is not what the pipeline writes ({one_line(error)}); "
            "`dvc repro` there"
        ) from error


def read(path: str, revision: str) -> str:
    """The text of a file of `revision`, git's or DVC's, from the remote where it is not here.

    Raises `Problem` where there is no such revision, or the file is nowhere to be had.
    """
    try:
        if not revision:  # which DVC would take for the workspace
            raise RevError("empty")
        # The remote of today, also for a revision from before it was configured
        with Repo() as repo:
            remote = repo.config["core"].get("remote")
        rev = None if revision == WORKSPACE else revision
        return str(dvc.api.read(path, rev=rev, remote=remote))
    except RevError as error:
        raise unknown(revision) from error
    except PathMissingError as error:
        if path == LOCK:
            raise Problem(f"{revision} has no {LOCK}: `dvc repro` there") from error
        advice = "`dvc push` where it was made, or `dvc repro` there"
        # Only for what `load` does not read: it is asked here
        if path == PREDICTIONS and commit(revision) == commit("HEAD") and computed_here():
            advice = f"this machine computed it with other bytes: {COMMIT} makes them those of HEAD"
        raise Problem(
            f"{revision}: {path} is neither in the cache nor in the remote; {advice}"
        ) from error
    except Exception as error:  # each kind of remote raises its own
        raise Problem(f"{revision}: {path} cannot be read: {one_line(error)}") from error


def computed_here() -> bool:
    """Whether the workspace repeats the run of HEAD, and ended in other bytes.

    Processors round differently: what was committed elsewhere comes out with other last digits.
    """
    try:
        committed, here = load("HEAD"), load(WORKSPACE)
    except Problem:
        return False
    return here.lock != committed.lock and here.repeats(committed)


def commit(revision: str) -> str:
    """The commit of a revision, and for the workspace whether it has changes since.

    Raises `Problem` where there is no such revision.
    """
    if not revision:  # which DVC would take for HEAD
        raise unknown(revision)
    with Repo() as repo:
        try:
            sha = resolve_rev(repo.scm, "HEAD" if revision == WORKSPACE else revision)
        except SCMError as error:
            raise unknown(revision) from error
        changed = revision == WORKSPACE and repo.scm.is_dirty(untracked_files=False)
    return f"{sha[:7]}{' with uncommitted changes' if changed else ''}"


def outdated(revision: str) -> list[str]:
    """The stages on the way to the figures whose inputs are no longer those in dvc.lock.

    That is their command, parameters, code or data; a frozen stage is no exception. Data that were
    never pulled do not count. Raises `Problem` where DVC cannot tell.
    """
    try:
        with Repo() as repo, repo.switch(revision):
            stages = repo.stage.collect(LAST_STAGE, with_deps=True)
            made = {out.fs_path: out.hash_info for stage in stages for out in stage.outs}
            changed = {stage for stage in stages if _changed(stage, made)}
            return [
                getattr(stage, "name", None) or stage.addressing
                for stage in repo.index.stages  # in the order of dvc.yaml
                if stage in changed
            ]
    except DvcException as error:
        raise Problem(f"DVC cannot tell what changed in {revision}: {one_line(error)}") from error


def _changed(stage: Stage, made: dict[str, HashInfo]) -> bool:
    """Whether a stage is other than its entry in dvc.lock, where `made` are the outs of all.

    DVC's own answer is no for every stage that is frozen, and yes for one that always runs.
    """
    for dep in stage.deps:
        status = dep.status().get(str(dep))
        absent = status == "deleted" and made.get(dep.fs_path) == dep.hash_info
        if status and not absent:
            return True
    outs = {out.status().get(str(out)) for out in stage.outs}
    return stage.changed_stage() or bool(outs - {None, "deleted", "not in cache"})


def dvc_prints(*arguments: str) -> str:
    """What a DVC command prints on stdout. Raises `Problem` where it fails."""
    result = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise Problem(f"`dvc {' '.join(arguments)}` failed: {one_line(result.stderr)}")
    return result.stdout


def unknown(revision: str) -> Problem:
    """What to raise where there is no such revision."""
    return Problem(f"there is no branch, tag, commit or experiment {revision!r}")
