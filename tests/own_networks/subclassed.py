"""A user's network as a class of its own."""

from typing import Any

import keras

from convline.params import Int, Schema


class Params(Schema):
    """The section `subclassed` of params.yaml."""

    units: Int


@keras.saving.register_keras_serializable(package="own")
class Perceptron(keras.Model):
    """A hidden layer with dropout, and one of probabilities."""

    def __init__(self, units: int, classes: int, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.classes = units, classes
        self.scaled = keras.layers.Rescaling(1 / 255)
        self.flat = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.dropout = keras.layers.Dropout(0.1)
        self.probabilities = keras.layers.Dense(classes, activation="softmax")

    def call(self, images: Any, training: bool = False) -> Any:
        """The probabilities (n, classes) of images (n, height, width, channels)."""
        features = self.dropout(self.hidden(self.flat(self.scaled(images))), training=training)
        return self.probabilities(features)

    def get_config(self) -> dict[str, Any]:
        """What the model is created from."""
        return {**super().get_config(), "units": self.units, "classes": self.classes}


def build(input_shape: tuple[int, int, int], classes: int, params: Params) -> keras.Model:
    """An untrained classifier of raw 0-255 images (n, height, width, channels)."""
    return Perceptron(params.units, classes)
