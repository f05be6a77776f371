"""Checkpoints: a resumed training is the uninterrupted one, bit for bit, or one from the start."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inprocess
from conftest import Project, tiny_images
from convline.data.arrays import Labelled
from convline.training.recipe import Recipe

EPOCHS = 3


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    """Keras, with its backend chosen."""
    inprocess.configure()
    import keras

    return keras


def labelled(count: int, seed: int) -> Labelled:
    """Tiny images and their labels."""
    images, labels = tiny_images(count, seed)
    return Labelled(images[..., None], np.eye(3, dtype=np.uint8)[labels])


def network() -> Any:
    """A tiny network that has state of every kind."""
    return inprocess.convnet(
        (12, 12, 1),
        3,
        filters=[2],
        kernels=[3],
        dense_units=4,
        dropout=0.5,
        batch_normalization=True,
    )


def short(**changes: object) -> Recipe:
    """A recipe of a few steps."""
    return inprocess.recipe(batch_size=16, epochs=EPOCHS, **changes)


def train(
    path: Path, recipe: Recipe, weights_seed: int, validation: Labelled | None = None
) -> tuple[Any, Any, list[dict[str, float]]]:
    """The trained model, what was kept and what a callback heard. Copies the file of each epoch.

    The copies are beside `path`, called after_1.npz and so on.
    """
    import keras

    from convline.training import fit
    from convline.training.checkpoint import Checkpoint
    from convline.training.training_batches import TrainingBatches

    heard: list[dict[str, float]] = []

    def hear(epoch: int, logs: dict[str, float]) -> None:
        heard.append(logs)
        shutil.copy(path, path.with_name(f"after_{epoch + 1}.npz"))

    keras.utils.set_random_seed(weights_seed)
    model = network()
    kept = fit.fit(
        model,
        TrainingBatches(labelled(50, seed=1), recipe, seed=0),
        validation or labelled(20, seed=2),
        recipe,
        Checkpoint(path, "of this test"),
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=hear)],
        verbose=0,
    )
    return model, kept, heard


def content(path: Path) -> dict[str, tuple[Any, ...]]:
    """All that a checkpoint holds, to the bit."""
    with np.load(path) as file:
        return {name: (a.dtype, a.shape, a.tobytes()) for name, a in file.items()}


def killed_after(epoch: int, whole: Path, path: Path) -> Path:
    """The file that a training killed after `epoch` leaves, of one that went on at `whole`."""
    path.parent.mkdir()
    return Path(shutil.copy(whole.with_name(f"after_{epoch}.npz"), path))


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ("adam", "constant"),
        ("adamw", "cosine"),
        ("nadam", "one_cycle"),
        ("rmsprop", "constant"),
        ("sgd", "one_cycle"),
    ],
)
def test_a_resumed_training_ends_in_the_bits_of_an_uninterrupted_one(
    keras: Any, optimizer: str, schedule: str, tmp_path: Path
) -> None:
    recipe = short(optimizer=optimizer, learning_rate=0.01, learning_rate_schedule=schedule)
    whole = tmp_path / "train.npz"
    expected, kept, heard = train(whole, recipe, weights_seed=0)
    path = killed_after(1, whole, tmp_path / "resumed" / "train.npz")
    # Other initial weights: whatever is not restored shows
    model, *others = train(path, recipe, weights_seed=1)

    assert others == [kept, heard]
    assert content(path) == content(whole)
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_best_epoch_may_lie_before_the_kill(
    keras: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Validation labels that are all wrong: the more the network learns, the less it scores
    validation = labelled(60, seed=2)
    validation = Labelled(validation.images, np.roll(validation.labels, 1, axis=1))
    recipe = short(optimizer="adam", learning_rate=0.03)
    whole = tmp_path / "train.npz"
    expected, kept, heard = train(whole, recipe, weights_seed=0, validation=validation)
    assert kept.epoch < EPOCHS - 1
    assert "resumes" not in capsys.readouterr().out

    # After the last epoch there is nothing left to train
    for epoch in (EPOCHS - 1, EPOCHS):
        path = killed_after(epoch, whole, tmp_path / f"resumed_{epoch}" / "train.npz")
        model, *others = train(path, recipe, weights_seed=1, validation=validation)
        assert capsys.readouterr().out == f"train: resumes after epoch {epoch} of {EPOCHS}\n"
        assert others == [kept, heard]
        for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_first_of_equal_epochs_is_the_best(tmp_path: Path) -> None:
    from convline.training.checkpoint import Checkpoint

    checkpoint = Checkpoint(tmp_path / "train.npz", "")
    for accuracy in (0.25, 0.75, 0.75, 0.5):
        checkpoint.logs.append({"val_accuracy": accuracy})
    assert checkpoint.best_epoch == 1


def test_damaged_and_foreign_files_count_for_none(keras: Any, tmp_path: Path) -> None:
    from convline.training.checkpoint import Checkpoint

    model = network()
    model.compile(optimizer="adam")
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    start = [variable.numpy() for variable in variables]

    def restored(path: Path, fingerprint: str = "of this test") -> tuple[bool, list[bytes]]:
        """Whether the file counts as a checkpoint, and the model's state then."""
        for variable, value in zip(variables, start):
            variable.assign(value)
        checkpoint = Checkpoint(path, fingerprint)
        checkpoint.restore(model)
        return bool(checkpoint.logs), [variable.numpy().tobytes() for variable in variables]

    path = tmp_path / "train.npz"
    fresh = restored(path)
    train(path, short(optimizer="adam"), weights_seed=0)
    whole = restored(path)
    assert (fresh[0], whole[0]) == (False, True)
    assert fresh[1] != whole[1]
    assert restored(path, "another") == fresh

    raw = path.read_bytes()
    for place in range(0, len(raw), 211):
        path.write_bytes(raw[:place])
        assert restored(path) == fresh
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :])
        # Nothing depends on a few bytes of a zip, as on its times
        assert restored(path) in (fresh, whole)
    np.save(path.with_name("array.npy"), np.arange(3))
    np.savez(path.with_name("other.npz"), fingerprint=np.arange(3))
    np.savez(path.with_name("none.npz"), fingerprint=np.array(["of this test"], object))
    path.with_name("folder").mkdir()
    for foreign in ("array.npy", "other.npz", "none.npz", "folder"):
        assert restored(path.with_name(foreign)) == fresh


