"""The train stage: what it refuses, what it writes, and what its options do."""

import csv
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inprocess
from conftest import Project
from convline import arrays
from convline.recipe import Recipe
from convline.stage import Problem

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
        (change("train_images", lambda a: a[..., [0, 0]]), "classes of (12, 12, 2, 3), "),
        (change("validation_images", lambda a: a[:, 1:]), "classes of (11, 12, 1, 3), "),
        (change("validation_labels", lambda a: a[:, 1:]), "classes of (12, 12, 1, 2), "),
    ],
)
def test_wrong_arrays_are_refused(
    project: Project, damage: Callable[[Path], None], expected: str
) -> None:
    damage(project.path / PROCESSED)
    before = project.hashes()
    line = project.problem("train")
    assert expected in line
    assert "`dvc repro preprocess` makes" in line
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


def test_images_too_small_for_the_network_are_refused(project: Project) -> None:
    project.set_params(conv_filters=[4] * 4, conv_kernels=[3] * 4)
    line = project.problem("train")
    assert "images of 12 x 12 are too small for conv_filters [4, 4, 4, 4]" in line


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


def test_a_history_that_cannot_be_written_is_named(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convline.history import History

    monkeypatch.chdir(tmp_path)
    history = History(Path("history"))
    history.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    file = tmp_path / "history/plots/metrics/validation/loss.tsv"
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(Problem, match="history cannot be written: No space left on device"):
        history.on_epoch_end(1, {"loss": 1.0, "val_loss": 2.0})


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
    from convline.batches import Batches

    model = models.load(project.path / "models/model.keras")
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    validation = arrays.load(
        project.path / PROCESSED / "validation_images.npy",
        project.path / PROCESSED / "validation_labels.npy",
    )
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


def test_training_that_diverges_is_refused(keras: Any, tmp_path: Path) -> None:
    from convline import network, training
    from convline.checkpoint import Checkpoint

    recipe = inprocess.recipe(epochs=1, conv_filters=[1], conv_kernels=[1])
    model = network.build(2, 2, 2, recipe)
    model.set_weights([np.full(weight.shape, np.nan) for weight in model.get_weights()])
    data = arrays.Labelled(
        np.zeros((4, 2, 2, 1), np.uint8), np.eye(2, dtype=np.uint8)[[0, 1, 0, 1]]
    )
    with pytest.raises(Problem, match=r"learning_rate is 0\.001, with which training diverged"):
        training.train(
            model,
            data,
            data,
            recipe,
            Checkpoint(tmp_path / "train.npz", "of this test"),
            callbacks=[],
            verbose=0,
        )


def layers(height: int = 28, classes: int = 10, **changes: object) -> dict[str, list[Any]]:
    """The layers of the network that a recipe builds, by their kind."""
    from convline import network

    found: dict[str, list[Any]] = {}
    for layer in network.build(height, height, classes, inprocess.recipe(**changes)).layers:
        found.setdefault(type(layer).__name__, []).append(layer)
    return found


def test_the_default_network_has_the_parameters_of_the_tutorial(keras: Any) -> None:
    from convline import network

    model = network.build(28, 28, 10, inprocess.recipe())
    assert model.count_params() == 93_322
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "Rescaling", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Conv2D", "Flatten",
        "Dense", "Dense",
    ]  # fmt: skip
    ramp = np.arange(28 * 28, dtype=np.float32).reshape(1, 28, 28, 1) % 256
    assert float(keras.ops.max(model.layers[0](ramp))) == pytest.approx(1)


def test_stride_replaces_pooling(keras: Any) -> None:
    pooled, strided = layers(downsampling="pool"), layers(downsampling="stride")
    assert [conv.strides for conv in pooled["Conv2D"]] == [(1, 1)] * 3
    assert [conv.strides for conv in strided["Conv2D"]] == [(2, 2), (2, 2), (1, 1)]
    assert len(pooled["MaxPooling2D"]) == 2
    assert "MaxPooling2D" not in strided


def test_the_image_is_halved_after_every_so_many_convolutions(keras: Any) -> None:
    deep: dict[str, Any] = {"conv_filters": [2] * 5, "conv_kernels": [3] * 5, "halve_every": 2}
    strided = layers(**deep, downsampling="stride")["Conv2D"]
    assert [conv.strides[0] for conv in strided] == [1, 2, 1, 2, 1]
    pooled = layers(**deep)
    assert [pool.output.shape[1] for pool in pooled["MaxPooling2D"]] == [12, 4]
    even = layers(conv_filters=[2] * 4, conv_kernels=[3] * 4, halve_every=2)
    assert len(even["MaxPooling2D"]) == 1


