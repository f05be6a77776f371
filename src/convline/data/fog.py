"""Fog: images behind an uneven white veil."""

import numpy as np

from convline.data.arrays import Bytes
from convline.data.resampling import Floats

OCTAVES = (2, 4, 8)  # cells of noise along each side


def foggy(images: Bytes, thickness: Floats, random: np.random.Generator) -> Floats:
    """`images` (n, height, width, channels), each behind a veil of a `thickness` (n,).

    The veil adds from 0 to `thickness` times white. The sum is scaled so that it fits 0 to 255.
    """
    n, height, width, _ = images.shape
    thickness = thickness.reshape(n, 1, 1, 1)
    veils = np.zeros((n, height, width), np.float32)
    for cells in OCTAVES:
        noise = random.random((n, cells + 1, cells + 1), np.float32)
        veils += _tents(height, cells) @ noise @ _tents(width, cells).T / np.float32(cells)
    veils -= veils.min(axis=(1, 2), keepdims=True)
    veils /= np.maximum(veils.max(axis=(1, 2), keepdims=True), np.float32(1e-6))  # of one pixel
    veiled: Floats = images + np.float32(255) * thickness * veils[..., None]
    return veiled / (1 + thickness)


def _tents(size: int, cells: int) -> Floats:
    """The weights of linear interpolation on a side, (size, cells + 1): of each cell's ends."""
    at = np.linspace(0, cells, size, dtype=np.float32)[:, None]
    return np.asarray(np.maximum(1 - np.abs(at - np.arange(cells + 1, dtype=np.float32)), 0))
