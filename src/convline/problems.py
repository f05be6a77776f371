"""How a stage or command ends: problems in one line, and an exit code."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from convline import memory
from convline.paths import PIPELINE, PROJECT
from convline.text import one_line, shortened


class Problem(Exception):
    """Something that the user can fix. Its text is the one line that they read."""


def run(main: Callable[[], None]) -> None:
    """Run `main` as a stage or command. Messages begin with the last word of sys.argv[0].

    A `Problem`, an operating-system error or too little memory ends in one line on stderr and exit
    code 1. Ctrl-C ends in exit code 130: were it 0, DVC would accept the outputs as finished.
    """
    name = Path(sys.argv[0]).stem.split()[-1]

    def interrupted(*_: object) -> None:
        # At once: an exception that passes through TensorFlow's native code can corrupt its heap
        os.write(2, f"{name}: interrupted\n".encode())
        os._exit(130)

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:  # and not ignored, as in a script's background job
        signal.signal(signal.SIGINT, interrupted)
    try:
        if not PIPELINE.exists() and (PROJECT / PIPELINE).exists():
            raise Problem(f"there is no {PIPELINE} in this folder; run it in {PROJECT}")
        main()
    except Problem as problem:
        print(f"{name}: {one_line(problem)}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"{name}: {one_line(os_reason(error))}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if not memory.exhausted(error):
            raise
        lines = str(error).splitlines()
        signs = [line for line in lines if any(sign in line for sign in memory.SIGNS)] or lines
        reason = f": {shortened(signs[0], 120)}" if signs else ""
        print(f"{name}: not enough memory{reason}", file=sys.stderr)
        sys.exit(1)
    finally:
        signal.signal(signal.SIGINT, previous)


def os_reason(error: OSError) -> str:
    """What went wrong and with which file, without Python's error number."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
