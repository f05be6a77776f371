"""What the server says of a model: from the project's run of it, or from the file alone."""

from pathlib import Path

import pytest

import exports
import registry
from conftest import Project
from convline.commands.card import card
from convline.evaluation import results
from convline.serving.current import File, Served
from convline.serving.description import Descriptions


def served(path: Path, md5: str, revision: str | None = None) -> Served:
    """A model that says it was exported from the one with this md5."""
    model = File(exports.write(path, model_md5=md5)).read()
    return Served(model.classifier, revision)


def test_a_model_of_the_project_has_its_card_and_figures(
    experimented: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experimented.path)
    md5 = experimented.objects()["models/model.keras"]
    run = results.load("workspace")
    described = Descriptions(card).of(served(tmp_path / "model.onnx", md5))
    assert described.card == card(run)
    assert described.facts["figures"] == run.scores.figures
    assert described.facts["md5"] == md5
    registered = Descriptions(card).of(served(tmp_path / "model.onnx", md5, "main"))
    assert registered.card == card(results.load("main"))


def test_a_model_of_an_older_commit_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = registry.begin(tmp_path / "project")
    md5 = registry.commit(folder, 0)
    registry.commit(folder, 1)
    monkeypatch.chdir(folder)
    described = Descriptions(card).of(served(tmp_path / "model.onnx", md5))
    assert described.facts["figures"] is None  # this small project has none
    assert described.card.startswith("# Classifier of tiny\n")


def test_a_model_from_elsewhere_is_described_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    described = Descriptions(card).of(served(tmp_path / "model.onnx", "1" * 32))
    assert "- md5: " + "1" * 32 in described.card
    assert "- classes: ant, bee, cat\n" in described.card
    assert described.facts["figures"] is None
    assert described.facts["quantization"] == "none"


def test_a_description_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    descriptions = Descriptions(card)
    model = served(tmp_path / "model.onnx", "1" * 32)
    assert descriptions.of(model) is descriptions.of(model)
    assert descriptions.of(served(tmp_path / "model.onnx", "2" * 32)).facts["md5"] == "2" * 32
