"""Files that appear complete or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from convline.stage import Problem, os_reason


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` for writing bytes, and name it `path` once all is on the disk.

    Makes the folder where it is missing. After an error, the unfinished file is removed and what
    was at `path` before is untouched. After Ctrl-C or kill -9 the unfinished file, PATH.part,
    stays until the next run, which writes over it. Raises `Problem` where the system refuses a
    write, as on a full disk.
    """
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Problem(f"{path} cannot be written: {os_reason(error)}") from error
        raise


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for as long as the context lasts.

    Raises `Problem` where the system refuses that, or a write within the context.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise _nothing_temporary(error) from error


def temporary_file() -> IO[bytes]:
    """A file without a name, gone once it is closed. Raises `Problem` where there can be none."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _nothing_temporary(error) from error


def _nothing_temporary(error: OSError) -> Problem:
    folder = tempfile.tempdir  # where Python found one
    what = f"the temporary folder {folder} cannot be used" if folder else "no temporary folder"
    return Problem(f"{what}: {os_reason(error)}; free space there or set TMPDIR to another")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented UTF-8 JSON, complete or not at all."""
    with written(path) as file:
        file.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
