"""Measure wall time and peak memory: of each stage, and of train beside the bare tutorial.

Process start is included. Run on an otherwise idle machine, from anywhere, with the project's
environment; MNIST comes from where the stage fetch gets it. Writes benchmarks/cost.md.
"""

import argparse
from statistics import median

from side_by_side import Child, copy_of_project, report, table

# train and bare take turns: what slows the machine for a while slows both
ORDER = ("fetch", "preprocess", "train", "bare", "evaluate", "export")


def main() -> None:
    """Run everything a number of times and report the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement, default 3")
    repeats = parser.parse_args().repeats
    if repeats < 1:
        parser.error("--repeats should be 1 or more")

    children: dict[str, list[Child]] = {name: [] for name in ORDER}
    for repeat in range(1, repeats + 1):
        with copy_of_project() as project:
            params = project.params()
            for name in ORDER:
                child = project.bare(params["seed"]) if name == "bare" else project.stage(name)
                children[name].append(child)
                print(f"{repeat} of {repeats}: {name}: {child.seconds:.1f} s", flush=True)
            images, validation = project.images("train"), project.images("validation")

    seconds = {name: median(child.seconds for child in children[name]) for name in ORDER}
    megabytes = {name: median(child.peak_bytes for child in children[name]) / 1e6 for name in ORDER}

    def row(name: str, label: str) -> list[str]:
        return [label, f"{seconds[name]:.1f}", f"{megabytes[name]:,.0f}"]

    runs = f"medians of {repeats} runs" if repeats > 1 else "one run"
    report(
        "cost",
        "Wall time and peak memory",
        f"Dataset {params['dataset']}; {runs}, process start included.",
        table(["stage", "seconds", "MB"], [row(name, name) for name in ORDER if name != "bare"]),
        "## train and the bare tutorial",
        f"Both train on {images:,} images for {params['epochs']} epochs, and took turns. train "
        f"uses {params['threads']} threads and evaluates {validation:,} validation "
        "images after each epoch. The bare script (benchmarks/tutorial.py) uses TensorFlow's "
        "default number of threads and evaluates the test images once.",
        table(
            ["", "seconds", "MB"],
            [
                row("train", "train"),
                row("bare", "bare"),
                [
                    "train : bare",
                    f"{seconds['train'] / seconds['bare']:.2f}",
                    f"{megabytes['train'] / megabytes['bare']:.2f}",
                ],
            ],
        ),
    )


if __name__ == "__main__":
    main()
