"""Batches for Keras, drawn from arrays that may be larger than memory."""

import keras
import numpy as np
import numpy.typing as npt

from convline.arrays import Labelled

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]


class Batches(keras.utils.PyDataset):
    """Images and one-hot labels in batches, in order or shuffled anew in every epoch.

    Yields images (batch, height, width, 1) as uint8 and labels (batch, classes) as float32.
    Only the images of a batch are read from disk at a time.

    The order of an epoch depends on the seed and the epoch's number alone. Not so in Keras:
    after `keras.utils.set_random_seed`, `fit` draws the same order in every epoch, and its
    notices to a PyDataset come more than once an epoch, differently with each backend.
    So a callback calls `shuffle`.
    """

    def __init__(self, data: Labelled, batch_size: int, shuffle_seed: int | None = None) -> None:
        super().__init__()
        self.data = data
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.order = np.arange(len(data.images))
        self.shuffle(0)

    def shuffle(self, epoch: int) -> None:
        """Draw the order of an epoch, counted from 0; without a seed, the order stays."""
        if self.shuffle_seed is not None:
            random = np.random.default_rng([self.shuffle_seed, epoch])
            self.order = random.permutation(len(self.order))

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.data.images[rows], self.data.labels[rows].astype(np.float32)
