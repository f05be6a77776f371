"""Arrays on disk: written in blocks, read by rows, refused where they are damaged."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convline.data import arrays
from convline.problems import Problem

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 1), dtype=np.uint8)
LABELS = np.eye(6, 3, dtype=np.uint8)


def saved(array: np.ndarray, **options: bool) -> bytes:
    """`array` as numpy saves it."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with part_labels.npy, which is good."""
    folder = tmp_path_factory.mktemp("arrays")
    (folder / "part_labels.npy").write_bytes(saved(LABELS))
    return folder


def refused(folder: Path, content: bytes) -> str:
    """The text of the `Problem` with part_images.npy of `content`."""
    path = folder / "part_images.npy"
    path.write_bytes(content)
    with pytest.raises(Problem) as caught:
        arrays.load_split(folder, "part")
    assert str(path) in str(caught.value)
    assert "`dvc repro preprocess` regenerates" in str(caught.value)
    return str(caught.value)


def test_blocks_make_the_files_that_numpy_saves(tmp_path: Path) -> None:
    labels = np.array([2, 0, 2, 1, 0, 0], np.uint8)
    with arrays.split_writer(tmp_path, "part", 6, (4, 5, 1), 4) as writer:
        for rows in (slice(4), slice(4, 4), slice(4, 6)):
            writer.write(IMAGES[rows], labels[rows])
    one_hot = np.array(
        [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    )
    assert (tmp_path / "part_images.npy").read_bytes() == saved(IMAGES)
    assert (tmp_path / "part_labels.npy").read_bytes() == saved(one_hot.astype(np.uint8))


def test_one_hot_labels_of_the_most_classes(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8)
    with arrays.split_writer(tmp_path, "part", 256, (1, 1, 1), 256) as writer:
        writer.write(np.zeros((256, 1, 1, 1), np.uint8), labels)
    part = arrays.load_split(tmp_path, "part")
    assert np.array_equal(part.labels.argmax(axis=1), labels)
    assert (part.input_shape, part.classes) == ((1, 1, 1), 256)


def test_a_split_that_is_not_finished_leaves_what_was_there(tmp_path: Path) -> None:
    for name in ("part_images.npy", "part_labels.npy"):
        (tmp_path / name).write_bytes(b"as it was")
    with (
        pytest.raises(ZeroDivisionError),
        arrays.split_writer(tmp_path, "part", 6, (4, 5, 1), 3) as writer,
    ):
        writer.write(IMAGES[:4], np.zeros(4, np.uint8))
        raise ZeroDivisionError
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"as it was"}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("rows", [[4, 0, 4], [5], []])
def test_images_are_read_in_the_order_asked_for(folder: Path, rows: list[int]) -> None:
    path = folder / "part_images.npy"
    path.write_bytes(saved(IMAGES))
    pair = arrays.load_split(folder, "part")
    images = pair.images[np.array(rows, int)]
    assert images.dtype == np.uint8
    assert np.array_equal(images, IMAGES[rows])
    assert pair.images.shape == IMAGES.shape
    assert np.array_equal(pair.labels, LABELS)


def test_images_that_are_cut_off_later(folder: Path) -> None:
    path = folder / "part_images.npy"
    path.write_bytes(saved(IMAGES))
    pair = arrays.load_split(folder, "part")
    path.write_bytes(saved(IMAGES)[:-1])
    assert np.array_equal(pair.images[np.arange(5)], IMAGES[:5])
    with pytest.raises(
        Problem, match=r"part_images\.npy ends before the end of image 5; `dvc repro"
    ):
        pair.images[np.array([0, 5])]


def zip_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("part_images.npy", saved(IMAGES))
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
        (saved(IMAGES[:5]), "part_images.npy holds 5 images, "),
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
    path = folder / "part_images.npy"
    path.write_bytes(content)
    try:
        pair = arrays.load_split(folder, "part")
    except Problem as problem:
        assert str(path) in str(problem)
    else:
        assert np.array_equal(pair.images[np.arange(len(IMAGES))], IMAGES)


@pytest.mark.parametrize("missing", ["part_images.npy", "part_labels.npy"])
def test_a_missing_file(tmp_path: Path, missing: str) -> None:
    for name, array in (("part_images.npy", IMAGES), ("part_labels.npy", LABELS)):
        if name != missing:
            (tmp_path / name).write_bytes(saved(array))
    message = f"{tmp_path / missing} is missing; `dvc repro preprocess` regenerates it"
    with pytest.raises(Problem, match=re.escape(message)):
        arrays.load_split(tmp_path, "part")


def test_a_split_has_to_be_like_another(tmp_path: Path) -> None:
    for split, images, labels in (
        ("part", IMAGES, LABELS),
        ("narrow", IMAGES[:, :, 1:], LABELS),
        ("fewer", IMAGES, LABELS[:, 1:]),
        ("shorter", IMAGES[1:], LABELS[1:]),
    ):
        (tmp_path / f"{split}_images.npy").write_bytes(saved(images))
        (tmp_path / f"{split}_labels.npy").write_bytes(saved(labels))
    part = arrays.load_split(tmp_path, "part")
    assert len(arrays.load_split(tmp_path, "shorter", like=part).images) == 5
    for split, words in (
        ("narrow", "mixes images of (4, 5, 1) in 3 classes with narrow images of (4, 4, 1) in 3; "),
        ("fewer", "with fewer images of (4, 5, 1) in 2; `dvc repro preprocess` regenerates them"),
    ):
        with pytest.raises(Problem, match=re.escape(words)):
            arrays.load_split(tmp_path, split, like=part)
