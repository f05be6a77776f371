"""Resampling: what images show at points between their pixels."""

import numpy as np
import numpy.typing as npt

from convline.data.arrays import Bytes

Floats = npt.NDArray[np.float32]


def from_centre(size: int) -> Floats:
    """The distance of each pixel from the middle of a side of `size` pixels."""
    return np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)


def sample(images: Bytes, points: Floats) -> Bytes:
    """What images (n, height, width, channels) show at points (2, n, r, c): (n, r, c, channels).

    The points are rows and columns. Between pixels, bilinear interpolation; beyond the border, 0.
    It does what `scipy.ndimage.map_coordinates` does with order=1, in a sixth of the time.
    """
    n, height, width, channels = images.shape
    line = width + 2
    padded = np.zeros((n, height + 2, line), np.float32)

    y = np.clip(points[0] + 1, 0, height + 0.999)
    x = np.clip(points[1] + 1, 0, width + 0.999)
    row, column = np.floor(y), np.floor(x)
    y -= row
    x -= column
    first = row.astype(np.intp) * line + column.astype(np.intp)
    first += np.arange(n).reshape(n, 1, 1) * padded[0].size

    result = np.empty((*first.shape, channels), np.uint8)
    for channel in range(channels):
        padded[:, 1:-1, 1:-1] = images[..., channel]
        pixels = padded.ravel()
        top_left, top_right, bottom_left, bottom_right = (
            pixels[offset:].take(first) for offset in (0, 1, line, line + 1)
        )
        top = top_left + x * (top_right - top_left)
        bottom = bottom_left + x * (bottom_right - bottom_left)
        result[..., channel] = top + y * (bottom - top) + np.float32(0.5)
    return result
