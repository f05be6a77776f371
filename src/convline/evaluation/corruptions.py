"""Corruptions: test images as poor cameras, light, framing and storage would have them.

Most are after D. Hendrycks and T. Dietterich, "Benchmarking neural network robustness to common
corruptions and perturbations", 2019. Lengths are shares of a side, so that they suit images of any
size.
"""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from convline.data.arrays import Bytes, Labelled
from convline.data.batches import Batch, Batches
from convline.data.fog import foggy
from convline.data.resampling import Floats, from_centre, sample

SAMPLE = 300  # images: in 30 copies each, predicting them takes no longer than 10,000 test images

Random = np.random.Generator


def noise(images: Bytes, deviation: float, random: Random) -> Floats:
    """Gaussian noise in each channel, with a standard deviation of `deviation` of white."""
    return images + np.float32(255 * deviation) * random.standard_normal(images.shape, np.float32)


def blur(images: Bytes, deviation: float, _: Random) -> Floats:
    """A Gaussian blur with a standard deviation of `deviation` of each side."""
    _, height, width, _ = images.shape
    sigma = (0, deviation * height, deviation * width, 0)
    return np.asarray(gaussian_filter(images.astype(np.float32), sigma, mode="nearest"), np.float32)


def brightness(images: Bytes, share: float, _: Random) -> Floats:
    """All pixels lighter by `share` of white."""
    return images + np.float32(255 * share)


def contrast(images: Bytes, factor: float, _: Random) -> Floats:
    """Each pixel's distance to the mean of its image, times `factor`."""
    mean: Floats = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
    return mean + np.float32(factor) * (images - mean)


def fog(images: Bytes, thickness: float, random: Random) -> Floats:
    """An uneven white veil of this thickness."""
    return foggy(images, np.full(len(images), thickness, np.float32), random)


def rotation(images: Bytes, degrees: float, random: Random) -> Floats:
    """Turned by `degrees`, to a side at random."""
    angle = np.float32(np.deg2rad(degrees)) * _signs(random, len(images))
    y, x = _grid(images)
    return _seen(
        images, np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x
    )


def scale(images: Bytes, factor: float, random: Random) -> Floats:
    """Larger or smaller by `factor`, at random."""
    factors = np.float32(factor) ** _signs(random, len(images))
    y, x = _grid(images)
    return _seen(images, y * factors, x * factors)


def shift(images: Bytes, share: float, random: Random) -> Floats:
    """Moved by `share` of each side, in one of four directions at random: the diagonals."""
    _, height, width, _ = images.shape
    y, x = _grid(images)
    down = np.float32(share * height) * _signs(random, len(images))
    right = np.float32(share * width) * _signs(random, len(images))
    return _seen(images, y + down, x + right)


def occlusion(images: Bytes, share: float, random: Random) -> Floats:
    """A grey rectangle, at a random place, of `share` of each side."""
    result = images.astype(np.float32)
    _, height, width, _ = images.shape
    high, wide = max(1, round(share * height)), max(1, round(share * width))
    tops = random.integers(0, height - high + 1, len(images))
    lefts = random.integers(0, width - wide + 1, len(images))
    for image, top, left in zip(result, tops, lefts, strict=True):
        image[top : top + high, left : left + wide] = 128
    return result


def compression(images: Bytes, quality: float, _: Random) -> Floats:
    """Stored as JPEG of `quality`."""
    result = np.empty(images.shape, np.float32)
    for image, copy in zip(images, result, strict=True):
        file = io.BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
            file, "JPEG", quality=int(quality)
        )
        copy[...] = np.asarray(Image.open(file)).reshape(image.shape)
    return result


# Each kind of corruption in three strengths, from weak to strong. A new kind comes last: what is
# random in the others follows from their place.
KINDS: dict[Callable[[Bytes, float, Random], Floats], tuple[float, float, float]] = {
    noise: (0.1, 0.2, 0.3),
    blur: (0.02, 0.035, 0.05),
    brightness: (0.2, 0.35, 0.5),
    contrast: (0.6, 0.4, 0.2),
    fog: (0.5, 1.0, 2.0),
    rotation: (10.0, 20.0, 30.0),
    scale: (1.15, 1.3, 1.5),
    shift: (0.05, 0.1, 0.15),
    occlusion: (0.2, 0.3, 0.4),
    compression: (25, 15, 7),
}
COPIES = [(kind, level) for kind in KINDS for level in (1, 2, 3)]


def corrupted(images: Bytes, copy: int, part: int) -> Bytes:
    """Images (n, height, width, 1 or 3) in the kind and strength of COPIES[copy].

    The same for the same images and `part`, a number that differs between parts of a dataset.
    """
    kind, level = COPIES[copy]
    floats = kind(images, KINDS[kind][level - 1], np.random.default_rng((copy, part)))
    return (np.clip(floats, 0, 255) + np.float32(0.5)).astype(np.uint8)


class Corrupted(Batches):
    """A sample of at most `most` images, once for each of COPIES; batches as in `Batches`."""

    def __init__(self, data: Labelled, most: int = SAMPLE) -> None:
        super().__init__(data)
        if len(self.order) > most:
            drawn = np.random.default_rng(0).choice(len(self.order), most, replace=False)
            self.order = np.sort(drawn)

    @property
    def actual(self) -> npt.NDArray[np.intp]:
        """The classes of the sample (n,)."""
        return np.asarray(self.data.labels[self.order].argmax(axis=1))

    def __len__(self) -> int:
        return len(COPIES) * super().__len__()

    def __getitem__(self, index: int) -> Batch:
        copy, part = divmod(index, super().__len__())
        images, labels = super().__getitem__(part)
        return corrupted(images, copy, part), labels


def accuracies(
    actual: npt.NDArray[np.intp], probabilities: npt.NDArray[np.float32]
) -> pd.DataFrame:
    """The accuracy for each kind and strength, in a row.

    Takes the labels (n,) of a sample, and the probabilities (copies * n, classes) of `Corrupted`.
    The columns are `corruption`, `strength` from 1 to 3, and `accuracy`.
    """
    predicted = probabilities.argmax(axis=1).reshape(len(COPIES), len(actual))
    return pd.DataFrame(
        {
            "corruption": [kind.__name__ for kind, _ in COPIES],
            "strength": [level for _, level in COPIES],
            "accuracy": (predicted == actual).mean(axis=1),
        }
    )


def _signs(random: Random, n: int) -> Floats:
    """-1 or 1 at random: (n, 1, 1)."""
    return random.choice(np.array([-1, 1], np.float32), (n, 1, 1))


def _grid(images: Bytes) -> tuple[Floats, Floats]:
    """The rows (height, 1) and columns (width,) of pixels, from the middle of the image."""
    _, height, width, _ = images.shape
    return from_centre(height)[:, None], from_centre(width)


def _seen(images: Bytes, y: Floats, x: Floats) -> Floats:
    """What images show at rows and columns from their middle; beyond the border, as at it."""
    _, height, width, _ = images.shape
    shape = (len(images), height, width)
    y, x = (np.broadcast_to(values, shape) for values in (y, x))
    points = np.stack(
        [
            np.clip(y + np.float32((height - 1) / 2), 0, height - 1),
            np.clip(x + np.float32((width - 1) / 2), 0, width - 1),
        ]
    )
    return sample(images, points).astype(np.float32)
