"""Import pictures as a dataset: a folder, a zip or a tar, here or wherever fsspec reaches.

Pictures are in class/..., or train|validation|test/class/..., or listed in labels.csv or
metadata.csv with file_name,label and optional split and group. Every one is decoded. Then they are
packed, unchanged, into data/sets/NAME, which DVC tracks, and datasets.yaml gets their checksums.
"""

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from convline import params, pipeline
from convline.data import archives, census, datasets, entries, originals, pictures, splits
from convline.data.archives import Row
from convline.data.census import Census
from convline.data.datasets import PictureDataset
from convline.paths import DATASETS, SETS
from convline.problems import Problem
from convline.text import one_line

LOCK = Path(".dvc/tmp/convline-import.lock")
SIDE = 64  # pixels, unless all pictures have one size of at most `MOST_SIDE`
MOST_SIDE = 128
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")  # Pillow's modes
TEST_SHARES = (0.2, 0.25, 0.3, 0.4, 0.5)
SEEDS = 300  # tried for each share
VALIDATION_SIZES = (0.1, 0.2, 0.3)  # tried where the one in params.yaml does not fit
UNFINISHED = ".part"  # ends the name of a folder that git ignores, beside the dataset's
OLD = f".old{UNFINISHED}"


class Split(params.Schema):
    """What of params.yaml decides how pictures are split."""

    validation_size: splits.Size


def main() -> None:
    """Read the source, print the census, write what git and DVC need."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the dataset, for `-S dataset=NAME`")
    parser.add_argument("source", help="a folder, a zip or a tar; a path or a URL")
    parser.add_argument(
        "--skip-damaged",
        action="store_true",
        help="leave out the files that are wrong, and list them in skipped.csv",
    )
    options = parser.parse_args()
    name = options.name
    usual = params.read(Split).validation_size
    with locked():
        recover()
        known = described(name)
        with originals.opened(options.source) as found:
            taken = census.take(found)
            check(taken, options.source, options.skip_damaged)
            dataset = completed(known, taken, usual)
            sides, size = sided(taken.rows, rule(name, dataset), usual)
            report(taken, sides)
            unfinished = pack(name, taken)
        with replaced(SETS / name, unfinished):
            track(SETS / name)
            entries.write(name, dataset, SETS / name)
        stage(name)
    changed = "" if size == usual else f" -S validation_size={size}"
    print(
        f"\n{name} is in {SETS / name}/ and {DATASETS}, {' x '.join(map(str, dataset.shape))}, "
        f"fit: {dataset.fit}. Next:\n"
        f"  git commit -m 'Import {name}'\n"
        f"  dvc exp run -S dataset={name}{changed}"
    )


@contextmanager
def locked() -> Iterator[None]:
    """Let one import at a time run in this project; others wait."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("import: waits for another import", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def recover() -> None:
    """Tidy up after an import that was killed. Where it moved the old pictures, they come back."""
    for old in SETS.glob(f"*{OLD}"):
        folder = old.with_name(old.name.removesuffix(OLD))
        if not folder.exists():
            os.replace(old, folder)
    for leftover in SETS.glob(f"*{UNFINISHED}"):
        shutil.rmtree(leftover)


def described(name: str) -> PictureDataset | None:
    """What datasets.yaml says of the dataset; None where it is new.

    Raises `Problem` where `name` cannot be a key, a folder and the value of a parameter; where it
    is taken; and where the entry is wrong, before the pictures are read.
    """
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name) or yaml.safe_load(name) != name:
        raise Problem(
            f"{name!r} cannot name a dataset; a letter, then letters, digits, - and _ can"
        )
    entries.read()  # which raises `Problem` in more cases than the next line
    entry = params.read_yaml(DATASETS).get(name)
    if entry is None:
        folder = SETS / name
        if folder.exists() and not (folder / datasets.INDEX).exists():
            raise Problem(f"{folder} holds other files; move them, or choose another name")
        return None
    if not datasets.has_pictures(entry):
        raise Problem(f"{DATASETS}: {name} is a dataset of other files; choose another name")
    dataset = params.validate(PictureDataset, entry, f"{DATASETS}: {name}")
    pictures.form(dataset, f"{DATASETS}: {name}")
    return dataset


def check(taken: Census, source: str, skip_damaged: bool) -> None:
    """Print all that is wrong, and raise `Problem` unless it can be skipped and should be."""
    damaged = [] if skip_damaged else taken.damaged
    shown = originals.redacted(source)
    for problem in (*map(str, damaged), *taken.errors):
        print(f"import: {problem}", file=sys.stderr)
    if taken.errors:
        raise Problem(f"nothing is imported: put right what is said above in {shown}")
    if damaged:
        raise Problem(
            f"nothing is imported; files with problems: {len(damaged):,}. Repair or remove them, "
            "or leave them out with --skip-damaged"
        )


