"""Entries of datasets.yaml, written so that everything else in it stays."""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from convline import files
from convline.data.datasets import INDEX, PictureDataset
from convline.paths import DATASETS
from convline.problems import Problem
from convline.text import one_line

MOST_ON_A_LINE = 80  # characters of the names of classes


def read() -> CommentedMap:
    """datasets.yaml, with its comments. Raises `Problem` where it is no valid YAML."""
    try:
        content: CommentedMap = _yaml().load(DATASETS)
    except YAMLError as error:
        raise Problem(f"{DATASETS} is no valid YAML: {one_line(error)}") from error
    return content


def write(name: str, dataset: PictureDataset, folder: Path) -> None:
    """Write the entry of a dataset whose files are in `folder`.

    Everything else stays, comments included: what is there is changed in its place.
    """
    content = read()
    entry = content.get(name)
    if entry is None:
        entry = content[name] = CommentedMap()
        content.yaml_set_comment_before_after_key(name, before="\n")
    for key in ("shape", "fit", "background", "classes", "test_share", "split_seed", "files"):
        if key == "classes":
            _set_classes(entry, dataset.classes)
        elif key == "files":
            _set_files(entry, folder)
        elif key in dataset.model_fields_set and entry.get(key) is None:
            value = getattr(dataset, key)
            entry[key] = _on_a_line(CommentedSeq(value)) if key == "shape" else value
    with files.written(DATASETS) as file:
        _yaml().dump(content, file)


def _yaml() -> YAML:
    round_trip = YAML()
    round_trip.preserve_quotes = True
    round_trip.indent(mapping=2, sequence=4, offset=2)
    round_trip.width = 4096  # where it wraps a line, it leaves a blank at its end
    return round_trip


def _set_classes(entry: CommentedMap, classes: list[str]) -> None:
    """Change the classes of an entry of datasets.yaml to `classes`; those in both are in order."""
    listed = entry.setdefault("classes", CommentedSeq())
    if not listed and len(", ".join(classes)) < MOST_ON_A_LINE:
        _on_a_line(listed)
    for i in reversed(range(len(listed))):
        if listed[i] not in classes:
            del listed[i]
    for i, label in enumerate(classes):
        if listed[i : i + 1] != [label]:
            listed.insert(i, _scalar(label))


def _set_files(entry: CommentedMap, folder: Path) -> None:
    """Change the files of an entry of datasets.yaml to those in `folder`."""
    listed = entry.setdefault("files", CommentedMap())
    # The table last: a comment that follows the entry hangs on its last line, which stays
    paths = sorted(folder.iterdir(), key=lambda path: (path.name == INDEX, path.name))
    for gone in set(listed) - {path.name for path in paths}:
        del listed[gone]
    for i, path in enumerate(paths):
        if path.name not in listed:
            listed.insert(i, path.name, _on_a_line(CommentedMap()))
        listed[path.name].update(bytes=path.stat().st_size, checksum=_checksum(path))


def _checksum(path: Path) -> str:
    """The checksum of a file, as datasets.yaml has it. DVC's parser needs the quotes."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _quoted(f"sha256:{digest}")


def _scalar(text: str) -> str:
    """`text` for YAML, quoted where YAML 1.1 would read something else, such as a class `no`."""
    try:
        plain = yaml.safe_load(text) == text
    except yaml.YAMLError:
        plain = False
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """`text` for YAML, in double quotes."""
    scalar: str = DoubleQuotedScalarString(text)
    return scalar


def _on_a_line(node: Any) -> Any:
    """A mapping or list of YAML, to be written on one line."""
    node.fa.set_flow_style()
    return node
