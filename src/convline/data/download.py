"""Downloads: from the first source that delivers the right bytes, once per user."""

import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Generator
from contextlib import closing, suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import aiohttp
from dvc.repo import Repo
from filelock import FileLock
from fsspec.core import url_to_fs
from tqdm import tqdm

from convline.data.datasets import Dataset, File
from convline.files import written
from convline.problems import Problem
from convline.text import one_line

TIMEOUT = 10  # seconds until a source opens, and of a web server's silence after that
ATTEMPTS = 2  # at a source that broke off; a silent one is left at once, as there may be several
CHUNK = 1 << 16  # bytes
REMEDY = "set CONVLINE_MIRROR to a folder or URL that has it"


class NotDelivered(Problem):
    """No source delivered a file."""


class SourceError(Exception):
    """A source did not deliver the right bytes. `again`: another attempt may succeed."""

    def __init__(self, reason: str, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def sources(dataset: Dataset, folder: Path) -> tuple[str, ...]:
    """Where to look for the files of `dataset`, in order.

    CONVLINE_MIRROR, then the dataset's mirrors, then DVC, whose cache or remote may have the files
    that dvc.lock lists in `folder`.
    """
    first = os.environ.get("CONVLINE_MIRROR")
    others = (*dataset.mirrors, f"dvc://{folder}")
    return (first, *others) if first else others


def download(sources: tuple[str, ...], name: str, file: File, target: Path) -> None:
    """Write the file `name` from the first of `sources` that has the bytes of `file` to `target`.

    A source is a folder or a URL that fsspec can open, without `name`. A file that was downloaded
    before comes from the user's download cache instead, if its bytes are still right. If several
    processes need the same file, one downloads it and the others wait; if the cache cannot be
    used, each downloads its own copy. Raises `NotDelivered` with a reason for each source, and
    `Problem` where `target` cannot be written.
    """
    try:
        cached = _cache() / file.checksum.replace(":", "-")
        lock = FileLock(f"{cached}.lock").acquire()
    except (OSError, RuntimeError):  # the home folder is missing or read-only
        deliver(sources, name, file, target)
        return
    with lock:
        if cached.exists():
            with suppress(SourceError):  # it is damaged
                _download(str(cached), file, target)
                return
        deliver(sources, name, file, target)
        with suppress(Problem), written(cached) as copy, open(target, "rb") as delivered:
            shutil.copyfileobj(delivered, copy)


def _cache() -> Path:
    """The download cache, $XDG_CACHE_HOME/convline. Raises `RuntimeError` without a home folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "convline"


def deliver(
    sources: tuple[str, ...], name: str, file: File, target: Path, remedy: str = REMEDY
) -> None:
    """Do what `download` does, without the cache. `remedy` ends the message of `NotDelivered`."""
    failures = []
    for source in sources:
        url = f"{source.rstrip('/')}/{name}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return _download(url, file, target)
            except SourceError as error:
                if not error.again or attempt == ATTEMPTS:
                    failures.append(f"{source} ({error})")
                    break
    raise NotDelivered(f"no source delivered {name}: {'; '.join(failures)}; {remedy}")


def _download(url: str, file: File, target: Path) -> None:
    algorithm, expected = file.checksum.split(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    received = 0
    progress = tqdm(
        total=file.bytes, desc=target.name, unit="B", unit_scale=True, leave=False, disable=None
    )
    with written(target) as output, closing(read(url)) as chunks, progress:
        for chunk in chunks:
            received += len(chunk)
            if received > file.bytes:
                raise SourceError(f"sends more than the {file.bytes:,} bytes expected")
            digest.update(chunk)
            output.write(chunk)
            progress.update(len(chunk))
        if received < file.bytes:
            raise SourceError(f"ended after {received:,} of {file.bytes:,} bytes", again=True)
        if digest.hexdigest() != expected:
            raise SourceError(f"has other bytes: its {algorithm} is {digest.hexdigest()}")


def read(url: str) -> Generator[bytes]:
    """The bytes at `url` in chunks. Raises `SourceError`."""
    file_system: dict[str, Any] = {}
    file: dict[str, Any] = {}
    if url.startswith(("http://", "https://")):
        timeout = aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT)
        # A proxy or server must not unzip on the way
        file_system["headers"] = {"Accept-Encoding": "identity"}
        file_system["client_kwargs"] = {
            "timeout": timeout,
            "trust_env": True,
            "auto_decompress": False,
            # Left to fsspec, the connection of a 404 stays open, and aiohttp complains on stderr
            "raise_for_status": True,
        }
        # One plain request, read as a stream: without a size, fsspec asks for it first and
        # reports whatever goes wrong as "file not found"
        file.update(block_size=0, size=1)
    try:
        if url.startswith("dvc://"):
            # What DVC stores. Its own file system would read the workspace first, where the file
            # can be damaged or of another version.
            fs, path = Repo().datafs, url.removeprefix("dvc://")
        else:
            fs, path = url_to_fs(url, **file_system)
        # Over SSH, DVC waits for half an hour. The stage can end before a pool's thread does.
        with ThreadPool(1) as thread:
            stream = thread.apply_async(fs.open, (path, "rb"), file).get(TIMEOUT)
        with stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except (TimeoutError, multiprocessing.TimeoutError) as error:
        raise SourceError(f"no answer for {TIMEOUT} seconds") from error
    except aiohttp.ClientResponseError as error:
        raise SourceError(f"{error.status} {error.message}", error.status >= 500) from error
    except FileNotFoundError as error:
        raise SourceError("not found") from error
    except Exception as error:  # each of fsspec's file systems raises its own kinds
        again = isinstance(error, OSError | aiohttp.ClientError)
        raise SourceError(one_line(error) or type(error).__name__, again) from error
