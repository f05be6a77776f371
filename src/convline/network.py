"""The network: convolutions that halve the image, then dense layers."""

import keras

from convline.recipe import Recipe
from convline.stage import Problem

MOMENTUM = 0.9  # of means and variances; with Keras's 0.99 they lag behind in short trainings


def build(height: int, width: int, classes: int, recipe: Recipe) -> keras.Model:
    """An untrained classifier of raw 0-255 images (n, height, width, 1).

    It returns the probabilities (n, classes). Cropping, if any, and scaling to 0-1 are its first
    layers. Raises `Problem` where the image is too small for the convolutions.
    """
    layers: list[keras.Layer] = [keras.Input((height, width, 1), name="image")]
    if recipe.crop:
        layers.append(keras.layers.Cropping2D(recipe.crop))
    layers.append(keras.layers.Rescaling(1 / 255))
    last = len(recipe.conv_filters) - 1
    for i, (filters, kernel) in enumerate(zip(recipe.conv_filters, recipe.conv_kernels)):
        halved = i < last and (i + 1) % recipe.halve_every == 0
        stride = 2 if halved and recipe.downsampling == "stride" else 1
        normalized = recipe.batch_normalization is True or (
            recipe.batch_normalization == "last" and i == last
        )
        layers.append(
            keras.layers.Conv2D(
                filters,
                kernel,
                stride,
                activation=None if normalized else "relu",
                use_bias=recipe.conv_bias and not normalized,
            )
        )
        if halved and recipe.downsampling == "pool":
            layers.append(keras.layers.MaxPooling2D(2))
        if normalized:  # only now, when there is a quarter as much to normalize
            layers += [
                keras.layers.BatchNormalization(momentum=MOMENTUM),
                keras.layers.Activation("relu"),
            ]
    layers.append(keras.layers.Flatten())
    if recipe.dropout:
        layers.append(keras.layers.Dropout(recipe.dropout, seed=recipe.seed))
    if recipe.dense_units:
        layers.append(keras.layers.Dense(recipe.dense_units, activation="relu"))
    layers.append(keras.layers.Dense(classes, activation="softmax", name="probabilities"))
    try:
        return keras.Sequential(layers, name="convline")
    except ValueError as error:
        raise Problem(
            f"params.yaml: images of {height} x {width} are too small for conv_filters "
            f"{recipe.conv_filters} with conv_kernels {recipe.conv_kernels}, downsampling "
            f"{recipe.downsampling} and crop {recipe.crop}; use fewer convolutions, smaller "
            "kernels or a smaller crop"
        ) from error
