"""The train stage: what it refuses and what it writes."""

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inprocess
from conftest import Project
from convline.data import arrays
from fork_server import NEW

PROCESSED = Path("data/processed")
HISTORY = Path("metrics/history/plots/metrics")


@pytest.fixture(scope="module")
def keras() -> Any:
    """Keras, with its backend chosen."""
    inprocess.configure()
    import keras

    return keras


def change(name: str, changed: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A function that changes an array in a folder."""

    def apply(folder: Path) -> None:
        array = np.load(folder / f"{name}.npy")
        np.save(folder / f"{name}.npy", changed(array))

    return apply


def rewrite(name: str, changed: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A function that changes the bytes of an array's file in a folder."""

    def apply(folder: Path) -> None:
        path = folder / f"{name}.npy"
        path.write_bytes(changed(path.read_bytes()))

    return apply


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / "train_images.npy").unlink(), "train_images.npy is missing; "),
        (rewrite("validation_images", lambda raw: raw[:-1]), "validation_images.npy is damaged: "),
        (rewrite("train_labels", lambda raw: b"junk" * 99), "train_labels.npy is damaged: "),
        (rewrite("train_images", lambda raw: b""), "train_images.npy is damaged: "),
        (change("train_images", np.float32), "train_images.npy holds float32 of shape (240, "),
        (change("train_images", np.squeeze), "train_images.npy holds uint8 of shape (240, 12, 12)"),
        (
            change("train_labels", lambda a: a[1:]),
            "240 images, data/processed/train_labels.npy 239",
        ),
        (
            change("train_images", lambda a: a[..., [0, 0]]),
            "images of (12, 12, 2) in 3 classes with validation images of (12, 12, 1) in 3; ",
        ),
        (
            change("validation_images", lambda a: a[:, 1:]),
            "images of (12, 12, 1) in 3 classes with validation images of (11, 12, 1) in 3; ",
        ),
        (
            change("validation_labels", lambda a: a[:, 1:]),
            "images of (12, 12, 1) in 3 classes with validation images of (12, 12, 1) in 2; ",
        ),
    ],
)
def test_wrong_arrays_are_refused(
    project: Project, damage: Callable[[Path], None], expected: str
) -> None:
    damage(project.path / PROCESSED)
    before = project.hashes()
    line = project.problem("train")
    assert expected in line
    assert "`dvc repro preprocess` regenerates" in line
    assert project.hashes() == before


def test_a_backend_that_is_not_installed_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        """
import importlib.util

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "jax" else find_spec(name, *rest)
"""
    )
    project.set_params(backend="jax")
    line = project.problem("train", PYTHONPATH=str(tmp_path))
    assert line.startswith("train: params.yaml: backend is jax, which is not installed; ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"devices": 0}, "devices is 0; it should be greater than or equal to 1"),
        ({"devices": 2, "backend": "tensorflow"}, "devices is 2, which needs backend: jax"),
        (
            {"devices": 3, "backend": "jax"},
            "batch_size is 32, which 3 devices cannot share equally; use a multiple of 3",
        ),
    ],
)
def test_wrong_numbers_of_devices_are_refused(
    project: Project, changes: dict[str, object], expected: str
) -> None:
    project.set_params(**changes)
    assert project.problem("train", **NEW) == f"train: params.yaml: {expected}"


def test_images_too_small_for_the_network_are_refused(project: Project) -> None:
    project.set_params(convnet={"filters": [4] * 4, "kernels": [3] * 4})
    line = project.problem("train")
    assert "images of 12 x 12 are too small for convnet.filters [4, 4, 4, 4]" in line


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limit of memory")
@pytest.mark.parametrize(("stage", "kilobytes"), [("train", 700_000), ("evaluate", 350_000)])
def test_too_little_memory(project: Project, stage: str, kilobytes: int) -> None:
    """As under `ulimit -v`, and in a container that is too small."""
    before = project.hashes()
    limited = f"ulimit -v {kilobytes} && exec python src/{stage}.py"
    result = project.run("bash", "-c", limited, ok=False, OPENBLAS_NUM_THREADS="1")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{stage}: not enough memory: ")
    assert project.hashes() == before


