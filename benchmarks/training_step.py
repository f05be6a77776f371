"""Measure where the time of a training step goes, and print it as one line of JSON.

To be run by floor.py: in a copy of the project whose data is preprocessed, on its params.yaml,
with its src on the path.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import train
from convline import backend, network, params
from convline.data import arrays
from convline.paths import PROCESSED
from convline.training.augmentation import CHANGES
from convline.training.recipe import Recipe

CHECKPOINT = Path("checkpoints/floor.npz")
SIDES = (512, 1024, 2048)  # of the square matrices that the machine multiplies
ROUND = 0.05  # seconds that each measured function runs in a round, at least


def main() -> None:
    """Train as the stage does, then measure the parts of a step one by one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, required=True, help="of each measurement")
    rounds = parser.parse_args().rounds

    settings = params.load("train", train.Params)
    backend.choose(settings)
    architecture = network.load(settings.network)
    data, validation = (arrays.load_split(PROCESSED, split) for split in ("train", "validation"))
    backend.configure(settings, settings.seed)
    import keras

    from convline.training import checkpoint, fit
    from convline.training.training_batches import TrainingBatches

    class Clock(keras.callbacks.Callback):
        """Notes when each part of an epoch ended."""

        def __init__(self) -> None:
            super().__init__()
            self.times: list[dict[str, float]] = []

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self.times.append({"begin": time.perf_counter()})

        def on_test_begin(self, logs: object = None) -> None:
            self.times[-1]["training"] = time.perf_counter()

        def on_test_end(self, logs: object = None) -> None:
            self.times[-1]["validation"] = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.times[-1]["checkpoint"] = time.perf_counter()

    def batches_of(recipe: Recipe) -> TrainingBatches:
        return TrainingBatches(data, recipe, settings.seed, architecture.border)

    def trained(recipe: Recipe) -> tuple[Any, list[dict[str, float]]]:
        model = architecture.build(data.input_shape, data.classes)
        clock = Clock()
        keeper = checkpoint.Checkpoint(CHECKPOINT, "")
        fit.fit(model, batches_of(recipe), validation, recipe, keeper, callbacks=[clock], verbose=0)
        CHECKPOINT.unlink()
        return model, clock.times

    model, times = trained(settings)
    _, unaugmented = trained(settings.model_copy(update=dict.fromkeys(CHANGES, 0)))

    batches = batches_of(settings)
    images, labels = map(keras.ops.convert_to_tensor, batches[0])
    matrices = [keras.random.normal((side, side)) for side in SIDES]
    product = compiled(keras.ops.matmul)
    functions: dict[str, Callable[[], object]] = {
        f"product {len(matrix)}": partial(product, matrix, matrix) for matrix in matrices
    }
    functions["input"] = drawing(batches)
    functions["execution"] = executing(model, images, labels)
    functions |= parts(model, images, labels)
    for index in range(len(model.layers)):
        functions |= layer(model, index, images)
    seconds = best(functions, rounds)
    seconds["computing"] = seconds.pop("execution") / fit.STEPS_AT_ONCE

    print(
        json.dumps(
            {
                "images": len(data.images),
                "steps": len(batches),
                "batch": len(labels),
                "multiply_adds": multiply_adds(model),
                "shapes": {one.name: list(one.output.shape[1:]) for one in model.layers},
                "flop": training_flop(model),
                "machine": max(2 * side**3 / seconds[f"product {side}"] for side in SIDES),
                "unaugmented": shortest(unaugmented, "begin", "training"),
                "first_epoch": times[0]["training"] - times[0]["begin"],
                **{part: shortest(times, before, part) for before, part in pairwise(times[0])},
                "seconds": seconds,
            }
        )
    )


def shortest(times: list[dict[str, float]], before: str, part: str) -> float:
    """Seconds of a part of an epoch, at best. In the first epoch TensorFlow compiles."""
    return min(epoch[part] - epoch[before] for epoch in times[1:])


