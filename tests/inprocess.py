"""Keras within the tests' own process: its backend, and recipes for it."""

from pathlib import Path

import yaml

from convline import backend
from convline.backend import BackendParams
from convline.provenance import Record
from convline.recipe import Recipe

MADE_FROM = Record(stage="train", params={"params.yaml": {"epochs": 5}}, deps={})
DEFAULTS = yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text())


def configure() -> None:
    """Choose the backend as the stages do, before a test imports Keras."""
    backend.configure(BackendParams(backend="tensorflow", threads=2))


def recipe(**changes: object) -> Recipe:
    """The recipe of params.yaml with `changes`."""
    values = {key: DEFAULTS[key] for key in Recipe.model_fields}
    return Recipe.model_validate(values | changes)
