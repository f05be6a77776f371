"""Merge two versions of dvc.lock stage by stage, as git's merge driver (see `make hooks`)."""

import argparse
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import strictyaml
from dvc.utils.serialize import dumps_yaml

from convline import files
from convline.objects import check_lock
from convline.problems import Problem

# DVC adds to git only what it rewrites, and no metrics
FINISH = "dvc repro && git add dvc.lock metrics && git commit"

Stages = dict[str, Any]


def main() -> None:
    """Read the three versions, merge them, write the result over ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    for side in ("base", "ours", "theirs"):
        parser.add_argument(side, type=Path)
    paths = parser.parse_args()

    # Where the common ancestor has no dvc.lock, git gives an empty file
    base = load("base", paths.base) if paths.base.stat().st_size else {}
    ours, theirs = load("ours", paths.ours), load("theirs", paths.theirs)
    stages, conflicts = merge(*(lock.get("stages", {}) for lock in (base, ours, theirs)))
    with files.written(paths.ours) as file:
        file.write(dumps_yaml(ours | {"stages": stages}).encode())
    if conflicts:
        raise Problem(f"both sides changed {', '.join(conflicts)}: run `{FINISH}`")


def load(side: str, path: Path) -> dict[str, Any]:
    """The dvc.lock of one side. Raises `Problem` where DVC could not read it."""
    try:
        lock: dict[str, Any] = strictyaml.load(path, COMPILED_LOCKFILE_SCHEMA)[0]
        check_lock(lock)
    except (DvcException, Problem) as error:
        sound = "theirs" if side == "ours" else "ours"
        raise Problem(
            f"the dvc.lock of {side} is damaged: run `git checkout --{sound} dvc.lock && {FINISH}`"
        ) from error
    return lock


def merge(base: Stages, ours: Stages, theirs: Stages) -> tuple[Stages, list[str]]:
    """The stages of a three-way merge, and the names of the stages in conflict.

    For these, ours are kept. Stages that only theirs has come last, where DVC adds new ones.
    """
    merged, conflicts = {}, []
    for name in ours | theirs:
        before, mine, other = (stages.get(name) for stages in (base, ours, theirs))
        if mine != before and other not in (before, mine):
            conflicts.append(name)
        kept = other if mine == before else mine
        if kept is not None:
            merged[name] = kept
    return merged, conflicts
