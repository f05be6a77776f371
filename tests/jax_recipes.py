"""Short trainings on JAX by each recipe: a program for test_jax.py, in a process of its own."""

import hashlib
import json
from pathlib import Path

import numpy as np

from conftest import tiny_images
from convline import backend, params
from convline.backend import BackendParams
from convline.commands import run
from convline.data.arrays import Labelled
from convline.paths import PARAMS
from convline.training.recipe import Recipe

EPOCHS = 2


def labelled(count: int, seed: int, channels: int) -> Labelled:
    """The tiny images, three times as high and as wide: no recipe takes smaller ones."""
    images, labels = tiny_images(count, seed)
    large = images.repeat(3, axis=1).repeat(3, axis=2)[..., None].repeat(channels, axis=3)
    return Labelled(large, np.eye(3, dtype=np.uint8)[labels])


def train(name: str) -> dict[str, object]:
    """Train by a recipe: the loss of each epoch, and the sha256 of the weights."""
    import importlib

    import keras

    from convline.training import fit
    from convline.training.checkpoint import Checkpoint
    from convline.training.training_batches import TrainingBatches

    values = params.read_yaml(PARAMS)
    run.update(values, run.load_recipe(name))
    recipe = Recipe.model_validate(
        {key: values[key] for key in Recipe.model_fields} | {"epochs": EPOCHS, "batch_size": 16}
    )
    keras.utils.set_random_seed(0)
    network = importlib.import_module(f"networks.{recipe.network}")
    channels = 3 if name == "cifar10" else 1
    section = network.Params.model_validate(values[recipe.network])
    model = network.build((36, 36, channels), 3, section)
    validation = labelled(10, 2, channels)
    checkpoint = Checkpoint(Path("train.npz"), "")
    kept = fit.fit(
        model,
        TrainingBatches(labelled(32, 1, channels), recipe, seed=0),
        validation,
        recipe,
        checkpoint,
        callbacks=[],
        verbose=0,
    )
    if recipe.average_mirrored:
        model, kept = fit.with_mirror_images(model, validation, recipe, kept)
    Path("train.npz").unlink()
    content = b"".join(np.asarray(weight).tobytes() for weight in model.get_weights())
    return {
        "losses": [logs["loss"] for logs in checkpoint.logs],
        "weights": hashlib.sha256(content).hexdigest(),
    }


def main(recipes: list[str]) -> None:
    """Train by each recipe on JAX, and print what `train` returns as JSON, by recipe."""
    settings = BackendParams(backend="jax", threads=2)
    backend.choose(settings)
    backend.configure(settings)
    print(json.dumps({name: train(name) for name in recipes}))
