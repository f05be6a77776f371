"""The preprocess stage, run as its script: raw files that it refuses, and the arrays it makes."""

import gzip
import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import CLASSES, SHAPE, Project, tiny_images, with_pets
from convline.data import archives, arrays, idx
from convline.data.datasets import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from drawings import PETS

pytestmark = pytest.mark.xdist_group("preprocess")
PARTS = ("train", "validation", "test")
MOST_MEMORY = 400 << 20  # bytes; the stage takes less than half of it
BOMB = 1 << 29  # bytes of a gzip bomb, unzipped

Change = Callable[[bytes], bytes]  # of a file's content, unzipped, to a file


@pytest.fixture
def ready(clone: Project) -> Project:
    """A project of the test's own, after fetch."""
    shutil.copytree(clone.mirror, clone.path / "data/raw", dirs_exist_ok=True)
    return clone


@pytest.fixture(scope="module")
def large(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """More images than are read at a time, in classes of different sizes, after preprocess."""
    project = fresh.copy(tmp_path_factory.mktemp("large") / "project")
    for images, labels, count, seed in (
        (TRAIN_IMAGES, TRAIN_LABELS, idx.BLOCK + 1000, 3),
        (TEST_IMAGES, TEST_LABELS, idx.BLOCK + 5, 4),
    ):
        content, of_content = tiny_images(count, seed)
        of_content[::7] = 0
        idx.write(project.path / "data/raw" / images, content)
        idx.write(project.path / "data/raw" / labels, of_content)
    project.set_params(validation_size=500)
    project.run("python", "src/preprocess.py")
    return project


def raw(project: Project, name: str) -> np.ndarray:
    """The array in one raw file."""
    return np.concatenate(
        list(idx.blocks(project.path / "data/raw" / name, 3 if "idx3" in name else 1))
    )


def processed(project: Project, name: str) -> np.ndarray:
    """One array that the stage wrote, mapped into memory."""
    array: np.ndarray = np.load(project.path / f"data/processed/{name}.npy", mmap_mode="r")
    return array


def held_out(project: Project) -> bytes:
    """The validation images."""
    return processed(project, "validation_images").tobytes()


def zipped(content: bytes) -> bytes:
    return gzip.compress(content)


def beginning(start: bytes) -> Change:
    """Replace the first bytes."""
    return lambda content: gzip.compress(start + content[len(start) :])


def declaring(*shape: int) -> Change:
    """Replace the dimensions in the header."""
    return lambda content: gzip.compress(
        content[:4] + struct.pack(f">{len(shape)}I", *shape) + content[4 + 4 * len(shape) :]
    )


def label(value: int, at: int) -> Change:
    """Replace one label."""
    return lambda content: gzip.compress(content[: 8 + at] + bytes([value]) + content[8 + at + 1 :])


def exploding(content: bytes) -> bytes:
    """Go on with zeros, `BOMB` of them: about half a megabyte."""
    zeros = gzip.compress(bytes(1 << 26))
    return gzip.compress(content) + zeros * (BOMB >> 26)


def as_it_is(content: bytes) -> bytes:
    return content


AGAIN = "`dvc repro fetch` fetches it again"
BOTH_AGAIN = "`dvc repro fetch` fetches both again"
HEIGHT, WIDTH = SHAPE

REFUSED: list[tuple[str, Change, str]] = [
    (TRAIN_IMAGES, beginning(b"\1"), f"begins with 01000803, not with 00000803 as an IDX; {AGAIN}"),
    (
        TEST_LABELS,
        beginning(b"\0\1"),
        f"begins with 00010801, not with 00000801 as an IDX; {AGAIN}",
    ),
    (TEST_IMAGES, beginning(b"\0\0\x09"), f"begins with 00000903; unsigned bytes in 3; {AGAIN}"),
    (TRAIN_LABELS, beginning(b"\0\0\x08\3"), f"begins with 00000803; in 1 dimension does; {AGAIN}"),
    (TRAIN_IMAGES, lambda c: zipped(c[:9]), f"ends within its header; {AGAIN}"),
    (TRAIN_IMAGES, declaring(299), f"declares 299 images; {TRAIN_LABELS} 300 labels: {BOTH_AGAIN}"),
    (TEST_LABELS, declaring(91), f"declares 90 images; {TEST_LABELS} 91 labels: {BOTH_AGAIN}"),
    (TRAIN_LABELS, lambda c: zipped(c[:-1]), f"ends after 299 of 300; {AGAIN}"),
    (TRAIN_LABELS, lambda c: zipped(c + b"\0"), f"more than the 300 that its header; {AGAIN}"),
    (TRAIN_IMAGES, lambda c: zipped(c[:-1]), f"ends after 299 of 300; {AGAIN}"),
    (TEST_LABELS, label(3, at=7), "label 7 is 3; classes are 0 to 2; in datasets.yaml"),
    (
        TRAIN_IMAGES,
        declaring(300, HEIGHT * 2, WIDTH // 2),
        "images of 24 x 6 pixels; the dataset's are 12 x 12; in datasets.yaml",
    ),
    (TRAIN_IMAGES, lambda c: zipped(c)[:-9], f"is damaged: ; {AGAIN}"),
    (TRAIN_LABELS, lambda c: zipped(c)[:15], f"is damaged: ; {AGAIN}"),
    (TEST_LABELS, as_it_is, f"is damaged: Not a gzipped file; {AGAIN}"),
    (TEST_IMAGES, lambda c: b"", f"begins with nothing; {AGAIN}"),
]


@pytest.mark.parametrize(("name", "change", "words"), REFUSED)
def test_a_wrong_raw_file(ready: Project, name: str, change: Change, words: str) -> None:
    """The line names the file, what is there, what was expected and what to do."""
    file = ready.path / "data/raw" / name
    file.write_bytes(change(gzip.decompress(file.read_bytes())))
    line = ready.problem("preprocess")
    assert f"data/raw/{name}" in line
    for part in words.split("; "):
        assert part in line
    part = "test" if name in (TEST_IMAGES, TEST_LABELS) else "train"
    assert not list((ready.path / "data/processed").glob(f"{part}*"))


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TEST_LABELS])
def test_a_missing_raw_file(ready: Project, name: str) -> None:
    (ready.path / "data/raw" / name).unlink()
    line = ready.problem("preprocess")
    assert line == f"preprocess: data/raw/{name} is missing; `dvc repro fetch` fetches it"


