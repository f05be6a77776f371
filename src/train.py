"""Train the network on the processed images and keep the weights of its best epoch."""

import sys
import time
from pathlib import Path

from convline import arrays, backend, files, params, provenance, stage
from convline.recipe import Recipe

PROCESSED = Path("data/processed")
MODEL = Path("models/model.keras")
METRICS = Path("metrics/train.json")
HISTORY = Path("metrics/history")
CHECKPOINT = Path("checkpoints/train.npz")


def main() -> None:
    """Read the training and validation images, train, write the model and its history."""
    recipe = params.load("train", Recipe)
    made_from = provenance.record("train")
    training_images = arrays.load(PROCESSED / "train_images.npy", PROCESSED / "train_labels.npy")
    validation_images = arrays.load(
        PROCESSED / "validation_images.npy", PROCESSED / "validation_labels.npy"
    )
    height, width, classes = shape(training_images, validation_images)

    backend.configure(recipe, recipe.seed)
    # Keras is imported only now: its backend is a parameter
    from convline import checkpoint, history, models, network, training

    model = network.build(height, width, classes, recipe)
    model.summary()
    start = time.perf_counter()
    kept = training.train(
        model,
        training_images,
        validation_images,
        recipe,
        checkpoint.Checkpoint(CHECKPOINT, checkpoint.fingerprint(recipe, made_from.deps)),
        callbacks=[history.History(HISTORY)],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    seconds = time.perf_counter() - start

    models.save(model, MODEL, made_from)
    files.write_json(
        METRICS,
        {
            "dataset": recipe.dataset,
            "accuracy": round(kept.accuracy, 4),
            "loss": round(kept.loss, 5),
            "epoch": kept.epoch,
            "made_from": [made_from.with_outs(MODEL).model_dump()],
        },
    )
    CHECKPOINT.unlink()  # a run that is forced trains again
    print(
        f"train: {recipe.dataset}: kept epoch {kept.epoch} of {recipe.epochs}, "
        f"validation accuracy {kept.accuracy:.2%}, in {seconds:.1f} s"
    )


def shape(training: arrays.Labelled, validation: arrays.Labelled) -> tuple[int, int, int]:
    """The height and width of the images and the number of classes, the same in both parts."""
    first, second = ((*p.images.shape[1:], p.labels.shape[1]) for p in (training, validation))
    height, width, channels, classes = first
    if first != second or channels != 1:
        raise stage.Problem(
            f"{PROCESSED}/ holds training images and classes of {first}, validation images and "
            f"classes of {second}, not both of (height, width, 1, classes); "
            "`dvc repro preprocess` makes them anew"
        )
    return height, width, classes


if __name__ == "__main__":
    stage.run(main)
