"""The evaluate stage: what it refuses, and that its figures agree with one another."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import evaluate
import inprocess
from conftest import CLASSES, NAMES, Project
from convline import problems
from convline.data import arrays
from convline.evaluation import results
from convline.paths import MODEL, PROCESSED

TEST_IMAGES, TEST_LABELS = arrays.paths(PROCESSED, "test")
TEST_NAMES = PROCESSED / arrays.NAMES


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    """Keras, with its backend chosen."""
    inprocess.configure()
    import keras

    return keras


def in_process(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run the stage in this process, where Keras is imported already, and return its one line."""
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(sys, "argv", ["src/evaluate.py"])
    with pytest.raises(SystemExit) as ended:
        problems.run(evaluate.main)
    assert ended.value.code == 1
    line = capsys.readouterr().err
    assert line.startswith("evaluate: ")
    assert line.count("\n") == 1
    assert not list(project.path.rglob("*.part"))
    return line.strip()


def put_model(project: Project, side: int = 12, classes: int = 3) -> None:
    """Put an untrained model of other shapes in the place of the project's."""
    from convline import models

    model = inprocess.convnet((side, side, 1), classes, filters=[2], kernels=[3])
    models.save(model, project.path / MODEL, inprocess.MADE_FROM)


def put_diverged_model(project: Project) -> None:
    """Put a model whose weights are no numbers in the place of the project's."""
    from convline import models

    model = inprocess.convnet((12, 12, 1), 3, filters=[2], kernels=[3])
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    models.save(model, project.path / MODEL, inprocess.MADE_FROM)


def cut(path: Path) -> Callable[[Project], None]:
    """A function that leaves half of a file."""

    def apply(project: Project) -> None:
        raw = (project.path / path).read_bytes()
        (project.path / path).write_bytes(raw[: len(raw) // 2])

    return apply


def put_names(project: Project, names: list[str]) -> None:
    """Give the test images the names of files."""
    (project.path / TEST_NAMES).unlink()  # which may be a link into the cache
    (project.path / TEST_NAMES).write_text(json.dumps(names))


def narrow(project: Project) -> None:
    """Leave a class out of the labels."""
    np.save(project.path / TEST_LABELS, np.load(project.path / TEST_LABELS)[:, 1:])


WRONG: list[tuple[Callable[[Project], Any], str]] = [
    (lambda project: (project.path / MODEL).unlink(), f"{MODEL} is missing; `dvc repro train`"),
    (cut(MODEL), f"{MODEL} is not a Keras model: "),
    (
        lambda project: put_model(project, side=10),
        f"{MODEL} does not turn images of (12, 12, 1) into the probabilities of 3 classes; ",
    ),
    (
        lambda project: put_model(project, classes=4),
        f"{MODEL} does not turn images of (12, 12, 1) into the probabilities of 3 classes; ",
    ),
    (put_diverged_model, f"{MODEL} returns numbers that are not probabilities; `dvc repro train`"),
    (lambda project: (project.path / TEST_IMAGES).unlink(), f"{TEST_IMAGES} is missing; "),
    (cut(TEST_IMAGES), f"{TEST_IMAGES} is damaged: "),
    (cut(TEST_LABELS), f"{TEST_LABELS} is damaged: "),
    (lambda project: (project.path / TEST_NAMES).unlink(), f"{TEST_NAMES} is missing; "),
    (cut(TEST_NAMES), f"{TEST_NAMES} is damaged: "),
    (
        lambda project: put_names(project, ["a.jpg"] * 89),
        f"{TEST_NAMES} has 89 names, but there are 90 test images; `dvc repro preprocess`",
    ),
    (narrow, f"{TEST_LABELS} has 2 classes, tiny has 3; `dvc repro preprocess`"),
]


@pytest.mark.parametrize(("damage", "expected"), WRONG)
def test_wrong_inputs_are_refused(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Project], Any],
    expected: str,
) -> None:
    damage(project)
    before = project.hashes()
    assert expected in in_process(project, monkeypatch, capsys)
    assert project.hashes() == before


@pytest.mark.parametrize(("damage", "expected"), [WRONG[1], WRONG[2], WRONG[5]])
def test_the_script_shows_the_refusal(
    project: Project, damage: Callable[[Project], Any], expected: str
) -> None:
    damage(project)
    assert expected in project.problem("evaluate")


