"""Fitting: a model and data in, the weights of the best epoch out."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convline import backend, models
from convline.data.arrays import Bytes, Labelled
from convline.data.batches import Batches
from convline.devices import ALONE, Share
from convline.problems import Problem
from convline.training.checkpoint import Checkpoint
from convline.training.recipe import Recipe
from convline.training.training_batches import TrainingBatches

STEPS_AT_ONCE = 8  # without Keras's Python between them: a tenth less time, the same bytes
# Names of weights: decay would shrink what normalization scales by, and the place of thresholds
NOT_DECAYED = ["gamma", "beta", "bias"]


@dataclass(frozen=True)
class Kept:
    """The epoch whose weights were kept, counted from 1, and its validation figures."""

    epoch: int
    accuracy: float
    loss: float


def fit(
    model: keras.Model,
    batches: TrainingBatches,
    validation: Labelled,
    recipe: Recipe,
    checkpoint: Checkpoint,
    callbacks: list[keras.callbacks.Callback],
    verbose: int,
) -> Kept:
    """Train `model` in place and leave it with the weights of its best epoch.

    Resumes where `checkpoint` left off, after telling `callbacks` of the end of each epoch that it
    holds. The best epoch has the highest validation accuracy; of equals, the first. Raises
    `Problem` where its loss is not finite, which no metrics file can hold.
    """
    model.compile(
        optimizer=optimizer(recipe, steps=recipe.epochs * len(batches)),
        loss=recipe.loss,
        # By its name alone it would be built in the first step, which TensorFlow then traces twice
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=backend.jit_compile(),
        steps_per_execution=STEPS_AT_ONCE,
    )
    checkpoint.restore(model)
    finished = len(checkpoint.logs)
    if finished:
        print(f"train: resumes after epoch {finished} of {recipe.epochs}")
    for epoch, logs in enumerate(checkpoint.logs):
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)

    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch))
    model.fit(
        backend.feed(batches),
        validation_data=backend.feed(Batches(validation, share=batches.share)),
        initial_epoch=finished,
        epochs=recipe.epochs,
        class_weight=class_weights(recipe, batches.data.labels),
        callbacks=[begin, checkpoint, *callbacks],
        shuffle=False,  # Keras's own, of the order of the batches
        verbose=verbose,
    )
    best = checkpoint.logs[checkpoint.best_epoch]
    kept = Kept(checkpoint.best_epoch + 1, best["val_accuracy"], best["val_loss"])
    if not math.isfinite(kept.loss):
        raise Problem(
            f"params.yaml: learning_rate is {recipe.learning_rate}, with which training diverged: "
            f"the best epoch's validation loss is {kept.loss}; use a smaller one"
        )
    return kept


def with_mirror_images(
    model: keras.Model, validation: Labelled, recipe: Recipe, kept: Kept, share: Share = ALONE
) -> tuple[keras.Model, Kept]:
    """`model`, averaged over images and their mirror images, and its own validation figures."""
    averaging = models.averaging_mirrored(model, validation.input_shape)
    averaging.compile(
        loss=recipe.loss,
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=backend.jit_compile(),
    )
    batches = backend.feed(Batches(validation, share=share))
    figures = averaging.evaluate(batches, verbose=0, return_dict=True)
    return averaging, Kept(kept.epoch, figures["accuracy"], figures["loss"])


def class_weights(recipe: Recipe, labels: Bytes) -> dict[int, float] | None:
    """The weight of each class in the loss on training images with one-hot labels (n, classes).

    balanced: n / (classes * images of the class), as scikit-learn's
    `compute_class_weight("balanced")`, after G. King and L. Zeng, "Logistic regression in rare
    events data", 2001. A class without images counts as if it had one.
    """
    if recipe.class_weight == "none":
        return None
    images = np.maximum(labels.sum(axis=0, dtype=np.int64), 1)
    return dict(enumerate((len(labels) / (len(images) * images)).tolist()))


def optimizer(recipe: Recipe, steps: int) -> keras.Optimizer:
    """The recipe's optimizer with its learning-rate schedule over `steps` steps.

    one_cycle: a linear rise over the first quarter, then half a cosine down to 0, after
    L. N. Smith and N. Topin, "Super-Convergence", 2018; cosine: I. Loshchilov and F. Hutter,
    "SGDR", 2017, without restarts.
    """
    peak = recipe.learning_rate
    rise = steps // 4
    rates: dict[str, float | keras.optimizers.schedules.LearningRateSchedule] = {
        "constant": peak,
        "cosine": keras.optimizers.schedules.CosineDecay(peak, steps),
        "one_cycle": keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - rise), warmup_target=peak, warmup_steps=rise
        ),
    }
    second_moment = {"beta_2": recipe.beta_2}
    own: dict[str, dict[str, Any]] = {
        "adam": second_moment,
        "adamw": second_moment,
        "nadam": second_moment,
        "rmsprop": {},
        "sgd": {"momentum": recipe.momentum, "nesterov": recipe.momentum > 0},
    }
    config = {"learning_rate": rates[recipe.learning_rate_schedule], **own[recipe.optimizer]}
    if recipe.weight_decay or recipe.optimizer == "adamw":  # which would decay by 0.004 without it
        config["weight_decay"] = recipe.weight_decay
    made = keras.optimizers.get({"class_name": recipe.optimizer, "config": config})
    made.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return made
