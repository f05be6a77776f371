"""Batches to train on: shuffled and augmented in every epoch."""

import numpy as np

from convline.data.arrays import Labelled
from convline.data.batches import Batch, Batches
from convline.training.augmentation import CHANGES, Augmentation
from convline.training.recipe import Recipe


class TrainingBatches(Batches):
    """The recipe's batches, shuffled and distorted differently in every epoch.

    Both depend only on the seed and on the numbers of the epoch and batch. With Keras alone they
    would not: after `keras.utils.set_random_seed`, `fit` draws the same order in every epoch, and
    it notifies a PyDataset more than once an epoch, differently with each backend. So a callback
    calls `begin`. `border` is the number of pixels on each side that the network ignores.
    """

    def __init__(self, data: Labelled, recipe: Recipe, seed: int, border: int = 0) -> None:
        super().__init__(data, recipe.batch_size)
        self.seed = seed
        self.label_smoothing = recipe.label_smoothing
        height, width = data.images.shape[1:3]
        changes = {key: getattr(recipe, key) for key in CHANGES}
        self.augment = (
            Augmentation(height, width, border, **changes) if any(changes.values()) else None
        )
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
