"""IDX files: what is written is read again, and nothing else is."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from convline.data import idx
from convline.problems import Problem

ARRAYS = arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))
ARRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 4) + ARRAY.tobytes()
HEADER = 16  # bytes

relaxed = settings(deadline=None)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each example puts its file."""
    return tmp_path_factory.mktemp("idx") / "images.gz"


def read(path: Path, dimensions: int = 3) -> np.ndarray:
    """All values, to the end of the file."""
    return np.concatenate(list(idx.blocks(path, dimensions)))


def refused(path: Path, content: bytes) -> str:
    """The text of the `Problem` with a file of `content`."""
    path.write_bytes(content)
    with pytest.raises(Problem) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_form_is_that_of_mnist(path: Path) -> None:
    idx.write(path, ARRAY)
    assert gzip.decompress(path.read_bytes()) == CONTENT


@relaxed
@given(array=ARRAYS)
def test_what_is_written_is_read_again(path: Path, array: np.ndarray) -> None:
    idx.write(path, array)
    assert idx.shape(path, array.ndim) == array.shape
    again = read(path, array.ndim)
    assert again.dtype == np.uint8
    assert np.array_equal(again, array)


def test_blocks_are_whole_entries_in_order(path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (2 * idx.BLOCK + 1, 2, 3), dtype=np.uint8)
    idx.write(path, array)
    assert [len(block) for block in idx.blocks(path, 3)] == [idx.BLOCK, idx.BLOCK, 1]
    assert np.array_equal(read(path), array)


def test_the_same_array_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither the name nor the time of writing is in the file."""
    for name in ("one.gz", "another.gz"):
        idx.write(tmp_path / name, ARRAY)
    first, second = ((tmp_path / name).read_bytes() for name in ("one.gz", "another.gz"))
    assert first == second
    assert first[3:8] == bytes(5)  # no flags, no time


def test_the_most_that_deflate_shrinks_is_read(path: Path) -> None:
    """A file of zeros comes close to the bound on what a header may declare."""
    idx.write(path, np.zeros((4096, 32, 32), np.uint8))
    assert path.stat().st_size * 1020 < 4096 * 32 * 32
    assert read(path).shape == (4096, 32, 32)


def test_more_than_the_bytes_can_hold_is_not_even_tried(path: Path) -> None:
    content = CONTENT[:4] + struct.pack(">3I", 2**31, 2**31, 2**31) + CONTENT[HEADER:]
    assert "more than its bytes can hold" in refused(path, gzip.compress(content))
    with pytest.raises(Problem, match="more than its bytes can hold"):
        idx.shape(path, 3)


@relaxed
@given(at=st.integers(0, HEADER - 1), difference=st.integers(1, 255))
def test_no_wrong_byte_in_the_header_passes(path: Path, at: int, difference: int) -> None:
    content = bytearray(CONTENT)
    content[at] ^= difference
    refused(path, gzip.compress(content))


@pytest.mark.parametrize("end", range(len(CONTENT)))
def test_no_shortened_content_passes(path: Path, end: int) -> None:
    refused(path, gzip.compress(CONTENT[:end]))


@pytest.mark.parametrize("more", [b"\0", bytes(12), CONTENT])
def test_no_lengthened_content_passes(path: Path, more: bytes) -> None:
    message = f"{path} holds more than the 2 that its header declares"
    assert message in refused(path, gzip.compress(CONTENT + more))
    assert message in refused(path, gzip.compress(CONTENT) + gzip.compress(more))


@relaxed
@given(data=st.data())
def test_no_shortened_file_passes(path: Path, data: st.DataObject) -> None:
    zipped = gzip.compress(CONTENT, mtime=0)
    refused(path, zipped[: data.draw(st.integers(0, len(zipped) - 1))])


@relaxed
@given(data=st.data())
def test_damage_to_a_file_is_noticed_or_harmless(path: Path, data: st.DataObject) -> None:
    """A few bytes of gzip's header, like the time, mean nothing. The content has a checksum.

    Nor do the bits that fill up the last byte before the checksum and the length, four bytes each.
    """
    zipped = bytearray(gzip.compress(CONTENT, mtime=0))
    at = data.draw(st.integers(0, len(zipped) - 1))
    zipped[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(zipped)
    try:
        array = read(path)
    except Problem as problem:
        assert str(path) in str(problem)
    else:
        assert at < 10 or at == len(zipped) - 9
        assert np.array_equal(array, ARRAY)


@relaxed
@given(content=st.binary(max_size=64))
def test_noise_is_refused(path: Path, content: bytes) -> None:
    refused(path, content)
    refused(path, gzip.compress(content))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0)])
def test_an_empty_array_is_refused(path: Path, shape: tuple[int, ...]) -> None:
    content = CONTENT[:4] + struct.pack(">3I", *shape)
    assert f"declares the shape {shape}: nothing to learn from" in refused(
        path, gzip.compress(content)
    )


def test_bytes_after_the_gzip_data_are_refused(path: Path) -> None:
    assert "is damaged: Not a gzipped file" in refused(path, gzip.compress(CONTENT) + b"more")


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_other_dimensions_than_expected_are_refused(path: Path, dimensions: int) -> None:
    path.write_bytes(gzip.compress(CONTENT))
    message = f"begins with 00000803, not with 0000080{dimensions}"
    with pytest.raises(Problem, match=message):
        idx.shape(path, dimensions)
    with pytest.raises(Problem, match=message):
        read(path, dimensions)
