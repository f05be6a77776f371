"""Arrays on disk: .npy files, written in blocks and read as far as they are asked for."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convline.files import written
from convline.problems import Problem

Bytes = npt.NDArray[np.uint8]

NAMES = "test_names.json"
REMEDY = "`dvc repro preprocess` regenerates it"


class ImageFile:
    """Images (n, height, width, channels), uint8, in a .npy file, read at each access.

    The file is not mapped into memory, where every page that a batch touches would stay. Linux
    also maps up to a megabyte around it: a few shuffled batches would load the whole file.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], offset: int) -> None:
        self.path = path
        self.shape = shape
        self.offset = offset  # of the first image, in bytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> Bytes:
        """The images of `rows` (k,), in that order: (k, height, width, channels).

        Raises `Problem` where the file has become shorter.
        """
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        with open(self.path, "rb", buffering=0) as file:
            for image, row in zip(images, rows.tolist()):
                file.seek(self.offset + row * image.nbytes)
                if file.readinto(image) != image.nbytes:
                    raise Problem(f"{self.path} ends before the end of image {row:,}; {REMEDY}")
        return images


class Labelled(NamedTuple):
    """Images (n, height, width, channels) and one-hot labels (n, classes), both uint8."""

    images: ImageFile | Bytes
    labels: Bytes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The height, width and channels of an image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.labels.shape[1])


class SplitWriter:
    """Writes images and one-hot labels of a split, a block at a time."""

    def __init__(self, images: IO[bytes], labels: IO[bytes], classes: int) -> None:
        self.images = images
        self.labels = labels
        self.one_hot = np.eye(classes, dtype=np.uint8)

    def write(self, images: Bytes, labels: Bytes) -> None:
        """Append images (k, height, width, channels) and their labels (k,), both uint8."""
        self.images.write(images.tobytes())
        self.labels.write(self.one_hot[labels].tobytes())


def paths(folder: Path, split: str) -> tuple[Path, Path]:
    """The files of a split's images and labels."""
    return folder / f"{split}_images.npy", folder / f"{split}_labels.npy"


@contextmanager
def split_writer(
    folder: Path, split: str, count: int, input_shape: tuple[int, int, int], classes: int
) -> Iterator[SplitWriter]:
    """Open the files of a split of `count` images, for images of `input_shape` and their labels."""
    images, labels = paths(folder, split)
    with (
        _writer(images, (count, *input_shape)) as of_images,
        _writer(labels, (count, classes)) as of_labels,
    ):
        yield SplitWriter(of_images, of_labels, classes)


@contextmanager
def _writer(path: Path, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """Open a .npy file of uint8 for its values, to be written in C order."""
    with written(path) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def load_split(folder: Path, split: str, like: Labelled | None = None) -> Labelled:
    """The images and labels of a split.

    Raises `Problem` where a file is missing or damaged, or where the shape of images or the number
    of classes differs from `like`.
    """
    images, labels = paths(folder, split)
    of_images, of_labels = _map(images, 4), _map(labels, 2)
    if len(of_images) != len(of_labels):
        raise Problem(
            f"{images} holds {len(of_images):,} images, {labels} {len(of_labels):,} labels; "
            "`dvc repro preprocess` regenerates both"
        )
    loaded = Labelled(ImageFile(images, of_images.shape, of_images.offset), of_labels)
    if like and (loaded.input_shape, loaded.classes) != (like.input_shape, like.classes):
        raise Problem(
            f"{folder}/ mixes images of {like.input_shape} in {like.classes} classes with {split} "
            f"images of {loaded.input_shape} in {loaded.classes}; `dvc repro preprocess` "
            "regenerates them"
        )
    return loaded


def _map(path: Path, dimensions: int) -> np.memmap[Any, np.dtype[np.uint8]]:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise Problem(f"{path} is missing; {REMEDY}") from error
    except OSError:
        raise
    except Exception as error:  # a damaged header can raise whatever Python's own parser does
        raise Problem(f"{path} is damaged: {error}; {REMEDY}") from error
    if array.dtype != np.uint8 or array.ndim != dimensions or not array.size:
        raise Problem(
            f"{path} holds {array.dtype} of shape {array.shape}, not uint8 in {dimensions} "
            f"dimensions; {REMEDY}"
        )
    if array.offset + array.nbytes != path.stat().st_size:
        raise Problem(f"{path} is damaged: it holds more than its header declares; {REMEDY}")
    return array


def write_names(folder: Path, names: list[str]) -> None:
    """Write the file name of each test image; none for a dataset without names."""
    with written(folder / NAMES) as file:
        file.write(json.dumps(names, ensure_ascii=False, indent=0).encode())


def load_names(folder: Path) -> list[str]:
    """The file name of each test image; empty for a dataset without names.

    Raises `Problem` where their file is missing or damaged.
    """
    path = folder / NAMES
    try:
        names = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise Problem(f"{path} is missing; {REMEDY}") from error
    except ValueError as error:
        raise Problem(f"{path} is damaged: {error}; {REMEDY}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Problem(f"{path} is damaged: it is no list of names; {REMEDY}")
    return names
