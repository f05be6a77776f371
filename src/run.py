"""What `make run` does: the whole pipeline, then its result in a few lines."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

import fetch
from convline import datasets, params, stage
from convline.download import NotDelivered, download, sources

# The real handwritten digits that need no network; a hundredth of the images in more epochs
OFFLINE = {"dataset": "digits", "validation_size": 180, "epochs": 30}


FIGURES = Path("metrics/evaluate.json")
MISTAKES = Path("metrics/mistakes.png")
MODEL = Path("models/model.keras")


def main() -> None:
    """Reproduce the pipeline; where no source has its dataset, reproduce it on digits instead."""
    name = params.load("fetch", fetch.Params).dataset
    succeeded = repro()
    if not succeeded and out_of_reach(datasets.load(name)):
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
    print(result())


def repro() -> bool:
    """Whether `dvc repro` of this environment succeeded."""
    return subprocess.run([sys.executable, "-m", "dvc", "repro"], check=False).returncode == 0


def out_of_reach(dataset: datasets.Dataset) -> bool:
    """Whether data/raw lacks a file of `dataset` that no source delivers."""
    if dataset.files == "scikit-learn":
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, file in dataset.files.items():
                if not (fetch.RAW / name).exists():
                    download(sources(dataset, fetch.RAW), name, file, Path(folder) / name)
        except NotDelivered:
            return True
    return False


def change_params(changes: dict[str, object]) -> None:
    """Set keys in params.yaml and keep all else, comments included."""
    yaml = YAML()
    content = yaml.load(params.PARAMS)
    content.update(changes)
    yaml.dump(content, params.PARAMS)


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
