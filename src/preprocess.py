"""Parse, check, reshape, one-hot encode and split the raw images into data/processed/."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from convline import arrays, datasets, idx, params, splits, stage

RAW = Path("data/raw")
PROCESSED = Path("data/processed")


class Params(params.Schema):
    """What preprocess reads from params.yaml."""

    dataset: str
    seed: params.Seed
    validation_size: Annotated[params.Int, Field(ge=1)]


def main() -> None:
    """Read the IDX files, choose the validation images, write six arrays."""
    settings = params.load("preprocess", Params)
    dataset = datasets.load(settings.dataset)

    check_headers(RAW / datasets.TRAIN_IMAGES, RAW / datasets.TRAIN_LABELS, dataset)
    check_headers(RAW / datasets.TEST_IMAGES, RAW / datasets.TEST_LABELS, dataset)
    train_labels = read_labels(RAW / datasets.TRAIN_LABELS, dataset)
    test_labels = read_labels(RAW / datasets.TEST_LABELS, dataset)

    held_out = splits.validation_mask(train_labels, settings.validation_size, settings.seed)
    write(RAW / datasets.TRAIN_IMAGES, train_labels, dataset, train=~held_out, validation=held_out)
    write(RAW / datasets.TEST_IMAGES, test_labels, dataset, test=np.ones(len(test_labels), bool))

    print(
        f"preprocess: {settings.dataset}: {np.sum(~held_out):,} training, "
        f"{np.sum(held_out):,} validation, {len(test_labels):,} test images"
    )


def check_headers(images: Path, labels: Path, dataset: datasets.Dataset) -> None:
    """Compare what two files declare with each other and with the dataset, before reading on."""
    (count,) = idx.shape(labels, 1)
    declared, height, width = idx.shape(images, 3)
    if (height, width) != dataset.shape:
        raise stage.Problem(
            f"{images} holds images of {height} x {width} pixels, but the dataset's are "
            f"{' x '.join(map(str, dataset.shape))}: correct its shape in {datasets.DATASETS}"
        )
    if declared != count:
        raise stage.Problem(
            f"{images} declares {declared:,} images, {labels} {count:,} labels: "
            "`dvc repro fetch` brings both anew"
        )


def read_labels(path: Path, dataset: datasets.Dataset) -> npt.NDArray[np.uint8]:
    """The labels (n,) of one file, each within the dataset's classes."""
    labels = np.concatenate(list(idx.blocks(path, 1)))
    if labels.max() >= len(dataset.classes):
        at = int(np.argmax(labels >= len(dataset.classes)))
        raise stage.Problem(
            f"{path}: label {at} is {labels[at]}, but the dataset's classes are 0 to "
            f"{len(dataset.classes) - 1}: add what is missing to its classes in {datasets.DATASETS}"
        )
    return labels


def write(
    source: Path,
    labels: npt.NDArray[np.uint8],
    dataset: datasets.Dataset,
    **parts: npt.NDArray[np.bool_],
) -> None:
    """Write the images (n, height, width, 1) and one-hot labels of each part, chosen by its mask.

    They pass through in blocks: memory does not grow with their number.
    """
    classes = len(dataset.classes)
    with ExitStack() as files:
        outputs = {}
        for part, mask in parts.items():
            count = int(mask.sum())
            outputs[part] = [
                files.enter_context(arrays.writer(PROCESSED / f"{part}_{name}.npy", shape))
                for name, shape in (
                    ("images", (count, *dataset.shape, 1)),
                    ("labels", (count, classes)),
                )
            ]
        start = 0
        for block in idx.blocks(source, 3):
            here = slice(start, start + len(block))
            for part, mask in parts.items():
                to_images, to_labels = outputs[part]
                to_images.write(block[mask[here]].tobytes())
                to_labels.write(splits.one_hot(labels[here][mask[here]], classes).tobytes())
            start += len(block)


if __name__ == "__main__":
    stage.run(main)
