"""Arrays on disk: .npy files, written in blocks and read through memory maps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from convline.files import written
from convline.stage import Problem

Bytes = npt.NDArray[np.uint8]


class Labelled(NamedTuple):
    """Images (n, height, width, 1) and one-hot labels (n, classes), both uint8."""

    images: Bytes
    labels: Bytes


@contextmanager
def writer(path: Path, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """Open a .npy file of uint8 for its values, to be written in C order, a block at a time."""
    with written(path) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def load(images: Path, labels: Path) -> Labelled:
    """Map two .npy files into memory. Raises `Problem` where one is missing, damaged or odd."""
    pair = Labelled(_map(images, 4), _map(labels, 2))
    if len(pair.images) != len(pair.labels):
        raise Problem(
            f"{images} holds {len(pair.images):,} images, {labels} {len(pair.labels):,} labels; "
            "`dvc repro preprocess` makes both anew"
        )
    return pair


def _map(path: Path, dimensions: int) -> Bytes:
    remedy = "`dvc repro preprocess` makes it anew"
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise Problem(f"{path} is missing; {remedy}") from error
    except OSError:
        raise
    except Exception as error:  # a damaged header can raise whatever Python's own parser does
        raise Problem(f"{path} is damaged: {error}; {remedy}") from error
    if array.dtype != np.uint8 or array.ndim != dimensions or not array.size:
        raise Problem(
            f"{path} holds {array.dtype} of shape {array.shape}, not uint8 in {dimensions} "
            f"dimensions; {remedy}"
        )
    if array.offset + array.nbytes != path.stat().st_size:
        raise Problem(f"{path} is damaged: it holds more than its header declares; {remedy}")
    return array