@pytest.mark.parametrize(
    "target", ["models/model.keras", "metrics/train.json", "checkpoints/train.npz"]
)
def test_a_full_disk_loses_nothing(project: Project, target: str) -> None:
    path = project.path / target
    path.parent.mkdir(exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    path.with_name(f"{path.name}.part").symlink_to("/dev/full")
    line = project.problem("train")
    assert line == f"train: {target} cannot be written: No space left on device"
    assert (path.read_bytes() if path.exists() else None) == before


def columns(folder: Path) -> dict[str, list[float]]:
    """The history in `folder`, by split/metric."""
    found = {}
    for file in folder.rglob("*.tsv"):
        with open(file) as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        assert [row["step"] for row in rows] == [str(1 + row) for row in range(len(rows))]
        found[f"{file.parent.name}/{file.stem}"] = [float(row[file.stem]) for row in rows]
    return found


def test_the_best_epoch_is_kept(project: Project, keras: Any) -> None:
    # Validation labels that are all wrong: the more the network learns, the less it scores
    change("validation_labels", lambda labels: np.roll(labels, 1, axis=1))(project.path / PROCESSED)
    project.set_params(epochs=4)
    output = project.run("python", "src/train.py").stdout
    kept = json.loads((project.path / "metrics/train.json").read_text())
    history = columns(project.path / HISTORY)

    assert set(history) == {
        f"{split}/{metric}" for split in ("train", "validation") for metric in ("accuracy", "loss")
    }
    assert {len(column) for column in history.values()} == {4}
    accuracy, loss = history["validation/accuracy"], history["validation/loss"]
    best = accuracy.index(max(accuracy))
    assert best < 3
    assert loss[best] != loss[-1]
    (made_from,) = kept.pop("made_from")
    assert made_from["stage"] == "train"
    assert made_from["params"]["params.yaml"]["epochs"] == 4
    assert kept == {
        "dataset": "tiny",
        "accuracy": round(accuracy[best], 4),
        "loss": round(loss[best], 5),
        "epoch": best + 1,
    }

    from convline import models
    from convline.data.batches import Batches

    model = models.load(project.path / "models/model.keras")
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    validation = arrays.load_split(project.path / PROCESSED, "validation")
    figures = model.evaluate(Batches(validation, 1000), verbose=0, return_dict=True)
    assert figures == pytest.approx({"loss": loss[best], "accuracy": accuracy[best]}, rel=1e-6)

    assert "Total params: 947 " in output
    assert "(None, 10, 10, 4)" in output
    assert output.index("Total params") < output.index("Epoch 1/4")
    assert re.fullmatch(
        f"train: tiny: kept epoch {best + 1} of 4, validation accuracy {accuracy[best]:.2%}, "
        r"in \d+\.\d s",
        output.splitlines()[-1],
    )


def test_the_model_averages_images_and_their_mirror_images(project: Project, keras: Any) -> None:
    project.set_params(average_mirrored=True)
    project.run("python", "src/train.py")
    kept = json.loads((project.path / "metrics/train.json").read_text())
    model = keras.models.load_model(project.path / "models/model.keras")
    validation = arrays.load_split(project.path / PROCESSED, "validation")
    images, labels = validation.images[np.arange(60)], np.asarray(validation.labels)
    probabilities = model.predict(images, verbose=0)
    of_mirrored = model.predict(images[:, :, ::-1], verbose=0)
    np.testing.assert_allclose(probabilities, of_mirrored, rtol=1e-5)
    alone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    both = [alone.predict(each, verbose=0) for each in (images, images[:, :, ::-1])]
    assert np.abs(both[0] - both[1]).max() > 0.01
    np.testing.assert_allclose(probabilities, np.mean(both, axis=0), rtol=1e-5)
    of_label = probabilities[labels == 1]
    assert kept["loss"] == pytest.approx(-np.log(of_label).mean(), abs=1e-5)
    right = probabilities.argmax(axis=1) == labels.argmax(axis=1)
    assert kept["accuracy"] == pytest.approx(right.mean(), abs=1e-4)
    assert kept["epoch"] == 2
