"""The recipes: differences from the tutorial's, set without losing anything."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import inprocess
from conftest import REPOSITORY, Project
from convline import pipeline
from convline.commands import run
from convline.training.recipe import Recipe

FILES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
RECIPES = {file.stem: yaml.safe_load(file.read_bytes()) for file in FILES}
SMALL = {"filters": [4], "kernels": [3]}


def test_each_has_its_command(clone: Project) -> None:
    targets = clone.run("make").stdout
    for name in RECIPES:
        assert f"make {name} " in targets


def test_the_tutorial_sets_all_that_a_recipe_can() -> None:
    """So that nothing of one recipe is left when another is used."""
    recipe = RECIPES[run.BASE]
    assert set(recipe) == {*Recipe.model_fields, recipe["network"]}
    assert recipe == {key: inprocess.DEFAULTS[key] for key in recipe}


def differences(recipe: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The keys of `recipe`, sections included, whose values are not those of `base`."""
    found = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            value = differences(value, base.get(key, {}))
        if value not in ({}, base.get(key)):
            found[key] = value
    return found


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {run.BASE}))
def test_a_recipe_holds_only_what_differs_from_the_tutorial(name: str) -> None:
    base = RECIPES[run.BASE]
    assert set(RECIPES[name]) <= {*Recipe.model_fields, *pipeline.networks()}
    assert RECIPES[name] == differences(RECIPES[name], base)


@pytest.mark.parametrize("name", ["tutorial", "fast", "accurate"])
def test_a_recipe_has_fewer_than_100_000_weights(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inprocess.configure()
    from networks import convnet

    monkeypatch.chdir(REPOSITORY)
    params = convnet.Params.model_validate(run.load_recipe(name)["convnet"])
    assert convnet.build((28, 28, 1), 10, params).count_params() < 100_000


def test_taking_one_and_going_back_leaves_params_yaml_as_it_was(
    clone: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    original = Path("params.yaml").read_bytes()
    monkeypatch.chdir(clone.path)
    Path("params.yaml").write_bytes(original)
    for name in RECIPES:
        run.change_params(run.load_recipe(name))
        expected = yaml.safe_load(original)
        run.update(expected, RECIPES[name])
        assert yaml.safe_load(Path("params.yaml").read_text()) == expected
    run.change_params(run.load_recipe("tutorial"))
    assert Path("params.yaml").read_bytes() == original


def shrink(project: Project) -> None:
    """Make the recipe `fast` fit images of 12 x 12."""
    project.install()
    recipe = RECIPES["fast"] | {"convnet": RECIPES["fast"]["convnet"] | SMALL}
    (project.path / "recipes/fast.yaml").write_text(yaml.safe_dump(recipe))
    project.commit()


@pytest.mark.slow
def test_make_with_a_recipe_runs_it_and_dvc_compares(project: Project) -> None:
    shrink(project)
    assert "Dataset        tiny" in project.run("make", "fast").stdout
    params = yaml.safe_load((project.path / "params.yaml").read_text())
    assert params["epochs"] == RECIPES["fast"]["epochs"]
    assert params["optimizer"] == RECIPES["fast"]["optimizer"]
    assert SMALL.items() <= params["convnet"].items()
    assert params["dataset"] == "tiny"
    project.dvc("exp", "run", "--name", "fast")
    project.run("git", "checkout", "HEAD", "--", ".")
    assert "metrics/evaluate.json  negative_log_likelihood" in project.dvc(
        "metrics", "diff", "fast"
    )


def test_a_recipe_without_its_dataset_is_not_run_on_digits(clone: Project, tmp_path: Path) -> None:
    shrink(clone)
    clone.mirror = tmp_path / "nowhere"
    clone.set_dataset("tiny", mirrors=["http://127.0.0.1:9/"])
    result = clone.run("make", "fast", ok=False)
    assert result.returncode == 2
    assert "fetch: no source delivered" in result.stdout + result.stderr
    assert "digits" not in result.stdout
    assert yaml.safe_load((clone.path / "params.yaml").read_text())["dataset"] == "tiny"
