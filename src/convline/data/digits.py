"""The digits that come with scikit-learn, in the form of MNIST.

They are the test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak,
UCI Machine Learning Repository, 1998: 1,797 images of 8 x 8 pixels with values 0 to 16.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from convline.data.datasets import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS

SIDE = 28  # pixels, as in MNIST
TEST_SHARE = 0.2


def make() -> dict[str, npt.NDArray[np.uint8]]:
    """The four arrays by the names of their files: images (n, 28, 28) and labels (n,), uint8.

    Ink is 255 on 0, as in MNIST. A fifth of each class is the test set, always the same.
    """
    small, labels = load_digits(return_X_y=True)
    scaled = np.round(small.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = np.stack(
        [
            np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
            for image in scaled
        ]
    )
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels.astype(np.uint8), test_size=TEST_SHARE, stratify=labels, random_state=0
    )
    return {
        TRAIN_IMAGES: train_images,
        TRAIN_LABELS: train_labels,
        TEST_IMAGES: test_images,
        TEST_LABELS: test_labels,
    }
