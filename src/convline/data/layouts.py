"""Layouts of pictures: which class and split each belongs to, by its folder or by a table."""

import csv
import io
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from convline.data.originals import Finding
from convline.problems import Problem
from convline.text import JOINERS, one_line, printable, shortened

TABLES = ("labels.csv", "metadata.csv")
COLUMNS = ("file_name", "label", "split", "group")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class Place:
    """Where a picture belongs: its class, and its split and group where its source names them."""

    label: str
    split: str = ""
    group: str = ""


@dataclass
class Layout:
    """The places of pictures by file name; what is wrong with single files, and with the whole."""

    places: dict[str, Place] = field(default_factory=dict)
    damaged: list[Finding] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def used(
    pictures: Iterable[str], damaged: Iterable[str], folders: Iterable[str], others: Iterable[str]
) -> set[str]:
    """The folders that could be classes or splits, and the folders that they are in.

    They hold pictures, damaged ones included, or nothing. A folder that holds only `others`, such
    as texts, is left out.
    """
    of_others = {folder for name in others for folder in _parents(name)}
    found = {folder for name in (*pictures, *damaged) for folder in _parents(name)}
    return found | (set(folders) - of_others)


def top(pictures: Collection[str], folders: Set[str], tables: Iterable[str]) -> str:
    """The folder, "a/b/", in which the layout begins: an archive often has one around it all.

    It holds a table that lists all `pictures`; or else it is the innermost that holds all pictures
    and all `folders`, as `used` returns them, and is neither a class nor a split.
    """
    for table in sorted(tables, key=lambda name: name.count("/")):
        folder = table.removesuffix(PurePosixPath(table).name)
        if all(name.startswith(folder) for name in pictures):
            return folder
    outer = {folder for name in folders for folder in _parents(name)}
    paths = {PurePosixPath(name).parts for name in folders - outer}
    paths |= {PurePosixPath(name).parts[:-1] for name in pictures}
    common: list[str] = []
    for parts in zip(*paths):
        if len(set(parts)) > 1 or parts[0].lower() in SPLITS:
            break
        common.append(parts[0])
    # A folder with pictures of its own, or without any, is a class
    if common and tuple(common) in paths:
        common.pop()
    return "".join(f"{part}/" for part in common)


def from_folders(pictures: Iterable[str], folders: Iterable[str]) -> Layout:
    """The layout `class/...`, or `split/class/...` with the usual names of splits.

    `pictures` and `folders`, as `used` returns them, are paths below the top. Raises `Problem`
    where the folders could be read in both ways.
    """
    layout = Layout()
    tops = sorted({name.split("/")[0] for name in folders})
    splits = [name for name in tops if name.lower() in SPLITS]
    classes = [name for name in tops if name.lower() not in SPLITS]
    if splits and classes:
        raise Problem(
            f"the folder {splits[0]} could be a split, and then {_listed(classes)} would need to "
            f"be in a split too; or a class, like {_listed(classes)}: move the classes into the "
            f"split's folder, or rename {splits[0]}"
        )
    depth = 1 if splits else 0
    for name in pictures:
        parts = name.split("/")
        if len(parts) < depth + 2:
            where = f"the split {parts[0]}, but in no class" if parts[1:] else "no class"
            layout.damaged.append(Finding(name, f"is in {where}: pictures belong in CLASS/"))
            continue
        split = SPLITS[parts[0].lower()] if depth else ""
        layout.places[name] = Place(unicodedata.normalize("NFC", parts[depth]), split)
    full = {"/".join(name.split("/")[: depth + 1]) for name in layout.places}
    empty = {name for name in folders if name.count("/") == depth} - full
    layout.errors += [f"the class {one_line(name)} has no pictures" for name in sorted(empty)]
    layout.errors += _wrong_names({name.split("/")[depth] for name in layout.places})
    by_split = defaultdict(list)
    for name in splits:
        by_split[SPLITS[name.lower()]].append(name)
    layout.errors += [
        f"the folders {_listed(names)} mean the same split, {split}: keep one"
        for split, names in by_split.items()
        if len(names) > 1
    ]
    return layout


