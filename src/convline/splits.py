"""Labels: checked, split and one-hot encoded."""

import numpy as np
import numpy.typing as npt

from convline.stage import Problem

Bytes = npt.NDArray[np.uint8]


def validation_mask(labels: Bytes, size: int, seed: int) -> npt.NDArray[np.bool_]:
    """Choose `size` of the training images for validation, each class in its proportion.

    `labels` is (n,); so is the mask, true where an image is held out. Raises `Problem` where
    the split would leave a class out on either side.
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
    # Slow to import: what is wrong is told before
    from sklearn.model_selection import train_test_split

    _, chosen = train_test_split(
        np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed
    )
    mask = np.zeros(len(labels), bool)
    mask[chosen] = True
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


def one_hot(labels: Bytes, classes: int) -> Bytes:
    """Labels (n,) as rows (n, classes) of uint8 with a single 1."""
    return np.eye(classes, dtype=np.uint8)[labels]