def test_a_training_on_other_devices_is_not_resumed(keras: Any, tmp_path: Path) -> None:
    from convline.devices import Share
    from convline.problems import Problem
    from convline.training.checkpoint import Checkpoint

    path = tmp_path / "train.npz"
    train(path, short(), weights_seed=0)
    before = path.read_bytes()
    model = network()
    model.compile(optimizer="adam")
    checkpoint = Checkpoint(path, "of this test", Share(2, range(1), 2))
    with pytest.raises(Problem, match="is from a training on 1 device in 1 process, and 2 devices"):
        checkpoint.restore(model)
    assert path.read_bytes() == before
    other = Checkpoint(path, "another", Share(2, range(1), 2))
    other.restore(model)
    assert not other.logs


def fingerprint() -> str:
    """The fingerprint of a training in the working directory."""
    from convline import provenance
    from convline.training import checkpoint

    return checkpoint.fingerprint(provenance.record("train"))


@pytest.fixture
def before(project: Project, monkeypatch: pytest.MonkeyPatch) -> str:
    """The fingerprint in a project, which becomes the working directory."""
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", project.environment["DVC_SITE_CACHE_DIR"])
    return fingerprint()


@pytest.mark.parametrize(
    ("file", "same"),
    [
        ("src/train.py", False),
        ("src/convline/training/fit.py", False),
        ("src/networks/convnet.py", False),
        ("src/networks/resnet.py", True),
        ("data/processed/train_images.npy", False),
        ("data/processed/validation_labels.npy", False),
        ("params.yaml", True),  # a comment
        ("src/evaluate.py", True),
        ("data/processed/test_images.npy", True),
    ],
)
def test_the_fingerprint_changes_with_what_training_reads(
    before: str, file: str, same: bool
) -> None:
    with open(file, "ab") as opened:
        opened.write(b"# changed\n")
    assert (fingerprint() == before) == same


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"seed": 1}, False),
        ({"epochs": 6}, False),
        ({"devices": 2}, True),  # compared by itself, and named where it differs
        ({"convnet": {"dropout": 1e-9}}, False),
        ({"resnet": {"dropout": 1e-9}}, True),
        ({"gate": {"largest_fall": 1e-9}}, True),
    ],
)
def test_the_fingerprint_changes_with_the_parameters_of_training(
    project: Project, before: str, changes: dict[str, object], same: bool
) -> None:
    project.set_params(**changes)
    assert (fingerprint() == before) == same


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sys.version", "another"),
        ("numpy.__version__", "another"),
        ("keras.__version__", "another"),
        ("tensorflow.__version__", "another"),
        ("keras.distribution.list_devices", lambda: ["another"]),
        ("platform.machine", lambda: "another"),
    ],
)
def test_the_fingerprint_changes_with_versions_and_machine(
    before: str, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(name, value)
    assert fingerprint() != before
