"""A new version of the dataset, and the way back to the old one once no mirror has that."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import STAGES, Project, describe, ran, tiny_images
from convline.data import idx
from convline.data.datasets import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("versions")]


@dataclass
class Versions:
    """A project at the new version, whose test images are others, pushed; and the old one.

    `old` are the old version's hashes, as `Project.hashes` gives them; `stages` is what
    `dvc repro` ran for the new one.
    """

    project: Project
    old: dict[str, str]
    stages: list[str]


def renew(project: Project, folder: Path, *files: tuple[str, str, int]) -> None:
    """Give the project's mirror, in `folder`, new `files`: images, labels, and their number."""
    shutil.copytree(project.mirror, folder)
    for images, labels, count in files:
        for name, array in zip((images, labels), tiny_images(count, seed=3)):
            idx.write(folder / name, array)
    project.mirror = folder
    project.set_dataset("tiny", files=describe(folder))


@pytest.fixture(scope="module")
def versions(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Both versions, in git and on the remote. Tests leave them as they are."""
    folder = tmp_path_factory.mktemp("versions")
    project = reproduced.copy(folder / "project")
    project.add_remote(str(folder / "store"))
    project.commit()
    project.run("git", "tag", "old")
    project.dvc("push")
    old = project.hashes()
    renew(project, folder / "mirror", (TEST_IMAGES, TEST_LABELS, 60))
    stages = ran(project.dvc("repro"))
    project.commit()
    project.dvc("push")
    return Versions(project, old, stages)


@pytest.fixture
def colleague(versions: Versions, tmp_path: Path) -> Project:
    """The old version in a new clone, pulled. Mirrors have the new one only."""
    project = Project(tmp_path / "colleague/project", versions.project.mirror)
    versions.project.run("git", "clone", "--quiet", ".", str(project.path))
    project.run("git", "checkout", "--quiet", "old")
    project.dvc("pull")
    return project


def test_new_test_images_train_nothing(versions: Versions) -> None:
    """What was trained on stayed the same, byte for byte, so DVC keeps the model."""
    assert versions.stages == ["fetch", "preprocess", "evaluate", "export"]
    new = versions.project.hashes()
    assert new["data/raw/" + TEST_IMAGES] != versions.old["data/raw/" + TEST_IMAGES]
    assert new["models/model.keras"] == versions.old["models/model.keras"]
    figures = json.loads((versions.project.path / "metrics/evaluate.json").read_text())
    assert figures["images"] == 60


def test_new_training_images_run_every_stage(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "project")
    before = project.hashes()
    renew(
        project,
        tmp_path / "mirror",
        (TRAIN_IMAGES, TRAIN_LABELS, 240),
        (TEST_IMAGES, TEST_LABELS, 60),
    )
    assert ran(project.dvc("repro")) == STAGES
    assert project.hashes()["models/model.keras"] != before["models/model.keras"]
    assert ran(project.dvc("repro")) == []


def test_the_old_version_is_pulled_whole(versions: Versions, colleague: Project) -> None:
    assert colleague.hashes() == versions.old
    assert "up to date" in colleague.dvc("status")
    assert ran(colleague.dvc("repro")) == []


def test_the_old_version_is_fetched_again_from_the_remote(
    versions: Versions, colleague: Project
) -> None:
    shutil.rmtree(colleague.path / ".dvc/cache")
    assert ran(colleague.dvc("repro", "--force", "fetch")) == ["fetch"]
    assert colleague.hashes() == versions.old


def test_the_old_version_is_reproduced_from_its_raw_data(
    versions: Versions, colleague: Project
) -> None:
    assert ran(colleague.dvc("repro", "--force")) == STAGES
    assert colleague.hashes() == versions.old
    assert colleague.run("git", "status", "--porcelain").stdout == ""
