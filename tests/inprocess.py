"""Keras within the tests' own process: its backend, and recipes and networks for it."""

import copy
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from convline import backend
from convline.backend import BackendParams
from convline.provenance import Record
from convline.training.recipe import Recipe
from networks import convnet as convnets

TESTS = Path(__file__).parent
MADE_FROM = Record(stage="train", params={"params.yaml": {"epochs": 5}}, deps={})
DEFAULTS = yaml.safe_load((TESTS.parent / "params.yaml").read_text())
OWN = TESTS / "own_networks"
CONVNETS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with_everything": {
        "standardize": True,
        "batch_normalization": True,
        "dropout": 0.5,
        "downsampling": "stride",
    },
}
SECTIONS: dict[str, dict[str, Any]] = {
    "resnet": {"filters": [3, 5], "depth": 1, "dropout": 0.5},
    "branches": {"filters": 2},
    "custom_layer": {"units": 16},
    "subclassed": {"units": 16},
}
NETWORKS = (*CONVNETS, *SECTIONS, "mirrored")


def configure() -> None:
    """Choose the backend as the stages do, before a test imports Keras."""
    settings = BackendParams(backend="tensorflow", threads=2)
    backend.choose(settings)
    backend.configure(settings)


def recipe(**changes: object) -> Recipe:
    """The recipe of params.yaml with `changes`."""
    values = {key: DEFAULTS[key] for key in Recipe.model_fields}
    return Recipe.model_validate(values | changes)


def convnet(input_shape: tuple[int, int, int], classes: int, **changes: object) -> Any:
    """The network of params.yaml with `changes` of its section."""
    section = copy.deepcopy(DEFAULTS["convnet"]) | changes
    return convnets.build(input_shape, classes, convnets.Params.model_validate(section))


def build(name: str) -> Any:
    """One of `NETWORKS`, ours and a user's, for images of 12 x 12 in three classes.

    "mirrored" averages those of an image and its mirror image.
    """
    if name in CONVNETS:
        return convnet((12, 12, 1), 3, filters=[4, 8], kernels=[3, 3], **CONVNETS[name])
    if name == "mirrored":
        from convline import models

        return models.averaging_mirrored(build("resnet"), (12, 12, 1))
    sys.path.append(str(OWN))
    module = importlib.import_module("networks.resnet" if name == "resnet" else name)
    sys.path.remove(str(OWN))
    return module.build((12, 12, 1), 3, module.Params.model_validate(SECTIONS[name]))


def run(code: str, *folders: Path, hash_seed: int = 0, **environment: str) -> str:
    """The output of Python code in a new process, which imports from `folders` too."""
    paths = [*folders, TESTS, TESTS.parent / "src"]
    variables = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONHASHSEED": str(hash_seed),
        "KERAS_BACKEND": "tensorflow",
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
