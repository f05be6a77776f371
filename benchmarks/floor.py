"""Compare the time of training with what the machine needs for its arithmetic.

For each recipe: the floating-point operations, the machine's rate, the share of it that training
reaches, and where the time of a step goes. Run on an otherwise idle machine, from anywhere, with
the project's environment; MNIST comes from where the stage fetch gets it. Writes
benchmarks/floor.md.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

from side_by_side import REPOSITORY, copy_of_project, recipe, report, table

STEP = str(REPOSITORY / "benchmarks" / "training_step.py")
# Those of convnet: of other networks, a layer's input is not what the layer before it gives
RECIPES = [
    file.stem
    for file in sorted(REPOSITORY.glob("recipes/*.yaml"))
    if recipe(file.stem)["network"] == "convnet"
]

Measured = dict[str, Any]  # what training_step.py prints


def main() -> None:
    """Measure each recipe in a process of its own, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=10, help="of each measurement, and epochs; default 10"
    )
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    options = parser.parse_args()
    rounds = options.rounds
    if rounds < 1:
        parser.error("--rounds should be 1 or more")

    recipes = {name: recipe(name) for name in options.recipes}
    measured: dict[str, Measured] = {}
    with copy_of_project() as project:
        for stage in ("fetch", "preprocess"):
            project.stage(stage)
        for name, parameters in recipes.items():
            # The first epoch, in which TensorFlow compiles, does not count
            project.set_params(**parameters | {"epochs": 1 + rounds, "backend": "tensorflow"})
            child = project.run([STEP, f"--rounds={rounds}"], {"PYTHONPATH": "src"})
            measured[name] = json.loads(child.output.splitlines()[-1])
            print(f"{name}: {measured[name]['training']:.2f} s an epoch", flush=True)
        params = project.params()
    machine = max(one["machine"] for one in measured.values())

    report(
        "floor",
        "Training throughput as a share of the GEMM peak",
        f"Dataset {params['dataset']}, {params['threads']} threads, op determinism enabled. Each "
        f"time is the best of {rounds}.",
        "A multiply-add counts as two floating-point operations (FLOP). In the forward pass of an "
        "image, each output of a convolution or dense layer takes one multiply-add per weight in "
        "its sum. The backward pass takes twice as many, without the gradient with respect to the "
        "image. "
        f"The GEMM peak of this machine is {machine / 1e9:,.0f} GFLOP/s (square float32 matrices, "
        "`keras.ops.matmul`, the best of three sizes, the same number of threads).",
        table(
            [
                *("recipe", "MFLOP an image", "GFLOP an epoch", "GFLOP in all", "s an epoch"),
                *("GFLOP/s", "share"),
            ],
            [share(name, one, recipes[name]["epochs"], machine) for name, one in measured.items()],
        ),
        "## Time of a step and an epoch",
        "Milliseconds per training step, and the share of the step. Computing is the compiled step "
        "on a batch in memory, with as many steps per execution as in training. Its parts are "
        "measured with one step per execution, which can take longer. Input is the time to draw a "
        "batch, which happens in another thread in parallel. The rest is the difference between "
        "the step and computing: Keras and Python between calls, and contention with the input "
        "thread.",
        table(["", *measured], step(list(measured.values()))),
        "Seconds per epoch. Compilation happens once, in the first epoch:",
        table(["", *measured], epoch(list(measured.values()))),
        *(block for name, one in measured.items() for block in layers(name, one, machine)),
    )


def share(name: str, one: Measured, epochs: int, machine: float) -> list[str]:
    """A row of the table of rates."""
    an_epoch = one["flop"] * one["images"]
    rate = an_epoch / one["training"]
    return [
        name,
        f"{one['flop'] / 1e6:.2f}",
        f"{an_epoch / 1e9:,.0f}",
        f"{epochs * an_epoch / 1e9:,.0f}",
        f"{one['training']:.2f}",
        f"{rate / 1e9:.0f}",
        f"{rate / machine:.0%}",
    ]


def step(measured: list[Measured]) -> list[list[str]]:
    """The rows of the table of a step's parts."""
    rows: list[tuple[str, Callable[[Measured, dict[str, float]], float]]] = [
        ("step", lambda one, s: one["training"] / one["steps"]),
        ("computing", lambda one, s: s["computing"]),
        ("- forward", lambda one, s: s["forward"]),
        ("- backward", lambda one, s: s["both"] - s["forward"]),
        ("- optimizer, metrics", lambda one, s: s["step"] - s["both"]),
        ("the rest", lambda one, s: one["training"] / one["steps"] - s["computing"]),
        ("input", lambda one, s: s["input"]),
    ]
    return [
        [label]
        + [
            f"{1e3 * part(one, one['seconds']):.2f} "
            f"({part(one, one['seconds']) * one['steps'] / one['training']:.0%})"
            for one in measured
        ]
        for label, part in rows
    ]


def epoch(measured: list[Measured]) -> list[list[str]]:
    """The rows of the table of an epoch's parts."""
    rows: list[tuple[str, Callable[[Measured], float]]] = [
        ("training", lambda one: one["training"]),
        ("- not augmented", lambda one: one["unaugmented"]),
        ("validation", lambda one: one["validation"]),
        ("checkpoint", lambda one: one["checkpoint"]),
        ("compiling", lambda one: one["first_epoch"] - one["training"]),
    ]
    return [[label, *(f"{part(one):.2f}" for one in measured)] for label, part in rows]


def layers(name: str, one: Measured, machine: float) -> list[str]:
    """The section on a recipe's layers, each computed alone."""
    first = next(layer for layer, count in one["multiply_adds"].items() if count)
    rows = []
    for layer, count in one["multiply_adds"].items():
        forward = one["seconds"][f"{layer} forward"]
        both = one["seconds"].get(f"{layer} both", forward)
        batch_flop = 2 * count * (2 if layer == first else 3) * one["batch"]
        rows.append(
            [
                layer,
                " x ".join(map(str, one["shapes"][layer])),
                f"{2 * count / 1e6:.3f}" if count else "",
                f"{1e3 * forward:.3f}",
                f"{1e3 * (both - forward):.3f}" if f"{layer} both" in one["seconds"] else "",
                f"{batch_flop / both / 1e9:.0f}" if count else "",
                f"{batch_flop / both / machine:.0%}" if count else "",
            ]
        )
    return [
        f"## The layers of {name}",
        "Each layer is measured alone, on a batch of its inputs in the network. MFLOP are per "
        "image, milliseconds per batch.",
        table(
            ["layer", "output", "MFLOP forward", "forward", "backward", "GFLOP/s", "share"],
            rows,
        ),
    ]


if __name__ == "__main__":
    main()