def test_headers_that_agree_on_a_wrong_count(ready: Project) -> None:
    for name in (TEST_IMAGES, TEST_LABELS):
        file = ready.path / "data/raw" / name
        file.write_bytes(declaring(89)(gzip.decompress(file.read_bytes())))
    line = ready.problem("preprocess")
    assert f"data/raw/{TEST_LABELS} holds more than the 89 that its header declares" in line


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (TRAIN_IMAGES, exploding, "holds more than the 300 that its header declares"),
        (TRAIN_LABELS, exploding, "holds more than the 300 that its header declares"),
        (
            TRAIN_IMAGES,
            declaring(2**32 - 1),
            f"declares the shape ({2**32 - 1}, 12, 12), more than its bytes can hold",
        ),
        (
            TRAIN_LABELS,
            lambda c: exploding(gzip.decompress(declaring(BOMB + 300)(c))),
            f"declares 300 images, data/raw/{TRAIN_LABELS} {BOMB + 300:,} labels",
        ),
        (
            TEST_IMAGES,
            lambda c: exploding(gzip.decompress(declaring(1, BOMB, 1)(c[:16]))),
            f"images of {BOMB} x 1 pixels",
        ),
    ],
)
def test_a_gzip_bomb(ready: Project, name: str, change: Change, words: str) -> None:
    """It is left where it exceeds what it declares, or declares more than it should."""
    file = ready.path / "data/raw" / name
    file.write_bytes(change(gzip.decompress(file.read_bytes())))
    result, memory = ready.measured("preprocess")
    assert result.returncode == 1, result
    assert result.stderr.count("\n") == 1, result.stderr
    assert f"data/raw/{name}" in result.stderr
    assert words in result.stderr
    assert memory < MOST_MEMORY


@pytest.mark.parametrize("size", [2, 298])
def test_a_validation_size_that_leaves_classes_out(ready: Project, size: int) -> None:
    ready.set_params(validation_size=size)
    line = ready.problem("preprocess")
    assert line == (
        f"preprocess: params.yaml: validation_size is {size}; with 300 training images of "
        "3 classes it should be from 3 to 150"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("name", ["validation_images.npy", "test_labels.npy"])
def test_a_full_disk(ready: Project, name: str) -> None:
    folder = ready.path / "data/processed"
    (folder / f"{name}.part").symlink_to("/dev/full")
    line = ready.problem("preprocess")
    assert line == f"preprocess: data/processed/{name} cannot be written: No space left on device"
    assert not (folder / name).exists()


@pytest.mark.parametrize("part", PARTS)
def test_the_form_of_the_arrays(large: Project, part: str) -> None:
    images, labels = processed(large, f"{part}_images"), processed(large, f"{part}_labels")
    count = {"train": idx.BLOCK + 500, "validation": 500, "test": idx.BLOCK + 5}[part]
    assert isinstance(images, np.memmap)
    assert isinstance(labels, np.memmap)
    assert images.shape == (count, *SHAPE, 1)
    assert labels.shape == (count, len(CLASSES))
    assert images.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1}
    assert (labels.sum(axis=1) == 1).all()


