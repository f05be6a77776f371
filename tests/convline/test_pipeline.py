"""What DVC says of the pipeline, in whatever form it is declared."""

import contextlib
from pathlib import Path

import pytest
from dvc.repo import Repo

from conftest import REPOSITORY
from convline import pipeline
from convline.problems import Problem

DVC_YAML = """
vars:
- mine: yaml
stages:
  flat: {cmd: date, params: [epochs, mine.lr]}
  other: {cmd: date, params: [other.yaml: [zoom]]}
  whole: {cmd: date, params: [params.yaml: ]}
  template: {cmd: 'echo ${word} ${nested.key} ${ spaced } ${listed[0]}'}
  each: {foreach: '${names}', do: {cmd: date}}
"""
PARAMS = """
{epochs: 1, mine.lr: 2, word: a, nested: {key: b}, spaced: c, listed: [d], names: [e, f]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A DVC project with stages that use parameters in many ways."""
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "other.yaml").write_text("zoom: 1\n")
    with Repo.init(str(tmp_path), no_scm=True):
        return tmp_path


@pytest.mark.parametrize(
    ("stage", "keys"),
    [("flat", {"epochs", "mine.lr"}), ("other", set()), ("whole", None), ("template", set())],
)
def test_declared_are_the_params_in_the_file(
    folder: Path, stage: str, keys: set[str] | None
) -> None:
    with contextlib.chdir(folder), pipeline.opened() as repo:
        assert pipeline.declared(repo.stage.load_one(name=stage), "params.yaml") == keys


def test_used_are_those_of_templates_too(folder: Path) -> None:
    with contextlib.chdir(folder), pipeline.opened() as repo:
        used = pipeline.used(repo.index.stages, "params.yaml")
    assert used >= {"epochs", "mine", "word", "nested", "spaced", "listed", "names"}
    assert "zoom" not in used


def test_a_pipeline_that_dvc_cannot_read_is_a_problem(folder: Path) -> None:
    (folder / "dvc.yaml").write_text("stages: {flat: {}}")
    with (
        contextlib.chdir(folder),
        pytest.raises(Problem, match="DVC cannot read the pipeline: "),
        pipeline.opened() as repo,
    ):
        assert repo.index.stages


def test_networks_are_the_files_of_their_folder() -> None:
    names = {path.stem for path in (REPOSITORY / "src/networks").glob("*.py")}
    assert {"convnet", "resnet"} <= set(pipeline.networks()) <= names
