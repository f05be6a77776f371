"""Measure what becomes of handwriting in pictures: digits of MNIST, pasted into larger ones.

Trains nothing: needs models/model.onnx of MNIST and data/processed/. Writes benchmarks/ink.md.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from side_by_side import REPOSITORY, report, table

sys.path.append(str(REPOSITORY / "src"))
from convline import exported
from convline.data import arrays, fitting, pictures
from convline.data.pictures import Form
from convline.paths import ONNX, PROCESSED  # noqa

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT = 640, 480
SIDES = (
    60,
    440,
)  # pixels, between which the side of a pasted image is, where 20 / 28 are the digit
BATCH = 500


def as_given(image: Bytes) -> bytes:
    """The image as it is in the dataset, (28, 28), in a PNG."""
    return saved(Image.fromarray(image), "PNG")


def clean(image: Bytes, random: np.random.Generator) -> bytes:
    """A PNG of dark ink on light paper, somewhere and of some size."""
    return saved(Image.fromarray(on_paper(image, random).round().astype(np.uint8)), "PNG")


def photo(image: Bytes, random: np.random.Generator) -> bytes:
    """As `clean`, photographed: uneven light, a shadow, out of focus, noisy, as a JPEG."""
    across, down = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))

    def ramp() -> Floats:
        """A plane that rises from -1 to 1 in a random direction."""
        angle = random.uniform(0, 2 * np.pi)
        plane = across * np.cos(angle) + down * np.sin(angle)
        return np.asarray(plane / np.abs(plane).max())

    light = 1 - random.uniform(0, 0.35) * (1 + ramp()) / 2
    edge = (ramp() - random.uniform(-0.6, 0.6)) * WIDTH / 2 / random.uniform(4, 40)
    shadow = 1 - random.uniform(0, 0.45) / (1 + np.exp(-edge))
    lit = Image.fromarray((on_paper(image, random) * light * shadow).round().astype(np.uint8))
    blurred = lit.filter(ImageFilter.GaussianBlur(random.uniform(0, 2.5)))
    noise = random.normal(0, random.uniform(2, 12), (HEIGHT, WIDTH))
    pixels = np.clip(np.asarray(blurred) + noise, 0, 255).round().astype(np.uint8)
    return saved(Image.fromarray(pixels), "JPEG", quality=int(random.integers(40, 91)))


def on_paper(image: Bytes, random: np.random.Generator) -> Floats:
    """Grey values (HEIGHT, WIDTH) of the image's ink on paper."""
    side = int(random.integers(*SIDES))
    ink = Image.new("L", (WIDTH, HEIGHT))
    left, top = (int(random.integers(0, room - side + 1)) for room in (WIDTH, HEIGHT))
    ink.paste(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), (left, top))
    paper, pen = random.uniform(190, 256), random.uniform(0, 90)
    return np.asarray(paper + (pen - paper) * (np.asarray(ink) / 255))


def saved(image: Image.Image, file_format: str, **options: int) -> bytes:
    """The bytes of a file with `image` in it."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()
