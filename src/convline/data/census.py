"""The census of pictures before they are imported: what there is, and what is wrong with it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tabulate import tabulate
from tqdm import tqdm

from convline.data import archives, layouts, pictures
from convline.data.archives import Row
from convline.data.datasets import MOST_CLASSES
from convline.data.originals import Finding, Original, Originals
from convline.data.pictures import Facts
from convline.problems import Problem
from convline.text import one_line, shortened

IMBALANCED = 3  # times the pictures of the smallest class


@dataclass(frozen=True)
class Picture:
    """A picture that can be imported: its row, what it is, and how to read it again."""

    row: Row
    facts: Facts
    read: Callable[[], bytes]


@dataclass
class Census:
    """What a source holds.

    `damaged` files can be skipped, `errors` must be put right, `remarks` are for thought; `others`
    counts the other files by suffix.
    """

    pictures: list[Picture] = field(default_factory=list)
    damaged: list[Finding] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> list[Row]:
        """The rows of the pictures, as they are packed."""
        return [picture.row for picture in self.pictures]

    @property
    def classes(self) -> list[str]:
        """The classes that have pictures, sorted."""
        return sorted({picture.row.label for picture in self.pictures})


def take(originals: Originals) -> Census:
    """Look at every file of a source: decode it, find its class, compare it with all others.

    What is wrong is in the census: nothing is raised, so that all of it is seen at once.
    """
    census = Census(damaged=list(originals.problems))
    looked: dict[str, tuple[Facts, str]] = {}
    others: dict[str, Original] = {}
    results = tqdm(
        pictures.each(_look, originals.files),
        total=len(originals.files),
        desc="pictures",
        leave=False,
        disable=None,
    )
    for original, result in zip(originals.files, results, strict=True):
        if not isinstance(result, pictures.Unreadable):
            looked[original.name] = result
        elif isinstance(result, pictures.NoPicture) and not pictures.claims(original.name):
            others[original.name] = original
        else:
            census.damaged.append(Finding(original.name, str(result)))

    damaged = {finding.file_name for finding in census.damaged}
    folders = layouts.used(looked, damaged, originals.folders, others)
    tables = [name for name in others if PurePosixPath(name).name in layouts.TABLES]
    top = layouts.top(looked, folders, tables)
    try:
        layout = _layout(top, set(looked), damaged, folders, others)
    except Problem as problem:
        census.errors.append(str(problem))
        return census
    census.errors += layout.errors
    census.damaged = [
        Finding(finding.file_name.removeprefix(top), finding.reason) for finding in census.damaged
    ] + layout.damaged
    kinds = (PurePosixPath(name) for name in others if name not in tables)
    census.others.update(path.suffix.lower() or "without a suffix" for path in kinds)

    reads = {original.name: original.read for original in originals.files}
    for name, place in layout.places.items():
        facts, archive = looked[top + name]
        row = Row(archive, name, place.label, place.split, place.group, facts.pixels)
        census.pictures.append(Picture(row, facts, reads[top + name]))
    census.pictures.sort(key=lambda picture: picture.row)
    _check_classes(census)
    _compare(census)
    return census


def _look(original: Original) -> tuple[Facts, str] | pictures.Unreadable:
    """What a picture is, and the archive that its bytes choose; or why it cannot be read."""
    try:
        content = original.read()
        if not content:
            return pictures.NoPicture("is empty")
        return pictures.inspect(content), archives.archive_of(content)
    except pictures.Unreadable as error:
        return error


def _layout(
    top: str, looked: set[str], damaged: set[str], folders: set[str], others: dict[str, Original]
) -> layouts.Layout:
    """The layout below `top`, of a table if there is one.

    Raises `Problem` where it cannot be understood.
    """

    def below(names: Iterable[str]) -> set[str]:
        return {name.removeprefix(top) for name in names if name.startswith(top)}

    tables = [name for name in layouts.TABLES if top + name in others]
    if len(tables) > 1:
        raise Problem(f"there are {' and '.join(tables)}: keep one")
    if tables:
        try:
            content = others[top + tables[0]].read()
        except pictures.Unreadable as error:
            raise Problem(f"{tables[0]} {error}") from error
        return layouts.from_table(tables[0], content, below(looked), below(damaged))
    return layouts.from_folders(sorted(below(looked)), below(folders))


def _check_classes(census: Census) -> None:
    """Find what is wrong with the classes and their splits."""
    rows = census.rows
    if len(census.classes) < 2:
        found = census.classes[0] if census.classes else "none"
        census.errors.append(
            f"at least two classes with pictures are needed, and there is {one_line(found)}: a "
            "class is a folder, or a label in labels.csv"
        )
        return
    if len(census.classes) > MOST_CLASSES:
        census.errors.append(
            f"there are {len(census.classes):,} classes; at most {MOST_CLASSES} are possible"
        )
    counts = Counter((row.label, row.split) for row in rows)
    distinct: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.split in ("", "train"):
            distinct[row.label].add(row.group or row.pixels)
    splits = {row.split for row in rows}
    needed = 1 + ("test" not in splits) + ("validation" not in splits)
    for label in census.classes:
        held_out = [split for split in ("validation", "test") if counts[label, split]]
        if not distinct[label]:
            census.errors.append(
                f"the class {one_line(label)} is in {' and '.join(held_out)}, but not in training"
            )
        elif len(distinct[label]) < needed:
            census.errors.append(
                f"the class {one_line(label)} is too small to be split: it has "
                f"{len(distinct[label])} different pictures or groups, and needs {needed}"
            )
        elif "test" in splits and not counts[label, "test"]:
            census.remarks.append(f"the class {one_line(label)} has no picture in test")
    totals = Counter(row.split for row in rows)
    if totals["validation"] > totals["train"] + totals[""]:
        census.errors.append(
            f"{totals['validation']:,} pictures are in validation, and only "
            f"{totals['train'] + totals['']:,} in training"
        )
    sizes = Counter(row.label for row in rows)
    (largest, most), (smallest, least) = sizes.most_common()[0], sizes.most_common()[-1]
    if most >= IMBALANCED * least:
        census.remarks.append(
            f"the classes are imbalanced: {one_line(largest)} has {most:,} pictures, "
            f"{one_line(smallest)} {least:,}. `-S class_weight=balanced` makes them count alike, "
            "and balanced_accuracy tells more than accuracy"
        )
    animated = sum(picture.facts.animated for picture in census.pictures)
    if animated:
        census.remarks.append(
            f"of {animated:,} animations or documents, the first frame or page is used"
        )


def _compare(census: Census) -> None:
    """Find pictures with the same pixels, and groups, whose copies disagree."""
    alike: dict[str, list[Row]] = defaultdict(list)
    groups: dict[str, set[str]] = defaultdict(set)
    for row in sorted(census.rows, key=lambda row: row.file_name):
        alike[row.pixels].append(row)
        if row.group:
            groups[row.group].add(row.split)
    duplicates = 0
    for rows in alike.values():
        duplicates += len(rows) - 1
        if len(rows) == 1:
            continue
        if len({row.label for row in rows}) > 1:
            census.remarks.append(f"the same picture has different labels: {_files(rows)}")
        if len({row.split for row in rows}) > 1:
            census.remarks.append(f"the same picture is in different splits: {_files(rows)}")
        if len({row.group for row in rows}) > 1:
            census.errors.append(f"the same picture is in different groups: {_files(rows)}")
    for group, splits in sorted(groups.items()):
        if len(splits) > 1:
            census.errors.append(
                f"the group {one_line(group)} is in different splits: {', '.join(sorted(splits))}"
            )
    if duplicates:
        census.remarks.append(
            f"pictures with the same pixels as another: {duplicates:,}. They stay on one side of "
            "each split, unless the source puts them elsewhere"
        )


def _files(rows: Iterable[Row]) -> str:
    return ", ".join(one_line(row.file_name) for row in rows)


def table(census: Census, sides: Sequence[str]) -> str:
    """The pictures of each class as a table: how many in each split, their sizes and modes.

    `sides` has the split of each picture.
    """
    of_class: dict[str, list[tuple[str, Facts]]] = defaultdict(list)
    for picture, side in zip(census.pictures, sides, strict=True):
        of_class[picture.row.label].append((side, picture.facts))
    everything = [member for members in of_class.values() for member in members]
    lines: str = tabulate(
        [
            *(_line(one_line(label), of_class[label]) for label in census.classes),
            _line("all classes", everything),
        ],
        ["class", "train", "validation", "test", "smallest", "largest", "modes"],
        disable_numparse=True,
        colalign=("left", *["right"] * 5, "left"),
    )
    return lines


def _line(label: str, members: list[tuple[str, Facts]]) -> list[str]:
    sides = Counter(side for side, _ in members)
    by_size = sorted(
        (facts.width * facts.height, facts.width, facts.height) for _, facts in members
    )
    modes = Counter(facts.mode for _, facts in members)
    return [
        shortened(label, 40),
        *(f"{sides[side]:,}" for side in ("train", "validation", "test")),
        *(f"{width} x {height}" for _, width, height in (by_size[0], by_size[-1])),
        ", ".join(f"{mode} {count:,}" for mode, count in modes.most_common()),
    ]
