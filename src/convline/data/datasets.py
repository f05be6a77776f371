"""The datasets that datasets.yaml describes."""

import re
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, field_validator

from convline.params import Int, Schema, read_yaml, validate
from convline.paths import DATASETS
from convline.problems import Problem
from convline.text import JOINERS, printable

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


def _checksum(value: str) -> str:
    if not re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", value):
        raise ValueError("should be md5, sha256 or sha512, a colon and the digest in hexadecimal")
    return value


def _name(value: str) -> str:
    if not printable(value):
        raise ValueError("should hold no character that cannot be printed")
    if not value.strip(f"{JOINERS} "):
        raise ValueError("should not be blank")
    return value


# Of a dataset or a class: it stands in tables, plots, messages and CSV
Name = Annotated[str, AfterValidator(_name)]


class Named(Schema):
    """What has a name."""

    name: Name


class File(Schema):
    """One file: its exact size and its checksum, `algorithm:hexadecimal digest`."""

    bytes: Annotated[Int, Field(ge=1)]
    checksum: Annotated[str, AfterValidator(_checksum)]


FOUR_FILES = TypeAdapter(dict[str, File])


class Dataset(Schema):
    """An entry of datasets.yaml.

    `shape` is (height, width) in pixels; `classes` the names of labels 0, 1, ...;
    `files` the four IDX files, or "scikit-learn" for the digits that come with it.
    """

    shape: tuple[Annotated[Int, Field(ge=1)], Annotated[Int, Field(ge=1)]]
    classes: Annotated[list[Name], Field(min_length=2, max_length=256)]
    mirrors: tuple[str, ...] = ()
    files: dict[str, File] | Literal["scikit-learn"]

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("two classes have the same name")
        return classes

    # Not left to pydantic, which reports a wrong value once for each type of a union
    @field_validator("files", mode="plain")
    @classmethod
    def _four_files(cls, files: object) -> object:
        if files == "scikit-learn":
            return files
        if not isinstance(files, dict) or set(files) != set(FILES):
            raise ValueError(f"should be scikit-learn, or exactly the files {', '.join(FILES)}")
        return FOUR_FILES.validate_python(files)


def load(name: str) -> Dataset:
    """The dataset `name`. Raises `Problem` where datasets.yaml has no such entry or it is wrong."""
    entries = read_yaml(DATASETS)
    if name not in entries:
        close = get_close_matches(name, map(str, entries), n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(map(str, entries))}"
        raise Problem(f"{DATASETS} has no dataset {name!r} (`dataset` in params.yaml); {hint}")
    validate(Named, {"name": name}, DATASETS)
    return validate(Dataset, entries[name], f"{DATASETS}: {name}")
