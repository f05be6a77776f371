"""Arrays on disk: written in blocks, read by rows, refused where they are damaged."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convline import arrays
from convline.stage import Problem

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 1), dtype=np.uint8)
LABELS = np.eye(6, 3, dtype=np.uint8)


def saved(array: np.ndarray, **options: bool) -> bytes:
    """`array` as numpy saves it."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labels.npy, which is good."""
    folder = tmp_path_factory.mktemp("arrays")
    (folder / "labels.npy").write_bytes(saved(LABELS))
    return folder


def refused(folder: Path, content: bytes) -> str:
    """The text of the `Problem` with images.npy of `content`."""
    path = folder / "images.npy"
    path.write_bytes(content)
    with pytest.raises(Problem) as caught:
        arrays.load(path, folder / "labels.npy")
    assert str(path) in str(caught.value)
    assert "`dvc repro preprocess` makes" in str(caught.value)
    return str(caught.value)


def test_blocks_make_the_file_that_numpy_saves(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    with arrays.writer(path, IMAGES.shape) as file:
        for block in (IMAGES[:4], IMAGES[4:4], IMAGES[4:]):
            file.write(block.tobytes())
    assert path.read_bytes() == saved(IMAGES)


@pytest.mark.parametrize("rows", [[4, 0, 4], [5], []])
def test_images_are_read_in_the_order_asked_for(folder: Path, rows: list[int]) -> None:
    path = folder / "images.npy"
    path.write_bytes(saved(IMAGES))
    pair = arrays.load(path, folder / "labels.npy")
    images = pair.images[np.array(rows, int)]
    assert images.dtype == np.uint8
    assert np.array_equal(images, IMAGES[rows])
    assert pair.images.shape == IMAGES.shape
    assert np.array_equal(pair.labels, LABELS)


def test_images_that_are_cut_off_later(folder: Path) -> None:
    path = folder / "images.npy"
    path.write_bytes(saved(IMAGES))
    pair = arrays.load(path, folder / "labels.npy")
    path.write_bytes(saved(IMAGES)[:-1])
    assert np.array_equal(pair.images[np.arange(5)], IMAGES[:5])
    with pytest.raises(Problem, match=r"images\.npy ends before the end of image 5; `dvc repro"):
        pair.images[np.array([0, 5])]


def zip_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", saved(IMAGES))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged"),
        (b"an error page", "is damaged"),
        (zip_archive(), "is damaged"),
        (zip_archive()[:-1], "is damaged"),
        (saved(IMAGES)[:-1], "is damaged"),
        (saved(IMAGES) + b"\0", "is damaged: it holds more than its header declares"),
        (saved(IMAGES).replace(b"(6,", b"(5,"), "is damaged: it holds more"),
        (saved(IMAGES).replace(b"(6, 4", b"(6. 4"), "is damaged"),
        (saved(IMAGES).replace(b"(6, 4", b"(6#,4"), "is damaged"),
        (saved(np.array([{}, []], object), allow_pickle=True), "is damaged"),
        (saved(IMAGES.astype(np.float32)), "holds float32 of shape (6, 4, 5, 1), not uint8 in 4"),
        (saved(IMAGES[..., 0]), "holds uint8 of shape (6, 4, 5), not uint8 in 4 dimensions"),
        (saved(IMAGES[:0]), "holds uint8 of shape (0, 4, 5, 1)"),
        (saved(IMAGES[:5]), "images.npy holds 5 images, "),
    ],
)
def test_a_wrong_file_is_refused(folder: Path, content: bytes, words: str) -> None:
    assert words in refused(folder, content)


@settings(deadline=None)
@given(end=st.integers(0, len(saved(IMAGES)) - 1))
def test_no_shortened_file_passes(folder: Path, end: int) -> None:
    refused(folder, saved(IMAGES)[:end])


@settings(deadline=None, max_examples=200)
@given(
    at=st.integers(0, len(saved(IMAGES)) - IMAGES.size - 1),
    value=st.integers(0, 255) | st.sampled_from(b"(){}[],:'\"#\\-0 L"),
)
def test_damage_to_a_header_is_noticed_or_harmless(folder: Path, at: int, value: int) -> None:
    """No exception of Python's parser, with which numpy reads the header, comes through."""
    content = bytearray(saved(IMAGES))
    content[at] = value
    path = folder / "images.npy"
    path.write_bytes(content)
    try:
        pair = arrays.load(path, folder / "labels.npy")
    except Problem as problem:
        assert str(path) in str(problem)
    else:
        assert np.array_equal(pair.images[np.arange(len(IMAGES))], IMAGES)


@pytest.mark.parametrize("missing", ["images.npy", "labels.npy"])
def test_a_missing_file(tmp_path: Path, missing: str) -> None:
    for name, array in (("images.npy", IMAGES), ("labels.npy", LABELS)):
        if name != missing:
            (tmp_path / name).write_bytes(saved(array))
    message = f"{tmp_path / missing} is missing; `dvc repro preprocess` makes it anew"
    with pytest.raises(Problem, match=re.escape(message)):
        arrays.load(tmp_path / "images.npy", tmp_path / "labels.npy")
