"""Batches of images and labels, in order."""

import numpy as np
import pytest

import inprocess
from convline.data.arrays import Labelled

NUMBERED = Labelled(
    np.arange(11, dtype=np.uint8).repeat(4).reshape(11, 2, 2, 1),
    np.eye(2, dtype=np.uint8)[np.arange(11) % 2],
)


@pytest.fixture(scope="module", autouse=True)
def keras() -> None:
    """Keras, with its backend chosen."""
    inprocess.configure()


@pytest.mark.parametrize(("size", "lengths"), [(4, [4, 4, 3]), (11, [11]), (100, [11])])
def test_the_last_batch_holds_the_rest(size: int, lengths: list[int]) -> None:
    from convline.data.batches import Batches

    batches = Batches(NUMBERED, size)
    assert [len(batches[i][0]) for i in range(len(batches))] == lengths


def test_batches_follow_the_order_of_the_images() -> None:
    from convline.data.batches import Batches

    batches = Batches(NUMBERED, 4)
    images, labels = zip(*(batches[i] for i in range(len(batches))))
    assert np.concatenate(images)[:, 0, 0, 0].tolist() == list(range(11))
    assert np.array_equal(np.concatenate(labels), NUMBERED.labels)
    assert (images[0].dtype, labels[0].dtype) == (np.uint8, np.float32)
