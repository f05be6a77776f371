"""The pipeline as DVC reads it, whatever files and templates declare its stages."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convline.paths import PROJECT
from convline.problems import Problem
from convline.text import one_line

# Of DVC, which takes longer to import than a picture's classification, only what is used
if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

# Convline's own; a project may have more
STAGES = ("fetch", "preprocess", "train", "evaluate", "export")


def networks() -> list[str]:
    """The names of the networks, each of which is a file in src/networks/."""
    return sorted(path.stem for path in (PROJECT / "src/networks").glob("[!_]*.py"))


@contextmanager
def opened() -> "Iterator[Repo]":
    """The project's DVC repository. Raises `Problem` where DVC cannot read the pipeline."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            yield repo
    except DvcException as error:
        raise Problem(f"DVC cannot read the pipeline: {one_line(error)}") from error


def declared(stage: "Stage", path: str) -> set[str] | None:
    """The parameters in the file `path` that `stage` depends on; None where these are all."""
    from dvc.dependency import ParamsDependency

    keys: set[str] = set()
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency) and dep.fs_path == dep.fs.abspath(path):
            if not dep.params:
                return None
            keys.update(dep.params)
    return keys


def used(stages: "Iterable[Stage]", path: str) -> set[str]:
    """The top-level keys of the file `path` that `stages` or their dvc.yaml name.

    That is in `params`, or within any `${...}`: DVC does not track what foreach and matrix use.
    """
    keys: set[str] = set()
    files = {}  # of many stages each, and read whenever asked for their contents
    for stage in stages:
        keys |= {key.split(".")[0] for key in declared(stage, path) or ()}
        files[stage.dvcfile.path] = stage.dvcfile
    for file in files.values():
        templates = str(getattr(file, "contents", ""))
        keys.update(re.findall(r"\$\{\s*([^\s.\[}]+)", templates))
    return keys