def test_convolutions_have_biases_unless_the_recipe_leaves_them_out(keras: Any) -> None:
    assert [conv.use_bias for conv in layers()["Conv2D"]] == [True] * 3
    assert [conv.use_bias for conv in layers(conv_bias=False)["Conv2D"]] == [False] * 3


def test_the_crop_is_cut_off_each_side(keras: Any) -> None:
    from convline import network

    model = network.build(28, 26, 10, inprocess.recipe(crop=3))
    (crop,) = [layer for layer in model.layers if type(layer).__name__ == "Cropping2D"]
    image = np.arange(28 * 26, dtype=np.float32).reshape(1, 28, 26, 1)
    np.testing.assert_array_equal(np.asarray(crop(image)), image[:, 3:-3, 3:-3])
    assert crop.output.shape == (None, 22, 20, 1)
    assert model.input_shape == (None, 28, 26, 1)


def test_a_crop_that_leaves_nothing_is_refused(project: Project) -> None:
    project.set_params(crop=6)
    line = project.problem("train")
    assert "images of 12 x 12 are too small for " in line
    assert "and crop 6; use fewer convolutions, smaller kernels or a smaller crop" in line


def test_no_dense_units_leave_the_hidden_layer_out(keras: Any) -> None:
    assert [dense.units for dense in layers(dense_units=0)["Dense"]] == [10]


def test_batch_normalization_comes_before_the_activation(keras: Any) -> None:
    from convline import network

    assert "BatchNormalization" not in layers()
    model = network.build(28, 28, 10, inprocess.recipe(batch_normalization=True))
    kinds = [type(layer).__name__ for layer in model.layers]
    block = ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation"]
    assert kinds[1:12] == [*block, *block, "Conv2D", "BatchNormalization", "Activation"]
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert layer.activation is keras.activations.linear
            assert not layer.use_bias
        elif isinstance(layer, keras.layers.Activation):
            assert layer.activation is keras.activations.relu


def test_only_the_last_convolution_is_normalized_where_the_recipe_says_so(keras: Any) -> None:
    found = layers(batch_normalization="last")
    assert [conv.use_bias for conv in found["Conv2D"]] == [True, True, False]
    assert [norm.output.shape[1] for norm in found["BatchNormalization"]] == [3]


@pytest.mark.parametrize(("share", "seed"), [(0.25, 0), (0.9, 2**32 - 1)])
def test_dropout_drops_its_share_of_the_features(keras: Any, share: float, seed: int) -> None:
    assert "Dropout" not in layers(dropout=0)
    (dropout,) = layers(dropout=share, seed=seed)["Dropout"]
    dropped = np.asarray(dropout(np.ones((100, 100), np.float32), training=True)) == 0
    assert dropped.mean() == pytest.approx(share, abs=0.02)


def test_widths_and_kernels_are_those_of_the_recipe(keras: Any) -> None:
    found = layers(conv_filters=[3, 5], conv_kernels=[5, 1], dense_units=7)
    assert [conv.filters for conv in found["Conv2D"]] == [3, 5]
    assert [conv.kernel_size for conv in found["Conv2D"]] == [(5, 5), (1, 1)]
    assert [dense.units for dense in found["Dense"]] == [7, 10]
    assert found["Dense"][1].activation is keras.activations.softmax


@pytest.mark.parametrize("name", Recipe.model_fields["optimizer"].annotation.__args__)  # type: ignore[union-attr]
def test_the_optimizer_is_the_one_named(keras: Any, name: str) -> None:
    from convline import training

    optimizer = training.optimizer(inprocess.recipe(optimizer=name, learning_rate=0.02), steps=10)
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam"])
def test_beta_2_is_that_of_the_recipe(keras: Any, name: str) -> None:
    from convline import training

    optimizer = training.optimizer(inprocess.recipe(optimizer=name, beta_2=0.9), steps=10)
    assert optimizer.beta_2 == 0.9


def cosine(step: float, steps: float) -> float:
    """Half a cosine wave, from 1 down to 0."""
    return (1 + math.cos(math.pi * step / steps)) / 2


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        ("constant", 20, [1.0] * 21),
        ("cosine", 20, [cosine(step, 20) for step in range(21)]),
        ("one_cycle", 20, [step / 5 if step < 5 else cosine(step - 5, 15) for step in range(21)]),
        ("one_cycle", 2, [1.0, 0.5, 0.0]),
        ("one_cycle", 1, [1.0, 0.0]),
    ],
)
def test_the_learning_rate_follows_its_schedule(
    keras: Any, schedule: str, steps: int, expected: list[float]
) -> None:
    from convline import training

    recipe = inprocess.recipe(learning_rate=0.5, learning_rate_schedule=schedule)
    optimizer = training.optimizer(recipe, steps)
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates == pytest.approx([0.5 * rate for rate in expected], abs=1e-6)
