"""Augmentation: images turned, scaled, shifted and bent at random, in one resampling."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from convline.arrays import Bytes

Floats = npt.NDArray[np.float32]

CELLS = 7  # of an elastic displacement, along each side; they are 4 pixels wide for MNIST


@dataclass(frozen=True)
class Augmentation:
    """Distorts images of `height` x `width` pixels at random, within these bounds."""

    height: int
    width: int
    rotation: float  # degrees, at most, to either side
    zoom: float  # at most; height and width grow by factors of their own, 1 - zoom to 1 + zoom
    shift: float  # pixels, at most, in each direction
    distortion: float  # pixels, the standard deviation of an elastic displacement in each direction

    def __call__(self, images: Bytes, random: np.random.Generator) -> Bytes:
        """Each of `images` (n, height, width, 1) distorted in its own way.

        What comes from beyond the border is 0.
        """
        return sample(images, self.sources(len(images), random))

    def sources(self, images: int, random: np.random.Generator) -> Floats:
        """Where each pixel comes from: its row and column in the image, (2, images, pixels).

        The elastic displacement is that of P. Simard et al., "Best practices for convolutional
        neural networks applied to visual document analysis", 2003: noise smoothed by a Gaussian.
        """
        angle, scale, shift = (
            random.uniform(low, high, (count, images, 1)).astype(np.float32)
            for low, high, count in (
                (-np.deg2rad(self.rotation), np.deg2rad(self.rotation), 1),
                (1 - self.zoom, 1 + self.zoom, 2),
                (-self.shift, self.shift, 2),
            )
        )
        y, x = self._pixels
        # To show more of an image is to make it smaller: where pixels come from is the inverse
        points: Floats = np.concatenate(
            [np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x]
        )
        points /= scale
        points -= shift
        if self.distortion:
            down, across = _bumps(self.height), _bumps(self.width)
            noise = random.standard_normal((2, images, CELLS + 2, CELLS + 2), np.float32)
            noise *= np.float32(self.distortion)
            points += (down @ noise @ across.T).reshape(points.shape)
        points += self._centre
        return points

    @cached_property
    def _centre(self) -> Floats:
        last = np.array([self.height - 1, self.width - 1]).reshape(2, 1, 1)
        return (last / 2).astype(np.float32)

    @cached_property
    def _pixels(self) -> Floats:
        """Each pixel's distance from the centre, in rows and in columns: (2, 1, pixels)."""
        rows_and_columns = np.indices((self.height, self.width), np.float32)
        return rows_and_columns.reshape(2, 1, -1) - self._centre


def _bumps(size: int) -> Floats:
    """Gaussians a cell apart and as wide, along a side of `size` pixels: (size, CELLS + 2).

    Each pixel's have a sum of squares of 1: weighted with noise of a standard deviation of 1 they
    add up to a displacement of that.
    """
    cell = size / CELLS
    centres = cell * np.arange(-1, CELLS + 1)
    bumps = np.exp(-(((np.arange(size)[:, None] - centres) / cell) ** 2) / 2)
    bumps /= np.linalg.norm(bumps, axis=1, keepdims=True)
    return bumps.astype(np.float32)


def sample(images: Bytes, points: Floats) -> Bytes:
    """`images` (n, height, width, 1) at points (2, n, height * width), rows and columns.

    Between pixels, the weighted mean of the four around; beyond the border, 0. It does what
    `scipy.ndimage.map_coordinates` does with order=1, in a quarter of the time.
    """
    n, height, width, _ = images.shape
    padded = np.zeros((n, height + 2, width + 2), np.uint8)
    padded[:, 1:-1, 1:-1] = images[..., 0]
    pixels, line = padded.ravel(), width + 2

    y = np.clip(points[0] + 1, 0, height + 0.999)
    x = np.clip(points[1] + 1, 0, width + 0.999)
    row, column = y.astype(np.int32), x.astype(np.int32)
    y -= row
    x -= column
    first = np.arange(n, dtype=np.int32)[:, None] * padded[0].size + row * line + column
    top_left, top_right, bottom_left, bottom_right = (
        pixels[first + offset].astype(np.float32) for offset in (0, 1, line, line + 1)
    )
    top = top_left + x * (top_right - top_left)
    bottom = bottom_left + x * (bottom_right - bottom_left)
    mean: Floats = top + y * (bottom - top)
    return (mean + np.float32(0.5)).astype(np.uint8).reshape(images.shape)
