"""The datasets that datasets.yaml describes."""

import re
from difflib import get_close_matches
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, TypeAdapter, field_validator

from convline.params import Float, Int, Schema, Seed, read_yaml, validate
from convline.paths import DATASETS
from convline.problems import Problem
from convline.text import JOINERS, printable

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
INDEX = "pictures.csv"  # the table of a dataset of pictures
MOST_CLASSES = 256  # a label is a byte in IDX files


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


LISTED_FILES = TypeAdapter(dict[str, File])

Side = Annotated[Int, Field(ge=1, le=4096)]  # pixels


class Dataset(Schema):
    """What every entry of datasets.yaml says.

    `classes` are the names of labels 0, 1, ...; `mirrors` the folders or URLs that have its files.
    """

    classes: Annotated[list[Name], Field(min_length=2, max_length=MOST_CLASSES)]
    mirrors: tuple[str, ...] = ()

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("two classes have the same name")
        return classes


class IdxDataset(Dataset):
    """A dataset in four IDX files, or "scikit-learn" for the digits that come with it.

    `shape` is (height, width) in pixels. Where the images show ink, bright on black and centred,
    as MNIST's do, `ink` is the share of a side that it fills, otherwise 0: other pictures are made
    to look like them before they are classified.
    """

    shape: tuple[Side, Side]
    fit: ClassVar[Literal["pad"]] = "pad"  # and background: how other pictures are fitted to it
    background: ClassVar[str] = "black"
    ink: Annotated[Float, Field(ge=0, le=1)] = 0.0
    files: dict[str, File] | Literal["scikit-learn"]

    @property
    def input_shape(self) -> tuple[int, int, Literal[1, 3]]:
        """The height, width and channels of an image."""
        return (*self.shape, 1)

    # Not left to pydantic, which reports a wrong value once for each type of a union
    @field_validator("files", mode="plain")
    @classmethod
    def _four_files(cls, files: object) -> object:
        if files == "scikit-learn":
            return files
        if not isinstance(files, dict) or set(files) != set(FILES):
            raise ValueError(
                f"should be scikit-learn, or exactly the files {', '.join(FILES)}, or what "
                "`convline import` lists"
            )
        return LISTED_FILES.validate_python(files)


class PictureDataset(Dataset):
    """A dataset of pictures, which `convline import` has packed.

    `shape` is (height, width, channels), with 1 channel for grey and 3 for colour. A picture is
    fitted to it: padded, cropped or stretched. `background` is what transparency and padding show,
    a colour that Pillow knows; `test_share` the share of pictures to test on, where the source
    has no test split. With `split_seed`, the content of a picture decides where it goes.
    """

    shape: tuple[Side, Side, Literal[1, 3]]
    fit: Literal["pad", "crop", "stretch"]
    background: str
    ink: ClassVar[float] = 0.0
    test_share: Annotated[Float, Field(gt=0, lt=1)] | None = None
    split_seed: Seed = 0
    files: dict[str, File]

    @property
    def input_shape(self) -> tuple[int, int, Literal[1, 3]]:
        """The height, width and channels of an image."""
        return self.shape


def load(name: str) -> IdxDataset | PictureDataset:
    """The dataset `name`. Raises `Problem` where datasets.yaml has no such entry or it is wrong."""
    entries = read_yaml(DATASETS)
    if name not in entries:
        close = get_close_matches(name, map(str, entries), n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(map(str, entries))}"
        raise Problem(f"{DATASETS} has no dataset {name!r} (`dataset` in params.yaml); {hint}")
    validate(Named, {"name": name}, DATASETS)
    entry, source = entries[name], f"{DATASETS}: {name}"
    if has_pictures(entry):
        return validate(PictureDataset, entry, source)
    return validate(IdxDataset, entry, source)


def has_pictures(entry: object) -> bool:
    """Whether an entry of datasets.yaml lists what `convline import` makes."""
    files = entry.get("files") if isinstance(entry, dict) else None
    return isinstance(files, dict) and INDEX in files
