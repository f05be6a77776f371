"""Several devices: which of them split a batch, and which of these belong to this process.

They are GPUs where JAX finds some, otherwise virtual devices on the CPU. Keras computes on them
through `keras.distribution`, which trains on several of them with JAX alone.
"""

from dataclasses import dataclass

import numpy as np

from convline import processes
from convline.problems import Problem
from convline.text import few


@dataclass(frozen=True)
class Share:
    """What this process computes of each batch: a part for each of its devices."""

    devices: int = 1  # that split a batch, of all processes
    mine: range = range(1)  # the numbers of those of this process
    processes: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and prints for all."""
        return 0 in self.mine

    def __str__(self) -> str:
        devices = "1 device" if self.devices == 1 else f"{self.devices} devices"
        return f"{devices} in {self.processes} process{'es' if self.processes > 1 else ''}"


ALONE = Share()


def flags(devices: int) -> str:
    """XLA's flags for this process, to be set before JAX starts: its virtual devices on a CPU.

    Raises `Problem` where the processes cannot have as many devices each.
    """
    count = processes.here().count
    if devices % count:
        raise Problem(
            f"params.yaml: devices is {devices}, which {count} processes cannot share equally; "
            f"set it to {count} or a multiple"
        )
    if devices == 1:
        return ""
    return f"--xla_force_host_platform_device_count={devices // count}"


def split(devices: int) -> Share:
    """Let Keras split all batches that it computes from now on among so many devices.

    Weights that are created from now on have a copy on each of them. With one device, nothing
    changes. Raises `Problem` where there are fewer.
    """
    if devices == 1:
        return ALONE
    import jax
    import keras

    place = processes.here()
    each = devices // place.count
    used: list[str] = []
    for process in range(place.count):
        found = [one for one in jax.devices() if one.process_index == process]
        if len(found) < each:
            where = f" in process {process}" if place.count > 1 else ""
            raise Problem(
                f"params.yaml: devices is {devices}, but JAX finds {len(found)}{where} and not "
                f"{each}: {few(found)}"
            )
        used += [f"{one.platform}:{one.id}" for one in found[:each]]
    keras.distribution.set_distribution(
        # Keras must not divide batches again, of which each process draws its own part
        keras.distribution.DataParallel(devices=used, auto_shard_dataset=False)
    )
    return Share(devices, range(place.number * each, (place.number + 1) * each), place.count)


def join() -> None:
    """Let Keras compute on one device again, and each process for itself."""
    import keras

    keras.distribution.set_distribution(None)


def of_first(content: bytes) -> bytes:
    """The `content` of the first process. Each process calls this at the same point."""
    if processes.here().count == 1:
        return content
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.int32(len(content))))
    if not size:
        return b""
    array = np.zeros(size, np.uint8)
    if processes.here().number == 0:
        array[:] = np.frombuffer(content, np.uint8)
    return bytes(np.asarray(broadcast_one_to_all(array)).tobytes())