def multiply_adds(model: Any) -> dict[str, int]:
    """The multiplications of one image's forward pass, by layer; as many additions follow them.

    Each output of a convolution or a dense layer is a sum of as many products as its kernel has
    weights for it. All other layers count 0, and so do biases and activations.
    """
    return {
        layer.name: math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[:-1])
        if hasattr(layer, "kernel")
        else 0
        for layer in model.layers
    }


def training_flop(model: Any) -> int:
    """The floating-point operations of training on one image once.

    A multiplication and an addition are two. Backward, a layer computes a gradient of its weights
    and one of its input, each as costly as its forward pass; the first needs none of its input.
    The rule is that of D. Amodei and D. Hernandez, "AI and compute", 2018.
    """
    forward = [count for count in multiply_adds(model).values() if count]
    return 2 * (3 * sum(forward) - forward[0])


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as Keras's TensorFlow backend compiles a training step."""
    import tensorflow as tf

    return tf.function(function, jit_compile=backend.jit_compile() or False)  # type: ignore[no-any-return]


def drawing(batches: Any) -> Callable[[], object]:
    """A function that draws the next of `batches` each time, and starts again after the last."""
    index = -1

    def draw() -> object:
        nonlocal index
        index = (index + 1) % len(batches)
        return batches[index]

    return draw


def executing(model: Any, images: Any, labels: Any) -> Callable[[], object]:
    """A function that trains on one batch as often as `fit` does between two stays in Python."""
    import tensorflow as tf

    same = tf.data.Dataset.from_tensors((images, labels)).repeat()
    return partial(model.train_function, iter(same))


def parts(model: Any, images: Any, labels: Any) -> dict[str, Callable[[], object]]:
    """A whole step on one batch, its forward pass, and both its passes without the optimizer."""
    import tensorflow as tf

    def gradients(images: Any, labels: Any) -> object:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(images, labels, model(images, training=True))
        return tape.gradient(loss, [weight.value for weight in model.trainable_variables])

    step = compiled(lambda images, labels: model.train_step((images, labels)))
    forward = compiled(lambda images: model(images, training=True))
    both = compiled(gradients)
    return {
        "step": partial(step, images, labels),
        "forward": partial(forward, images),
        "both": partial(both, images, labels),
    }


def layer(model: Any, index: int, images: Any) -> dict[str, Callable[[], object]]:
    """The forward pass of a layer of `model` on what it gets from `images`, and both passes.

    Backward, it computes what it does in the model: no gradient of its input where no weights
    come before it. Without any gradient to compute it has a forward pass only.
    """
    import keras
    import tensorflow as tf

    for earlier in model.layers[:index]:
        images = earlier(images)
    layer = model.layers[index]
    outer = keras.random.normal(layer(images).shape)
    weights = [weight.value for weight in layer.trainable_variables]
    needs_input = any(earlier.trainable_variables for earlier in model.layers[:index])

    def gradients(images: Any, outer: Any) -> object:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images, training=True)
        return tape.gradient(outputs, [images] * needs_input + weights, output_gradients=outer)

    forward = compiled(lambda images: layer(images, training=True))
    both = compiled(gradients)
    functions: dict[str, Callable[[], object]] = {f"{layer.name} forward": partial(forward, images)}
    if needs_input or weights:
        functions[f"{layer.name} both"] = partial(both, images, outer)
    return functions


def best(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of one call of each function: the best of a number of rounds, taken in turn.

    Whatever else the machine does only adds to the time.
    """
    calls = {}
    for name, function in functions.items():
        function()  # TensorFlow compiles it
        start = time.perf_counter()
        function()
        calls[name] = math.ceil(ROUND / (time.perf_counter() - start))
    seconds = dict.fromkeys(functions, math.inf)
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                function()
            seconds[name] = min(seconds[name], (time.perf_counter() - start) / calls[name])
    return seconds


if __name__ == "__main__":
    main()