def test_every_image_keeps_its_label_and_is_in_one_part(large: Project) -> None:
    images, labels = raw(large, TRAIN_IMAGES), raw(large, TRAIN_LABELS)
    expected = {image.tobytes(): label for image, label in zip(images, labels)}
    assert len(expected) == len(images)  # noise: no image twice
    found = [
        (image.tobytes(), label.argmax())
        for part in ("train", "validation")
        for image, label in zip(
            processed(large, f"{part}_images"), processed(large, f"{part}_labels")
        )
    ]
    assert len(found) == len(images)
    assert dict(found) == expected


def test_the_test_set_is_as_it_was(large: Project) -> None:
    assert np.array_equal(processed(large, "test_images")[..., 0], raw(large, TEST_IMAGES))
    assert np.array_equal(processed(large, "test_labels").argmax(axis=1), raw(large, TEST_LABELS))


def test_the_validation_images_are_stratified(large: Project) -> None:
    counts = np.bincount(raw(large, TRAIN_LABELS))
    assert len(set(counts)) == 2  # else equal shares would pass for stratified ones
    expected = counts * 500 / counts.sum()
    assert np.abs(processed(large, "validation_labels").sum(axis=0) - expected).max() < 1


def test_the_seed_decides_on_the_split(ready: Project) -> None:
    splits = []
    for seed in (0, 0, 1):
        ready.set_params(seed=seed)
        result = ready.run("python", "src/preprocess.py")
        assert result.stderr == ""
        splits.append(held_out(ready))
    assert result.stdout == "preprocess: tiny: 240 training, 60 validation, 90 test images\n"
    assert splits[0] == splits[1] != splits[2]


@pytest.fixture(scope="module")
def first(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with imported pictures, fetched. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("first")
    project = with_pets(fresh, folder, dataset="pets", validation_size=0.2)
    project.run("python", "src/fetch.py")
    return project


@pytest.fixture
def pets(first: Project, tmp_path: Path) -> Project:
    """The same, for a test to change."""
    return first.copy(tmp_path / "project")


def names(project: Project) -> list[str]:
    """The names of the test images."""
    return arrays.load_names(project.path / "data/processed")


def test_pictures_become_arrays_with_their_labels(pets: Project) -> None:
    """Each is in one part, as it was drawn: the shape is the size of all."""
    result = pets.run("python", "src/preprocess.py")
    assert result.stderr == ""
    found = []
    for part in PARTS:
        images, labels = processed(pets, f"{part}_images"), processed(pets, f"{part}_labels")
        assert images.shape[1:] == (16, 16, 3)
        assert labels.shape == (len(images), 3)
        found += [(image.tobytes(), label.argmax()) for image, label in zip(images, labels)]
    drawn = {
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).tobytes(): PETS.index(row.label)
        for row, content in archives.contents(
            pets.path / "data/raw", archives.rows(pets.path / "data/raw")
        )
    }
    assert len(found) == 36
    assert dict(found) == drawn
    of_test = processed(pets, "test_labels").argmax(axis=1)
    assert [PETS[label] for label in of_test] == [name.split("/")[0] for name in names(pets)]


def test_the_seed_of_training_moves_no_picture(pets: Project) -> None:
    parts = []
    for seed in (0, 1):
        pets.set_params(seed=seed)
        pets.run("python", "src/preprocess.py")
        parts.append((held_out(pets), names(pets)))
    assert parts[0] == parts[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"classes": ["ant", "bee"]},
            "the pictures and `classes` differ in cat; `convline import`",
        ),
        ({"classes": ["ant", "bee", "dog"]}, "the pictures and `classes` differ in cat, dog;"),
        ({"test_share": None}, "no picture is in a split test, so test_share should say how many"),
        ({"background": "whiteish"}, "background is whiteish; it should be a colour"),
        ({"shape": [16, 16, 2]}, "shape.2 is 2; it should be 1 or 3"),
        ({"fit": "squash"}, "fit is 'squash'; it should be 'pad', 'crop' or 'stretch'"),
    ],
)
def test_a_wrong_entry_of_pictures(pets: Project, changes: dict[str, object], words: str) -> None:
    pets.set_dataset("pets", **changes)
    assert f"preprocess: datasets.yaml: pets: {words}" in pets.problem("preprocess")


@pytest.mark.parametrize("size", [0.7, 30])
def test_a_validation_size_that_pictures_do_not_take(pets: Project, size: float) -> None:
    pets.set_params(validation_size=size)
    line = pets.problem("preprocess")
    assert "validation_size" in line


@pytest.mark.parametrize("name", ["pictures-3.zip", "pictures.csv"])
def test_packed_pictures_that_are_damaged(pets: Project, name: str) -> None:
    path = pets.path / "data/raw" / name
    path.write_bytes(path.read_bytes()[:-40])
    line = pets.problem("preprocess")
    assert line.startswith(f"preprocess: data/raw/{name} is damaged: ")
    assert line.endswith(f"; {AGAIN}")
    assert not list((pets.path / "data/processed").glob("*.npy"))
