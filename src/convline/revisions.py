"""Revisions of the project, read through DVC: files, commits, and stages that are out of date."""

import subprocess
import sys
from typing import Any

from dvc.fs import DVCFileSystem
from dvc.repo import Repo
from dvc.scm import SCMError, resolve_rev
from dvc.stage import Stage
from dvc_data.hashfile.hash_info import HashInfo

from convline import pipeline
from convline.paths import LOCK
from convline.problems import Problem
from convline.text import one_line

WORKSPACE = "workspace"


class MissingFile(Problem):
    """A file of a revision is neither in DVC's cache nor in its remote."""


def read(path: str, revision: str) -> str:
    """The text of a file of `revision`, from git or DVC, and from the remote if it is not here.

    Raises `Problem` where there is no such revision, and `MissingFile` where neither cache nor
    remote has the file.
    """
    return str(_read(path, revision, "r"))


def read_bytes(path: str, revision: str) -> bytes:
    """The bytes of a file of `revision`, as `read` finds it."""
    return bytes(_read(path, revision, "rb"))


def _read(path: str, revision: str, mode: str) -> Any:
    if not revision:  # which git would take for HEAD
        raise unknown(revision)
    try:
        with Repo() as repo:
            config = repo.config
            with repo.switch(revision):
                # The remote of today, also for a revision from before it was configured
                repo.config = config
                files = DVCFileSystem(repo=repo, subrepos=True)
                with files.open(files.from_os_path(path), mode) as file:
                    return file.read()
    except SCMError as error:
        raise unknown(revision) from error
    except FileNotFoundError as error:
        if path == str(LOCK):
            raise Problem(f"{revision} has no {LOCK}: `dvc repro` there") from error
        raise MissingFile(
            f"{revision}: {path} is neither in the cache nor in the remote; `dvc push` where it "
            "was made, or `dvc repro` there"
        ) from error
    except Exception as error:  # each kind of remote raises its own
        raise Problem(f"{revision}: {path} cannot be read: {one_line(error)}") from error


def commit(revision: str) -> str:
    """The commit of a revision, and for the workspace whether it has changes since.

    Raises `Problem` where there is no such revision.
    """
    if not revision:  # which git would take for HEAD
        raise unknown(revision)
    with Repo() as repo:
        try:
            sha = resolve_rev(repo.scm, "HEAD" if revision == WORKSPACE else revision)
        except SCMError as error:
            raise unknown(revision) from error
        changed = revision == WORKSPACE and repo.scm.is_dirty(untracked_files=False)
    return f"{sha[:7]}{' with uncommitted changes' if changed else ''}"


def outdated(revision: str, target: str) -> list[str]:
    """The stages up to `target` whose command, parameters, code or data differ from dvc.lock.

    Frozen stages count too; data that was never pulled does not. Raises `Problem` where DVC cannot
    tell.
    """
    with pipeline.opened() as repo, repo.switch(revision):
        stages = repo.stage.collect(target, with_deps=True)
        made = {out.fs_path: out.hash_info for stage in stages for out in stage.outs}
        changed = {stage for stage in stages if _changed(stage, made)}
        return [
            getattr(stage, "name", None) or stage.addressing
            for stage in repo.index.stages  # in the order of dvc.yaml
            if stage in changed
        ]


def _changed(stage: Stage, made: dict[str, HashInfo]) -> bool:
    """Whether a stage differs from its entry in dvc.lock, where `made` are the outs of all stages.

    DVC's own answer is no for every stage that is frozen, and yes for one that always runs.
    """
    for dep in stage.deps:
        status = dep.status().get(str(dep))
        # Neither has a file changed that was not pulled, nor one elsewhere that is out of reach
        absent = status == "deleted" and (
            made.get(dep.fs_path) == dep.hash_info or not dep.is_in_repo
        )
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
