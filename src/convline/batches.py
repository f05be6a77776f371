"""Batches for Keras, drawn from arrays that may be larger than memory."""

import keras
import numpy as np
import numpy.typing as npt

from convline.arrays import Labelled
from convline.augmentation import Augmentation
from convline.recipe import Recipe

EVALUATION_BATCH = 250  # images: more take hardly less time, and more memory

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]


class Batches(keras.utils.PyDataset):
    """Images and one-hot labels in batches, in order.

    Yields images (batch, height, width, 1) as uint8 and labels (batch, classes) as float32.
    Only the images of a batch are read from disk at a time.
    """

    def __init__(self, data: Labelled, batch_size: int) -> None:
        super().__init__()
        self.data = data
        self.batch_size = batch_size
        self.order = np.arange(len(data.images))

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.data.images[rows], self.data.labels[rows].astype(np.float32)


class TrainingBatches(Batches):
    """The recipe's batches to train on: shuffled and augmented anew in every epoch.

    Order and distortions depend on the seed, the epoch's and the batch's number alone. Not so in
    Keras: after `keras.utils.set_random_seed`, `fit` draws the same order in every epoch, and its
    notices to a PyDataset come more than once an epoch, differently with each backend.
    So a callback calls `begin`.
    """

    def __init__(self, data: Labelled, recipe: Recipe) -> None:
        super().__init__(data, recipe.batch_size)
        self.seed = recipe.seed
        self.label_smoothing = recipe.label_smoothing
        bounds = (recipe.rotation, recipe.zoom, recipe.shift, recipe.distortion)
        height, width = data.images.shape[1:3]
        self.augment = Augmentation(height, width, recipe.crop, *bounds) if any(bounds) else None
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Draw the order of an epoch, counted from 0."""
        self.epoch = epoch
        random = np.random.default_rng([self.seed, epoch])
        self.order = random.permutation(len(self.order))

    def __getitem__(self, index: int) -> Batch:
        images, labels = super().__getitem__(index)
        if self.augment:
            images = self.augment(images, np.random.default_rng([self.seed, self.epoch, index]))
        labels *= 1 - self.label_smoothing
        labels += self.label_smoothing / labels.shape[1]
        return images, labels
