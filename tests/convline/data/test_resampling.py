"""What images show at points between their pixels."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from convline.data.resampling import from_centre, sample

IMAGES = np.random.default_rng(0).integers(0, 256, (500, 40, 50, 1), np.uint8)


@pytest.mark.parametrize("far", [0.4, 3, 1000])
def test_sampling_is_that_of_scipy(far: float) -> None:
    """Linear between pixels, and towards the black beyond the border."""
    random = np.random.default_rng(0)
    pixels = np.indices((40, 50))[:, None]
    points = (pixels + random.uniform(-far, far, (2, 500, 40, 50))).astype(np.float32)
    numbers = np.broadcast_to(np.arange(500).reshape(500, 1, 1), points.shape[1:])
    padded = np.pad(IMAGES[..., 0].astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    expected = map_coordinates(padded, [numbers, points[0] + 1, points[1] + 1], order=1)
    np.testing.assert_allclose(sample(IMAGES, points)[..., 0], expected, atol=0.501)


def test_the_middle_is_between_two_pixels_or_one() -> None:
    assert from_centre(4).tolist() == [-1.5, -0.5, 0.5, 1.5]
    assert from_centre(3).tolist() == [-1, 0, 1]