@pytest.mark.parametrize(
    "name", ["evaluate.json", "predictions.csv", "reliability.csv", "mistakes.png"]
)
def test_a_full_disk_loses_nothing(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    target = f"metrics/{name}"
    before = project.hashes()[target]
    (project.path / f"{target}.part").symlink_to("/dev/full")
    line = in_process(project, monkeypatch, capsys)
    assert line == f"evaluate: {target} cannot be written: No space left on device"
    assert project.hashes()[target] == before


def test_the_figures_agree(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_model(project)  # untrained: it makes mistakes
    monkeypatch.chdir(project.path)
    evaluate.main()

    from convline import models

    test = arrays.load_split(PROCESSED, "test")
    model = models.load(MODEL)
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    images = test.images[np.arange(len(test.images))]
    measured = model.evaluate(images, test.labels.astype(np.float32), verbose=0, return_dict=True)
    figures = json.loads(Path("metrics/evaluate.json").read_text())
    assert figures["images"] == len(test.images)
    assert 0 < figures["errors"] < len(test.images)
    assert figures["accuracy"] == pytest.approx(measured["accuracy"], abs=1e-4)
    assert figures["negative_log_likelihood"] == pytest.approx(measured["loss"], rel=1e-4)

    with open("metrics/predictions.csv") as file:
        rows = list(csv.DictReader(file))
    probabilities = model.predict(images, verbose=0)
    assert [int(row["index"]) for row in rows] == list(range(len(test.images)))
    assert [CLASSES.index(row["actual"]) for row in rows] == test.labels.argmax(axis=1).tolist()
    assert [CLASSES.index(row["predicted"]) for row in rows] == (
        probabilities.argmax(axis=1).tolist()
    )
    assert [float(row["confidence"]) for row in rows] == pytest.approx(
        probabilities.max(axis=1).tolist(), abs=1e-4
    )
    assert sum(row["actual"] != row["predicted"] for row in rows) == figures["errors"]
    for row in figures["per_class"]:
        assert row["images"] == sum(r["actual"] == row["class"] for r in rows)

    bins = pd.read_csv("metrics/reliability.csv")
    assert list(bins) == ["low", "high", "images", "confidence", "accuracy"]
    gaps = (bins["confidence"] - bins["accuracy"]).abs()
    assert np.average(gaps, weights=bins["images"]) == pytest.approx(
        figures["expected_calibration_error"], abs=6e-5
    )
    assert bins["images"].sum() == len(rows)
    assert bins["images"] @ (1 - bins["accuracy"]) == pytest.approx(figures["errors"], abs=1e-3)
    assert (bins["low"] <= bins["confidence"]).all()
    assert (bins["confidence"] <= bins["high"]).all()

    shown = capsys.readouterr().out
    assert f"test accuracy {figures['accuracy']:.2%}" in shown
    assert f"{figures['errors']} errors in 90 images" in shown
    assert ("never predicted" in shown) == bool(figures["never_predicted"])


def test_names_of_files_stand_beside_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they hold; what no UTF-8 can hold is written as an escape."""
    monkeypatch.chdir(project.path)
    evaluate.main()
    plain = pd.read_csv("metrics/predictions.csv", dtype=str, keep_default_na=False)
    names = [f"{i}{NAMES[i % len(NAMES)]}" for i in range(90)]
    put_names(project, names)
    evaluate.main()

    written = [name.encode(errors="backslashreplace").decode() for name in names]
    with open("metrics/predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "file_name", "actual", "predicted", "confidence"]
    assert [row["file_name"] for row in rows] == written
    for column in plain:
        assert [row[column] for row in rows] == list(plain[column])
    run = results.Run("workspace", {})
    # DVC reads any line end as a newline
    assert list(run.predictions["file_name"]) == [name.replace("\r", "\n") for name in written]
    assert list(run.predictions["actual"]) == list(plain["actual"])


def test_corrupted_images(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their accuracies are what the model says about the copies, whatever batches they come in."""
    from convline import models
    from convline.evaluation import corruptions

    monkeypatch.chdir(project.path)
    evaluate.main()
    images, labels = np.load(TEST_IMAGES), np.load(TEST_LABELS)
    model = models.load(MODEL)
    expected = [
        {
            "corruption": kind.__name__,
            "strength": strength,
            "accuracy": round(float((answers.argmax(axis=1) == labels.argmax(axis=1)).mean()), 4),
        }
        for copy, (kind, strength) in enumerate(corruptions.COPIES)
        for answers in [model.predict(corruptions.corrupted(images, copy, 0), verbose=0)]
    ]
    figures = json.loads(Path("metrics/evaluate.json").read_text())
    assert figures["per_corruption"] == expected
    assert len({row["accuracy"] for row in expected}) > 1
    table = pd.read_csv("metrics/corruptions.csv").round(4)
    assert table.to_dict("records") == expected
    mean = figures["corrupted_accuracy"]
    assert mean == pytest.approx(table["accuracy"].mean(), abs=1e-4)
    assert capsys.readouterr().out.endswith(f" 90 images, {mean:.2%} on corrupted ones\n")


def test_colour_images_and_classes_that_are_never_predicted(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a model that takes all for the first class."""
    from convline import models

    monkeypatch.chdir(project.path)
    model = inprocess.convnet((12, 12, 3), 3, filters=[2], kernels=[3])
    weights = [np.zeros_like(weight) for weight in model.get_weights()]
    weights[-1][0] = 9
    model.set_weights(weights)
    models.save(model, MODEL, inprocess.MADE_FROM)
    colour = np.repeat(np.load(TEST_IMAGES), 3, axis=3)
    TEST_IMAGES.unlink()
    np.save(TEST_IMAGES, colour)
    evaluate.main()

    shown = capsys.readouterr().out
    assert shown.endswith("\nevaluate: never predicted: bee, cat (2 of 3 classes)\n")
    figures = json.loads(Path("metrics/evaluate.json").read_text())
    assert figures["never_predicted"] == ["bee", "cat"]
    assert figures["balanced_accuracy"] == 0.3333
    with Image.open("metrics/mistakes.png") as picture:
        assert picture.mode == "RGB"
