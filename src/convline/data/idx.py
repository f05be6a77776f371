"""IDX, the file format of MNIST, gzipped.

Two zero bytes, a byte for the type (8: unsigned bytes), a byte for the number of dimensions,
each dimension as four bytes, most significant first, then the values in C order. Source:
"The MNIST database of handwritten digits", Y. LeCun, C. Cortes, C. J. C. Burges.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from convline.files import written
from convline.problems import Problem

UNSIGNED_BYTE = 8
DEFLATE_RATIO = 1032  # the most that DEFLATE can shrink: zlib's technical details
BLOCK = 4096  # images

Bytes = npt.NDArray[np.uint8]


def shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape that the file declares. Raises `Problem` where its header is wrong."""
    with _opened(path) as file:
        return _header(file, path, dimensions)


def blocks(path: Path, dimensions: int) -> Iterator[Bytes]:
    """The values of the file as uint8, up to `BLOCK` entries of its first dimension at a time.

    Reads no more than the header declares. Raises `Problem` where the file holds less or more.
    """
    with _opened(path) as file:
        count, *entry = _header(file, path, dimensions)
        size = math.prod(entry)
        for start in range(0, count, BLOCK):
            rows = min(BLOCK, count - start)
            content = file.read(rows * size)
            if len(content) < rows * size:
                raise _damaged(path, f"ends after {start + len(content) // size:,} of {count:,}")
            yield np.frombuffer(content, np.uint8).reshape(rows, *entry)
        if file.read(1):
            raise _damaged(path, f"holds more than the {count:,} that its header declares")


def write(path: Path, array: Bytes) -> None:
    """Write `array` of uint8 as a gzipped IDX file, the same bytes for the same array."""
    with written(path) as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
        zipped.write(bytes([0, 0, UNSIGNED_BYTE, array.ndim]))
        zipped.write(struct.pack(f">{array.ndim}I", *array.shape))
        zipped.write(array.tobytes())


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with gzip.open(path, "rb") as file:
            yield file  # type: ignore[misc]
    except FileNotFoundError as error:
        raise Problem(f"{path} is missing; `dvc repro fetch` fetches it") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(path, f"is damaged: {error}") from error


def _header(file: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    magic = file.read(4)
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if magic != expected:
        raise _damaged(
            path,
            f"begins with {magic.hex() or 'nothing'}, not with {expected.hex()} as an IDX file "
            f"of unsigned bytes in {dimensions} dimension{'s' if dimensions > 1 else ''} does",
        )
    content = file.read(4 * dimensions)
    if len(content) < 4 * dimensions:
        raise _damaged(path, "ends within its header")
    declared = struct.unpack(f">{dimensions}I", content)
    if 0 in declared:
        raise _damaged(path, f"declares the shape {declared}: nothing to learn from")
    if math.prod(declared) > DEFLATE_RATIO * path.stat().st_size:
        raise _damaged(path, f"declares the shape {declared}, more than its bytes can hold")
    return declared


def _damaged(path: Path, how: str) -> Problem:
    return Problem(f"{path} {how}; `dvc repro fetch` fetches it again")
