"""The recipe: which values its keys may have."""

from typing import Any

import pytest

import inprocess
from convline.params import validate
from convline.problems import Problem
from convline.training.recipe import Recipe

VALUES = inprocess.recipe().model_dump()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rotation", 180.1),
        ("zoom", -0.1),
        ("shift", "left"),
        ("distortion", float("inf")),
        ("flip", 1),
        ("class_weight", "even"),
        ("epochs", 0),
        ("batch_size", True),
        ("optimizer", "adm"),
        ("beta_2", 1),
        ("momentum", 1),
        ("weight_decay", -0.1),
        ("learning_rate", 0),
        ("learning_rate_schedule", None),
        ("loss", "accuracy"),
        ("label_smoothing", 1),
        ("network", 1),
    ],
)
def test_a_value_out_of_its_bounds_is_named(key: str, value: Any) -> None:
    validate(Recipe, VALUES, "here")
    with pytest.raises(Problem, match=f"^here: {key} is "):
        validate(Recipe, VALUES | {key: value}, "here")
