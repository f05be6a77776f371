"""The history of a training run, epoch by epoch, through DVCLive."""

from pathlib import Path

import keras
from scmrepo.exceptions import SCMError

from convline import imports
from convline.problems import Problem, os_reason

with imports.lean():
    from dvclive.live import Live


class History(keras.callbacks.Callback):
    """Logs the figures of each epoch, counted from 1, under `folder`, as DVC plots them.

    Writes folder/plots/metrics/{train,validation}/{accuracy,loss}.tsv and folder/metrics.json
    with the last epoch's.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        try:
            # The defaults rewrite dvc.yaml and can create an experiment
            self.live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
        except SCMError as error:
            raise Problem("DVCLive needs a first git commit; make one") from error

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log what Keras measured in the epoch. Raises `Problem` where it cannot be written."""
        self.live.step = epoch + 1
        try:
            for name, value in (logs or {}).items():
                split = "validation" if name.startswith("val_") else "train"
                self.live.log_metric(f"{split}/{name.removeprefix('val_')}", value)
            self.live.next_step()
        except OSError as error:
            raise Problem(f"{self.folder} cannot be written: {os_reason(error)}") from error

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the files."""
        self.live.end()
