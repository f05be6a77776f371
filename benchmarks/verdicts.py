"""Count the verdicts of `convline compare` between seeds of one recipe, and between 1 and 5 epochs.

Each run is an experiment of DVC in a copy of the project; MNIST comes from where the stage fetch
gets it. Run from anywhere, with the project's environment. Writes benchmarks/verdicts.md.
"""

import argparse
import json
from collections import Counter
from itertools import combinations, product
from statistics import mean, stdev
from typing import Any

from side_by_side import Project, copy_of_project, report, table

FEW, MANY = 1, 5  # epochs
VERDICTS = ("worse", "no evidence of a difference", "better")


def main() -> None:
    """Run every seed with both numbers of epochs, compare pairs, count the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, help="seeds 0 to N - 1, two or more")
    seeds = range(parser.parse_args().seeds)
    if len(seeds) < 2:
        parser.error("a pair needs two seeds or more")

    with copy_of_project() as project:
        for seed, epochs in product(seeds, (FEW, MANY)):
            project.experiment(name(seed, epochs), seed=seed, epochs=epochs)
            print(f"{name(seed, epochs)}: {project.test_accuracy():.2%}", flush=True)
        of_seeds = [
            compare(project, name(one, MANY), name(other, MANY))
            for one, other in combinations(seeds, 2)
        ]
        of_epochs = [compare(project, name(seed, MANY), name(seed, FEW)) for seed in seeds]

    report(
        "verdicts",
        "Verdicts of `convline compare` for known differences",
        f"Dataset {of_seeds[0]['dataset']}, seeds 0 to {len(seeds) - 1}, "
        f"{of_seeds[0]['images']:,} test images. Accuracy after {FEW} epoch: "
        f"{spread([found['candidate']['accuracy'] for found in of_epochs])}; after {MANY}: "
        f"{spread([found['baseline']['accuracy'] for found in of_epochs])}.",
        table(
            ["compared", "pairs", *VERDICTS],
            [
                [f"two seeds, both {MANY} epochs", *counts(of_seeds)],
                [f"{FEW} epoch against {MANY}, the same seed", *counts(of_epochs)],
            ],
        ),
        f"If the networks of all seeds were equally good, 5 % of {len(of_seeds)} pairs, or "
        f"{0.05 * len(of_seeds):.1f}, would be called better or worse by chance. There are more "
        "because they are not: the test compares two trained networks, not their recipes.",
    )


def name(seed: int, epochs: int) -> str:
    """What an experiment is called."""
    return f"seed-{seed}-epochs-{epochs}"


def compare(project: Project, baseline: str, candidate: str) -> dict[str, Any]:
    """What `convline compare` finds."""
    output = project.run(["src", "compare", baseline, candidate, "--json"]).output
    return dict(json.loads(output))


def counts(found: list[dict[str, Any]]) -> list[str]:
    """The number of comparisons, and how often each verdict was given."""
    given = Counter(each["verdict"] for each in found)
    return [str(len(found)), *(str(given[verdict]) for verdict in VERDICTS)]


def spread(accuracies: list[float]) -> str:
    """Mean and standard deviation."""
    return f"mean {mean(accuracies):.3%}, standard deviation {stdev(accuracies):.3%}"


if __name__ == "__main__":
    main()
