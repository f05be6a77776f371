"""Compare the recipes with each other and with the bare tutorial: accuracy, time and memory.

Each seed draws its own validation images, weights and order; the bare script and the recipes take
turns. Run on an otherwise idle machine, from anywhere, with the project's environment; MNIST comes
from where the stage fetch gets it. Writes benchmarks/recipes.md.
"""

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median, stdev

from side_by_side import (
    Child,
    Project,
    copy_of_project,
    recipe,
    report,
    table,
    training_seconds,
)

BARE, TUTORIAL = "bare", "tutorial"
SEEDS = {BARE: 5, TUTORIAL: 5, "fast": 10, "accurate": 5}


@dataclass(frozen=True)
class Run:
    """One training: the accuracy on the test images, and what it took."""

    accuracy: float
    seconds: float  # of training; the process takes longer, because it begins with imports
    parameters: int
    process: Child


def main() -> None:
    """Run the bare script and every recipe with each of its seeds, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, help="for each, 0 to N - 1, two or more")
    count = parser.parse_args().seeds
    if count is not None and count < 2:
        parser.error("a spread needs two seeds or more")
    counts = SEEDS if count is None else dict.fromkeys(SEEDS, count)

    runs: dict[str, list[Run]] = {name: [] for name in counts}
    with copy_of_project() as project:
        project.stage("fetch")
        for seed in range(max(counts.values())):
            for name in (name for name in counts if seed < counts[name]):
                last = run(project, name, seed)
                runs[name].append(last)
                print(f"{name}, seed {seed}: {last.accuracy:.2%}, {last.seconds:.1f} s", flush=True)
        dataset, images = project.params()["dataset"], project.images("train")

    report(
        "recipes",
        "The recipes and the bare tutorial",
        f"Dataset {dataset}; each trains on {images:,} images. Accuracy on the test images, and "
        "its standard deviation over seeds:",
        table(
            ["recipe", "parameters", "seeds", "accuracy", "sd", "lowest", "highest"],
            [accuracies(name, of_recipe) for name, of_recipe in runs.items()],
        ),
        "Training time in seconds, wall time of the whole process including imports, and peak "
        f"memory in MB. Each is a median, followed by its ratio to {BARE}:",
        table(
            ["recipe", "training", "ratio", "process", "ratio", "MB", "ratio"],
            [costs(name, of_recipe, runs[BARE]) for name, of_recipe in runs.items()],
        ),
        "Accuracy for each seed:",
        "\n".join(
            f"- {name}: {', '.join(f'{one.accuracy:.2%}' for one in of_recipe)}"
            for name, of_recipe in runs.items()
        ),
    )


def run(project: Project, name: str, seed: int) -> Run:
    """Train by a recipe, or by the bare script with as many images and epochs as the tutorial."""
    project.set_params(**recipe(TUTORIAL if name == BARE else name) | {"seed": seed})
    project.stage("preprocess")
    if name == BARE:
        process = project.bare(seed)
        figures = json.loads(process.output.splitlines()[-1])
        return Run(figures["accuracy"], figures["seconds"], figures["parameters"], process)
    process = project.stage("train")
    project.stage("evaluate")
    return Run(
        project.test_accuracy(),
        training_seconds(process.output),
        int(re.findall(r"Total params: ([\d,]+)", process.output)[0].replace(",", "")),
        process,
    )


def accuracies(name: str, runs: list[Run]) -> list[str]:
    """A row of the table of accuracies."""
    found = [one.accuracy for one in runs]
    figures = [
        f"{mean(found):.3%}",
        f"{stdev(found):.3%}",
        f"{min(found):.2%}",
        f"{max(found):.2%}",
    ]
    return [name, f"{runs[0].parameters:,}", str(len(runs)), *figures]


def costs(name: str, runs: list[Run], bare: list[Run]) -> list[str]:
    """A row of the table of costs."""
    measured: list[tuple[Callable[[Run], float], int]] = [
        (lambda one: one.seconds, 1),
        (lambda one: one.process.seconds, 1),
        (lambda one: one.process.peak_bytes / 1e6, 0),
    ]
    row = [name]
    for figure, digits in measured:
        own, other = (median(map(figure, each)) for each in (runs, bare))
        row += [f"{own:,.{digits}f}", f"{own / other:.3f}"]
    return row


if __name__ == "__main__":
    main()
