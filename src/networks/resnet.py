"""A residual network: blocks of two normalized convolutions, each block added to its input.

After K. He et al., "Deep residual learning for image recognition", 2016, in the small form that the
paper uses for CIFAR-10: each stage has twice the filters of the one before and half the side.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from convline.params import Float, Int, Schema

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9  # of moving means and variances; Keras's 0.99 lags behind in short trainings


class Params(Schema):
    """The section `resnet` of params.yaml, which says what each key means."""

    width: Annotated[Int, Field(ge=1, le=1024)]
    stages: Annotated[Int, Field(ge=1, le=6)]
    depth: Annotated[Int, Field(ge=1, le=64)]
    dropout: Annotated[Float, Field(ge=0, lt=1)]


def build(input_shape: tuple[int, int, int], classes: int, params: Params) -> "keras.Model":
    """An untrained classifier of raw 0-255 images (n, height, width, channels).

    It returns the probabilities (n, classes). Images may be of any size.
    """
    import keras  # only now: parameters are checked before it

    image = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = _convolution(x, params.width, 3)
    x = keras.layers.Activation("relu")(x)
    for stage in range(params.stages):
        for block in range(params.depth):
            stride = 2 if stage and not block else 1
            x = _block(x, params.width * 2**stage, stride)
    x = keras.layers.GlobalAveragePooling2D()(x)
    if params.dropout:
        x = keras.layers.Dropout(params.dropout)(x)
    probabilities = keras.layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="resnet")


def _block(x: "keras.KerasTensor", filters: int, stride: int) -> "keras.KerasTensor":
    """Two convolutions added to their input, which a 1 x 1 convolution fits where shapes differ."""
    import keras

    y = _convolution(x, filters, 3, stride)
    y = keras.layers.Activation("relu")(y)
    y = _convolution(y, filters, 3)
    if stride > 1 or x.shape[-1] != filters:
        x = _convolution(x, filters, 1, stride)
    return keras.layers.Activation("relu")(keras.layers.Add()([x, y]))


def _convolution(
    x: "keras.KerasTensor", filters: int, kernel: int, stride: int = 1
) -> "keras.KerasTensor":
    import keras

    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
    return keras.layers.BatchNormalization(momentum=MOMENTUM)(x)
