"""Train the network on the processed images and keep the weights of its best epoch."""

import sys
import time

from convline import backend, files, network, params, problems, provenance
from convline.backend import BackendParams
from convline.data import arrays
from convline.paths import CHECKPOINT, HISTORY, MODEL, PROCESSED, TRAINING
from convline.training.recipe import Recipe


class Params(BackendParams, Recipe):
    """What train reads from params.yaml, the network's section aside."""

    dataset: str
    seed: params.Seed


def main() -> None:
    """Read the training and validation images, train, write the model and its history."""
    settings = params.load("train", Params)
    backend.choose(settings)
    architecture = network.load(settings.network)
    made_from = provenance.record("train")
    train = arrays.load_split(PROCESSED, "train")
    validation = arrays.load_split(PROCESSED, "validation", like=train)

    backend.configure(settings, settings.seed)
    # What imports Keras comes only now
    from convline import models
    from convline.training import checkpoint, fit, history
    from convline.training.training_batches import TrainingBatches

    model = architecture.build(train.input_shape, train.classes)
    model.summary()
    start = time.perf_counter()
    kept = fit.fit(
        model,
        TrainingBatches(train, settings, settings.seed, architecture.border),
        validation,
        settings,
        checkpoint.Checkpoint(CHECKPOINT, checkpoint.fingerprint(made_from)),
        callbacks=[history.History(HISTORY)],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if settings.average_mirrored:
        model, kept = fit.with_mirror_images(model, validation, settings, kept)
    seconds = time.perf_counter() - start

    models.save(model, MODEL, made_from)
    files.write_json(
        TRAINING,
        {
            "dataset": settings.dataset,
            "accuracy": round(kept.accuracy, 4),
            "loss": round(kept.loss, 5),
            "epoch": kept.epoch,
            "made_from": [made_from.with_outs(MODEL).model_dump()],
        },
    )
    CHECKPOINT.unlink()  # a run that is forced trains again
    print(
        f"train: {settings.dataset}: kept epoch {kept.epoch} of {settings.epochs}, "
        f"validation accuracy {kept.accuracy:.2%}, in {seconds:.1f} s"
    )


if __name__ == "__main__":
    problems.run(main)
