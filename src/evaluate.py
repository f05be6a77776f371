"""Evaluate the trained model on the test images, which no other stage reads."""

import csv
from typing import IO, Literal

import numpy as np
import numpy.typing as npt

from convline import backend, files, network, params, problems, provenance, text
from convline.backend import BackendParams
from convline.data import arrays, datasets
from convline.paths import (
    CORRUPTIONS,
    EVALUATION,
    MISTAKES,
    MODEL,
    PREDICTIONS,
    PROCESSED,
    RELIABILITY,
)


class Params(BackendParams):
    """What evaluate reads from params.yaml."""

    dataset: str
    network: str


def main() -> None:
    """Read the model and the test images, predict, write figures, predictions and a picture."""
    settings = params.load("evaluate", Params)
    backend.choose(settings)
    network.imported(settings.network)  # registers its layers
    made_from = provenance.record("evaluate")
    classes = datasets.load(settings.dataset).classes
    test = arrays.load_split(PROCESSED, "test")
    names = arrays.load_names(PROCESSED)
    if test.classes != len(classes):
        raise problems.Problem(
            f"{PROCESSED}/test_labels.npy has {test.classes} classes, {settings.dataset} has "
            f"{len(classes)}; `dvc repro preprocess` regenerates it"
        )
    if names and len(names) != len(test.images):
        raise problems.Problem(
            f"{PROCESSED / arrays.NAMES} has {len(names):,} names, but there are "
            f"{len(test.images):,} test images; `dvc repro preprocess` regenerates it"
        )

    backend.configure(settings)
    # What imports Keras, pandas or scikit-learn comes only now: where memory is too little for
    # them, `problems.run` can say so
    from convline import models
    from convline.data.batches import Batches
    from convline.evaluation import corruptions, mistakes, predictions, scores

    actual = test.labels.argmax(axis=1)
    model = predictions.load(test)
    probabilities = predictions.predict(model, Batches(test))
    corrupted = corruptions.Corrupted(test)
    by_corruption = corruptions.accuracies(corrupted.actual, predictions.predict(model, corrupted))
    figures = scores.summary(actual, probabilities, classes, by_corruption)
    with files.written(PREDICTIONS) as file:
        write_predictions(file, actual, probabilities, classes, names)
    with files.written(RELIABILITY) as file:
        scores.reliability(actual, probabilities).round(5).to_csv(file, index=False)
    with files.written(CORRUPTIONS) as file:
        by_corruption.to_csv(file, index=False)
    with files.written(MISTAKES) as file:
        title = f"{settings.dataset}, test set"
        file.write(mistakes.sheet(test.images, actual, probabilities, classes, title, names))
    made = made_from.with_outs(PREDICTIONS, RELIABILITY, CORRUPTIONS, MISTAKES)
    files.write_json(
        EVALUATION,
        {
            "dataset": settings.dataset,
            **figures,
            "made_from": [r.model_dump() for r in (models.made_from(MODEL), made) if r],
        },
    )

    low, high = figures["accuracy_interval_95"]
    print(
        f"evaluate: {settings.dataset}: test accuracy {figures['accuracy']:.2%} "
        f"(95 % interval {low:.2%} to {high:.2%}), {figures['errors']:,} errors "
        f"in {figures['images']:,} images, {figures['corrupted_accuracy']:.2%} on corrupted ones"
    )
    if never := figures["never_predicted"]:
        shown = text.few(never, text.shortened)
        print(f"evaluate: never predicted: {shown} ({len(never)} of {len(classes)} classes)")


def write_predictions(
    file: IO[bytes],
    actual: npt.NDArray[np.intp],
    probabilities: npt.NDArray[np.float32],
    classes: list[str],
    names: list[str],
) -> None:
    """Write a CSV row for each image: its number, file name, classes and confidence.

    Takes labels (n,), probabilities (n, classes) and the names of the n files. Without names, there
    is no column for them.
    """
    import pandas as pd

    of_classes = np.array(classes)
    table = pd.DataFrame(
        {
            "index": np.arange(len(actual)),
            **({"file_name": names} if names else {}),
            "actual": of_classes[actual],
            "predicted": of_classes[probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1).round(4),
        }
    )
    # Unless told to, Python's csv quotes no carriage return, which readers take for an end of row
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if names else csv.QUOTE_MINIMAL
    # Names that are no valid Unicode hold halves of surrogate pairs, which are written as "\udcff"
    table.to_csv(file, index=False, quoting=quoting, errors="backslashreplace")


if __name__ == "__main__":
    problems.run(main)