def completed(
    known: PictureDataset | None, taken: Census, validation_size: float
) -> PictureDataset:
    """The dataset with the classes of the pictures; what is known of it stays."""
    values = known.model_dump(exclude_unset=True) if known else {"files": {}}
    sizes = {(picture.facts.height, picture.facts.width) for picture in taken.pictures}
    height, width = sizes.pop() if len(sizes) == 1 else (SIDE, SIDE)
    if max(height, width) > MOST_SIDE:
        height = width = SIDE
    grey = all(picture.facts.mode in GREY for picture in taken.pictures)
    shape = height, width, 1 if grey else 3
    usual = {"shape": shape, "fit": "pad", "background": "white"}
    classes = in_order(values.get("classes", []), taken.classes)
    values = usual | values | {"classes": classes}
    return PictureDataset.model_validate(values | split_rule(values, taken.rows, validation_size))


def in_order(listed: list[str], classes: list[str]) -> list[str]:
    """The `classes`, sorted, unless those `listed` are in an order of the user's own."""
    if listed == sorted(listed):
        return classes
    kept = [label for label in listed if label in classes]
    return kept + [label for label in classes if label not in kept]


def split_rule(values: dict[str, Any], rows: list[Row], validation_size: float) -> dict[str, Any]:
    """The `test_share` and `split_seed`, where neither the source nor `values` have them.

    The first that leave every class pictures to test and to train on: one of three pictures may
    have none on one side.
    """
    found = {row.split for row in rows}
    if {"test", "validation"} <= found:
        return {}
    given = values.get("test_share")
    shares = TEST_SHARES if given is None else (given,)
    if "test" in found:
        shares = (None,)
    seeds = (values["split_seed"],) if "split_seed" in values else range(SEEDS)
    rules = [splits.Rule("", share, seed) for share in shares for seed in seeds]
    rule = splits.covering(rows, rules, validation_size) or rules[0]
    own = {} if rule.test_share is None else {"test_share": rule.test_share}
    return own | {"split_seed": rule.split_seed}


def rule(name: str, dataset: PictureDataset) -> splits.Rule:
    """What decides the splits in preprocess."""
    return splits.Rule(f"{DATASETS}: {name}", dataset.test_share, dataset.split_seed)


def sided(rows: list[Row], rule: splits.Rule, usual: float) -> tuple[list[str], float]:
    """The split of each picture in the next run, and the `validation_size` that it takes.

    Raises `Problem` where no size fits.
    """
    problems = []
    for size in (usual, *VALIDATION_SIZES):
        try:
            return splits.by_content(rows, rule, size), size
        except Problem as problem:
            problems.append(problem)
    raise problems[0]


def report(taken: Census, sides: list[str]) -> None:
    """Print the census of what is imported, and into which of the `sides`."""
    print(census.table(taken, sides))
    for remark in taken.remarks:
        print(f"- {one_line(remark)}")
    if taken.others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in taken.others.most_common())
        print(f"- left out, because they are no pictures: {one_line(kinds)}")
    if taken.damaged:
        print(
            f"- files skipped because of problems: {len(taken.damaged):,}, listed in "
            f"{archives.SKIPPED}:"
        )
        for finding in taken.damaged:
            print(f"  {finding}")


def pack(name: str, taken: Census) -> Path:
    """Pack the pictures into a folder beside the dataset's. Raises `Problem` where that fails."""
    reads = {picture.row: picture.read for picture in taken.pictures}

    def read(row: Row) -> bytes:
        try:
            content = reads[row]()
        except pictures.Unreadable as error:
            raise Problem(f"{row.file_name} {error}") from error
        if archives.archive_of(content) != row.archive:
            raise Problem(f"{row.file_name} changed while it was imported; import again")
        return content

    unfinished = SETS / f"{name}{UNFINISHED}"
    try:
        archives.write(unfinished, taken.rows, read)
        if taken.damaged:
            findings = sorted((one.file_name, one.reason) for one in taken.damaged)
            archives.write_table(unfinished / archives.SKIPPED, ("file_name", "reason"), findings)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return unfinished


@contextmanager
def replaced(folder: Path, new: Path) -> Iterator[None]:
    """Put `new` in the place of `folder`. After an error in the context, all is as before."""
    old = folder.with_name(folder.name + OLD)
    tracked = Path(f"{folder}.dvc")
    pointer = tracked.read_bytes() if tracked.exists() else None
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists():
            os.replace(old, folder)
        tracked.unlink(missing_ok=True)
        if pointer is not None:
            tracked.write_bytes(pointer)
        raise
    if old.exists():
        shutil.rmtree(old)


def track(folder: Path) -> None:
    """Let DVC track the folder. Raises `Problem` where it cannot."""
    with pipeline.opened() as repo:
        try:
            repo.add(str(folder))
        except Exception as error:  # of DVC, of the disk, or of its way to git
            raise Problem(f"DVC cannot add {folder}: {reason(error)}; import again") from error


def stage(name: str) -> None:
    """Stage for git what is to be committed, so that experiments in a copy have it too."""
    paths = [str(path) for path in (DATASETS, SETS / f"{name}.dvc", SETS / ".gitignore")]
    with pipeline.opened() as repo:
        try:
            repo.scm.add(paths)
        except Exception as error:  # each of DVC's ways to git raises its own kinds
            raise Problem(
                f"git cannot stage the import: {reason(error)}; run `git add {' '.join(paths)}`"
            ) from error


def reason(error: Exception) -> str:
    """Why DVC or git failed, on one line."""
    if "index.lock" in str(error):
        return "another git command runs, or was killed and left .git/index.lock; then remove it"
    return one_line(error) or type(error).__name__
