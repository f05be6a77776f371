"""Compare ways to search: Optuna's TPE, random draws and DVC's grid, and what pruning saves.

Each trial trains the tutorial's network on a sample of the training images, with the parameters and
ranges below, and is judged by the validation images; nothing here looks at the test images.
Trainings run in this process, without DVC. Writes benchmarks/samplers.md.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import optuna

from side_by_side import REPOSITORY, Project, copy_of_project, recipe, report, table

sys.path.append(str(REPOSITORY / "src"))
from convline import backend
from convline.search.space import Choices, Numbers, Range, Space

SPACE = Space(
    {
        "learning_rate": Numbers(Range(low=1e-4, high=1e-1, log=True), whole=False),
        "batch_size": Choices([16, 64, 256]),
        "convnet.dropout": Numbers(Range(low=0.0, high=0.6, step=0.1), whole=False),
        "convnet.dense_units": Choices([16, 64, 256]),
    },
    "convnet",
)
# What one would write after `dvc exp run --queue -S`: 36 combinations, in DVC's order
GRID: dict[str, list[Any]] = {
    "learning_rate": [1e-4, 1e-3, 1e-2, 1e-1],
    "batch_size": [16, 64, 256],
    "convnet.dropout": [0.0],
    "convnet.dense_units": [16, 64, 256],
}
SHOWN = (5, 10, 20, 30)  # numbers of trials

Report = Callable[[int, float], bool]


def main() -> None:
    """Search in each way, with several seeds, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="of each search, default 3")
    parser.add_argument("--trials", type=int, default=30, help="of a search, default 30")
    parser.add_argument("--images", type=int, default=2000, help="to train on, and to validate")
    parser.add_argument("--epochs", type=int, default=3, help="of each trial, default 3")
    options = parser.parse_args()

    with copy_of_project() as project:
        project.set_params(**recipe("tutorial"))
        for stage in ("fetch", "preprocess"):
            project.stage(stage)
        os.chdir(project.path)
        train = trainer(project, options.images, options.epochs)
        ways: dict[str, list[list[float]]] = {}
        seconds: dict[str, list[float]] = {}
        pruned = 0
        for seed in range(options.repeats):
            for way in ("TPE", "random", "grid", "TPE, pruned by the median"):
                start = time.process_time()
                values, ended = search(way, seed, options.trials, train)
                seconds.setdefault(way, []).append(time.process_time() - start)
                ways.setdefault(way, []).append(values)
                pruned += ended
                print(f"{seed}: {way}: {max(values):.4f}, {seconds[way][-1]:.0f} s", flush=True)

    counts = [count for count in SHOWN if count < options.trials] + [options.trials]
    rows = [
        [way]
        + [spread([max(values[:count]) for values in runs]) for count in counts]
        + [f"{mean(seconds[way]):.0f}"]
        for way, runs in ways.items()
    ]
    report(
        "samplers",
        "Ways to search",
        f"The best validation accuracy after so many trials, in percent: mean and standard "
        f"deviation of {options.repeats} searches. A trial trains the tutorial's network on "
        f"{options.images:,} images for {options.epochs} epochs and validates on as many. "
        f"Of the {options.repeats * options.trials} trials of the last row, {pruned} were pruned. "
        "CPU seconds are of a whole search, without DVC.",
        table(["search", *(f"{count} trials" for count in counts), "CPU seconds"], rows),
    )


def spread(values: list[float]) -> str:
    """Mean and standard deviation in percent."""
    deviation = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{deviation}"


def search(
    way: str, seed: int, trials: int, train: Callable[[dict[str, Any], int, Report], float]
) -> tuple[list[float], int]:
    """The accuracy of each trial in turn, 0 for a pruned one, and how many were pruned."""
    if way == "grid":
        names = list(GRID)
        combinations = itertools.islice(itertools.product(*GRID.values()), trials)
        return [
            train(dict(zip(names, values)), seed, lambda epoch, value: False)
            for values in combinations
        ], 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if way == "random"
        else optuna.samplers.TPESampler(seed=seed)
    )
    pruner = optuna.pruners.MedianPruner() if "pruned" in way else optuna.pruners.NopPruner()
    study = optuna.create_study(sampler=sampler, pruner=pruner, direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        def told(epoch: int, value: float) -> bool:
            trial.report(value, epoch)
            return trial.should_prune()

        return train(SPACE.draw(trial), seed, told)

    study.optimize(objective, n_trials=trials)
    values = [trial.value if trial.value is not None else 0.0 for trial in study.trials]
    ended = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    return values, len(ended)


def trainer(
    project: Project, images: int, epochs: int
) -> Callable[[dict[str, Any], int, Report], float]:
    """What trains with some parameters and a seed and returns the best validation accuracy."""
    settings = backend.BackendParams(backend="tensorflow", threads=project.params()["threads"])
    backend.choose(settings)
    backend.configure(settings)
    import keras

    from convline.data import arrays
    from convline.data.arrays import Labelled
    from convline.paths import PROCESSED
    from convline.training import fit
    from convline.training.checkpoint import Checkpoint
    from convline.training.recipe import Recipe
    from convline.training.training_batches import TrainingBatches
    from networks import convnet

    whole = arrays.load_split(PROCESSED, "train")
    part, held_out = (
        Labelled(split.images[rows], split.labels[rows])
        for split in (whole, arrays.load_split(PROCESSED, "validation", like=whole))
        for rows in [np.sort(np.random.default_rng(0).permutation(len(split.labels))[:images])]
    )
    base = recipe("tutorial") | {"epochs": epochs}
    section = base["convnet"]

    def train(values: dict[str, Any], seed: int, report: Report) -> float:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        own = {
            name.removeprefix("convnet."): value for name, value in values.items() if "." in name
        }
        shared = {name: value for name, value in values.items() if "." not in name}
        model = convnet.build(part.input_shape, part.classes, convnet.Params(**section | own))
        ours = Recipe(**{key: (base | shared)[key] for key in Recipe.model_fields})

        def told(epoch: int, logs: dict[str, float]) -> None:
            if report(epoch, logs["val_accuracy"]):
                raise optuna.TrialPruned

        with tempfile.TemporaryDirectory() as folder:
            kept = fit.fit(
                model,
                TrainingBatches(part, ours, seed),
                held_out,
                ours,
                Checkpoint(Path(folder) / "checkpoint.npz", ""),
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=told)],
                verbose=0,
            )
        return kept.accuracy

    return train


if __name__ == "__main__":
    main()
