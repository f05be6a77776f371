"""Augmentation: images rotated, zoomed, shifted and distorted in one resampling.

Some are also put behind fog, covered in part, or made noisy.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convline.data.arrays import Bytes
from convline.data.fog import foggy
from convline.data.resampling import Floats, from_centre, sample

# The parameters of a recipe; 0 leaves out
CHANGES = ("rotation", "zoom", "shift", "distortion", "fog", "cutout", "noise")
CELLS = 7  # of an elastic displacement, along each side; they are 4 pixels wide for MNIST


@dataclass(frozen=True)
class Augmentation:
    """Random distortions of images of `height` x `width` pixels, within these bounds."""

    height: int
    width: int
    border: int  # pixels on each side that the network ignores: they become 0, which saves time
    rotation: float  # degrees, at most, to either side
    zoom: float  # at most; height and width each grow by a factor of 1 - zoom to 1 + zoom
    shift: float  # pixels, at most, in each direction; whole ones if nothing else is resampled
    distortion: float  # pixels: standard deviation of the elastic displacement in each direction
    fog: float  # at most: the thickness of a veil over half of the images
    cutout: float  # of each side: a rectangle of any colour that hides a part of half of the images
    noise: float  # of white, at most: the standard deviation of noise in half of the images

    def __call__(self, images: Bytes, random: np.random.Generator) -> Bytes:
        """`images` (n, height, width, channels), each with a distortion of its own.

        Pixels from beyond the border are 0, but for shifts by whole pixels, which mirror the image
        there. All channels of an image are distorted alike.
        """
        if not (self.rotation or self.zoom or self.distortion) and self.shift == int(self.shift):
            result = shifted(images, int(self.shift), random)
        else:
            result = np.zeros_like(images)
            result[:, self._rows, self._columns] = sample(images, self.sources(len(images), random))
        # Drawn after the distortions, which are the same without them
        for most, change in (
            (self.fog, veiled),
            (self.cutout, cut_out),
            (self.noise, noisy),
        ):
            if most:
                chosen = random.random(len(images)) < 0.5
                result[chosen] = change(result[chosen], most, random)
        return result

    def sources(self, images: int, random: np.random.Generator) -> Floats:
        """Where each pixel within the border comes from: its row and column in the image.

        Shape (2, images, height - 2 * border, width - 2 * border).

        The elastic displacement is noise smoothed by a Gaussian, after P. Simard et al., "Best
        practices for convolutional neural networks applied to visual document analysis", 2003.
        """
        angle, scale, shift = (
            random.uniform(low, high, (count, images, 1, 1)).astype(np.float32)
            for low, high, count in (
                (-np.deg2rad(self.rotation), np.deg2rad(self.rotation), 1),
                (1 - self.zoom, 1 + self.zoom, 2),
                (-self.shift, self.shift, 2),
            )
        )
        y, x = from_centre(self.height)[self._rows, None], from_centre(self.width)[self._columns]
        # The inverse of the distortion: an image that grows shows pixels from nearer its centre
        points: Floats = np.concatenate(
            [np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x]
        )
        points /= scale
        points -= shift
        if self.distortion:
            noise = random.standard_normal((2, images, CELLS + 2, CELLS + 2), np.float32)
            noise *= np.float32(self.distortion)
            displacement = _bumps(self.height) @ noise @ _bumps(self.width).T
            points += displacement[:, :, self._rows, self._columns]
        points[0] += np.float32((self.height - 1) / 2)
        points[1] += np.float32((self.width - 1) / 2)
        return points

    @property
    def _rows(self) -> slice:
        return slice(self.border, self.height - self.border)

    @property
    def _columns(self) -> slice:
        return slice(self.border, self.width - self.border)


def _bumps(size: int) -> Floats:
    """Gaussians a cell apart and as wide, along a side of `size` pixels: (size, CELLS + 2).

    The squares at each pixel sum to 1, so that noise with a standard deviation of 1, weighted by
    them, gives a displacement with the same standard deviation.
    """
    cell = size / CELLS
    centres = cell * np.arange(-1, CELLS + 1)
    bumps = np.exp(-(((np.arange(size)[:, None] - centres) / cell) ** 2) / 2)
    bumps /= np.linalg.norm(bumps, axis=1, keepdims=True)
    return bumps.astype(np.float32)


def veiled(images: Bytes, most: float, random: np.random.Generator) -> Bytes:
    """Images (n, height, width, channels), each behind fog of a thickness of up to `most`."""
    thickness = random.uniform(0, most, len(images)).astype(np.float32)
    return (foggy(images, thickness, random) + np.float32(0.5)).astype(np.uint8)


def cut_out(images: Bytes, share: float, random: np.random.Generator) -> Bytes:
    """Images (n, height, width, channels), each with a rectangle of one colour at a random place.

    It has `share` of each side. After T. DeVries and G. Taylor, "Improved regularization of
    convolutional neural networks with cutout", 2017, where it is black.
    """
    n, height, width, channels = images.shape
    colours = random.integers(0, 256, (n, 1, 1, channels), np.uint8)
    rows, columns = (
        _within(random, n, size, round(share * size))[:, :, None] for size in (height, width)
    )
    hidden = rows & columns.swapaxes(1, 2)
    return np.where(hidden[..., None], colours, images)


def _within(random: np.random.Generator, n: int, size: int, part: int) -> npt.NDArray[np.bool_]:
    """Which of `size` pixels of a side are within `part` of them, at a random place: (n, size)."""
    first = random.integers(0, size - part + 1, (n, 1))
    pixels = np.arange(size)
    return (first <= pixels) & (pixels < first + part)


def noisy(images: Bytes, most: float, random: np.random.Generator) -> Bytes:
    """Images (n, height, width, channels), each with Gaussian noise of its own strength.

    Its standard deviation is up to `most` of white.
    """
    deviations = random.uniform(0, 255 * most, (len(images), 1, 1, 1)).astype(np.float32)
    result = images + deviations * random.standard_normal(images.shape, np.float32)
    return (np.clip(result, 0, 255) + np.float32(0.5)).astype(np.uint8)


def shifted(images: Bytes, most: int, random: np.random.Generator) -> Bytes:
    """Images (n, height, width, channels), each moved by up to `most` pixels in each direction.

    By whole pixels, because interpolation would blur what is otherwise sharp. What comes in is the
    image mirrored at its border.
    """
    n, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    y, x = random.integers(0, 2 * most + 1, (2, n))
    return np.ascontiguousarray(np.moveaxis(windows[np.arange(n), y, x], 1, -1))
