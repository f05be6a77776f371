"""The peak memory of a stage stays while its data grows."""

import math

import numpy as np
import pytest

from conftest import CLASSES, SHAPE, Project
from convline.data import arrays, idx
from convline.data.datasets import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS

FEW = 2_000  # images
NETWORK = {"filters": [1], "kernels": [1], "dense_units": 0}


def measured(project: Project, stage: str) -> int:
    """The peak memory of a stage that has to succeed, in bytes."""
    result, memory = project.measured(stage)
    assert result.returncode == 0, result.stderr
    return memory


def labels(count: int) -> np.ndarray:
    """Labels (count,) of all classes."""
    return np.resize(np.arange(len(CLASSES), dtype=np.uint8), count)


def put(project: Project, part: str, count: int, side: int) -> None:
    """Write `count` black images and their labels where preprocess does.

    The images are a hole in their file: they take no time and no disk.
    """
    images, of = arrays.paths(project.path / "data/processed", part)
    shape = (count, side, side, 1)
    for path in (images, of):
        path.unlink()  # which may be a link into the cache
    with open(images, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + math.prod(shape))
    np.save(of, np.eye(len(CLASSES), dtype=np.uint8)[labels(count)])


def test_preprocess(clone: Project) -> None:
    many = 600_000  # images of 86 MB in all
    clone.set_params(validation_size=FEW // 10)
    peaks = []
    for count in (FEW, many):
        for images, of in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
            idx.write(clone.path / "data/raw" / images, np.zeros((count, *SHAPE), np.uint8))
            idx.write(clone.path / "data/raw" / of, labels(count))
        peaks.append(measured(clone, "preprocess"))
    assert peaks[1] - peaks[0] < 24e6


@pytest.mark.slow
def test_train_and_evaluate(project: Project) -> None:
    many, side = 60_000, 56  # images of 188 MB
    project.set_params(epochs=1, batch_size=500, convnet=NETWORK)
    put(project, "validation", FEW, side)
    peaks: dict[str, list[int]] = {"train": [], "evaluate": []}
    for count in (FEW, many):
        put(project, "train", count, side)
        put(project, "test", count, side)
        for stage in peaks:
            peaks[stage].append(measured(project, stage))
    for stage, (few, most) in peaks.items():
        assert most - few < 64e6, stage
