"""The pipeline on JAX: its promises, and models that the backends exchange."""

import json
import math
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from test_recovery import forget, recovers, strike_in_epoch_4

import inprocess
from conftest import Project, ran
from convline.commands import run
from fork_server import NEW

# On JAX, no process is a fork: each imports Keras, for some seconds
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("jax")]


def repro(project: Project, *options: str) -> str:
    """`dvc repro` with stages that may run on JAX: what it prints."""
    return project.dvc("repro", *options, ok=True, **NEW)


def figures(project: Project) -> dict[str, Any]:
    """What evaluate has found, without what it was made from."""
    content = json.loads((project.path / "metrics/evaluate.json").read_text())
    return {key: value for key, value in content.items() if key != "made_from"}


@pytest.fixture(scope="module")
def on_jax(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after `dvc repro` on JAX, with all that is random. Tests leave it as it is."""
    project = reproduced.copy(tmp_path_factory.mktemp("jax") / "project")
    project.set_params(
        backend="jax",
        epochs=40,
        convnet={"dropout": 0.5, "batch_normalization": True},
        rotation=10,
        distortion=0.5,
        label_smoothing=0.1,
        class_weight="balanced",
        average_mirrored=True,
    )
    assert ran(repro(project)) == ["train", "evaluate", "export"]
    return project


def test_the_tiny_dataset_is_learnt(on_jax: Project) -> None:
    assert figures(on_jax)["accuracy"] > 0.9


def test_reruns_end_in_the_same_bytes(on_jax: Project, tmp_path: Path) -> None:
    """Also that of a training that was killed and resumes."""
    project = on_jax.copy(tmp_path / "project")
    expected = project.hashes()
    forget(project, "train")
    strike_in_epoch_4(project, signal.SIGKILL)
    output = recovers(project, "train", expected, **NEW)
    resumed = re.search(r"train: resumes after epoch (\d+) of 40\n", output)
    assert resumed and 3 <= int(resumed[1]) < 40
    assert project.stage("evaluate", **NEW).returncode == 0
    assert project.hashes() == expected


@pytest.mark.parametrize("trained_on", ["tensorflow", "jax"])
def test_each_backend_evaluates_models_of_the_other(
    trained_on: str, on_jax: Project, reproduced: Project, tmp_path: Path
) -> None:
    """With the same figures: a model's answers differ in the last digits only.

    Export runs on TensorFlow, and has compared its files with the model.
    """
    source = on_jax if trained_on == "jax" else reproduced
    project = source.copy(tmp_path / "project")
    other = "tensorflow" if trained_on == "jax" else "jax"
    project.set_params(backend=other)
    assert project.stage("evaluate", **NEW).returncode == 0
    for name, value in figures(source).items():
        assert figures(project)[name] == pytest.approx(value, abs=1e-3), name


def test_every_recipe_trains_to_the_same_bytes(
    clone: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own network and parameters, on few images."""
    monkeypatch.chdir(clone.path)
    recipes = sorted(path.stem for path in Path("recipes").glob("*.yaml"))
    assert {run.load_recipe(name)["network"] for name in recipes} == {"convnet", "resnet"}
    code = f"import jax_recipes; jax_recipes.main({recipes})"
    first, second = (json.loads(inprocess.run(code, KERAS_BACKEND="jax")) for _ in range(2))
    assert list(first) == recipes
    for name, trained in first.items():
        assert all(map(math.isfinite, trained["losses"])), name
        assert len(set(trained["losses"])) == 2, name
    assert second == first
