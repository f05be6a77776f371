"""The trained model, and what it answers about images with known labels."""

import keras
import numpy as np
import numpy.typing as npt

from convline import backend, models
from convline.data.arrays import Labelled
from convline.data.batches import Batches
from convline.paths import MODEL
from convline.problems import Problem


def load(data: Labelled) -> keras.Model:
    """The trained model. Raises `Problem` where it is missing or damaged, or not one for `data`."""
    model = models.load(MODEL)
    try:
        outputs = models.output_shape(model, data.input_shape)
    except ValueError:
        outputs = None
    if outputs != (None, data.classes):
        raise Problem(
            f"{MODEL} does not turn images of {data.input_shape} into the probabilities of "
            f"{data.classes} classes; `dvc repro train` regenerates it"
        )
    return model


def predict(model: keras.Model, batches: Batches) -> npt.NDArray[np.float32]:
    """The probabilities (n, classes) that the trained model gives the images of `batches`.

    Raises `Problem` where it returns something other than probabilities.
    """
    probabilities: npt.NDArray[np.float32] = model.predict(backend.feed(batches), verbose=0)
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise Problem(
            f"{MODEL} returns numbers that are not probabilities; `dvc repro train` regenerates it"
        )
    return probabilities
