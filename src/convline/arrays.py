"""Arrays on disk: .npy files, written in blocks and read as far as they are asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convline.files import written
from convline.stage import Problem

Bytes = npt.NDArray[np.uint8]

REMEDY = "`dvc repro preprocess` makes it anew"


class ImageFile:
    """Images (n, height, width, 1), uint8, in a .npy file: read whenever they are asked for.

    Not mapped into memory, where each page stays that a batch has touched. Linux maps up to a
    megabyte around it, too: a few shuffled batches would bring the whole file in.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], offset: int) -> None:
        self.path = path
        self.shape = shape
        self.offset = offset  # of the first image, in bytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> Bytes:
        """The images of `rows` (k,), in that order: (k, height, width, 1).

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
    """Images (n, height, width, 1), in a file or here, and one-hot labels (n, classes): uint8."""

    images: ImageFile | Bytes
    labels: Bytes


@contextmanager
def writer(path: Path, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """Open a .npy file of uint8 for its values, to be written in C order, a block at a time."""
    with written(path) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def load(images: Path, labels: Path) -> Labelled:
    """What two .npy files hold. Raises `Problem` where one is missing, damaged or odd."""
    of_images, of_labels = _map(images, 4), _map(labels, 2)
    if len(of_images) != len(of_labels):
        raise Problem(
            f"{images} holds {len(of_images):,} images, {labels} {len(of_labels):,} labels; "
            "`dvc repro preprocess` makes both anew"
        )
    return Labelled(ImageFile(images, of_images.shape, of_images.offset), of_labels)


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
