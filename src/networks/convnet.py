"""A plain convolutional network: convolutions that halve the image, then dense layers.

With the parameters of params.yaml, the network of the classic Keras tutorial.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from convline.params import Float, Int, Schema
from convline.problems import Problem

if TYPE_CHECKING:
    import keras

EPSILON = 1e-4  # added to an image's variance: a standard deviation of 1 % of white is noise
MOMENTUM = 0.9  # of moving means and variances; Keras's 0.99 lags behind in short trainings

Width = Annotated[Int, Field(ge=1, le=4096)]
Kernel = Annotated[Int, Field(ge=1, le=64)]


def _no_number(value: object) -> object:
    if type(value) in (int, float):  # 1 equals true
        raise ValueError("true, false or last is expected, not a number")
    return value


Normalization = Annotated[Literal[False, True, "last"], BeforeValidator(_no_number)]


class Params(Schema):
    """The section `convnet` of params.yaml, which says what each key means."""

    crop: Annotated[Int, Field(ge=0, le=4096)]
    standardize: StrictBool
    filters: Annotated[list[Width], Field(min_length=1, max_length=32)]
    kernels: Annotated[list[Kernel], Field(min_length=1, max_length=32)]
    bias: StrictBool
    halve_every: Annotated[Int, Field(ge=1, le=32)]
    downsampling: Literal["pool", "stride"]
    batch_normalization: Normalization
    dropout: Annotated[Float, Field(ge=0, lt=1)]
    dense_units: Annotated[Int, Field(ge=0, le=4096)]

    @model_validator(mode="after")
    def _a_kernel_for_each_convolution(self) -> "Params":
        if len(self.kernels) != len(self.filters):
            raise ValueError(
                f"kernels has {len(self.kernels)} numbers and filters {len(self.filters)}: each "
                "convolution needs one of both"
            )
        return self


def build(input_shape: tuple[int, int, int], classes: int, params: Params) -> "keras.Model":
    """An untrained classifier of raw 0-255 images (n, height, width, channels).

    It returns the probabilities (n, classes). Cropping, if any, and scaling to 0-1 are its first
    layers. Raises `Problem` where the image is too small for the convolutions.
    """
    import keras  # only now: parameters are checked before it

    check_size(input_shape, params)
    layers: list[keras.Layer] = [keras.Input(input_shape, name="image")]
    if params.crop:
        layers.append(keras.layers.Cropping2D(params.crop))
    layers.append(keras.layers.Rescaling(1 / 255))
    if params.standardize:
        layers.append(
            keras.layers.LayerNormalization(
                axis=(1, 2, 3), center=False, scale=False, epsilon=EPSILON
            )
        )
    last = len(params.filters) - 1
    for i, (filters, kernel) in enumerate(zip(params.filters, params.kernels)):
        halved = halves(i, params)
        normalized = params.batch_normalization is True or (
            params.batch_normalization == "last" and i == last
        )
        layers.append(
            keras.layers.Conv2D(
                filters,
                kernel,
                strides=2 if halved and params.downsampling == "stride" else 1,
                activation=None if normalized else "relu",
                use_bias=params.bias and not normalized,
            )
        )
        if halved and params.downsampling == "pool":
            layers.append(keras.layers.MaxPooling2D(2))
        if normalized:  # only now, when there is a quarter as much to normalize
            layers += [
                keras.layers.BatchNormalization(momentum=MOMENTUM),
                keras.layers.Activation("relu"),
            ]
    layers.append(keras.layers.Flatten())
    if params.dropout:
        layers.append(keras.layers.Dropout(params.dropout))
    if params.dense_units:
        layers.append(keras.layers.Dense(params.dense_units, activation="relu"))
    layers.append(keras.layers.Dense(classes, activation="softmax", name="probabilities"))
    return keras.Sequential(layers, name="convline")


def halves(i: int, params: Params) -> bool:
    """Whether convolution `i`, counted from 0, halves the image. The last one never does."""
    return i < len(params.filters) - 1 and (i + 1) % params.halve_every == 0


def check_size(input_shape: tuple[int, int, int], params: Params) -> None:
    """Raise `Problem` where no pixel would be left after some convolution."""
    height, width, _ = input_shape
    side = min(height, width) - 2 * params.crop
    for i, kernel in enumerate(params.kernels):
        side -= kernel - 1
        if halves(i, params):
            side = side // 2 if params.downsampling == "pool" else -(-side // 2)
        if side < 1:
            raise Problem(
                f"params.yaml: images of {height} x {width} are too small for convnet.filters "
                f"{params.filters} with kernels {params.kernels}, downsampling "
                f"{params.downsampling} and crop {params.crop}; use fewer convolutions, smaller "
                "kernels or a smaller crop"
            )
