"""The order in which a real `fit` sees the images."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import inprocess
from convline.arrays import Labelled

IMAGES, BATCH, EPOCHS = 11, 4, 4


@pytest.fixture(scope="module", autouse=True)
def keras() -> None:
    """Keras, with its backend chosen."""
    inprocess.configure()


def numbered(count: int) -> Labelled:
    """Images whose every pixel is their index, in two classes."""
    images = np.zeros((count, 2, 2, 1), np.uint8) + np.arange(count)[:, None, None, None]
    return Labelled(images.astype(np.uint8), np.eye(2, dtype=np.uint8)[np.arange(count) % 2])


def fed(seed: int) -> dict[str, list[list[int]]]:
    """The images that each epoch of a training run asks for, by what they are for."""
    from keras.callbacks import LambdaCallback

    from convline import batches, network, training
    from convline.checkpoint import Checkpoint

    seen: dict[str, list[list[int]]] = {"training": [], "validation": []}

    class Recording(batches.Batches):
        """Notes the images of each batch."""

        def __getitem__(self, index: int) -> batches.Batch:
            images, labels = super().__getitem__(index)
            assert images.dtype == np.uint8
            assert labels.dtype == np.float32
            part = seen["validation" if self.shuffle_seed is None else "training"]
            # Before the first epoch, Keras asks for a batch or two to learn their shapes
            if part:
                part[-1] += [int(image[0, 0, 0]) for image in images]
            return images, labels

    def begin(epoch: int, logs: Any) -> None:
        for part in seen.values():
            part.append([])

    recipe = inprocess.recipe(
        seed=seed, epochs=EPOCHS, batch_size=BATCH, conv_filters=[1], conv_kernels=[1]
    )
    with (
        mock.patch.object(training, "Batches", Recording),
        tempfile.TemporaryDirectory() as folder,
    ):
        training.train(
            network.build(2, 2, 2, recipe),
            numbered(IMAGES),
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
    from convline.batches import Batches

    batches = Batches(numbered(IMAGES), BATCH, shuffle_seed=3)
    for epoch in (2, 0, 3, 1):
        batches.shuffle(epoch)
        assert batches.order.tolist() == seen["training"][epoch]
    assert fed(4)["training"] != seen["training"]


def test_the_order_repeats_in_another_process(seen: dict[str, list[list[int]]]) -> None:
    here = Path(__file__).parent
    code = (
        "import json, random, inprocess, test_batches;"
        "inprocess.configure(); random.random(); print(json.dumps(test_batches.fed(3)))"
    )
    paths = [here, here.parent, here.parent.parent / "src"]
    output = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(output.splitlines()[-1]) == seen


def test_validation_is_not_shuffled(seen: dict[str, list[list[int]]]) -> None:
    # Keras learns its shapes within the first epoch
    assert [epoch[-5:] for epoch in seen["validation"]] == [list(range(5))] * EPOCHS


@pytest.mark.parametrize(("size", "lengths"), [(4, [4, 4, 3]), (11, [11]), (100, [11])])
def test_the_last_batch_holds_the_rest(size: int, lengths: list[int]) -> None:
    from convline.batches import Batches

    batches = Batches(numbered(IMAGES), size)
    assert [len(batches[i][0]) for i in range(len(batches))] == lengths
