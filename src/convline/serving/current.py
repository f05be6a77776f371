"""The model that is served now, and where the next one comes from."""

import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from convline import exported, lineage, revisions
from convline.exported import Bytes, Classifier, Floats
from convline.paths import LOCK, MODEL, ONNX
from convline.problems import Problem
from convline.text import one_line

ARTIFACT = "classifier"  # in dvc.yaml, and the name of the model in the registry
BATCH = 1 << 18  # values of images that the network takes at a time, which bounds its memory
THREADS = 1  # of a call of the network: requests run beside one another
QUICK = 0.002  # seconds for which an answer may hold up the event loop: a thread costs a fifth
RETRY = 30.0  # seconds after which a refused model is tried again, as a remote may be back


@dataclass(frozen=True)
class Served:
    """A model as it is served: `revision` is None where nothing says which commit it is from."""

    classifier: Classifier
    revision: str | None

    @cached_property
    def named(self) -> dict[str, str | None]:
        """How answers name it: the md5 of models/model.keras, that of the ONNX file, a revision."""
        return {
            "md5": self.classifier.about.model_md5,
            "onnx_md5": self.classifier.md5,
            "revision": self.revision,
        }

    @cached_property
    def quick(self) -> int:
        """The number of images that it answers within QUICK."""
        image = np.zeros((1, *self.classifier.about.shape), np.float32)
        times = []
        for _ in range(10):  # the best: others may keep the machine busy
            begin = time.perf_counter()
            self.classifier(image)
            times.append(time.perf_counter() - begin)
        return int(QUICK / min(times))

    @property
    def quick_bytes(self) -> int:
        """The bytes of these images, in binary."""
        return self.quick * 4 * math.prod(self.classifier.about.shape)

    @property
    def version(self) -> str:
        """Its version in the inference protocol: the registered one, a revision or its md5."""
        if self.revision is None:
            return self.classifier.about.model_md5
        return self.revision.removeprefix(f"{ARTIFACT}@")

    def __call__(self, images: Bytes | Floats) -> Floats:
        """The probabilities (n, classes) of images (n, height, width, channels), 0 to 255."""
        step = max(1, BATCH // images[0].size)
        batches = (images[first : first + step] for first in range(0, len(images), step))
        return np.concatenate([self.classifier(batch) for batch in batches])


class Source(Protocol):
    """Where the model comes from."""

    def state(self) -> object:
        """What changes when there may be another model. None: nothing is there to be read."""

    def read(self) -> Served:
        """The model. Raises `Problem` where it is missing, damaged or unfit."""


@dataclass(frozen=True)
class File:
    """An ONNX file, which may be replaced."""

    path: Path = ONNX

    def state(self) -> object:
        """What tells one file at this path from another."""
        try:
            status = self.path.stat()
        except OSError:  # a stage removes its outputs before it writes them
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def read(self) -> Served:
        """The model in the file."""
        return Served(exported.read(self.path, THREADS), None)


@dataclass(frozen=True)
class Revision:
    """A branch, tag, commit or experiment, as it is when the server starts."""

    revision: str

    def state(self) -> object:
        """Always the same."""
        return self.revision

    def read(self) -> Served:
        """The exported model of the revision, from DVC's cache or remote."""
        return _of_revision(self.revision)


@dataclass(frozen=True)
class Stage:
    """A stage of the model registry: the version that was assigned to it last."""

    stage: str

    def state(self) -> object:
        """The tags that GTO keeps of the artifact. Raises `Problem` where git cannot tell."""
        arguments = ("for-each-ref", "--format=%(refname) %(objectname)", f"refs/tags/{ARTIFACT}*")
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)  # noqa: S607
        if result.returncode:
            raise Problem(f"git cannot list the tags: {one_line(result.stderr)}")
        return result.stdout

    def read(self) -> Served:
        """The exported model of the version."""
        return _of_revision(f"{ARTIFACT}@{self.version()}")

    def version(self) -> str:
        """The version that is in the stage. Raises `Problem` where there is none."""
        from gto.api import find_versions_in_stage  # takes half a second

        try:
            found = find_versions_in_stage(".", ARTIFACT, self.stage, versions_per_stage=-1) or []
        except Exception as error:  # GTO's own, and those of what it reads git with
            raise Problem(f"GTO cannot read the registry: {one_line(error)}") from error
        assigned = [
            (assignment.created_at, _count(assignment.tag), one.version)
            for one in found
            for assignment in one.assignments
        ]
        if not assigned:
            raise Problem(
                f"no version of {ARTIFACT} is in the stage {self.stage}; `gto assign {ARTIFACT} "
                f"--version v1.0.0 --stage {self.stage}` assigns one"
            )
        return str(max(assigned)[-1])


def _count(tag: str) -> int:
    """The number at the end of a tag of GTO: times have whole seconds only."""
    number = tag.rpartition("#")[2]
    return int(number) if number.isdecimal() else 0


def _of_revision(revision: str) -> Served:
    """The exported model of a revision. Raises `Problem` where it is not what dvc.lock says."""
    outs = lineage.outputs(lineage.parsed(revisions.read(str(LOCK), revision)))
    if str(ONNX) not in outs:
        raise Problem(f"{revision} has no {ONNX}: `dvc repro export` there, and commit {LOCK}")
    content = revisions.read_bytes(str(ONNX), revision)
    classifier = Classifier(content, f"{revision}: {ONNX}", THREADS)
    if classifier.md5 != outs[str(ONNX)]:
        raise Problem(f"{revision}: {ONNX} is damaged: its md5 is not the one in {LOCK}")
    if classifier.about.model_md5 != outs.get(str(MODEL)):
        raise Problem(f"{revision}: {ONNX} was exported from another {MODEL} than that in {LOCK}")
    return Served(classifier, revision)


class Current:
    """The model that is served. It is replaced as a whole: who has taken one may finish with it.

    `report` hears of each model that is put to use, and of each problem that keeps one from it.
    """

    def __init__(self, source: Source, report: Callable[[Served | Problem], None]) -> None:
        self.source = source
        self._report = report
        self._state = source.state()
        self._problem: str | None = None
        self._tried = 0.0
        self.model = source.read()
        report(self.model)

    def refresh(self) -> None:
        """Look whether there is another model, and put it to use. The old one stays if it fails."""
        try:
            state = self.source.state()
            again = self._problem and time.monotonic() > self._tried + RETRY
            if state is None or (state == self._state and not again):
                return
            self._state, self._tried = state, time.monotonic()
            model = self.source.read()
        except Problem as problem:
            if str(problem) != self._problem:
                self._problem = str(problem)
                self._report(problem)
            return
        recovered, self._problem = self._problem, None
        if recovered or model.named != self.model.named:
            self.model = model
            self._report(model)
