"""Provenance: what outputs were made from, recorded by their stage and compared with dvc.lock.

`dvc exp save` and `dvc commit` write the parameters and files of the workspace into dvc.lock,
whether or not a stage ever ran on them. A stage's own record stays true.
"""

import hashlib
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from pydantic import ConfigDict, Field

from convline import pipeline
from convline.params import Schema
from convline.problems import Problem


class Record(Schema):
    """What a run of `stage` was made from, with the values that dvc.lock would have.

    `params` holds the parameters by file and key; `deps` the md5 of each dependency, code and data,
    by path; `outs` the md5 of outputs.
    """

    model_config = ConfigDict(extra="ignore")

    stage: str
    params: dict[str, dict[str, Any]]
    deps: dict[str, str | None]
    outs: dict[str, str] = Field(default_factory=dict)

    def with_outs(self, *paths: Path) -> "Record":
        """A copy with the md5 of the files at `paths`, which the stage has written."""
        outs = {}
        for path in paths:
            with open(path, "rb") as file:
                outs[str(path)] = hashlib.file_digest(file, "md5").hexdigest()
        return self.model_copy(update={"outs": outs})


def record(stage: str) -> Record:
    """What `stage` is about to run on. Call it before the stage reads data.

    The md5 of a missing dependency is None. Raises `Problem` where DVC cannot read the
    pipeline.
    """
    params, deps = {}, {}
    with pipeline.opened() as repo:
        for dep in repo.stage.load_one(name=stage).deps:
            value = dep.get_hash().value if dep.exists else None
            if isinstance(dep, ParamsDependency):
                params[dep.def_path] = value or {}
            else:
                deps[dep.def_path] = value
    return Record(stage=stage, params=params, deps=deps)


def check_same(record: Record, of_first: bytes) -> None:
    """Raise `Problem` where the first of several processes is about to run on something else.

    `of_first` is its record in JSON.
    """
    first = Record.model_validate_json(of_first)
    here, there = (_flat(one.params, one.deps, one.outs) for one in (record, first))
    for name in here | there:
        if here.get(name) != there.get(name):
            raise Problem(
                f"{name[1]} is {here.get(name)} here, and {there.get(name)} in process 0: bring "
                "all to the same commit and data"
            )


def contradiction(record: Record, lock: Any) -> str | None:
    """How `record` differs from the content of a dvc.lock, in words; None if they agree."""
    locked = lock["stages"].get(record.stage, {})
    says = _flat(
        locked.get("params", {}),
        {entry["path"]: digest(entry) for entry in locked.get("deps", [])},
        {
            entry["path"]: digest(entry)
            for entry in locked.get("outs", [])
            if entry["path"] in record.outs
        },
    )
    real = _flat(record.params, record.deps, record.outs)
    differing = [name for name in real | says if real.get(name) != says.get(name)]
    if not differing:
        return None
    name = differing[0]
    _, key = name
    more = f", and {len(differing) - 1} more" if differing[1:] else ""
    return f"{record.stage} ran with {key} {real.get(name)}, and not {says.get(name)}{more}"


def _flat(
    params: dict[str, dict[str, Any]], deps: dict[str, Any], outs: dict[str, Any]
) -> dict[tuple[str, str], Any]:
    """All values by section and key, because two files may have parameters of the same name."""
    sections = params | {"deps": deps, "outs": outs}
    return {
        (section, key): value for section, keys in sections.items() for key, value in keys.items()
    }


def digest(entry: dict[str, Any]) -> str | None:
    """The checksum in an entry of dvc.lock; files outside the project have an etag or another."""
    return entry.get("md5") or entry.get("etag") or entry.get("checksum")
