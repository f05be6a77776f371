"""Measure what the stages spend before their work and after it, and DVC around them.

Run on an otherwise idle machine, from anywhere, with the project's environment; the dataset comes
from where the stage fetch gets it. Writes benchmarks/startup.md.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from side_by_side import Project, copy_of_project, report, table

# A stage's work begins when it first opens a file here; train looks for a checkpoint first
WORK = {
    "fetch": "data/raw",
    "preprocess": "data/processed",
    "train": "checkpoints",
    "evaluate": "models",
    "export": "models",
}
LIBRARIES = {
    "fetch": "aiohttp, fsspec",
    "preprocess": "numpy",
    "train": "keras",
    "evaluate": "keras",
    "export": "keras",
}
# Runs a script, and prints when it first opened a file of a folder, and when it had ended
WATCHED = """
import runpy, sys, time

def note(event, arguments):
    if event == "open" and str(arguments[0]).startswith(folder):
        opened.append(time.time())

opened = []
_, folder, script = sys.argv
sys.path[0] = "src"
sys.addaudithook(note)
runpy.run_path(script, run_name="__main__")
print(opened[0], time.time())
"""
REPRO = "`dvc repro`, nothing to do"
EXPERIMENT = "`dvc exp run`, beyond its stages"


def main() -> None:
    """Run everything a number of times and report the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement, default 5")
    repeats = parser.parse_args().repeats
    if repeats < 1:
        parser.error("--repeats should be 1 or more")

    before, after, alone, around, floor = (defaultdict[str, list[float]](list) for _ in range(5))
    with copy_of_project() as project, empty_pipeline() as empty:
        params = project.params()
        # Little is left but the start and the end
        filters = [1] * len(params["convnet"]["filters"])
        project.set_params(epochs=1, batch_size=1000, convnet={"filters": filters})
        project.dvc("repro")
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "Reproduce")
        for repeat in range(1, repeats + 1):
            changed = f"--set-param=seed={params['seed'] + repeat}"
            experiment = project.dvc("exp", "run", changed).seconds
            for stage, folder in WORK.items():
                begin = time.time()
                child = project.run(["-c", WATCHED, folder, f"src/{stage}.py"])
                end = time.time()
                first, last = map(float, child.output.splitlines()[-1].split())
                before[stage].append(first - begin)
                after[stage].append(end - last)
                if stage != "fetch":  # the seed changes all others
                    experiment -= child.seconds
                bare = project.run(["-c", f"import {LIBRARIES[stage]}"])
                alone[stage].append(bare.seconds)
            around[EXPERIMENT].append(experiment)
            around[REPRO].append(project.dvc("repro").seconds)
            floor[EXPERIMENT].append(empty.dvc("exp", "run", changed).seconds)
            floor[REPRO].append(empty.dvc("repro").seconds)
            print(f"{repeat} of {repeats}", flush=True)

    def rows(*columns: dict[str, list[float]]) -> list[list[str]]:
        return [
            [name, *(f"{median(column[name]):.2f}" for column in columns)] for name in columns[0]
        ]

    report(
        "startup",
        "Start-up and shutdown of the stages, and overhead of DVC",
        f"Dataset {params['dataset']}; seconds, "
        + (f"medians of {repeats} runs" if repeats > 1 else "of one run")
        + ", including process start.",
        "Before: from process start until the stage opens its first input. After: from the end of "
        "the script to the end of the process. Import alone: a Python process that only imports "
        "the libraries that the stage needs: aiohttp and fsspec, NumPy, or Keras with TensorFlow.",
        table(["stage", "before", "after", "import alone"], rows(before, after, alone)),
        "Overhead of DVC for this pipeline, and for a pipeline with a single empty stage:",
        table(["command", "seconds", "one empty stage"], rows(around, floor)),
    )


@contextmanager
def empty_pipeline() -> Iterator[Project]:
    """Make a project whose only stage does nothing, and reruns with the parameter `seed`."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        (project.path / "params.yaml").write_text("seed: 0\n")
        (project.path / "dvc.yaml").write_text("stages: {empty: {cmd: 'true', params: [seed]}}\n")
        project.git("init", "--quiet")
        project.git("config", "user.name", "benchmark")
        project.git("config", "user.email", "benchmark@localhost")
        project.dvc("init", "--quiet")
        project.dvc("config", "core.analytics", "false")
        project.dvc("repro")
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "Begin")
        yield project


if __name__ == "__main__":
    main()
