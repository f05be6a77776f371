"""Lineage: from the md5 of a model to the commits whose dvc.lock has it."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dvc.utils.serialize import parse_yaml

from convline.paths import LITERT, LOCK, MODEL, ONNX
from convline.problems import Problem
from convline.text import one_line

MODELS = tuple(map(str, (MODEL, ONNX, LITERT)))
# What names a commit, and how people call it; DVC keeps experiments at refs/exps/BASE/NAME
NAMED = {
    "tag": re.compile("refs/tags/(.*)"),
    "branch": re.compile("refs/(?:heads|remotes)/(.*)"),
    "experiment": re.compile("refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.*)"),
}


@dataclass
class Origin:
    """A content of dvc.lock that has the model, and the commits and names that have this content.

    `path` is the model's file and `md5` its whole md5. The commits are those that brought it, the
    newest first; `names` are of tags, branches and experiments, by kind.
    """

    path: str
    md5: str
    lock: dict[str, Any]
    commits: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)

    @property
    def revision(self) -> str:
        """The best name for it: a tag, or else a commit."""
        names = (name for kind in NAMED for name in self.names.get(kind, []))
        return [*self.names.get("tag", []), *self.commits, *names][0]


def parsed(text: str) -> dict[str, Any]:
    """The content of a dvc.lock. Raises `Problem` where it is none."""
    try:
        # By DVC's parser: PyYAML takes 1e-05 for a string
        content = dict(parse_yaml(text, str(LOCK)))
        outputs(content)
    except Exception as error:  # whatever damaged YAML leads to
        raise Problem(f"{LOCK} is not what DVC writes: {one_line(error)}") from error
    return content


def outputs(lock: dict[str, Any]) -> dict[str, str]:
    """The md5 of each output in a dvc.lock, by path."""
    return {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage.get("outs", [])
        if "md5" in out
    }


def origins(prefix: str) -> list[Origin]:
    """Where a model comes from whose md5 begins with `prefix`, the newest first.

    All branches, tags and experiments are searched. The md5 may be that of the model, or of one of
    its exports. Raises `Problem` where git cannot tell.
    """
    listed = _git("for-each-ref", "--format=%(refname)").splitlines()
    called = {ref: kind_and_name for ref in listed if (kind_and_name := _called(ref))}
    # With the history that a merge has thrown away
    brought = _git(
        "rev-list", "--all", "--date-order", "--full-history", "HEAD", "--", str(LOCK)
    ).split()
    blobs = _blobs([*brought, *called])
    texts = _texts(set(blobs.values()))
    found = {blob: _origin(texts[blob], prefix) for blob in dict.fromkeys(blobs.values())}
    for revision, blob in blobs.items():
        if (origin := found.get(blob)) is None:
            continue
        if revision in called:
            kind, name = called[revision]
            origin.names.setdefault(kind, []).append(name)
        else:
            origin.commits.append(revision)
    return [origin for origin in found.values() if origin]


def _called(ref: str) -> tuple[str, str] | None:
    """What kind of name a ref is, and the name; None where it is none of people's."""
    for kind, pattern in NAMED.items():
        if match := pattern.fullmatch(ref):
            return kind, match[1]
    return None


def _origin(text: str, prefix: str) -> Origin | None:
    if prefix not in text:  # parsed for nothing, a hundred of them would take seconds
        return None
    try:
        lock = parsed(text)
    except Problem:  # of some old commit
        return None
    for path, md5 in outputs(lock).items():
        if path in MODELS and md5.startswith(prefix):
            return Origin(path, md5, lock)
    return None


def _blobs(revisions: Iterable[str]) -> dict[str, str]:
    """The id of the dvc.lock of each revision that has one."""
    asked = list(revisions)
    lines = "".join(f"{revision}:./{LOCK}\n" for revision in asked)
    answers = _git("cat-file", "--batch-check=%(objectname) %(objecttype)", input=lines)
    return {
        revision: answer.removesuffix(" blob")
        for revision, answer in zip(asked, answers.splitlines(), strict=True)
        if answer.endswith(" blob")
    }


def _texts(blobs: set[str]) -> dict[str, str]:
    """The text of each blob."""
    ids = sorted(blobs)
    stream = _git_bytes("cat-file", "--batch", input="".join(f"{blob}\n" for blob in ids))
    texts, place = {}, 0
    for blob in ids:  # its id, type and size on a line, its content, a line end
        begin = stream.index(b"\n", place) + 1
        end = begin + int(stream[place:begin].split()[-1])
        texts[blob] = stream[begin:end].decode(errors="replace")
        place = end + 1
    return texts


def _git(*arguments: str, input: str = "") -> str:
    """What git prints. Raises `Problem` where it fails."""
    return _git_bytes(*arguments, input=input).decode(errors="surrogateescape")


def _git_bytes(*arguments: str, input: str) -> bytes:
    command = ("git", *arguments)
    encoded = input.encode(errors="surrogateescape")
    try:
        result = subprocess.run(command, input=encoded, capture_output=True, check=False)
    except OSError as error:
        raise Problem(f"git cannot be run: {error.strerror}") from error
    if result.returncode:
        reason = one_line(result.stderr.decode(errors="replace"))
        raise Problem(f"`git {arguments[0]}` failed: {reason}")
    return result.stdout
