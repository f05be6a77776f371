"""Decode, check, one-hot encode and split the raw images into data/processed/."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from convline import params, problems
from convline.data import archives, arrays, datasets, idx, splits
from convline.paths import DATASETS, PROCESSED, RAW

Bytes = npt.NDArray[np.uint8]
SPLITS = ("train", "validation", "test")


class Params(params.Schema):
    """What preprocess reads from params.yaml."""

    dataset: str
    seed: params.Seed
    validation_size: splits.Size


def main() -> None:
    """Read the raw files, choose the validation images, write three splits.

    Images pass through in blocks: memory does not grow with their number.
    """
    settings = params.load("preprocess", Params)
    dataset = datasets.load(settings.dataset)
    if isinstance(dataset, datasets.PictureDataset):
        sizes = write_pictures(dataset, settings)
    else:
        sizes = write_idx(dataset, settings)
    print(
        f"preprocess: {settings.dataset}: {sizes['train']:,} training, "
        f"{sizes['validation']:,} validation, {sizes['test']:,} test images"
    )


def writer(
    dataset: datasets.IdxDataset | datasets.PictureDataset, split: str, size: int
) -> AbstractContextManager[arrays.SplitWriter]:
    """Open the files of a split of `size` images."""
    return arrays.split_writer(PROCESSED, split, size, dataset.input_shape, len(dataset.classes))


def write_pictures(dataset: datasets.PictureDataset, settings: Params) -> dict[str, int]:
    """Decode the packed pictures into three splits, and return their sizes."""
    from convline.data import pictures  # Pillow, which other datasets do without

    source = f"{DATASETS}: {settings.dataset}"
    form = pictures.form(dataset, source)
    rows = archives.rows(RAW)
    check_classes(rows, dataset, source)
    rule = splits.Rule(source, dataset.test_share, dataset.split_seed)
    sides = splits.by_content(rows, rule, settings.validation_size)
    labels = {name: label for label, name in enumerate(dataset.classes)}

    def decoded(picture: tuple[archives.Row, bytes]) -> Bytes:
        row, content = picture
        try:
            return pictures.decode(content, form)
        except pictures.Unreadable as error:
            raise problems.Problem(f"{RAW / row.archive}: {row.file_name} {error}") from error

    sizes = {split: sides.count(split) for split in SPLITS}
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(writer(dataset, split, sizes[split])) for split in SPLITS
        }
        images = pictures.each(decoded, archives.contents(RAW, rows))
        bar = tqdm(images, "pictures", len(rows), leave=False, disable=None)
        for row, side, image in zip(rows, sides, bar, strict=True):
            writers[side].write(image[None], np.array([labels[row.label]]))
    names = [row.file_name for row, side in zip(rows, sides) if side == "test"]
    arrays.write_names(PROCESSED, names)
    return sizes


def check_classes(rows: list[archives.Row], dataset: datasets.Dataset, source: str) -> None:
    """Compare the classes of the pictures with those of datasets.yaml."""
    found = {row.label for row in rows}
    if found != set(dataset.classes):
        wrong = sorted(found ^ set(dataset.classes))
        raise problems.Problem(
            f"{source}: the pictures and `classes` differ in {', '.join(wrong)}; "
            "`convline import` lists the classes that there are"
        )


def write_idx(dataset: datasets.IdxDataset, settings: Params) -> dict[str, int]:
    """Copy the images of the IDX files into three splits, and return their sizes."""
    check_headers(RAW / datasets.TRAIN_IMAGES, RAW / datasets.TRAIN_LABELS, dataset)
    check_headers(RAW / datasets.TEST_IMAGES, RAW / datasets.TEST_LABELS, dataset)
    labels = read_labels(RAW / datasets.TRAIN_LABELS, dataset)
    test_labels = read_labels(RAW / datasets.TEST_LABELS, dataset)
    held_out = splits.validation_mask(labels, settings.validation_size, settings.seed)
    sizes = {
        "train": int(np.sum(~held_out)),
        "validation": int(np.sum(held_out)),
        "test": len(test_labels),
    }
    with (
        writer(dataset, "train", sizes["train"]) as train,
        writer(dataset, "validation", sizes["validation"]) as validation,
    ):
        for rows, images in blocks(RAW / datasets.TRAIN_IMAGES):
            held = held_out[rows]
            train.write(images[~held], labels[rows][~held])
            validation.write(images[held], labels[rows][held])
    with writer(dataset, "test", sizes["test"]) as test:
        for rows, images in blocks(RAW / datasets.TEST_IMAGES):
            test.write(images, test_labels[rows])
    arrays.write_names(PROCESSED, [])
    return sizes


def check_headers(images: Path, labels: Path, dataset: datasets.IdxDataset) -> None:
    """Compare what two files declare with each other and with the dataset, before reading on."""
    (count,) = idx.shape(labels, 1)
    declared, height, width = idx.shape(images, 3)
    if (height, width) != dataset.shape:
        raise problems.Problem(
            f"{images} holds images of {height} x {width} pixels, but the dataset's are "
            f"{' x '.join(map(str, dataset.shape))}: correct its shape in {DATASETS}"
        )
    if declared != count:
        raise problems.Problem(
            f"{images} declares {declared:,} images, {labels} {count:,} labels: "
            "`dvc repro fetch` fetches both again"
        )


def read_labels(path: Path, dataset: datasets.IdxDataset) -> Bytes:
    """The labels (n,) of one file, each within the dataset's classes."""
    labels = np.concatenate(list(idx.blocks(path, 1)))
    if labels.max() >= len(dataset.classes):
        at = int(np.argmax(labels >= len(dataset.classes)))
        raise problems.Problem(
            f"{path}: label {at} is {labels[at]}, but the dataset's classes are 0 to "
            f"{len(dataset.classes) - 1}: add what is missing to its classes in {DATASETS}"
        )
    return labels


def blocks(path: Path) -> Iterator[tuple[slice, Bytes]]:
    """The images of one file, (k, height, width, 1) at a time, and the rows that they are."""
    start = 0
    for block in idx.blocks(path, 3):
        yield slice(start, start + len(block)), block[..., None]
        start += len(block)


if __name__ == "__main__":
    problems.run(main)