def _parents(name: str) -> list[str]:
    """The folders that a path lies in, without the top."""
    return [str(parent) for parent in PurePosixPath(name).parents][:-1]


def from_table(table: str, content: bytes, pictures: Set[str], damaged: Set[str]) -> Layout:
    """The layout of a table `file_name,label` with or without `split` and `group`.

    `table` is its name; `pictures` and `damaged`, whose damage is known already, are paths below
    its folder. Raises `Problem` where it is no such table.
    """
    layout = Layout()
    rows = _rows(table, content)
    known = pictures | damaged
    composed = {unicodedata.normalize("NFC", name): name for name in known}
    has_splits = any(row["split"] for _, row in rows)
    lines: dict[str, int] = {}
    listed: dict[str, Place] = {}
    for line, row in rows:
        at = f"line {line} of {table}"
        name, split = row["file_name"], row["split"]
        if name not in known:  # as it is written, which may not be how this system writes it
            path = str(PurePosixPath(name.strip().replace("\\", "/")))
            name = composed.get(unicodedata.normalize("NFC", path), path)
        place = Place(
            unicodedata.normalize("NFC", row["label"]), SPLITS.get(split.lower(), ""), row["group"]
        )
        problem = None
        if not row["file_name"].strip():
            layout.errors.append(f"{at} has no file_name")
            continue
        if name not in known:
            problem = f"is in {at}, but there is no such picture"
        elif name in lines:
            if place != listed[name]:
                layout.errors.append(
                    f"{one_line(name)} is in {at}, and differently in line {lines[name]}"
                )
            continue
        elif not place.label:
            problem = f"has no label in {at}"
        elif split and not place.split:
            problem = f"has the split {split!r} in {at}, not train, validation or test"
        elif has_splits and not split:
            problem = f"has no split in {at}, as others have"
        lines[name], listed[name] = line, place
        if name in damaged:
            continue
        if problem:
            layout.damaged.append(Finding(name, problem))
        else:
            layout.places[name] = place
    layout.damaged += [
        Finding(name, f"is not in {table}") for name in sorted(pictures - set(lines))
    ]
    labels = {place.label for place in layout.places.values()}
    empty = {place.label for place in listed.values()} - labels - {""}
    layout.errors += [f"the class {one_line(label)} has no pictures" for label in sorted(empty)]
    layout.errors += _wrong_names(labels)
    return layout


def _rows(table: str, content: bytes) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file, each with its line: a text for each of COLUMNS."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(f"{table} is not UTF-8: {one_line(error)}") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, fields) for fields in reader if any(fields)]
    except csv.Error as error:
        raise Problem(f"{table}, line {reader.line_num}: {one_line(error)}") from error
    header = [name.strip().lower() for name in (lines[0][1] if lines else ())]
    counts = [header.count(column) for column in COLUMNS]
    if max(counts) > 1 or min(counts[:2]) < 1:
        raise Problem(
            f"{table} has the columns {_listed(header) or '(none)'}; expected file_name,label and, "
            "if you like, split and group, each once"
        )
    rows = []
    for line, fields in lines[1:]:
        if any(fields[len(header) :]):
            raise Problem(
                f"{table}, line {line} has {len(fields)} fields, and its first line {len(header)}: "
                "a name with a comma needs quotes"
            )
        row = dict.fromkeys(COLUMNS, "") | dict(zip(header, fields))
        stripped = {column: row[column].strip() for column in COLUMNS}
        rows.append((line, stripped | {"file_name": row["file_name"]}))
    return rows


def _wrong_names(labels: Iterable[str]) -> list[str]:
    """What is wrong with the names of classes: they cannot be shown, or not be told apart."""
    errors = []
    alike = defaultdict(list)
    for label in sorted(labels):
        alike[" ".join(unicodedata.normalize("NFC", label).casefold().split())].append(label)
        if not printable(label) or not label.strip(f"{JOINERS} "):
            errors.append(f"the class {label!a} has a name that cannot be printed")
    return errors + [
        f"the classes {' and '.join(map(ascii, names))} can hardly be told apart: give them one "
        "name"
        for names in alike.values()
        if len(names) > 1
    ]


def _listed(names: Iterable[str]) -> str:
    return shortened(", ".join(names))
