"""Calibration: the training images that show how large activations become."""

from collections.abc import Iterator

import numpy as np

from convline.data.arrays import ImageFile
from convline.exported import Bytes, Floats

IMAGES = 500
BATCH = 10  # quantization keeps every activation of a batch


class Calibration:
    """The images to quantize with, in batches (k, height, width, channels) from 0 to 255.

    They are spread evenly over `images`, which may be sorted by class, and always the same.
    """

    def __init__(self, images: ImageFile | Bytes) -> None:
        self.images = images
        self.rows = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).astype(np.intp)

    def __iter__(self) -> Iterator[Floats]:
        for first in range(0, len(self.rows), BATCH):
            yield self.images[self.rows[first : first + BATCH]].astype(np.float32)
