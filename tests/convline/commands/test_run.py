"""What `convline run` does to params.yaml, when it takes digits, and what it shows."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from convline.commands import run
from convline.data import datasets
from convline.data.download import NotDelivered
from convline.problems import Problem


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_full_disk_leaves_params_yaml() -> None:
    params = Path("params.yaml")
    params.write_text("epochs: 5  # passes\nseed: 0\n")
    Path("params.yaml.part").symlink_to("/dev/full")
    with pytest.raises(Problem, match=r"^params\.yaml cannot be written: No space left on device"):
        run.change_params({"epochs": 30})
    assert params.read_text() == "epochs: 5  # passes\nseed: 0\n"
    run.change_params({"epochs": 30})
    assert params.read_text() == "epochs: 30 # passes\nseed: 0\n"


def test_sections_keep_the_keys_that_do_not_change() -> None:
    params = Path("params.yaml")
    params.write_text("convnet:\n  crop: 0  # pixels\n  bias: true\nmine:\n  lr: 1\n")
    run.change_params({"convnet": {"crop": 2, "own": 1}, "mine": 3, "new": {"a": 1}})
    assert yaml.safe_load(params.read_text()) == {
        "convnet": {"crop": 2, "bias": True, "own": 1},
        "mine": 3,
        "new": {"a": 1},
    }
    assert "crop: 2  # pixels\n" in params.read_text()


def write_recipe(name: str, content: str) -> None:
    Path("recipes").mkdir(exist_ok=True)
    Path(f"recipes/{name}.yaml").write_text(content)


def test_a_recipe_is_the_tutorial_except_where_it_differs() -> None:
    write_recipe("tutorial", "loss: usual\nepochs: 5\nconvnet: {crop: 0, bias: true}\n")
    write_recipe("other", "epochs: 1\nconvnet: {crop: 2}\n")
    assert run.load_recipe("other") == {
        "loss": "usual",
        "epochs": 1,
        "convnet": {"crop": 2, "bias": True},
    }
    assert run.load_recipe("tutorial")["epochs"] == 5


def test_a_broken_recipe_is_a_problem() -> None:
    write_recipe("tutorial", "epochs: 5\n")
    write_recipe("other", "- epochs\n")
    with pytest.raises(Problem, match=r"^recipes/other\.yaml should hold one `key: value` a line"):
        run.load_recipe("other")


DATASET: dict[str, Any] = {
    "classes": ["a", "b"],
    "shape": [2, 2],
    "mirrors": [],
    "files": {
        name: {"bytes": 3, "checksum": f"sha256:{digit * 64}"}
        for name, digit in zip(datasets.FILES, "0123")
    },
}


def dataset(**changes: object) -> datasets.IdxDataset:
    return datasets.IdxDataset.model_validate(DATASET | changes)


def test_a_dataset_that_needs_no_source_is_within_reach() -> None:
    assert not run.out_of_reach(dataset(files="scikit-learn"))


@pytest.mark.parametrize("there", range(5))
def test_a_dataset_is_out_of_reach_while_a_file_is_missing(
    monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    """And no source delivers it. Files that are here are not asked for."""
    asked = []

    def download(_sources: object, name: str, *_: object) -> None:
        asked.append(name)
        raise NotDelivered

    monkeypatch.setattr(run, "download", download)
    Path("data/raw").mkdir(parents=True)
    for name in datasets.FILES[:there]:
        Path("data/raw", name).touch()
    assert run.out_of_reach(dataset()) == (there < 4)
    assert asked == list(datasets.FILES[there : there + 1])


def test_the_result_is_shown() -> None:
    Path("metrics").mkdir()
    figures = {
        "dataset": "tiny",
        "accuracy": 0.98765,
        "accuracy_interval_95": [0.9, 1],
        "errors": 1234,
        "images": 10_000,
    }
    Path("metrics/evaluate.json").write_text(json.dumps(figures))
    assert run.result().splitlines()[1:] == [
        "Dataset        tiny",
        "Test accuracy  98.77% (90.00% to 100.00% with 95 % confidence)",
        "Errors         1,234 of 10,000 test images, the worst in metrics/mistakes.png",
        "Model          models/model.keras",
    ]
