"""The whole pipeline through the real dvc command: what runs, what does not, what comes out."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import vl_convert

from conftest import STAGES, Project, describe, ran, tiny_images
from convline.data import idx
from convline.evaluation.figures import FIGURES
from fork_server import NEW


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
        ("convnet", {"filters": [4, 9]}, ["train"]),
        ("resnet", {"depth": 2}, []),
        ("validation_size", 30, ["preprocess"]),
        ("seed", 1, ["preprocess", "train"]),
        ("threads", 1, ["train", "evaluate", "export"]),
        ("quantization", "float16", ["export"]),
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
        ("src/convline/data/download.py", ["fetch"]),
        ("src/convline/data/splits.py", ["preprocess"]),
        ("src/convline/training/augmentation.py", ["train"]),
        ("src/convline/evaluation/scores.py", ["evaluate"]),
        ("src/convline/models.py", ["train", "evaluate", "export"]),
        ("src/networks/convnet.py", ["train", "evaluate", "export"]),
        ("src/networks/resnet.py", []),
        ("src/convline/commands/report.py", []),
        ("src/evaluate.py", ["evaluate"]),
        ("src/convline/export/canonical.py", ["export"]),
    ],
)
def test_a_source_file_concerns_the_stages_that_import_it(
    project: Project, file: str, stages: list[str]
) -> None:
    with (project.path / file).open("a") as source:
        source.write("# changed\n")
    assert changed(project) == stages


def test_mirrors_train_nothing(project: Project) -> None:
    """The stages preprocess and export depend on the whole entry, and make the same files."""
    project.set_dataset("another", classes=["a", "b"], shape=[2, 2], files="scikit-learn")
    assert would_run(project) == []
    project.set_dataset("tiny", mirrors=["https://example.com/"])
    assert ran(project.dvc("repro")) == ["preprocess", "export"]


@pytest.mark.slow
def test_a_changed_parameter_reruns_only_what_it_affects(project: Project) -> None:
    project.set_params(epochs=1)
    assert ran(project.dvc("repro")) == ["train", "evaluate", "export"]
    project.set_params(seed=1)
    assert ran(project.dvc("repro")) == ["preprocess", "train", "evaluate", "export"]


def test_a_finished_run_is_not_repeated(project: Project) -> None:
    """The run-cache knows every stage: going back costs no training."""
    before = project.hashes()
    (project.path / "dvc.lock").unlink()
    shutil.rmtree(project.path / "data")
    shutil.rmtree(project.path / "models")
    assert ran(project.dvc("repro")) == []
    assert project.hashes() == before


@pytest.fixture(scope="module")
def branch(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An experiment that learns next to nothing, on a branch. Tests leave it as it is."""
    project = reproduced.copy(tmp_path_factory.mktemp("branch") / "project")
    project.dvc("exp", "run", "--set-param", "epochs=1", "--set-param", "learning_rate=1e-5")
    project.run("git", "checkout", "--quiet", "-b", "experiment")
    project.commit()
    return project


@pytest.mark.xdist_group("branch")
def test_an_experiment_sets_parameters(branch: Project) -> None:
    assert "epochs: 1" in (branch.path / "params.yaml").read_text()
    assert "learning_rate: 1e-05" in (branch.path / "params.yaml").read_text()
    assert "epochs" in branch.dvc("exp", "show", "--csv")


@pytest.mark.xdist_group("branch")
def test_branches_are_compared_by_their_main_figures(branch: Project) -> None:
    difference = json.loads(branch.dvc("metrics", "diff", "main", "--json"))
    assert set(difference) == {f"metrics/{name}.json" for name in ("train", "evaluate", "export")}
    assert set(difference["metrics/train.json"]) >= {"accuracy", "loss", "epoch"}
    evaluated = set(difference["metrics/evaluate.json"])
    assert {"accuracy", "errors", "brier_score"} <= evaluated <= {f.key for f in FIGURES}
    assert difference["metrics/evaluate.json"]["accuracy"]["diff"] < 0
    for figures in difference.values():
        for key, figure in figures.items():
            if key.endswith("largest_difference"):  # of a float32
                continue
            assert round(figure["old"], 5) == figure["old"]
            assert round(figure["new"], 5) == figure["new"]


@pytest.mark.xdist_group("branch")
def test_branches_are_compared_in_a_reliability_plot(branch: Project, reproduced: Project) -> None:
    (plot,) = json.loads(branch.dvc("plots", "diff", "main", "--json"))["data"]["Reliability"]
    picture = vl_convert.vegalite_to_svg(plot["content"])
    points = re.findall(r": ([\d.]+); accuracy: ([\d.]+); rev: (\w+); images: (\d+)", picture)
    expected = [
        (row.confidence, row.accuracy, revision, row.images)
        for revision, project in (("workspace", branch), ("main", reproduced))
        for row in pd.read_csv(project.path / "metrics/reliability.csv").itertuples()
    ]
    assert sorted((float(x), float(y), rev, int(n)) for x, y, rev, n in points) == sorted(expected)
    assert picture.count('aria-roledescription="line mark"') == 1  # of perfect calibration


@pytest.mark.xdist_group("branch")
def test_branches_are_compared_in_a_plot_of_corruptions(
    branch: Project, reproduced: Project
) -> None:
    """A bar for each kind and revision, as long as the mean of its three accuracies."""
    (plot,) = json.loads(branch.dvc("plots", "diff", "main", "--json"))["data"]["Corruptions"]
    picture = vl_convert.vegalite_to_svg(plot["content"])
    bars = re.findall(r"strengths: ([\d.]+); corruption: (\w+); rev: (\w+)", picture)
    expected = {
        (kind, revision): accuracy
        for revision, project in (("workspace", branch), ("main", reproduced))
        for kind, accuracy in pd.read_csv(project.path / "metrics/corruptions.csv")
        .groupby("corruption")["accuracy"]
        .mean()
        .items()
    }
    found = {(kind, revision): float(accuracy) for accuracy, kind, revision in bars}
    assert len(bars) == len(found) == 20
    assert found == pytest.approx(expected)


@pytest.mark.slow
def test_two_clones_end_in_the_same_bytes(clone: Project, reproduced: Project) -> None:
    """Here the one from forked processes, the other from new ones."""
    clone.dvc("repro", ok=True, **NEW)
    assert clone.hashes() == reproduced.hashes()


def test_plots_are_drawn_from_what_the_stages_wrote(project: Project) -> None:
    project.dvc("plots", "show")
    page = (project.path / "dvc_plots/index.html").read_text()
    for title in (
        "Accuracy by epoch",
        "Loss by epoch",
        "Confusion matrix of the test images",
        "Reliability on the test images",
        "Accuracy on corrupted test images, by kind of corruption",
    ):
        assert title in page
    assert "train/loss.tsv" in page
    assert list((project.path / "dvc_plots/static").glob("*mistakes.png"))


@pytest.mark.slow
def test_a_new_version_of_a_dataset_reruns_what_it_must(project: Project, tmp_path: Path) -> None:
    """A changed checksum is fetched again; the old version comes back by git and DVC alone."""
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
