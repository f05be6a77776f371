"""The whole pipeline through the real dvc command: what runs, what does not, what comes out."""

import json
import re
import shutil
from pathlib import Path

import pytest

from conftest import Project, describe, tiny_images
from convline import idx

STAGES = ["fetch", "preprocess", "train", "evaluate"]


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` says it starts, in order."""
    return re.findall(r"Running stage '(\w+)'", output)


def would_run(project: Project) -> list[str]:
    """The stages that `dvc repro` would start now."""
    return ran(project.dvc("repro", "--dry"))


def changed(project: Project) -> list[str]:
    """The stages of which something changed, those that follow from them left out."""
    return re.findall(r"^(\w+):$", project.dvc("status"), re.MULTILINE)


def test_the_tiny_dataset_is_learnt(reproduced: Project) -> None:
    figures = json.loads((reproduced.path / "metrics/evaluate.json").read_text())
    assert figures["dataset"] == "tiny"
    assert figures["images"] == 90
    assert figures["accuracy"] > 0.9


def test_a_second_repro_starts_no_stage(project: Project) -> None:
    assert ran(project.dvc("repro")) == []
    assert "up to date" in project.dvc("status")


def test_byte_code_changes_nothing(project: Project) -> None:
    project.run("python", "-m", "compileall", "-q", "src")
    assert would_run(project) == []


def test_repro_leaves_nothing_that_git_would_miss(project: Project) -> None:
    """All that is not committed is an output that DVC versions, an ignored one."""
    assert project.run("git", "status", "--porcelain").stdout == ""
    project.run("git", "clean", "-dxfq", "--exclude", ".dvc")
    project.dvc("checkout")
    assert would_run(project) == []


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("epochs", 1, ["train"]),
        ("learning_rate", 0.1, ["train"]),
        ("conv_filters", [4, 9], ["train"]),
        ("validation_size", 30, ["preprocess"]),
        ("seed", 1, ["preprocess", "train"]),
        ("threads", 1, ["train", "evaluate"]),
    ],
)
def test_a_parameter_concerns_the_stages_that_read_it(
    project: Project, key: str, value: object, stages: list[str]
) -> None:
    project.set_params(**{key: value})
    assert changed(project) == stages


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("src/convline/download.py", ["fetch"]),
        ("src/convline/splits.py", ["preprocess"]),
        ("src/convline/training.py", ["train"]),
        ("src/convline/scores.py", ["evaluate"]),
        ("src/convline/models.py", ["train", "evaluate"]),
        ("src/evaluate.py", ["evaluate"]),
    ],
)
def test_a_source_file_concerns_the_stages_that_import_it(
    project: Project, file: str, stages: list[str]
) -> None:
    with (project.path / file).open("a") as source:
        source.write("# changed\n")
    assert changed(project) == stages


def test_mirrors_are_no_parameter(project: Project) -> None:
    project.set_dataset("tiny", mirrors=["https://example.com/"])
    project.set_dataset("another", classes=["a", "b"], shape=[2, 2], files="scikit-learn")
    assert would_run(project) == []


@pytest.mark.slow
def test_a_changed_parameter_reruns_only_what_it_affects(project: Project) -> None:
    project.set_params(epochs=1)
    assert ran(project.dvc("repro")) == ["train", "evaluate"]
    project.set_params(seed=1)
    assert ran(project.dvc("repro")) == ["preprocess", "train", "evaluate"]


def test_a_finished_run_is_not_repeated(project: Project) -> None:
    """The run-cache knows every stage: going back costs no training."""
    before = project.hashes()
    (project.path / "dvc.lock").unlink()
    shutil.rmtree(project.path / "data")
    shutil.rmtree(project.path / "models")
    assert ran(project.dvc("repro")) == []
    assert project.hashes() == before


def test_experiments_and_their_comparison(project: Project) -> None:
    project.dvc("exp", "run", "--set-param", "epochs=1", "--set-param", "learning_rate=1e-5")
    assert "epochs: 1" in (project.path / "params.yaml").read_text()
    assert "learning_rate: 1e-05" in (project.path / "params.yaml").read_text()
    difference = project.dvc("metrics", "diff", "main")
    assert re.search(r"metrics/evaluate.json +accuracy +[\d.]+ +[\d.]+ +-[\d.]+", difference)
    assert "per_class" not in difference
    table = project.dvc("exp", "show", "--csv")
    assert "epochs" in table


@pytest.mark.slow
def test_two_clones_end_in_the_same_bytes(clone: Project, reproduced: Project) -> None:
    clone.dvc("repro")
    assert clone.hashes() == reproduced.hashes()


@pytest.mark.slow
def test_an_experiment_in_a_temporary_copy_runs_the_code_of_the_copy(project: Project) -> None:
    """A queued change of code and data is the one that runs, whatever the workspace holds then."""
    source = project.path / "src/evaluate.py"
    original = source.read_text()
    source.write_text(original.replace('print(\n        f"evaluate:', 'print(\n        f"COPY:'))
    assert source.read_text() != original
    output = project.dvc("exp", "run", "--temp", "--set-param", "epochs=1")
    assert "COPY: tiny" in output


def test_plots_are_drawn_from_what_the_stages_wrote(project: Project) -> None:
    project.dvc("plots", "show")
    page = (project.path / "dvc_plots/index.html").read_text()
    for title in ("Accuracy by epoch", "Loss by epoch", "Confusion matrix of the test images"):
        assert title in page
    assert "train/loss.tsv" in page
    assert list((project.path / "dvc_plots/static").glob("*mistakes.png"))


@pytest.mark.slow
def test_a_new_version_of_a_dataset_reruns_what_it_must(project: Project, tmp_path: Path) -> None:
    """A changed checksum is fetched anew; the old version comes back by git and DVC alone."""
    before = project.hashes()
    changed = shutil.copytree(project.mirror, tmp_path / "changed")
    images, labels = tiny_images(300, seed=7)
    idx.write(changed / "train-images-idx3-ubyte.gz", images)
    idx.write(changed / "train-labels-idx1-ubyte.gz", labels)
    project.set_dataset("tiny", files=describe(changed))
    project.mirror = changed
    assert ran(project.dvc("repro")) == STAGES
    assert project.hashes() != before
    project.run("git", "checkout", "HEAD", "--", ".")
    project.dvc("checkout")
    assert project.hashes() == before
