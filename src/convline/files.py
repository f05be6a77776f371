"""Files that are written completely or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from convline.problems import Problem, os_reason


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` for writing bytes, and rename it to `path` once it is on the disk.

    Creates missing folders. After an error, the unfinished file is removed and `path` is unchanged.
    After Ctrl-C or kill -9 the unfinished file, PATH.part, stays until the next run overwrites it.
    Raises `Problem` where a write fails, as on a full disk.
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
    """A folder that exists within the context.

    Raises `Problem` where it cannot be created, or a write within the context fails.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise _nothing_temporary(error) from error


def temporary_file() -> IO[bytes]:
    """A file without a name, deleted once it is closed. Raises `Problem` where that fails."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _nothing_temporary(error) from error


def _nothing_temporary(error: OSError) -> Problem:
    folder = tempfile.tempdir  # None where Python found no usable one
    what = f"the temporary folder {folder} cannot be used" if folder else "no temporary folder"
    return Problem(f"{what}: {os_reason(error)}; free space there or set TMPDIR to another")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented UTF-8 JSON, complete or not at all."""
    with written(path) as file:
        file.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
