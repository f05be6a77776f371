"""Train the network on the processed images and keep the weights of its best epoch."""

import sys
import time
from typing import Annotated

from pydantic import Field, model_validator

from convline import backend, devices, files, network, params, processes, provenance
from convline.backend import BackendParams
from convline.data import arrays
from convline.paths import CHECKPOINT, HISTORY, MODEL, PROCESSED, TRAINING
from convline.training.recipe import Recipe


class Params(BackendParams, Recipe):
    """What train reads from params.yaml, the network's section aside."""

    dataset: str
    seed: params.Seed
    devices: Annotated[params.Int, Field(ge=1, le=65_536)]

    @model_validator(mode="after")
    def _devices_can_share(self) -> "Params":
        if self.devices > 1 and self.backend != "jax":
            raise ValueError(f"devices is {self.devices}, which needs backend: jax")
        if self.batch_size % self.devices:
            raise ValueError(
                f"batch_size is {self.batch_size}, which {self.devices} devices cannot share "
                f"equally; use a multiple of {self.devices}"
            )
        return self


def main() -> None:
    """Read the training and validation images, train, write the model and its history."""
    settings = params.load("train", Params)
    backend.choose(settings, settings.devices)
    architecture = network.load(settings.network)
    made_from = provenance.record("train")
    train = arrays.load_split(PROCESSED, "train")
    validation = arrays.load_split(PROCESSED, "validation", like=train)

    backend.configure(settings, settings.seed)
    share = devices.split(settings.devices)
    provenance.check_same(made_from, devices.of_first(made_from.model_dump_json().encode()))
    # What imports Keras comes only now
    from convline import models
    from convline.training import checkpoint, fit, history
    from convline.training.training_batches import TrainingBatches

    model = architecture.build(train.input_shape, train.classes)
    model.summary()
    start = time.perf_counter()
    kept = fit.fit(
        model,
        TrainingBatches(train, settings, settings.seed, architecture.border, share),
        validation,
        settings,
        checkpoint.Checkpoint(CHECKPOINT, checkpoint.fingerprint(made_from), share),
        callbacks=[history.History(HISTORY)] if share.first else [],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if settings.average_mirrored:
        model, kept = fit.with_mirror_images(model, validation, settings, kept, share)
    seconds = time.perf_counter() - start
    devices.join()
    if not share.first:
        return  # of several processes, one writes

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
    processes.run(main)
