"""Compare the recipes on TensorFlow and on JAX: time, memory and accuracy, and XLA's compilation.

Run on an otherwise idle machine, from anywhere, with the project's environment; MNIST comes from
where the stage fetch gets it. Writes benchmarks/backends.md.
"""

import argparse
import json
import tempfile
import time
from typing import Any

import numpy as np

from side_by_side import REPOSITORY, Project, copy_of_project, recipe, report, table

# The recipes of residual networks last, which are trained on fewer images: an epoch takes minutes
FEW = 2_000
RECIPES = sorted(
    (file.stem for file in REPOSITORY.glob("recipes/*.yaml")),
    key=lambda name: (recipe(name)["network"] == "resnet", name),
)
CACHE = "JAX_COMPILATION_CACHE_DIR"
# Trains as the stage does, and prints when each epoch began and ended, as JSON. Not when its
# validation began: by then JAX has not computed all that it was told to
TIMED = """
import json, sys, time
sys.path.insert(0, "src")
sys.argv = ["src/train.py"]
start = time.perf_counter()
import train
times = []
backend = train.backend
configure = backend.configure
def configured(*arguments):
    configure(*arguments)
    import keras
    from convline.training import fit
    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            times.append([time.perf_counter() - start])
        def on_epoch_end(self, epoch, logs=None):
            times[-1].append(time.perf_counter() - start)
    fitted = fit.fit
    def timed(*arguments, callbacks, **named):
        return fitted(*arguments, callbacks=[*callbacks, Clock()], **named)
    fit.fit = timed
backend.configure = configured
train.main()
print(json.dumps(times))
"""


def main() -> None:
    """Train by each recipe on each backend, on JAX also with what it has compiled, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="of each training; default 2")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs should be 2 or more: the first one compiles")
    rows = []
    with copy_of_project() as project, tempfile.TemporaryDirectory() as cache:
        for stage in ("fetch", "preprocess"):
            project.stage(stage)
        for name in sorted(options.recipes, key=RECIPES.index):
            trained = name
            if recipe(name)["network"] == "resnet":
                keep_few(project)
                trained = f"{name}, {FEW:,} images"
            for label, backend, environment in (
                ("TensorFlow", "tensorflow", {}),
                ("JAX, compiles", "jax", {CACHE: cache}),
                ("JAX, from its cache", "jax", {CACHE: cache}),
            ):
                project.set_params(**recipe(name) | {"epochs": options.epochs, "backend": backend})
                rows.append([trained, label, *measured(project, environment)])
                print(*rows[-1], flush=True)
    report(
        "backends",
        "The recipes on TensorFlow and JAX",
        f"Dataset mnist, {options.epochs} epochs, 2 threads. Seconds: of the whole process, its "
        "imports included; until training begins; of the first epoch, which compiles, and of the "
        "best later one, both with validation. Accuracy on the validation images. JAX keeps what "
        "XLA has compiled, and takes it from there in the next process.",
        table(
            ["recipe", "backend", "process", "start", "first epoch", "later epoch", "MB", "acc."],
            rows,
        ),
    )


def keep_few(project: Project) -> None:
    """Leave that many of the training images."""
    for file in (project.path / "data/processed").glob("train_*.npy"):
        np.save(file, np.load(file)[:FEW])


def measured(project: Project, environment: dict[str, str]) -> list[str]:
    """The figures of a training."""
    start = time.perf_counter()
    child = project.run(["-c", TIMED], environment)
    seconds = time.perf_counter() - start
    epochs: list[Any] = json.loads(child.output.splitlines()[-1])
    first, *later = [ended - begin for begin, ended in epochs]
    kept = json.loads((project.path / "metrics/train.json").read_bytes())
    return [
        f"{seconds:.1f}",
        f"{epochs[0][0]:.1f}",
        f"{first:.1f}",
        f"{min(later):.1f}",
        f"{child.peak_bytes / 1e6:,.0f}",
        f"{kept['accuracy']:.2%}",
    ]


if __name__ == "__main__":
    main()
