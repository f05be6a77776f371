"""An unfinished training on disk: what it needs to go on from its last finished epoch."""

import hashlib
import importlib
import io
import json
import platform
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convline.devices import ALONE, Share, of_first
from convline.files import written
from convline.problems import Problem
from convline.provenance import Record

# What Linux's lines about processors and NVIDIA's GPUs begin with, where they tell the model
MACHINE = ("CPU", "Features", "Model", "cache size", "flags", "model")


class Checkpoint(keras.callbacks.Callback):
    """Keeps the weights of the best epoch and, in a file, all that the training needs to resume.

    Replaces two callbacks of Keras: BackupAndRestore saves neither the logs nor the state of
    random generators, which dropout needs, and EarlyStopping forgets the best weights when `fit`
    starts again.
    """

    def __init__(self, path: Path, fingerprint: str, share: Share = ALONE) -> None:
        super().__init__()
        self.path = path
        self.fingerprint = fingerprint
        self.share = share
        self.logs: list[dict[str, float]] = []  # one of each finished epoch
        self.best_weights: list[npt.NDArray[Any]] = []

    @property
    def best_epoch(self) -> int:
        """The epoch of the highest validation accuracy, counted from 0; of equals, the first."""
        accuracies = [logs["val_accuracy"] for logs in self.logs]
        return accuracies.index(max(accuracies))

    def restore(self, model: keras.Model) -> None:
        """Set the compiled `model` to its state after the last epoch in the file.

        A file that is missing, damaged or has another fingerprint changes nothing: training starts
        from the first epoch and overwrites it. Raises `Problem` where the file is from a training
        that differs in the number of devices or processes alone. Only the first process reads it.
        """
        model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        content = of_first(self._matching())
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                logs = json.loads(file["logs"].item())
                arrays = [file[f"arr_{i}"] for i in range(len(variables) + len(model.weights))]
        except Exception:  # whatever a damaged zip leads to
            return
        self.logs = logs
        self.best_weights = arrays[len(variables) :]
        for variable, value in zip(variables, arrays):
            variable.assign(value)

    def _matching(self) -> bytes:
        """The content of the file, or nothing if it has another fingerprint."""
        if not self.share.first:
            return b""
        try:
            content = self.path.read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                fingerprint, share = file["fingerprint"].item(), file["share"].item()
        except Exception:  # whatever a damaged zip leads to
            return b""
        if fingerprint != self.fingerprint:
            return b""
        if share != str(self.share):
            raise Problem(
                f"{self.path} is from a training on {share}, and {self.share} would end in other "
                "weights; start it as before to resume it, or delete the file"
            )
        return content

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Overwrite the file, in the first process. Raises `Problem` where it cannot be written."""
        self.logs.append(dict(logs or {}))
        if self.best_epoch == epoch:
            self.best_weights = self.model.get_weights()
        if not self.share.first:
            return
        with written(self.path) as file:
            np.savez(
                file,
                *[variable.numpy() for variable in _variables(self.model)],
                *self.best_weights,
                fingerprint=self.fingerprint,
                share=str(self.share),
                logs=json.dumps(self.logs),
            )

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Leave the model with its best weights."""
        self.model.set_weights(self.best_weights)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """All state between two epochs. Metrics have none: each epoch resets them."""
    return [*model.variables, *model.optimizer.variables]


def fingerprint(made_from: Record) -> str:
    """A sha256 of all that decides the bytes of a training, the number of devices aside.

    That is the parameters, data and code that the stage train is `made_from`, the versions of the
    libraries that compute, and the machine.
    """
    params = {
        file: {key: value for key, value in values.items() if key != "devices"}
        for file, values in made_from.params.items()
    }
    decisive = {
        "made_from": made_from.model_copy(update={"params": params}).model_dump(),
        "versions": [
            sys.version,
            np.__version__,
            keras.__version__,
            importlib.import_module(keras.backend.backend()).__version__,
        ],
        "machine": _machine(),
    }
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _machine() -> list[str]:
    """What Keras computes on, and which models of processors and GPUs Linux finds."""
    files = [Path("/proc/cpuinfo"), *Path("/proc/driver/nvidia/gpus").glob("*/information")]
    lines = {
        line
        for file in files
        if file.exists()
        for line in file.read_text().splitlines()
        if line.startswith(MACHINE)
    }
    kinds = {device.partition(":")[0] for device in keras.distribution.list_devices()}
    return [platform.machine(), *sorted(kinds), *sorted(lines)]
