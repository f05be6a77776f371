"""A residual network for short trainings: stages that halve the image, then add blocks to it.

After K. He et al., "Deep residual learning for image recognition", 2016, in the order that D. Page
gives it in "How to train your ResNet", 2018: a stage begins with a convolution and a max pooling,
and its blocks work on the smaller image. Page's head, too: max pooling over the whole image, and
logits scaled down.
"""

from typing import TYPE_CHECKING, Annotated

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

    first, *stages = params.filters
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = _activated(_convolution(x, first))
    for filters in stages:
        x = _convolution(x, filters)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)  # same: a single pixel stays
        x = _activated(x)  # only now, when there is a quarter as much to normalize
        for _ in range(params.depth):
            x = _block(x, filters)
    x = keras.layers.GlobalMaxPooling2D()(x)
    if params.dropout:
        x = keras.layers.Dropout(params.dropout)(x)
    x = keras.layers.Dense(classes, use_bias=False)(x)
    x = keras.layers.Rescaling(LOGIT_SCALE)(x)
    probabilities = keras.layers.Activation("softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="resnet")


def _block(x: "keras.KerasTensor", filters: int) -> "keras.KerasTensor":
    """Two convolutions added to their input."""
    import keras

    y = _activated(_convolution(x, filters))
    y = _normalized(_convolution(y, filters))
    return keras.layers.Activation("relu")(keras.layers.Add()([x, y]))


def _convolution(x: "keras.KerasTensor", filters: int) -> "keras.KerasTensor":
    import keras

    return keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)


def _normalized(x: "keras.KerasTensor") -> "keras.KerasTensor":
    import keras

    return keras.layers.BatchNormalization(momentum=MOMENTUM)(x)


def _activated(x: "keras.KerasTensor") -> "keras.KerasTensor":
    import keras

    return keras.layers.Activation("relu")(_normalized(x))
