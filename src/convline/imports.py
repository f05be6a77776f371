"""Imports of large libraries: lean, and without their greetings."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from convline import memory
from convline.files import temporary_file
from convline.problems import Problem

# Keras and DVCLive import these where they are installed; nothing here needs them from there
HIDDEN = ("pandas", "sklearn")


@contextmanager
def lean(*unneeded: str) -> Iterator[None]:
    """Import without HIDDEN and `unneeded`, and exempt what is imported from garbage collection.

    The collector would scan its million objects again and again, at the exit too, although all
    are in use.
    """
    hidden = (*HIDDEN, *unneeded)
    before = {name: sys.modules[name] for name in hidden if name in sys.modules}
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: cannot be imported
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for name in hidden:
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what native code writes to stderr, and show it only after an error.

    TensorFlow's libraries greet with notes that no log level silences
    (github.com/tensorflow/tensorflow/issues/100442). A `Problem` and an out-of-memory error need no
    notes.
    """
    with temporary_file() as notes:
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException as error:
            explained = isinstance(error, Problem)
            if not (explained or (isinstance(error, Exception) and memory.exhausted(error))):
                notes.seek(0)
                os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
