"""What `make run`, and `make` with a recipe, do: the whole pipeline, then its result."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

import fetch
from convline import datasets, files, params, runs, stage
from convline.download import NotDelivered, download, sources

# The real handwritten digits that need no network; a hundredth of the images in more epochs
OFFLINE = {"dataset": "digits", "validation_size": 180, "epochs": 30}

RECIPES = Path("recipes")
FIGURES = Path("metrics/evaluate.json")
MISTAKES = Path("metrics/mistakes.png")
MODEL = Path("models/model.keras")


def main() -> None:
    """Reproduce the pipeline; where no source has its dataset, reproduce it on digits instead.

    A recipe's parameters are set first. It was made for its dataset: digits are none for it.
    """
    recipes = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "recipe", nargs="?", choices=recipes, help="sets params.yaml; default: none"
    )
    recipe = parser.parse_args().recipe
    if recipe:
        change_params(params.read_yaml(RECIPES / f"{recipe}.yaml"))
    name = params.load("fetch", fetch.Params).dataset
    succeeded = repro()
    if not succeeded and not recipe and out_of_reach(datasets.load(name)):
        print(
            f"\nNo source delivers {name}. The same pipeline now runs on digits, handwritten ones "
            "that come with scikit-learn.\nparams.yaml says so: "
            f"{', '.join(f'{key}: {value}' for key, value in OFFLINE.items())}.\n"
            f"To return to {name}: git checkout HEAD params.yaml\n",
            flush=True,
        )
        change_params(OFFLINE)
        succeeded = repro()
    if not succeeded:
        raise stage.Problem("the pipeline stopped; the reason is above")
    runs.load(runs.WORKSPACE)  # refuses a result that DVC believes and no stage made
    print(result())
    if runs.computed_here():
        print(
            "\nThis processor computes other last digits than the one whose run is committed. To "
            f"compare\nwith what this machine has, commit it once: {runs.COMMIT.strip('`')}"
        )


def repro() -> bool:
    """Whether `dvc repro` of this environment succeeded."""
    return subprocess.run([sys.executable, "-m", "dvc", "repro"], check=False).returncode == 0


def out_of_reach(dataset: datasets.Dataset) -> bool:
    """Whether data/raw lacks a file of `dataset` that no source delivers."""
    if dataset.files == "scikit-learn":
        return False
    with files.temporary_folder() as folder:
        try:
            for name, file in dataset.files.items():
                if not (fetch.RAW / name).exists():
                    download(sources(dataset, fetch.RAW), name, file, folder / name)
        except NotDelivered:
            return True
    return False


def change_params(changes: dict[str, object]) -> None:
    """Set keys in params.yaml and keep all else, comments included."""
    yaml = YAML()
    content = yaml.load(params.PARAMS)
    content.update(changes)
    with files.written(params.PARAMS) as file:
        yaml.dump(content, file)


def result() -> str:
    """The figures of the finished run, and where to look further."""
    figures = json.loads(FIGURES.read_text())
    low, high = figures["accuracy_interval_95"]
    return f"""
Dataset        {figures["dataset"]}
Test accuracy  {figures["accuracy"]:.2%} ({low:.2%} to {high:.2%} with 95 % confidence)
Errors         {figures["errors"]:,} of {figures["images"]:,} test images, the worst in {MISTAKES}
Model          {MODEL}"""


if __name__ == "__main__":
    stage.run(main)
