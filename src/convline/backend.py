"""What only one of Keras's backends has: its threads, its determinism, its compiler.

Imports Keras nowhere at the top: the backend is chosen before Keras is first imported.
"""

import ctypes
import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from convline.files import temporary_file
from convline.params import Int, Schema
from convline.stage import Problem, out_of_memory

if TYPE_CHECKING:
    import keras

# Keras and DVCLive import them where they are installed, for what nothing here uses
HIDDEN = ("pandas", "sklearn")

BackendName = Literal["tensorflow", "jax"]
Threads = Annotated[Int, Field(ge=1, le=1024)]


class BackendParams(Schema):
    """What every stage that computes with Keras reads from params.yaml."""

    backend: BackendName
    threads: Threads


def configure(params: BackendParams, seed: int = 0) -> None:
    """Choose the backend and make it compute the same from run to run on one machine.

    To be called before anything imports Keras. Raises `Problem` where the backend is not
    installed.
    """
    if importlib.util.find_spec(params.backend) is None:
        raise Problem(
            f"params.yaml: backend is {params.backend}, which is not installed; "
            f"`pip install {params.backend}` in the environment, or choose another"
        )
    _keep_memory()
    os.environ["KERAS_BACKEND"] = params.backend
    if params.backend == "tensorflow":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # its default differs between processors
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # notes on how TensorFlow was built
        with lean_imports(), _stderr_hidden():  # TensorFlow imports Keras
            import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(params.threads)
        tf.config.threading.set_inter_op_parallelism_threads(params.threads)
        tf.config.experimental.enable_op_determinism()
    else:
        os.environ["NPROC"] = str(params.threads)  # the size of XLA's thread pool
        os.environ["XLA_FLAGS"] = "--xla_gpu_deterministic_ops=true"

    with lean_imports(), _stderr_hidden():  # it seeds TensorFlow too, wherever that is installed
        import keras

        keras.utils.set_random_seed(seed)
    # A keras.json in the home folder can change both
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import without HIDDEN, and free what is imported from garbage collection, for good.

    The collector would look through its million objects again and again, at the exit too, to
    find that all are in use.
    """
    before = {name: sys.modules[name] for name in HIDDEN if name in sys.modules}
    sys.modules.update(dict.fromkeys(HIDDEN))  # type: ignore[arg-type]  # None: cannot be imported
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for name in HIDDEN:
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def _stderr_hidden() -> Iterator[None]:
    """Keep what native code writes to stderr, and show it only after an error.

    TensorFlow's libraries greet with notes that no log level silences
    (github.com/tensorflow/tensorflow/issues/100442). An error for want of memory says it all.
    """
    with temporary_file() as notes:
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, Exception) and out_of_memory(error)):
                notes.seek(0)
                os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _keep_memory() -> None:
    """Have glibc keep up to 64 MiB of what is freed, in each of its heaps, for what comes next.

    Otherwise it gives the memory of a step's arrays back to the system and asks for it again in
    the next step, page by page: that took an eighth of the processor time of an epoch of the
    recipe accurate.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has it
    if mallopt:
        m_top_pad, m_mmap_threshold = -2, -3  # from malloc.h
        mallopt(m_top_pad, 64 * 2**20)
        mallopt(m_mmap_threshold, 32 * 2**20)  # the most that glibc allows


def feed(batches: "keras.utils.PyDataset") -> Any:
    """`batches` as `fit` and `predict` should take them: in order, the next drawn meanwhile.

    Keras would make of them a tf.data.Dataset that tunes itself, in a thread that sleeps for ever
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
