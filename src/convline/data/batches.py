"""Batches for Keras, drawn from arrays that may be larger than memory."""

import keras
import numpy as np
import numpy.typing as npt

from convline import processes
from convline.data.arrays import Labelled
from convline.devices import ALONE, Share

EVALUATION_BATCH = 250  # images: more take hardly less time, and more memory

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]


class Batches(keras.utils.PyDataset):
    """Images and one-hot labels in batches, in order: the `share` of this process in each.

    Yields images (batch, height, width, channels) as uint8 and labels (batch, classes) as float32.
    Only the images of a batch are read from disk at a time.

    Several devices get as many images of a batch each. Where the number of all images does not
    divide, each device gets the whole batch: so every image still counts as often as any other.
    """

    def __init__(
        self, data: Labelled, batch_size: int = EVALUATION_BATCH, share: Share = ALONE
    ) -> None:
        super().__init__()
        self.data = data
        self.share = share
        self.order = np.arange(len(data.images))
        self.divides = len(self.order) % share.devices == 0
        self.batch_size = batch_size
        if self.divides:
            self.batch_size = share.devices * max(1, batch_size // share.devices)

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        processes.go_on()
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        devices = self.share.devices
        of_device = np.split(rows, devices) if self.divides else [rows] * devices
        parts = [self.part(index, device, of_device[device]) for device in self.share.mine]
        images, labels = map(np.concatenate, zip(*parts))
        return images, labels

    def part(self, index: int, device: int, rows: npt.NDArray[np.intp]) -> Batch:
        """The images of batch `index` for a device, which are these `rows` of the data."""
        return self.data.images[rows], self.data.labels[rows].astype(np.float32)
