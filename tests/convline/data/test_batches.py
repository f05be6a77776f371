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


@pytest.mark.parametrize(("images", "size"), [(10, 4), (11, 4), (2, 4), (10, 1)])
@pytest.mark.parametrize("devices", [2, 5])
def test_devices_count_every_image_as_often(images: int, size: int, devices: int) -> None:
    """And get as many of each batch, in however many processes they are."""
    from convline.data.batches import Batches
    from convline.devices import Share

    data = Labelled(NUMBERED.images[np.arange(images)], NUMBERED.labels[:images])
    whole = Batches(data, size, Share(devices, range(devices)))
    alone = [Batches(data, size, Share(devices, range(one, one + 1))) for one in range(devices)]
    seen = []
    for index in range(len(whole)):
        parts = [batches[index] for batches in alone]
        assert len({len(part) for part, _ in parts}) == 1
        for together, apart in zip(whole[index], map(np.concatenate, zip(*parts)), strict=True):
            np.testing.assert_array_equal(together, apart)
        seen += whole[index][0][:, 0, 0, 0].tolist()
    times = 1 if images % devices == 0 else devices
    assert sorted(seen) == sorted(list(range(images)) * times)
