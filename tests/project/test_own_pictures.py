"""Imported pictures in the real pipeline: through the remote, a clone, and back to an older set."""

import shutil
from pathlib import Path

import pytest
import yaml

from conftest import Project, ran
from drawings import draw, draw_pets

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pictures")]


@pytest.fixture(scope="module")
def pushed(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two versions of pets, tagged `old` and in main, both pushed to a remote."""
    folder = tmp_path_factory.mktemp("pushed")
    project = fresh.copy(folder / "project")
    project.add_remote(str(folder / "store"))
    project.set_params(epochs=1, validation_size=0.2)
    project.commit("Add a remote")
    draw_pets(folder / "pets")
    project.convline("import", "pets", "../pets")
    project.commit("Import pets")
    project.run("git", "tag", "old")
    project.dvc("push")
    draw(folder / "pets", [f"ant/new{i}.png" for i in range(3)], first=800)
    project.convline("import", "pets", "../pets")
    project.commit("Import more pets")
    return project


@pytest.fixture(scope="module")
def clone(pushed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A colleague's clone, after `dvc exp run -S dataset=pets` without a `dvc pull`."""
    pushed.dvc("push")
    project = Project(tmp_path_factory.mktemp("clone") / "project", Path("/nowhere"))
    pushed.run("git", "clone", "--quiet", ".", str(project.path))
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@example.com")
    output = project.dvc("exp", "run", "-S", "dataset=pets")
    assert ran(output) == ["fetch", "preprocess", "train", "evaluate", "export"]
    return project


def packed(project: Project, folder: str = "data/raw") -> dict[str, bytes]:
    """The files of the pictures."""
    return {path.name: path.read_bytes() for path in (project.path / folder).iterdir()}


def test_a_push_without_the_pictures_is_noticed(pushed: Project, tmp_path: Path) -> None:
    project = pushed.copy(tmp_path / "project")
    project.dvc("remote", "modify", "--local", "storage", "url", str(tmp_path / "empty"))
    result = project.convline("pushed", ok=False)
    assert result.returncode == 4
    assert "lacks data/sets/pets" in result.stderr
    project.dvc("push")
    assert "has all 1 outputs" in project.convline("pushed").stdout


def test_a_clone_trains_without_a_pull(clone: Project, pushed: Project) -> None:
    assert packed(clone) == packed(pushed, "data/sets/pets")
    assert not (clone.path / "data/sets/pets").exists()


def test_an_older_version_is_a_checkout_away(clone: Project, pushed: Project) -> None:
    """In a copy of the project too, which has no pictures of its own."""
    clone.run("git", "checkout", "--quiet", "old", "--", "datasets.yaml", "data/sets/pets.dvc")
    clone.dvc("repro", "preprocess")
    names = yaml.safe_load((clone.path / "datasets.yaml").read_text())["pets"]["files"]
    assert set(packed(clone)) == set(names)
    assert packed(clone) != packed(pushed, "data/sets/pets")
    clone.dvc("pull", "data/sets/pets.dvc")
    assert packed(clone) == packed(clone, "data/sets/pets")
    shutil.rmtree(clone.path / "data/sets/pets")
    clone.run("git", "checkout", "--quiet", "HEAD", "--", "datasets.yaml", "data/sets/pets.dvc")
    output = clone.dvc("exp", "run", "--temp", "--force", "-S", "dataset=pets", "preprocess")
    assert ran(output) == ["fetch", "preprocess"]
    clone.dvc("repro", "preprocess")
    assert packed(clone) == packed(pushed, "data/sets/pets")


def test_nothing_is_trained_on_damaged_pictures(clone: Project, pushed: Project) -> None:
    """And other datasets need none of them."""
    shutil.rmtree(clone.path / ".dvc/cache")
    shutil.rmtree(clone.path / "data/raw")
    clone.dvc("remote", "modify", "--local", "storage", "url", str(clone.path / "empty"))
    clone.run("git", "clean", "-fdqx", "data/processed")
    output = clone.dvc("repro", "preprocess", ok=False)
    assert "fetch: no source delivered pictures-0.zip: data/sets/pets (not found); " in output
    assert not (clone.path / "data/processed/train_images.npy").exists()
    clone.mirror = pushed.mirror
    clone.set_params(dataset="tiny")
    assert ran(clone.dvc("repro", "--single-item", "fetch")) == ["fetch"]
