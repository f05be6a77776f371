"""The trained model's answers."""

from pathlib import Path

import numpy as np
import pytest

import inprocess
from convline.data.arrays import Labelled
from convline.paths import MODEL
from convline.problems import Problem

DATA = Labelled(
    np.random.default_rng(0).integers(0, 256, (300, 12, 12, 1), np.uint8),
    np.eye(3, dtype=np.uint8)[np.arange(300) % 3],
)


@pytest.fixture(scope="module", autouse=True)
def keras() -> None:
    """Keras, with its backend chosen."""
    inprocess.configure()


def test_they_come_in_the_order_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the ends of batches."""
    from convline import models
    from convline.data.batches import Batches
    from convline.evaluation import predictions

    monkeypatch.chdir(tmp_path)
    model = inprocess.build("plain")
    models.save(model, MODEL, inprocess.MADE_FROM)
    found = predictions.predict(predictions.load(DATA), Batches(DATA))
    assert found == pytest.approx(model.predict(DATA.images, verbose=0), abs=1e-6)


def test_a_model_for_other_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convline import models
    from convline.evaluation import predictions

    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match=r"models/model\.keras is missing"):
        predictions.load(DATA)
    models.save(
        inprocess.convnet((12, 12, 1), 4, filters=[2], kernels=[3]), MODEL, inprocess.MADE_FROM
    )
    with pytest.raises(Problem) as caught:
        predictions.load(DATA)
    assert str(caught.value) == (
        "models/model.keras does not turn images of (12, 12, 1) into the probabilities of 3 "
        "classes; `dvc repro train` regenerates it"
    )
