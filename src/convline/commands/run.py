"""Run the whole pipeline and show its result, as `make run` and `make RECIPE` do."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import fetch
from convline import files, params
from convline.data import datasets
from convline.data.download import NotDelivered, download, sources
from convline.evaluation import results
from convline.paths import EVALUATION, MISTAKES, MODEL, PARAMS, RAW
from convline.problems import Problem
from convline.revisions import WORKSPACE

# The real handwritten digits that need no network; a hundredth of the images in more epochs
OFFLINE = {"dataset": "digits", "validation_size": 180, "epochs": 30}

RECIPES = Path("recipes")
BASE = "tutorial"  # the recipe that the others are differences from


def main() -> None:
    """Reproduce the pipeline, on digits if no source has its dataset.

    A recipe's parameters are set first. A recipe is for its dataset and never runs on digits.
    """
    recipes = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "recipe",
        nargs="?",
        choices=recipes,
        help="first set its parameters in params.yaml",
    )
    recipe = parser.parse_args().recipe
    if recipe:
        change_params(load_recipe(recipe))
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
        raise Problem("the pipeline stopped; the reason is above")
    results.load(WORKSPACE)  # raises Problem where no stage made what dvc.lock says
    print(result())
    if results.computed_here():
        print(
            "\nThis processor rounds differently than the one that computed the committed run. To "
            f"compare\nwith this machine's run, commit it once: {results.COMMIT.strip('`')}"
        )


def repro() -> bool:
    """Whether `dvc repro` of this environment succeeded."""
    return subprocess.run([sys.executable, "-m", "dvc", "repro"], check=False).returncode == 0


def out_of_reach(dataset: datasets.IdxDataset | datasets.PictureDataset) -> bool:
    """Whether data/raw lacks a file of `dataset` that no source delivers.

    Imported pictures are the user's own: digits are no substitute for them.
    """
    if isinstance(dataset, datasets.PictureDataset) or dataset.files == "scikit-learn":
        return False
    with files.temporary_folder() as folder:
        try:
            for name, file in dataset.files.items():
                if not (RAW / name).exists():
                    download(sources(dataset, RAW), name, file, folder / name)
        except NotDelivered:
            return True
    return False


def load_recipe(name: str) -> dict[Any, Any]:
    """All parameters that the recipe `name` sets: BASE, with its differences."""
    recipe = params.read_yaml(RECIPES / f"{BASE}.yaml")
    update(recipe, params.read_yaml(RECIPES / f"{name}.yaml"))
    return recipe


def update(mapping: dict[Any, Any], changes: dict[Any, Any]) -> None:
    """Set keys of `mapping`, and in its sections those keys that `changes` has there."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(mapping.get(key), dict):
            update(mapping[key], value)
        else:
            mapping[key] = value


def change_params(changes: dict[Any, Any]) -> None:
    """Set keys in params.yaml and keep everything else, comments included."""
    yaml = YAML()
    content = yaml.load(PARAMS)
    update(content, changes)
    with files.written(PARAMS) as file:
        yaml.dump(content, file)


def result() -> str:
    """The figures of the finished run, and where to look further."""
    figures = json.loads(EVALUATION.read_text())
    low, high = figures["accuracy_interval_95"]
    return f"""
Dataset        {figures["dataset"]}
Test accuracy  {figures["accuracy"]:.2%} ({low:.2%} to {high:.2%} with 95 % confidence)
Errors         {figures["errors"]:,} of {figures["images"]:,} test images, the worst in {MISTAKES}
Model          {MODEL}"""
