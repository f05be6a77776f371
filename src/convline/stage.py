"""How a stage ends: its problems in one line, its exit code for DVC."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

PIPELINE = Path("dvc.yaml")
JOINERS = "\u200c\u200d"  # of letters and emoji: real names hold them, though they show nothing

# What libraries say, besides MemoryError, where the system gives them no more memory
NO_MEMORY = (
    "RESOURCE_EXHAUSTED",
    "annot allocate memory",
    "can't start new thread",
    "failed to map segment",
)


class Problem(Exception):
    """Something that the user can put right. Its text is the one line that they read."""


def run(main: Callable[[], None]) -> None:
    """Run `main` as a stage or command, named after the script.

    A `Problem`, an operating-system error or too little memory ends in one line on stderr and exit
    code 1. Ctrl-C ends in exit code 130: were it 0, DVC would take the outputs for finished.
    """
    name = Path(sys.argv[0]).stem

    def interrupted(*_: object) -> None:
        # At once: an exception that passes through TensorFlow's native code can corrupt its heap
        os.write(2, f"{name}: interrupted\n".encode())
        os._exit(130)

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:  # and not ignored, as in a script's background job
        signal.signal(signal.SIGINT, interrupted)
    try:
        _check_folder(Path(sys.argv[0]).resolve().parent.parent)
        main()
    except Problem as problem:
        print(f"{name}: {one_line(problem)}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"{name}: {one_line(os_reason(error))}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if not out_of_memory(error):
            raise
        lines = str(error).splitlines()
        told = [line for line in lines if any(sign in line for sign in NO_MEMORY)] or lines
        reason = f": {one_line(told[0])[:120]}" if told else ""
        print(f"{name}: not enough memory{reason}", file=sys.stderr)
        sys.exit(1)
    finally:
        signal.signal(signal.SIGINT, previous)


def _check_folder(project: Path) -> None:
    """Raise `Problem` where a script of `project` is run in a folder that is no project."""
    if not PIPELINE.exists() and (project / PIPELINE).exists():
        raise Problem(f"there is no {PIPELINE} in this folder; run it in {project}")


def out_of_memory(error: Exception) -> bool:
    """Whether the system gave Python, numpy, TensorFlow or JAX no more memory."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or any(sign in str(error) for sign in NO_MEMORY)
    )


def one_line(text: object) -> str:
    """`text` with every run of white space as one space, and what cannot be printed as an escape.

    A terminal would obey a control character.
    """
    return "".join(
        character if printable(character) else character.encode("unicode_escape").decode()
        for character in " ".join(str(text).split())
    )


def printable(text: str) -> bool:
    """Whether `text` shows as it is: it holds no control characters and no line ends."""
    return all(character.isprintable() or character in JOINERS for character in text)


def os_reason(error: OSError) -> str:
    """What went wrong and with which file, without Python's error number."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
