"""The digits that come with scikit-learn, in the form of MNIST."""

import numpy as np
from sklearn.datasets import load_digits

from convline.data import digits
from convline.data.datasets import TEST_IMAGES, TEST_LABELS


def test_an_enlarged_digit_is_still_that_digit() -> None:
    """Each has a small original of its label that differs little, once shrunk again."""
    made = digits.make()
    small, labels = load_digits(return_X_y=True)
    for image, label in zip(made[TEST_IMAGES][:20], made[TEST_LABELS]):
        rows = np.round(np.linspace(1.25, 25.75, 8)).astype(int)
        shrunk = image[np.ix_(rows, rows)].ravel() * (16 / 255)
        nearest = np.abs(small - shrunk).mean(axis=1)
        assert labels[nearest.argmin()] == label
        assert nearest.min() < 0.6  # of 16 levels
