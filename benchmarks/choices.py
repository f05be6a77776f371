"""Measure what each choice of a recipe brings: the recipe, and it with one thing changed at a time.

Accuracies are of the validation images, which each seed draws anew; nothing here looks at the test
images. Run on an otherwise idle machine, from anywhere, with the project's environment; MNIST
comes from where the stage fetch gets it. Writes benchmarks/choices-RECIPE.md.
"""

import argparse
from statistics import mean, median, stdev
from typing import Any

import yaml

from side_by_side import REPOSITORY, copy_of_project, report, table, training_seconds

Changes = dict[str, Any]

UNCHANGED = "as it is"
AUGMENTED = {"rotation": 10.0, "zoom": 0.1, "shift": 2.0}
CHOICES: dict[str, list[Changes]] = {
    "tutorial": [
        AUGMENTED,
        AUGMENTED | {"distortion": 0.7},
        {"dropout": 0.3},
        {"batch_normalization": True},
        {"downsampling": "stride"},
        {"conv_bias": False},
        {"optimizer": "adam"},
        {"optimizer": "adam", "learning_rate_schedule": "one_cycle", "learning_rate": 0.003},
        {"label_smoothing": 0.1},
    ],
    "fast": [
        {"epochs": 2},
        {"crop": 0},
        {"crop": 3},
        {"conv_filters": [24, 48, 64]},
        {"conv_filters": [16, 48, 96]},
        {"conv_filters": [24, 64, 96]},
        {"conv_kernels": [3, 3, 3]},
        {"conv_kernels": [6, 3, 3]},
        {"downsampling": "pool"},
        {"conv_bias": True},
        {"batch_normalization": False},
        {"batch_normalization": True},
        {"dense_units": 64},
        {"dropout": 0.2},
        {"shift": 0.0},
        {"shift": 2.0},
        {"rotation": 0.0},
        {"rotation": 10.0},
        {"label_smoothing": 0.0},
        {"label_smoothing": 0.2},
        {"batch_size": 128},
        {"batch_size": 256},
        {"optimizer": "adam"},
        {"optimizer": "sgd", "learning_rate": 0.1},
        {"beta_2": 0.999},
        {"beta_2": 0.95},
        {"learning_rate": 0.01},
        {"learning_rate": 0.06},
        {"learning_rate_schedule": "cosine"},
    ],
    "accurate": [
        {"rotation": 0.0, "zoom": 0.0, "shift": 0.0, "distortion": 0.0},
        {"distortion": 0.0},
        {"crop": 0},
        {"downsampling": "stride"},
        {"label_smoothing": 0.0},
    ],
}
# In place of a training that takes minutes
SHORTER: dict[str, Changes] = {"tutorial": {}, "fast": {}, "accurate": {"epochs": 10}}


def main() -> None:
    """Train with each change and seed, and report the figures of validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=CHOICES)
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1, two or more; default 3")
    parser.add_argument("--only", default="", help="of the choices, those that contain this text")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("a spread needs two seeds or more")

    recipe = yaml.safe_load((REPOSITORY / "recipes" / f"{options.recipe}.yaml").read_bytes())
    recipe |= SHORTER[options.recipe]
    named = {name(changes): changes for changes in CHOICES[options.recipe]}
    choices: dict[str, Changes] = {UNCHANGED: {}}
    choices |= {key: value for key, value in named.items() if options.only in key}
    accuracies: dict[str, list[float]] = {choice: [] for choice in choices}
    seconds: dict[str, list[float]] = {choice: [] for choice in choices}
    with copy_of_project() as project:
        project.stage("fetch")
        for seed in range(options.seeds):
            project.set_params(seed=seed)
            project.stage("preprocess")
            for choice, changes in choices.items():
                project.set_params(**recipe | changes)
                output = project.stage("train").output
                accuracies[choice].append(project.validation_accuracy())
                seconds[choice].append(training_seconds(output))
                last = accuracies[choice][-1], seconds[choice][-1]
                print(f"seed {seed}: {choice}: {last[0]:.2%}, {last[1]:.1f} s", flush=True)
        params = project.params()

    own = accuracies[UNCHANGED]
    report(
        f"choices-{options.recipe}",
        f"What each choice of the recipe {options.recipe} brings",
        f"Dataset {params['dataset']}: accuracy on {params['validation_size']:,} validation images,"
        f" mean of {options.seeds} seeds with its standard error, epochs: {recipe['epochs']} "
        "where nothing else is said; the difference to the recipe in points, with the standard "
        "error of the differences of equal seeds; the median time of training as a ratio.",
        table(
            ["changed", "accuracy", "difference", "time"],
            [
                [
                    choice,
                    plus_minus(found),
                    "" if choice == UNCHANGED else plus_minus([a - b for a, b in zip(found, own)]),
                    f"{median(seconds[choice]) / median(seconds[UNCHANGED]):.2f}",
                ]
                for choice, found in accuracies.items()
            ],
        ),
    )


def name(changes: Changes) -> str:
    """How a row calls them."""
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in changes.items())


def plus_minus(shares: list[float]) -> str:
    """Mean and standard error in per cent."""
    return f"{mean(shares):.3%} ± {stdev(shares) / len(shares) ** 0.5:.3%}"


if __name__ == "__main__":
    main()
