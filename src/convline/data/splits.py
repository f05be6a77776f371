"""The splits: which images are held out for validation, and which pictures for the test."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from convline.data.archives import Row
from convline.params import Float
from convline.problems import Problem

Bytes = npt.NDArray[np.uint8]


def _whole_or_share(value: float) -> float:
    if value > 1 and value % 1:
        raise ValueError("should be a number of images, or a share below 1")
    return value


# A number of images, or a share of them below 1
Size = Annotated[Float, Field(gt=0), AfterValidator(_whole_or_share)]


def validation_mask(labels: Bytes, validation_size: Size, seed: int) -> npt.NDArray[np.bool_]:
    """Choose training images for validation, each class in its proportion.

    `labels` is (n,); so is the mask, true where an image is held out. The split is the one of
    scikit-learn's `train_test_split`, without its import, which would take most of the stage's
    time, and without its lists, which grow with the data. Raises `Problem` where a class would be
    missing on either side, or more than half of the images would be held out.
    """
    size = _number(validation_size, len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise Problem(
            f"class {classes[counts.argmin()]} has a single training image, which cannot be both "
            "trained on and held out: leave it out of the dataset, or add to it"
        )
    least, most = len(classes), min(len(labels) - len(classes), len(labels) // 2)
    if not least <= size <= most:
        raise Problem(
            f"params.yaml: validation_size is {validation_size:g}; with {len(labels):,} training "
            f"images of {len(classes)} classes it should be from {least} to {most}"
        )
    random = np.random.RandomState(seed)
    training = _shares(counts, len(labels) - size, random)
    # As there: no plain difference, because rounding can ask chance once more
    validation = _shares(counts - training, size, random)
    mask = np.zeros(len(labels), bool)
    for label, begin, share in zip(classes, training, validation):
        images = random.permutation(np.flatnonzero(labels == label))
        mask[images[begin : begin + share]] = True
    for part, images, remedy in (
        ("validation", labels[mask], "larger"),
        ("training", labels[~mask], "smaller"),
    ):
        if len(missing := np.setdiff1d(classes, images)):
            raise Problem(
                f"params.yaml: validation_size is {validation_size:g}, which leaves no {part} "
                f"image of class {missing[0]}: make it {remedy}"
            )
    return mask


def _shares(
    counts: npt.NDArray[np.intp], size: int, random: np.random.RandomState
) -> npt.NDArray[np.intp]:
    """`size` in proportion to `counts`: rounded down, then up where the most is missing.

    Among equals, chance decides.
    """
    exact = counts / counts.sum() * size
    shares: npt.NDArray[np.intp] = np.floor(exact).astype(np.intp)
    rests = exact - shares
    for rest in np.unique(rests)[::-1]:
        equals = np.flatnonzero(rests == rest)
        missing = size - shares.sum()
        if missing:
            shares[random.choice(equals, min(missing, len(equals)), replace=False)] += 1
    return shares


def _number(validation_size: float, images: int) -> int:
    return round(validation_size * images if validation_size < 1 else validation_size)


def _share(validation_size: float, images: int) -> float:
    return validation_size if validation_size < 1 else validation_size / max(1, images)


@dataclass(frozen=True)
class Rule:
    """What decides the splits of pictures. `source` is what messages call it.

    `test_share` and `split_seed` are from datasets.yaml. The share may be None where the source of
    the pictures has a test split.
    """

    source: str
    test_share: float | None
    split_seed: int

    def tests(self, row: Row) -> bool:
        """Whether a picture is held out for the test."""
        return self.test_share is not None and self._fraction(row, "test") < self.test_share

    def validates(self, row: Row, share: float) -> bool:
        """Whether a picture, not held out for the test, is one of `share` for validation."""
        return self._fraction(row, "validation") < share

    def _fraction(self, row: Row, purpose: str) -> float:
        """A number from 0 to 1 that the picture's group, or else its pixels, decide."""
        key = f"group {row.group}" if row.group else f"pixels {row.pixels}"
        digest = hashlib.sha256(f"{self.split_seed} {purpose} {key}".encode()).digest()
        return int.from_bytes(digest[:8]) / 2**64


def by_content(rows: Sequence[Row], rule: Rule, validation_size: float) -> list[str]:
    """The split of each picture: "train", "validation" or "test".

    A picture that its source puts into a split is there. Of the others, the group or else the
    pixels decide, each by itself: none changes sides when others come or go, and equal ones are on
    the same side. So sizes are met on average only; a `validation_size` in images is taken as
    their share of the training pictures. Raises `Problem` where a class has no picture to train
    on, or none to test on; and where no picture or more than half are held out.
    """
    splits = [row.split for row in rows]
    own_test, own_validation = "test" in splits, "validation" in splits
    if not own_test and rule.test_share is None:
        raise Problem(
            f"{rule.source}: no picture is in a split test, so test_share should say how many to "
            "test on, such as 0.2"
        )
    for i, row in enumerate(rows):
        if not own_test and splits[i] != "validation":
            splits[i] = "test" if rule.tests(row) else "train"
    training = splits.count("train")
    share = _share(validation_size, training)
    for i, row in enumerate(rows):
        if not own_validation and splits[i] == "train" and rule.validates(row, share):
            splits[i] = "validation"

    counts = Counter((row.label, split) for row, split in zip(rows, splits))
    for label in sorted({row.label for row in rows}):
        if not counts[label, "train"]:
            raise Problem(
                f"no picture of the class {label} is left to train on: "
                f"{counts[label, 'validation']} to validate, {counts[label, 'test']} to test; make "
                f"validation_size in params.yaml smaller, or the test_share of {rule.source}"
            )
        if not own_test and not counts[label, "test"]:
            raise Problem(
                f"{rule.source}: test_share is {rule.test_share}, which leaves no picture of the "
                f"class {label} to test on: make it larger, or add pictures"
            )
    held_out = splits.count("validation")
    if not own_validation and not 0 < held_out <= training / 2:
        raise Problem(
            f"params.yaml: validation_size is {validation_size:g}, which holds out {held_out:,} of "
            f"{training:,} training pictures; at least one should be held out, and at most half of "
            "them: -S validation_size=0.2"
        )
    return splits


def covering(rows: Sequence[Row], rules: Iterable[Rule], validation_size: float) -> Rule | None:
    """The first of `rules` under which `by_content` finds pictures for every split.

    Every class has some to train on, and to test on where that is left to the rule; some picture is
    left for validation. None where no rule does that.
    """
    own_validation = any(row.split == "validation" for row in rows)
    # No larger share is ever held out
    share = 0.0 if own_validation else min(_share(validation_size, len(rows)), 0.5)
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.split in ("", "train"):
            by_label[row.label].append(row)

    def side(rule: Rule, row: Row) -> str:
        if rule.tests(row):
            return "test"
        return "validation" if rule.validates(row, share) else "train"

    def covers(rule: Rule) -> bool:
        held_out = own_validation
        for of_class in sorted(by_label.values(), key=len):  # small ones fail first
            sides = {side(rule, row) for row in of_class}
            if "train" not in sides or (rule.test_share and "test" not in sides):
                return False
            held_out |= "validation" in sides
        return held_out

    return next(filter(covers, rules), None)
