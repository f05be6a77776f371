"""The images that quantization is calibrated on."""

import numpy as np
import pytest

from convline.export.calibration import BATCH, IMAGES, Calibration


@pytest.mark.parametrize(("count", "used"), [(1, 1), (7, 7), (500, 500), (3_001, 500)])
def test_they_are_spread_over_all_images(count: int, used: int) -> None:
    images = np.arange(count, dtype=np.int64).reshape(count, 1, 1, 1)
    batches = list(Calibration(images))  # type: ignore[arg-type]  # bytes could not count so far
    found = np.concatenate(batches).ravel()
    assert len(found) == used
    assert (found[0], found[-1]) == (0, count - 1)
    assert len(set(np.diff(found))) <= 2
    assert max(map(len, batches)) <= BATCH
    assert {batch.dtype for batch in batches} == {np.dtype(np.float32)}


def test_it_can_be_read_more_than_once() -> None:
    calibration = Calibration(np.zeros((IMAGES + 1, 2, 2, 1), np.uint8))
    assert len(list(calibration)) == len(list(calibration)) == IMAGES // BATCH
