"""A residual network for short trainings: stages that halve the image, then add blocks to it.

After K. He et al., "Deep residual learning for image recognition", 2016, in the order that D. Page
gives it in "How to train your ResNet", 2018: a stage begins with a convolution and a max pooling,
and its blocks work on the smaller image. A block adds one convolution to its input, activated
before it is added. Page's head, too: max pooling over the whole image, and logits scaled down. The
activation is the GELU of D. Hendrycks and K. Gimpel, "Gaussian error linear units", 2016.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from convline.params import Float, Int, Schema

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9  # of moving means and variances; Keras's 0.99 lags behind in short trainings
LOGIT_SCALE = 0.125  # the largest features would give logits so large that training stalls

Width = Annotated[Int, Field(ge=1, le=4096)]


class Params(Schema):
    """The section `resnet` of params.yaml, which says what each key means."""

    filters: Annotated[list[Width], Field(min_length=1, max_length=16)]
    depth: Annotated[Int, Field(ge=0, le=64)]
    dropout: Annotated[Float, Field(ge=0, lt=1)]


def build(input_shape: tuple[int, int, int], classes: int, params: Params) -> "keras.Model":
    """An untrained classifier of raw 0-255 images (n, height, width, channels).

    It returns the probabilities (n, classes). Images may be of any size.
    """
    import keras  # only now: parameters are checked before it

    image = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = _activated(_stem(x), trainable=False)
    for filters in params.filters:
        x = _convolution(x, filters)
        x = keras.layers.MaxPooling2D(2, padding=_padding(x))(x)
        x = _activated(x)  # only now, when there is a quarter as much to normalize
        for _ in range(params.depth):
            x = keras.layers.Add()([x, _activated(_convolution(x, filters))])
    x = keras.layers.GlobalMaxPooling2D()(x)
    if params.dropout:
        x = keras.layers.Dropout(params.dropout)(x)
    x = keras.layers.Dense(classes, use_bias=False)(x)
    x = keras.layers.Rescaling(LOGIT_SCALE)(x)
    probabilities = keras.layers.Activation("softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="resnet")


def _stem(x: "keras.KerasTensor") -> "keras.KerasTensor":
    """The discrete cosine transform of each 2 x 2 pixels and their channels, and its negative.

    Its 8 * channels filters are fixed. Normalized afterwards, they approximate the whitening that
    K. Jordan computes from the training images in "94% on CIFAR-10 in 3.29 seconds on a single
    GPU", 2024: neighbouring pixels of most images are correlated alike.
    """
    import keras

    channels = x.shape[-1]
    of_side, of_channels = _cosines(2), _cosines(channels)
    filters = np.einsum("ai,bj,cr->ijrabc", of_side, of_side, of_channels)
    kernel = filters.reshape(2, 2, channels, 4 * channels)
    stem = keras.layers.Conv2D(
        8 * channels, 2, padding=_padding(x), use_bias=False, trainable=False
    )
    y = stem(x)
    stem.set_weights([np.concatenate([kernel, -kernel], axis=-1)])
    return y


def _cosines(n: int) -> npt.NDArray[np.float64]:
    """The orthonormal matrix (n, n) of the discrete cosine transform, a frequency a row."""
    frequency, place = np.indices((n, n))
    rows = np.cos(np.pi * frequency * (place + 0.5) / n)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _padding(x: "keras.KerasTensor") -> str:
    """None but for a single row or column of pixels, which would vanish."""
    return "same" if 1 in x.shape[1:3] else "valid"


def _convolution(x: "keras.KerasTensor", filters: int) -> "keras.KerasTensor":
    import keras

    return keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)


def _activated(x: "keras.KerasTensor", trainable: bool = True) -> "keras.KerasTensor":
    """`x`, normalized and activated. Normalization has weights to train only if `trainable`."""
    import keras

    x = keras.layers.BatchNormalization(momentum=MOMENTUM, center=trainable, scale=trainable)(x)
    return keras.layers.Activation("gelu")(x)
