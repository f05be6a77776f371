"""The validation split: which of the training images are held out."""

import numpy as np
import numpy.typing as npt

from convline.problems import Problem

Bytes = npt.NDArray[np.uint8]


def validation_mask(labels: Bytes, size: int, seed: int) -> npt.NDArray[np.bool_]:
    """Choose `size` of the training images for validation, each class in its proportion.

    `labels` is (n,); so is the mask, true where an image is held out. The split is the one of
    scikit-learn's `train_test_split`, without its import, which would take most of the stage's
    time, and without its lists, which grow with the data. Raises `Problem` where a class would be
    missing on either side.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise Problem(
            f"class {classes[counts.argmin()]} has a single training image, which cannot be both "
            "trained on and held out: leave it out of the dataset, or add to it"
        )
    least, most = len(classes), len(labels) - len(classes)
    if not least <= size <= most:
        raise Problem(
            f"params.yaml: validation_size is {size}; with {len(labels):,} training images of "
            f"{len(classes)} classes it should be from {least} to {most}"
        )
    random = np.random.RandomState(seed)
    training = _shares(counts, len(labels) - size, random)
    # As there: no plain difference, because rounding can ask chance once more
    validation = _shares(counts - training, size, random)
    mask = np.zeros(len(labels), bool)
    for label, begin, share in zip(classes, training, validation):
        images = random.permutation(np.flatnonzero(labels == label))
        mask[images[begin : begin + share]] = True
    for part, images, remedy in (
        ("validation", labels[mask], "larger"),
        ("training", labels[~mask], "smaller"),
    ):
        if len(missing := np.setdiff1d(classes, images)):
            raise Problem(
                f"params.yaml: validation_size is {size}, which leaves no {part} image of class "
                f"{missing[0]}: make it {remedy}"
            )
    return mask


def _shares(
    counts: npt.NDArray[np.intp], size: int, random: np.random.RandomState
) -> npt.NDArray[np.intp]:
    """`size` in proportion to `counts`: rounded down, then up where the most is missing.

    Among equals, chance decides.
    """
    exact = counts / counts.sum() * size
    shares: npt.NDArray[np.intp] = np.floor(exact).astype(np.intp)
    rests = exact - shares
    for rest in np.unique(rests)[::-1]:
        equals = np.flatnonzero(rests == rest)
        missing = size - shares.sum()
        if missing:
            shares[random.choice(equals, min(missing, len(equals)), replace=False)] += 1
    return shares
