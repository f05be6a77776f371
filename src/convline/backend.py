"""What depends on Keras's backend: its choice, its determinism, its input, its compiler.

Never imports Keras at the top: the backend is chosen before Keras is first imported.
"""

import importlib.util
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from convline import devices, imports, memory, processes
from convline.params import Int, Schema
from convline.problems import Problem

if TYPE_CHECKING:
    import keras


class BackendParams(Schema):
    """What every stage that computes with Keras reads from params.yaml."""

    backend: Literal["tensorflow", "jax"]
    threads: Annotated[Int, Field(ge=1, le=1024)]


def choose(params: BackendParams, count: int = 1) -> None:
    """Choose the backend for a Keras that is imported later, which may use `count` devices.

    Connects the processes of one training. Raises `Problem` where the backend is not installed, or
    the processes do not fit the devices.
    """
    if importlib.util.find_spec(params.backend) is None:
        raise Problem(
            f"params.yaml: backend is {params.backend}, which is not installed; "
            f"`pip install {params.backend}` in the environment, or choose another"
        )
    flags = devices.flags(count)
    os.environ["KERAS_BACKEND"] = params.backend
    if params.backend == "tensorflow":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # its default differs between processors
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # notes on how TensorFlow was built
    else:
        os.environ["NPROC"] = str(params.threads)  # the size of XLA's thread pool
        os.environ["XLA_FLAGS"] = f"--xla_gpu_deterministic_ops=true {flags}".strip()
        processes.join()


def configure(params: BackendParams, seed: int = 0) -> None:
    """Import Keras on its backend, seeded, and computing the same from run to run on one machine.

    `choose` comes first, and before anything imports Keras.
    """
    memory.keep_freed()
    # Where TensorFlow is installed, Keras would import it for every backend, only to seed it
    unneeded = () if params.backend == "tensorflow" else ("tensorflow",)
    with imports.lean(*unneeded), imports.quiet():
        import keras

        if params.backend == "tensorflow":
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(params.threads)
            tf.config.threading.set_inter_op_parallelism_threads(params.threads)
            tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(seed)
    # A keras.json in the home folder can change both
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")


def feed(batches: "keras.utils.PyDataset") -> Any:
    """`batches` as `fit` and `predict` should take them: in order, the next drawn meanwhile.

    Keras would wrap them in a tf.data.Dataset that tunes itself, in a thread that sleeps for ever
    longer. Now and then the end of an epoch fails to wake it and waits, for up to as long as the
    epoch took. This one has nothing to tune.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    signature = tuple(
        tf.TensorSpec((None, *part.shape[1:]), part.dtype)  # the last batch may be smaller
        for part in batches[0]
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        tf.data.Dataset.from_generator(
            lambda: (batches[index] for index in range(len(batches))), output_signature=signature
        )
        .apply(tf.data.experimental.assert_cardinality(len(batches)))
        .prefetch(1)
        .with_options(options)
    )


def jit_compile() -> bool | str:
    """Whether Keras should compile steps with XLA.

    Not for TensorFlow on a CPU: there it makes this network four to five times slower.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.config.list_physical_devices("GPU") else False
