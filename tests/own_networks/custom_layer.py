"""A user's network with a layer that the user wrote."""

from typing import Any

import keras

from convline.params import Int, Schema


class Params(Schema):
    """The section `custom_layer` of params.yaml."""

    units: Int


@keras.saving.register_keras_serializable(package="own")
class Gain(keras.layers.Layer):
    """Multiplies each feature by a weight of its own."""

    def __init__(self, start: float, **options: Any) -> None:
        super().__init__(**options)
        self.start = start

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        start = keras.initializers.Constant(self.start)
        self.gain = self.add_weight(shape=input_shape[1:], initializer=start)
        super().build(input_shape)

    def call(self, features: Any) -> Any:
        """The features (n, features), multiplied."""
        return features * self.gain

    def get_config(self) -> dict[str, Any]:
        """What a layer of its kind is created from."""
        return {**super().get_config(), "start": self.start}


def build(input_shape: tuple[int, int, int], classes: int, params: Params) -> keras.Model:
    """An untrained classifier of raw 0-255 images (n, height, width, channels)."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(params.units, activation="relu"),
            Gain(2.0),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
