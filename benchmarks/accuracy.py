"""Compare the test accuracies of the pipeline and of the bare tutorial, seed by seed.

Both train on the same number of images. Run from anywhere, with the project's environment; MNIST
comes from where the stage fetch gets it. Writes benchmarks/accuracy.md.
"""

import argparse
import json
from statistics import mean, stdev

from side_by_side import copy_of_project, report, table


def main() -> None:
    """Train both for each seed and report their accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to N - 1, two or more")
    seeds = range(parser.parse_args().seeds)
    if len(seeds) < 2:
        parser.error("a spread needs two seeds or more")

    pipeline, bare = [], []
    with copy_of_project() as project:
        project.stage("fetch")
        for seed in seeds:
            project.set_params(seed=seed)
            for stage in ("preprocess", "train", "evaluate"):
                project.stage(stage)
            pipeline.append(project.test_accuracy())
            bare.append(float(json.loads(project.bare(seed).output.splitlines()[-1])["accuracy"]))
            print(f"seed {seed}: pipeline {pipeline[-1]:.2%}, bare {bare[-1]:.2%}", flush=True)
        params, images = project.params(), project.train_images()

    report(
        "accuracy",
        "Test accuracy: the pipeline beside the bare tutorial",
        f"Dataset {params['dataset']}: both train on {images:,} images for {params['epochs']} "
        f"epochs. The pipeline keeps the best epoch on {params['validation_size']:,} further "
        "images; the bare script (benchmarks/tutorial.py) keeps the last.",
        table(
            ["seed", "pipeline", "bare"],
            [
                *(
                    [str(seed), f"{one:.2%}", f"{other:.2%}"]
                    for seed, one, other in zip(seeds, pipeline, bare)
                ),
                ["mean", f"{mean(pipeline):.3%}", f"{mean(bare):.3%}"],
                ["standard deviation", f"{stdev(pipeline):.3%}", f"{stdev(bare):.3%}"],
            ],
        ),
        difference(pipeline, bare),
    )


def difference(pipeline: list[float], bare: list[float]) -> str:
    """The difference of the two means with its standard error, in a sentence."""
    error = ((stdev(pipeline) ** 2 + stdev(bare) ** 2) / len(pipeline)) ** 0.5
    points = 100 * (mean(pipeline) - mean(bare))
    return (
        f"Pipeline minus bare: {points:+.3f} percentage points, "
        f"with a standard error of {100 * error:.3f}."
    )


if __name__ == "__main__":
    main()
