"""Evaluate the trained model on the test images, which nothing before has seen."""

from pathlib import Path

import numpy as np

from convline import arrays, backend, datasets, files, params, pictures, provenance, stage
from convline.backend import BackendParams

PROCESSED = Path("data/processed")
MODEL = Path("models/model.keras")
METRICS = Path("metrics/evaluate.json")
PREDICTIONS = Path("metrics/predictions.csv")
RELIABILITY = Path("metrics/reliability.csv")
MISTAKES = Path("metrics/mistakes.png")


class Params(BackendParams):
    """What evaluate reads from params.yaml."""

    dataset: str


def main() -> None:
    """Read the model and the test images, predict, write figures, predictions and a picture."""
    settings = params.load("evaluate", Params)
    made_from = provenance.record("evaluate")
    classes = datasets.load(settings.dataset).classes
    test = arrays.load(PROCESSED / "test_images.npy", PROCESSED / "test_labels.npy")
    if test.labels.shape[1] != len(classes):
        raise stage.Problem(
            f"{PROCESSED}/test_labels.npy has {test.labels.shape[1]} classes, {settings.dataset} "
            f"has {len(classes)}; `dvc repro preprocess` makes it anew"
        )

    backend.configure(settings)
    # Keras is imported only now: its backend is a parameter. So is what the figures need, which is
    # large: where memory is too little for it, `stage.run` can say so.
    import pandas as pd

    from convline import models, scores
    from convline.batches import EVALUATION_BATCH, Batches

    model = models.load(MODEL)
    expected = (None, *test.images.shape[1:]), (None, len(classes))
    if (model.input_shape, model.output_shape) != expected:
        raise stage.Problem(
            f"{MODEL} turns {model.input_shape[1:]} into {model.output_shape[1:]}, but "
            f"{settings.dataset} needs {expected[0][1:]} into {expected[1][1:]}; "
            "`dvc repro train` makes it anew"
        )
    probabilities = model.predict(backend.feed(Batches(test, EVALUATION_BATCH)), verbose=0)
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise stage.Problem(
            f"{MODEL} returns numbers that are no probabilities; `dvc repro train` makes it anew"
        )

    actual = test.labels.argmax(axis=1)
    predicted = probabilities.argmax(axis=1)
    figures = scores.summary(actual, probabilities, classes)
    names = np.array(classes)
    table = pd.DataFrame(
        {
            "index": np.arange(len(actual)),
            "actual": names[actual],
            "predicted": names[predicted],
            "confidence": probabilities.max(axis=1).round(4),
        }
    )
    with files.written(PREDICTIONS) as file:
        table.to_csv(file, index=False)
    with files.written(RELIABILITY) as file:
        scores.reliability(actual, probabilities).round(5).to_csv(file, index=False)
    with files.written(MISTAKES) as file:
        file.write(
            pictures.worst_mistakes(
                test.images, actual, probabilities, classes, f"{settings.dataset}, test set"
            )
        )
    made = made_from.with_outs(PREDICTIONS, RELIABILITY, MISTAKES)
    files.write_json(
        METRICS,
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
        f"in {figures['images']:,} images"
    )


if __name__ == "__main__":
    stage.run(main)
