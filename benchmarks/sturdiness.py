"""Measure the recipes on corrupted validation images: what one loses that the tutorial does not.

Each seed draws its own validation images, weights and order. Nothing here looks at the test images.
Run on an otherwise idle machine, from anywhere, with the project's environment; MNIST comes from
where the stage fetch gets it. Writes benchmarks/sturdiness.md.
"""

import argparse
from itertools import groupby
from statistics import mean, stdev

from side_by_side import copy_of_project, recipe, report, table

TUTORIAL = "tutorial"
RECIPES = (TUTORIAL, "fast", "accurate")
Copies = tuple[str, int]  # a kind and a strength of corruption


def main() -> None:
    """Train each recipe with each seed, corrupt, predict, and report the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1, two or more; default 3")
    parser.add_argument("--images", type=int, default=1000, help="to corrupt, default 1000")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("a spread needs two seeds or more")
    names = list(dict.fromkeys((TUTORIAL, *options.recipes)))

    clean: dict[str, list[float]] = {name: [] for name in names}
    corrupted: dict[str, list[dict[Copies, float]]] = {name: [] for name in names}
    with copy_of_project() as project:
        project.stage("fetch")
        for seed in range(options.seeds):
            project.set_params(seed=seed)
            project.stage("preprocess")
            for name in names:
                project.set_params(**recipe(name))
                project.stage("train")
                clean[name].append(project.validation_accuracy())
                corrupted[name].append(project.corrupted_accuracies(options.images))
                average = mean(corrupted[name][-1].values())
                print(f"seed {seed}: {name}: {clean[name][-1]:.2%}, {average:.2%}", flush=True)
        dataset = project.params()["dataset"]

    # By recipe, the mean over seeds for each kind and strength
    found = {
        name: {copies: mean(run[copies] for run in runs) for copies in runs[0]}
        for name, runs in corrupted.items()
    }
    copies = list(found[TUTORIAL])
    header = ["", *names]
    report(
        "sturdiness",
        "The recipes on corrupted images",
        f"Dataset {dataset}, seeds: {options.seeds}. Accuracy on validation images: as they are, "
        f"and the mean over all kinds and strengths of corruption of {options.images:,} of them, "
        "with the standard deviation over seeds. Below it, for each recipe, the kind and strength "
        "at which it is furthest below the tutorial:",
        table(
            header,
            [
                ["as they are", *(spread(clean[name]) for name in names)],
                [
                    "corrupted",
                    *(spread([mean(run.values()) for run in corrupted[name]]) for name in names),
                ],
                ["furthest below", *("" if n == TUTORIAL else furthest(found, n) for n in names)],
            ],
        ),
        "Accuracy by kind, in the three strengths:",
        table(
            header,
            [
                [
                    kind,
                    *(" ".join(f"{100 * found[name][of]:.1f}" for of in group) for name in names),
                ]
                for kind, group in (
                    (kind, list(group)) for kind, group in groupby(copies, lambda of: of[0])
                )
            ],
        ),
    )


def spread(shares: list[float]) -> str:
    """Mean and standard deviation in per cent."""
    return f"{mean(shares):.2%} ± {stdev(shares):.2%}"


def furthest(found: dict[str, dict[Copies, float]], name: str) -> str:
    """Where a recipe is furthest below the tutorial, in percentage points."""
    differences = {of: value - found[TUTORIAL][of] for of, value in found[name].items()}
    kind, strength = min(differences, key=differences.__getitem__)
    return f"{kind} {strength}: {100 * differences[kind, strength]:+.1f}"


if __name__ == "__main__":
    main()
