"""What a real `fit` sees of the images: their order, distorted or not, and their labels."""

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import inprocess
from convline.data.arrays import Labelled
from convline.problems import Problem

IMAGES, BATCH, EPOCHS = 11, 4, 4


@pytest.fixture(scope="module", autouse=True)
def keras() -> None:
    """Keras, with its backend chosen."""
    inprocess.configure()


def numbered(count: int) -> Labelled:
    """Images whose every pixel is their index, in two classes."""
    images = np.zeros((count, 2, 2, 1), np.uint8) + np.arange(count)[:, None, None, None]
    return Labelled(images.astype(np.uint8), np.eye(2, dtype=np.uint8)[np.arange(count) % 2])


def fed(seed: int, **changes: float) -> dict[str, list[list[int]]]:
    """The images that each epoch of a training run asks for, by what they are for."""
    from keras.callbacks import LambdaCallback

    from convline.data.batches import Batch, Batches
    from convline.training import fit
    from convline.training.checkpoint import Checkpoint
    from convline.training.training_batches import TrainingBatches

    seen: dict[str, list[list[int]]] = {"training": [], "validation": []}

    def note(part: str, batch: Batch) -> Batch:
        """Write down the images of a batch."""
        images, labels = batch
        assert images.dtype == np.uint8
        assert labels.dtype == np.float32
        # Before the first epoch, one is drawn to learn the shapes
        if seen[part]:
            seen[part][-1] += [int(image[0, 0, 0]) for image in images]
        return batch

    class Training(TrainingBatches):
        """Notes the images of each batch."""

        def __getitem__(self, index: int) -> Batch:
            return note("training", super().__getitem__(index))

    class Validation(Batches):
        """Notes the images of each batch."""

        def __getitem__(self, index: int) -> Batch:
            return note("validation", super().__getitem__(index))

    def begin(epoch: int, logs: Any) -> None:
        for part in seen.values():
            part.append([])

    recipe = inprocess.recipe(epochs=EPOCHS, batch_size=BATCH, **changes)
    with (
        mock.patch.object(fit, "Batches", Validation),
        tempfile.TemporaryDirectory() as folder,
    ):
        fit.fit(
            inprocess.convnet((2, 2, 1), 2, filters=[1], kernels=[1]),
            Training(numbered(IMAGES), recipe, seed),
            numbered(5),
            recipe,
            Checkpoint(Path(folder, "train.npz"), "of this test"),
            callbacks=[LambdaCallback(on_epoch_begin=begin)],
            verbose=0,
        )
    return seen


@pytest.fixture(scope="module")
def seen() -> dict[str, list[list[int]]]:
    """What a run with seed 3 is fed."""
    return fed(3)


def test_each_epoch_covers_each_image_once(seen: dict[str, list[list[int]]]) -> None:
    assert [sorted(epoch) for epoch in seen["training"]] == [list(range(IMAGES))] * EPOCHS


def test_the_order_differs_from_epoch_to_epoch(seen: dict[str, list[list[int]]]) -> None:
    orders = [*seen["training"], list(range(IMAGES))]
    assert len(set(map(tuple, orders))) == EPOCHS + 1


def test_the_order_depends_on_seed_and_epoch_alone(seen: dict[str, list[list[int]]]) -> None:
    from convline.training.training_batches import TrainingBatches

    batches = TrainingBatches(numbered(IMAGES), inprocess.recipe(batch_size=BATCH), seed=3)
    for epoch in (2, 0, 3, 1):
        batches.begin(epoch)
        assert batches.order.tolist() == seen["training"][epoch]
    assert fed(4)["training"] != seen["training"]


def test_the_order_repeats_in_another_process(seen: dict[str, list[list[int]]]) -> None:
    code = (
        "import json, random, inprocess, test_training_batches;"
        "inprocess.configure(); random.random();"
        "print(json.dumps(test_training_batches.fed(3)))"
    )
    output = inprocess.run(code, Path(__file__).parent, hash_seed=7)
    assert json.loads(output.splitlines()[-1]) == seen


def test_validation_is_not_shuffled(seen: dict[str, list[list[int]]]) -> None:
    assert seen["validation"] == [list(range(5))] * EPOCHS


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    from convline.training.training_batches import TrainingBatches

    batches = TrainingBatches(numbered(IMAGES), inprocess.recipe(label_smoothing=0.2), seed=0)
    images, labels = batches[0]
    np.testing.assert_allclose(labels[images[:, 0, 0, 0] % 2 == 0], [[0.9, 0.1]] * 6)
    np.testing.assert_allclose(labels[images[:, 0, 0, 0] % 2 == 1], [[0.1, 0.9]] * 5)


