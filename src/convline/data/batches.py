"""Batches for Keras, drawn from arrays that may be larger than memory."""

import keras
import numpy as np
import numpy.typing as npt

from convline.data.arrays import Labelled

EVALUATION_BATCH = 250  # images: more take hardly less time, and more memory

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]


class Batches(keras.utils.PyDataset):
    """Images and one-hot labels in batches, in order.

    Yields images (batch, height, width, channels) as uint8 and labels (batch, classes) as float32.
    Only the images of a batch are read from disk at a time.
    """

    def __init__(self, data: Labelled, batch_size: int = EVALUATION_BATCH) -> None:
        super().__init__()
        self.data = data
        self.batch_size = batch_size
        self.order = np.arange(len(data.images))

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.data.images[rows], self.data.labels[rows].astype(np.float32)
