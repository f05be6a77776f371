"""Batches to train on: shuffled and augmented in every epoch."""

import numpy as np
import numpy.typing as npt

from convline.data.arrays import Labelled
from convline.data.batches import Batch, Batches
from convline.devices import ALONE, Share
from convline.problems import Problem
from convline.training.augmentation import CHANGES, Augmentation
from convline.training.recipe import Recipe


class TrainingBatches(Batches):
    """The recipe's batches, shuffled and distorted differently in every epoch.

    Both depend only on the seed and on the numbers of the epoch, batch and device. With Keras
    alone they would not: after `keras.utils.set_random_seed`, `fit` draws the same order in every
    epoch, and it notifies a PyDataset more than once an epoch, differently with each backend. So a
    callback calls `begin`. `border` is the number of pixels on each side that the network ignores.

    All devices that share a batch get as many images, so an epoch leaves out the few that remain:
    padding would enter the statistics of batch normalization. Raises `Problem` where there are
    fewer images than devices.
    """

    def __init__(
        self, data: Labelled, recipe: Recipe, seed: int, border: int = 0, share: Share = ALONE
    ) -> None:
        super().__init__(data, recipe.batch_size, share)
        if len(data.images) < share.devices:
            raise Problem(
                f"params.yaml: devices is {share.devices}, but there are only {len(data.images)} "
                "training images"
            )
        self.divides = True
        self.seed = seed
        self.label_smoothing = recipe.label_smoothing
        random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
        # Which images are mirrored in even epochs; the others are in odd ones
        self.mirrored = random.random(len(data.images)) < 0.5 if recipe.flip else None
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
        images = len(self.data.images)
        self.order = random.permutation(images)[: images - images % self.share.devices]

    def part(self, index: int, device: int, rows: npt.NDArray[np.intp]) -> Batch:
        """The images of batch `index` for a device, distorted, and their smoothed labels."""
        images, labels = super().part(index, device, rows)
        if self.mirrored is not None:
            chosen = self.mirrored[rows] ^ bool(self.epoch % 2)
            images[chosen] = images[chosen, :, ::-1]
        if self.augment:
            # Of one device, whose number is 0, the same as without a number
            random = np.random.default_rng([self.seed, self.epoch, index, device])
            images = self.augment(images, random)
        labels *= 1 - self.label_smoothing
        labels += self.label_smoothing / labels.shape[1]
        return images, labels
