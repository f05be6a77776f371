"""The recipes: parameters of this pipeline, complete, and set without losing anything."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import inprocess
import run
from conftest import REPOSITORY, Project

FILES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
RECIPES = {file.stem: yaml.safe_load(file.read_bytes()) for file in FILES}


def test_each_has_its_command(clone: Project) -> None:
    targets = clone.run("make").stdout
    for name in RECIPES:
        assert f"make {name} " in targets


def test_all_set_the_same_parameters() -> None:
    """So that nothing of one is left when another is taken."""
    for recipe in RECIPES.values():
        assert set(recipe) == set(RECIPES["tutorial"])


def test_the_tutorial_is_what_params_yaml_has() -> None:
    recipe = RECIPES["tutorial"]
    assert recipe == {key: inprocess.DEFAULTS[key] for key in recipe}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_no_more_than_100_000_parameters(name: str) -> None:
    inprocess.configure()
    from convline import network

    model = network.build(28, 28, 10, inprocess.recipe(**RECIPES[name]))
    assert model.count_params() <= 100_000


def test_taking_one_and_going_back_leaves_params_yaml_as_it_was(
    clone: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    original = Path("params.yaml").read_bytes()
    monkeypatch.chdir(clone.path)
    Path("params.yaml").write_bytes(original)
    for name in ("fast", "accurate"):
        run.change_params(RECIPES[name])
        content = Path("params.yaml").read_text()
        assert yaml.safe_load(content) == inprocess.DEFAULTS | RECIPES[name]
    run.change_params(RECIPES["tutorial"])
    assert Path("params.yaml").read_bytes() == original


def shrink(project: Project) -> None:
    """Make the recipe `fast` fit images of 12 x 12."""
    project.install()
    recipe: dict[str, Any] = RECIPES["fast"] | {"conv_filters": [4], "conv_kernels": [3]}
    (project.path / "recipes/fast.yaml").write_text(yaml.safe_dump(recipe))
    project.commit()


@pytest.mark.slow
def test_make_with_a_recipe_runs_it_and_dvc_compares(project: Project) -> None:
    shrink(project)
    assert "Dataset        tiny" in project.run("make", "fast").stdout
    params = yaml.safe_load((project.path / "params.yaml").read_text())
    assert params == params | RECIPES["fast"] | {"conv_filters": [4], "conv_kernels": [3]}
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
