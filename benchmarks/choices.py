"""Measure what each choice of a recipe brings: the recipe, and it with one thing changed at a time.

Accuracies are of the validation images, which each seed draws anew; nothing here looks at the test
images. Run on an otherwise idle machine, from anywhere, with the project's environment; MNIST
comes from where the stage fetch gets it. Writes benchmarks/choices-RECIPE.md.
"""

import argparse
from statistics import mean, median, stdev
from typing import Any

from side_by_side import copy_of_project, merged, recipe, report, table, training_seconds

Changes = dict[str, Any]

UNCHANGED = "as it is"
IMAGES = 500  # to corrupt
AUGMENTED = {"rotation": 10.0, "zoom": 0.1, "shift": 2.0}
CHOICES: dict[str, list[Changes]] = {
    "tutorial": [
        AUGMENTED,
        AUGMENTED | {"distortion": 0.7},
        {"convnet": {"dropout": 0.3}},
        {"convnet": {"batch_normalization": True}},
        {"convnet": {"downsampling": "stride"}},
        {"convnet": {"bias": False}},
        {"optimizer": "adam"},
        {"optimizer": "adam", "learning_rate_schedule": "one_cycle", "learning_rate": 0.003},
        {"label_smoothing": 0.1},
    ],
    "fast": [
        {"epochs": 2},
        {"convnet": {"crop": 0}},
        {"convnet": {"crop": 3}},
        {"convnet": {"standardize": False}},
        {"convnet": {"filters": [24, 48, 64]}},
        {"convnet": {"filters": [16, 48, 96]}},
        {"convnet": {"filters": [24, 64, 96]}},
        {"convnet": {"kernels": [3, 3, 3]}},
        {"convnet": {"kernels": [6, 3, 3]}},
        {"convnet": {"downsampling": "pool"}},
        {"convnet": {"bias": True}},
        {"convnet": {"batch_normalization": False}},
        {"convnet": {"batch_normalization": True}},
        {"convnet": {"dense_units": 64}},
        {"convnet": {"dropout": 0.2}},
        {"shift": 0.0},
        {"shift": 2.0},
        {"rotation": 0.0},
        {"rotation": 10.0},
        {"fog": 0.0},
        {"fog": 1.0},
        {"cutout": 0.0},
        {"cutout": 0.2},
        {"noise": 0.3},
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
        {"fog": 0.0},
        {"cutout": 0.0},
        {"noise": 0.0},
        {"convnet": {"standardize": False}},
        {"convnet": {"crop": 0}},
        {"convnet": {"downsampling": "stride"}},
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

    parameters = recipe(options.recipe) | SHORTER[options.recipe]
    named = {name(changes): changes for changes in CHOICES[options.recipe]}
    choices: dict[str, Changes] = {UNCHANGED: {}}
    choices |= {key: value for key, value in named.items() if options.only in key}
    accuracies: dict[str, list[float]] = {choice: [] for choice in choices}
    corrupted: dict[str, list[float]] = {choice: [] for choice in choices}
    seconds: dict[str, list[float]] = {choice: [] for choice in choices}
    with copy_of_project() as project:
        project.stage("fetch")
        for seed in range(options.seeds):
            project.set_params(seed=seed)
            project.stage("preprocess")
            for choice, changes in choices.items():
                project.set_params(**merged(parameters, changes))
                output = project.stage("train").output
                accuracies[choice].append(project.validation_accuracy())
                seconds[choice].append(training_seconds(output))
                corrupted[choice].append(mean(project.corrupted_accuracies(IMAGES).values()))
                last = accuracies[choice][-1], corrupted[choice][-1], seconds[choice][-1]
                print(
                    f"seed {seed}: {choice}: {last[0]:.2%}, {last[1]:.2%}, {last[2]:.1f} s",
                    flush=True,
                )
        params, validation = project.params(), project.images("validation")

    report(
        f"choices-{options.recipe}",
        f"Ablation of the recipe {options.recipe}",
        f"Dataset {params['dataset']}, epochs: {parameters['epochs']} unless stated otherwise. "
        f"Accuracy is measured on {validation:,} validation images: mean over "
        f"{options.seeds} seeds ± standard error. The difference from the recipe, in percentage "
        "points, has the standard error of the paired differences per seed; so has that of the "
        f"accuracy on {IMAGES} of these images, corrupted. Time is the ratio of the median "
        "training times.",
        table(
            ["changed", "accuracy", "difference", "corrupted", "difference", "time"],
            [
                [
                    choice,
                    *with_difference(choice, accuracies),
                    *with_difference(choice, corrupted),
                    f"{median(seconds[choice]) / median(seconds[UNCHANGED]):.2f}",
                ]
                for choice in choices
            ],
        ),
    )


def name(changes: Changes) -> str:
    """What a row calls them: keys and values, without the section of the network."""
    flat = {key: value for key, value in changes.items() if key != "convnet"}
    flat |= changes.get("convnet", {})
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in flat.items())


def with_difference(choice: str, found: dict[str, list[float]]) -> tuple[str, str]:
    """The mean of what was found for a choice, and of its differences from the recipe."""
    pairs = zip(found[choice], found[UNCHANGED], strict=True)
    difference = "" if choice == UNCHANGED else plus_minus([one - own for one, own in pairs])
    return plus_minus(found[choice]), difference


def plus_minus(shares: list[float]) -> str:
    """Mean and standard error in per cent."""
    return f"{mean(shares):.3%} ± {stdev(shares) / len(shares) ** 0.5:.3%}"


if __name__ == "__main__":
    main()
