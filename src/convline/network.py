"""The network: convolutions that halve the image, then dense layers."""

import keras

from convline.recipe import Recipe
from convline.stage import Problem


def build(height: int, width: int, classes: int, recipe: Recipe) -> keras.Model:
    """An untrained classifier of raw 0-255 images (n, height, width, 1).

    It returns the probabilities (n, classes). Scaling to 0-1 is its first layer. Raises
    `Problem` where the image is too small for the convolutions.
    """
    layers: list[keras.Layer] = [
        keras.Input((height, width, 1), name="image"),
        keras.layers.Rescaling(1 / 255),
    ]
    last = len(recipe.conv_filters) - 1
    for i, (filters, kernel) in enumerate(zip(recipe.conv_filters, recipe.conv_kernels)):
        stride = 2 if recipe.downsampling == "stride" and i < last else 1
        if recipe.batch_normalization:
            layers += [
                keras.layers.Conv2D(filters, kernel, stride, use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.Activation("relu"),
            ]
        else:
            layers.append(keras.layers.Conv2D(filters, kernel, stride, activation="relu"))
        if recipe.downsampling == "pool" and i < last:
            layers.append(keras.layers.MaxPooling2D(2))
    layers.append(keras.layers.Flatten())
    if recipe.dropout:
        layers.append(keras.layers.Dropout(recipe.dropout, seed=recipe.seed))
    layers += [
        keras.layers.Dense(recipe.dense_units, activation="relu"),
        keras.layers.Dense(classes, activation="softmax", name="probabilities"),
    ]
    try:
        return keras.Sequential(layers, name="convline")
    except ValueError as error:
        raise Problem(
            f"params.yaml: images of {height} x {width} are too small for conv_filters "
            f"{recipe.conv_filters} with conv_kernels {recipe.conv_kernels} and downsampling "
            f"{recipe.downsampling}; use fewer convolutions or smaller kernels"
        ) from error
