"""A user's network: two branches with kernels of different sizes, concatenated."""

import keras

from convline.params import Int, Schema


class Params(Schema):
    """The section `branches` of params.yaml."""

    filters: Int


def build(input_shape: tuple[int, int, int], classes: int, params: Params) -> keras.Model:
    """An untrained classifier of raw 0-255 images (n, height, width, channels)."""
    image = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 255)(image)
    fine, coarse = (
        keras.layers.Conv2D(params.filters, kernel, padding="same", activation="relu")(x)
        for kernel in (3, 5)
    )
    x = keras.layers.Concatenate()([fine, coarse])
    x = keras.layers.GlobalMaxPooling2D()(x)
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))
