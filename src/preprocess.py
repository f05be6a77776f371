"""Parse, check, reshape, one-hot encode and split the raw images into data/processed/."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from convline import params, problems
from convline.data import arrays, datasets, idx, splits
from convline.paths import DATASETS, PROCESSED, RAW

Bytes = npt.NDArray[np.uint8]


class Params(params.Schema):
    """What preprocess reads from params.yaml."""

    dataset: str
    seed: params.Seed
    validation_size: Annotated[params.Int, Field(ge=1)]


def main() -> None:
    """Read the IDX files, choose the validation images, write three splits.

    Images pass through in blocks: memory does not grow with their number.
    """
    settings = params.load("preprocess", Params)
    dataset = datasets.load(settings.dataset)

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

    def writer(split: str) -> AbstractContextManager[arrays.SplitWriter]:
        return arrays.split_writer(
            PROCESSED, split, sizes[split], (*dataset.shape, 1), len(dataset.classes)
        )

    with writer("train") as train, writer("validation") as validation:
        for rows, images in blocks(RAW / datasets.TRAIN_IMAGES):
            held = held_out[rows]
            train.write(images[~held], labels[rows][~held])
            validation.write(images[held], labels[rows][held])
    with writer("test") as test:
        for rows, images in blocks(RAW / datasets.TEST_IMAGES):
            test.write(images, test_labels[rows])

    print(
        f"preprocess: {settings.dataset}: {sizes['train']:,} training, "
        f"{sizes['validation']:,} validation, {sizes['test']:,} test images"
    )


def check_headers(images: Path, labels: Path, dataset: datasets.Dataset) -> None:
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


def read_labels(path: Path, dataset: datasets.Dataset) -> Bytes:
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