DISTORTIONS = {"rotation": 20, "zoom": 0.2, "shift": 1.5, "distortion": 0.5}


def test_flip_mirrors_every_image_in_every_other_epoch() -> None:
    """Half of them in each, chosen by the seed."""
    from convline.training.training_batches import TrainingBatches

    images = np.asarray(numbered(200).images).copy()
    images[:, :, 0] = 255  # a bright left edge
    data = Labelled(images, numbered(200).labels)
    recipe = inprocess.recipe(batch_size=200, flip=True)
    chosen = []
    for seed in (0, 1):
        batches = TrainingBatches(data, recipe, seed)
        for epoch in range(3):
            batches.begin(epoch)
            images, _ = batches[0]
            mirrored = images[:, 0, -1, 0] == 255
            np.testing.assert_array_equal(images[~mirrored], data.images[batches.order[~mirrored]])
            straight = images[mirrored, :, ::-1]
            np.testing.assert_array_equal(straight, data.images[batches.order[mirrored]])
            chosen.append(set(batches.order[mirrored]))
    first, second, third, of_another_seed, *_ = chosen
    assert 70 < len(first) < 130
    assert second == set(range(200)) - first
    assert third == first
    assert of_another_seed not in (first, second)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_distortion_is_another_in_each_epoch_and_batch(name: str) -> None:
    from convline.training.training_batches import TrainingBatches

    same = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 1), np.uint8)
    data = Labelled(np.repeat(same, IMAGES, axis=0), numbered(IMAGES).labels)
    recipe = inprocess.recipe(batch_size=BATCH, **{name: DISTORTIONS[name]})
    batches = TrainingBatches(data, recipe, seed=0)
    seen = set()
    for epoch in range(EPOCHS):
        batches.begin(epoch)
        seen |= {image.tobytes() for i in range(len(batches)) for image in batches[i][0]}
    assert len(seen) == EPOCHS * IMAGES
    batches.begin(1)
    assert {image.tobytes() for image in batches[2][0]} < seen


def test_only_training_images_are_distorted() -> None:
    changed = fed(3, **DISTORTIONS)
    assert changed["training"] != fed(3)["training"]
    assert [epoch[-5:] for epoch in changed["validation"]] == [list(range(5))] * EPOCHS


@pytest.mark.parametrize("devices", [2, 4])
def test_devices_draw_their_parts_of_each_batch(devices: int) -> None:
    """Each alone as all together; what does not divide is left out, other images in each epoch."""
    from convline.devices import Share
    from convline.training.training_batches import TrainingBatches

    recipe = inprocess.recipe(batch_size=BATCH, flip=True, noise=0.1, label_smoothing=0.1)
    whole = TrainingBatches(numbered(IMAGES), recipe, 3, share=Share(devices, range(devices)))
    alone = [
        TrainingBatches(numbered(IMAGES), recipe, 3, share=Share(devices, range(one, one + 1)))
        for one in range(devices)
    ]
    left_out = set()
    for epoch in range(EPOCHS):
        for batches in (whole, *alone):
            batches.begin(epoch)
        assert len(set(whole.order)) == IMAGES - IMAGES % devices
        left_out |= set(range(IMAGES)) - set(whole.order)
        for index in range(len(whole)):
            parts = [batches[index] for batches in alone]
            assert len({len(part) for part, _ in parts}) == 1
            for together, apart in zip(whole[index], map(np.concatenate, zip(*parts)), strict=True):
                np.testing.assert_array_equal(together, apart)
    assert len(left_out) > IMAGES % devices


def test_one_device_draws_as_if_it_had_no_number() -> None:
    """Every model that was trained on one device depends on it."""
    from convline.training.training_batches import TrainingBatches

    recipe = inprocess.recipe(batch_size=BATCH, noise=0.5)
    batches = TrainingBatches(numbered(IMAGES), recipe, seed=3)
    assert batches.augment
    batches.begin(1)
    expected = batches.augment(
        batches.data.images[batches.order[BATCH : 2 * BATCH]], np.random.default_rng([3, 1, 1])
    )
    np.testing.assert_array_equal(batches[1][0], expected)


def test_fewer_images_than_devices_are_refused() -> None:
    from convline.devices import Share
    from convline.training.training_batches import TrainingBatches

    with pytest.raises(Problem, match="devices is 12, but there are only 11 training images"):
        TrainingBatches(numbered(IMAGES), inprocess.recipe(batch_size=12), 0, share=Share(12))
