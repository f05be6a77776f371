"""Pictures as people have them: files in a folder or an archive, here or elsewhere."""

import bz2
import errno
import gzip
import lzma
import multiprocessing
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath
from typing import IO, Any

from convline.data.pictures import MOST_BYTES, Unreadable
from convline.files import temporary_folder
from convline.problems import Problem
from convline.text import one_line

CHUNK = 1 << 20  # bytes
# Pictures are compressed already, and an archive hardly shrinks them; a bomb grows a thousandfold
MOST_GROWTH = 100
ALLOWANCE = 1 << 30  # bytes that any archive may unpack to
# How archives begin. Long enough: a tar begins with the name of its first member
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
COMPRESSED = {b"\x1f\x8b\x08": gzip, b"\xfd7zXZ\x00": lzma}
COMPRESSED |= {b"BZh%d1AY&SY" % level: bz2 for level in range(1, 10)}
OTHERS = {b"Rar!\x1a\x07": "RAR", b"7z\xbc\xaf\x27\x1c": "7z", b"\x28\xb5\x2f\xfd": "Zstandard"}
UNSUPPORTED = "is not a folder, a zip or a tar"
TOO_LARGE = f"is larger than {MOST_BYTES >> 20} MiB, the limit"
UTF_8 = 1 << 11  # flag of a zip's member
CLUTTER = {"thumbs.db", "desktop.ini", "__macosx", "icon\r", "@eadir", "lost+found", "$recycle.bin"}


@dataclass(frozen=True)
class Finding:
    """Something about one file, whose name it continues: "is empty"."""

    file_name: str
    reason: str

    def __str__(self) -> str:
        return f"{one_line(self.file_name)} {self.reason}"


@dataclass(frozen=True)
class Original:
    """A file. `name` is its path within the source, with slashes.

    `read` returns its bytes and raises `Unreadable`.
    """

    name: str
    read: Callable[[], bytes]


@dataclass
class Originals:
    """What a source holds: its files, its folders, and what is wrong with some of them.

    Hidden files and what systems leave behind (Thumbs.db, .DS_Store) are left out.
    """

    files: list[Original] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    problems: list[Finding] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def add(self, name: str, read: Callable[[], bytes], problem: str | None = None) -> None:
        """Add a file, or the problem with it, unless it is clutter."""
        try:
            name.encode()
        except UnicodeEncodeError:
            name, problem = name.encode(errors="replace").decode(), "has a name that is not UTF-8"
        path = PurePosixPath(name)
        if clutter(path.parts):
            return
        if not path.parts:
            problem = "has no name"
        elif _leads_out(path):
            problem = "has a path outside the archive"
        elif str(path) in self.names:
            problem = problem or "is in the archive twice"
        if problem:
            self.problems.append(Finding(name, problem))
        else:
            self.files.append(Original(str(path), read))
            self.names.add(str(path))

    def add_folder(self, name: str) -> None:
        """Add a folder, which may be empty, unless it is clutter or has no proper name."""
        path = PurePosixPath(name)
        with suppress(UnicodeEncodeError):
            name.encode()
            if path.parts and not clutter(path.parts) and not _leads_out(path):
                self.folders.add(str(path))


def clutter(parts: tuple[str, ...]) -> bool:
    """Whether a path leads to a hidden file or to what systems leave behind."""
    return any(part.lower() in CLUTTER or part.startswith(".") for part in parts if part != "..")


def _leads_out(path: PurePosixPath) -> bool:
    return path.is_absolute() or ".." in path.parts


def redacted(text: str) -> str:
    """`text` without what is secret in the URLs in it: passwords, tokens, signatures."""
    text = re.sub(r"(https?://)\S*@", r"\1***@", text)
    # A URL may be chained to another: zip://x::ssh://user:password@host/y
    text = re.sub(r"(://[^\s/:@]*):(?!:\w+://)\S*@", r"\1:***@", text)
    return re.sub(r"(://[^\s?]*\?)\S*", r"\1***", text)


@contextmanager
def opened(source: str) -> Iterator[Originals]:
    """The files of `source`: a folder, a zip or a tar, as a path or a URL that fsspec opens.

    What lies elsewhere is copied here first, and a compressed tar is unpacked, to a temporary
    folder. Raises `Problem` where `source` is something else or cannot be reached.
    """
    failure = None
    with temporary_folder() as scratch, ExitStack() as stack:
        if "://" in source:
            found = _remote(source, scratch, stack)
        else:
            found = _local(_path(source), scratch, source, stack)
        try:
            yield found
        except OSError as error:  # the caller's, for which the temporary folder is not to blame
            failure = error
    if failure:
        raise failure


def is_one(source: str) -> bool:
    """Whether `opened` is for `source`: a URL, a folder or an archive, and no other file."""
    if "://" in source:
        return True
    path = _path(source)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return path.is_dir()
        with path.open("rb") as file:
            start = file.read(tarfile.BLOCKSIZE)
    except OSError:
        return False
    return start.startswith((*ZIP, *COMPRESSED, *OTHERS)) or _is_header(start)


def read_file(path: Path) -> bytes:
    """The bytes of a file, as `opened` reads those of a folder. Raises `Unreadable`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading could wait forever
            raise Unreadable("is not a regular file")
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    return _read_file(path)


def _path(source: str) -> Path:
    try:
        if source:
            return Path(source).expanduser()
    except RuntimeError as error:  # there is no such user
        raise Problem(f"{source} does not exist: {one_line(error)}") from error
    raise Problem("the source is empty; give a folder, a zip or a tar")


def _local(path: Path, scratch: Path, source: str, stack: ExitStack) -> Originals:
    """The files of a folder or archive on this machine; `source` is what messages call it.

    What has to stay open is closed by `stack`.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _of_folder(path)
        if not stat.S_ISREG(status.st_mode):  # reading could wait forever
            raise Problem(f"{source} {UNSUPPORTED}")
        file = stack.enter_context(path.open("rb"))
        start = file.read(10)
        file.seek(0)
    except FileNotFoundError as error:
        raise Problem(f"{source} does not exist; give a folder, a zip or a tar") from error
    except OSError as error:
        raise Problem(f"{source} cannot be read: {error.strerror}") from error
    for magic, name in OTHERS.items():
        if start.startswith(magic):
            raise Problem(f"{source} is a {name} archive, which is not supported: unpack it first")
    if start.startswith(ZIP):
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except Exception as error:  # damage of all kinds
            raise Problem(f"{source} is a damaged zip: {_reason(error)}") from error
        return _of_zip(archive, status.st_size, source)
    for magic, module in COMPRESSED.items():
        if start.startswith(magic):
            packed = stack.enter_context(module.open(file))
            copy = _unpacked(packed, status.st_size, scratch / "tar", source)
            file = stack.enter_context(copy.open("rb"))
    return _of_tar(file, source)


def _remote(source: str, scratch: Path, stack: ExitStack) -> Originals:
    """The files of a folder or archive elsewhere, copied to `scratch`."""
    from fsspec.implementations.local import LocalFileSystem

    from convline.data import download  # and with it aiohttp and DVC, which a folder does not need

    shown = redacted(source)
    try:
        # Over SSH, DVC waits for half an hour
        with ThreadPool(1) as thread:
            looked_up = thread.apply_async(_looked_up, (source,))
            fs, path, is_folder = looked_up.get(download.TIMEOUT)
        if is_folder and not isinstance(fs, LocalFileSystem):
            return _copied(fs, path, scratch)
    except multiprocessing.TimeoutError as error:
        raise Problem(
            f"{shown} cannot be read: no answer for {download.TIMEOUT} seconds"
        ) from error
    except Exception as error:  # each of fsspec's file systems raises its own kinds
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Problem(f"{shown} cannot be read: {redacted(_reason(error))}") from error
    if isinstance(fs, LocalFileSystem):
        return _local(Path(path), scratch, shown, stack)
    copy = scratch / "archive"
    try:
        with open(copy, "wb") as file, closing(download.read(source)) as chunks:
            for chunk in chunks:
                file.write(chunk)
    except download.SourceError as error:
        raise Problem(f"{shown} cannot be read: {redacted(str(error))}") from error
    return _local(copy, scratch, shown, stack)


def _looked_up(source: str) -> tuple[Any, str, bool]:
    """The file system of a URL, the path there, and whether that is a folder."""
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(source)
    # A web server has no folders, and would be asked for the whole page
    return fs, path, not source.startswith(("http://", "https://")) and fs.isdir(path)


def _copied(fs: Any, path: str, scratch: Path) -> Originals:
    """The files of a folder of fsspec, copied to `scratch` under numbers."""
    found = Originals()
    copies: dict[str, str] = {}
    for name, info in sorted(fs.find(path, detail=True).items()):
        relative = name.removeprefix(path.rstrip("/")).lstrip("/")
        copy = scratch / str(len(copies))
        if not relative or name.endswith("/"):
            continue  # an object that stands for a folder
        large = (info.get("size") or 0) > MOST_BYTES
        if not large and not clutter(PurePosixPath(relative).parts):
            copies[name] = str(copy)
        found.add(relative, partial(_read_file, copy), TOO_LARGE if large else None)
    if copies:
        fs.get(list(copies), list(copies.values()))
    return found


def _of_folder(top: Path) -> Originals:
    """The files below `top`. Links are followed, to files and to folders."""
    found = Originals()
    status = top.stat()
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]]
    waiting = [(top, ((status.st_dev, status.st_ino),))]
    while waiting:
        folder, ancestors = waiting.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            if folder == top:
                raise
            name = folder.relative_to(top).as_posix()
            found.add(name, partial(_read_file, folder), f"cannot be read: {error.strerror}")
            continue
        for path in entries:
            if clutter((path.name,)):
                continue
            name = path.relative_to(top).as_posix()
            problem = None
            try:
                status = path.stat()
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
                if error.errno in (errno.ENOENT, errno.ELOOP):
                    problem = "is a broken link"
            else:
                here = (status.st_dev, status.st_ino)
                if stat.S_ISDIR(status.st_mode):
                    if here not in ancestors:
                        found.add_folder(name)
                        waiting.append((path, (*ancestors, here)))
                        continue
                    problem = "is a link to a folder that contains it"
                elif not stat.S_ISREG(status.st_mode):  # reading could wait forever
                    problem = "is not a regular file"
            found.add(name, partial(_read_file, path), problem)
    return found


def _read_file(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return _limited(file)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error


def _limited(file: IO[bytes]) -> bytes:
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise Unreadable(TOO_LARGE)
    return content


def _of_zip(archive: zipfile.ZipFile, size: int, source: str) -> Originals:
    """The files of a zip of `size` bytes."""
    members = archive.infolist()
    # Not compared with the packed sizes of the members: those of a bomb overlap
    _check_growth(size, sum(member.file_size for member in members), source)
    found = Originals()
    for member in members:
        name = _name(member)
        if name.endswith("/"):
            found.add_folder(name)
            continue
        problem = None
        if re.match("[A-Za-z]:/", name):
            problem = "has a path outside the archive"
        elif member.flag_bits & 1:
            problem = "is encrypted"
        elif stat.S_ISLNK(member.external_attr >> 16):
            problem = "is a link; links in archives are not followed"
        found.add(name, partial(_read_zipped, archive, member), problem)
    return found


def _name(member: zipfile.ZipInfo) -> str:
    """The name of a zip's member, with slashes."""
    name = member.filename
    if not member.flag_bits & UTF_8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()  # macOS writes UTF-8 and does not say so
    return name.replace("\\", "/")  # some tools on Windows write these


def _read_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > MOST_BYTES:
        raise Unreadable(TOO_LARGE)
    try:
        with archive.open(member) as file:
            return file.read()
    except NotImplementedError as error:
        raise Unreadable(f"cannot be unpacked: {one_line(error)}") from error
    except Exception as error:  # damage of all kinds
        raise Unreadable(f"is damaged in the archive: {_reason(error)}") from error


def _unpacked(packed: IO[bytes], size: int, copy: Path, source: str) -> Path:
    """Unpack a tar of `size` bytes to `copy`, in which each member has a place to read from."""
    with open(copy, "wb") as unpacked:
        while chunk := _chunk(packed, source):
            if not unpacked.tell() and not _is_header(chunk[: tarfile.BLOCKSIZE]):
                break
            unpacked.write(chunk)
            _check_growth(size, unpacked.tell(), source)
    return copy


def _chunk(packed: IO[bytes], source: str) -> bytes:
    try:
        return packed.read(CHUNK)
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise Problem(f"{source} is damaged: {_reason(error)}") from error


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _check_growth(packed: int, unpacked: int, source: str) -> None:
    if unpacked > ALLOWANCE + MOST_GROWTH * packed:
        raise Problem(
            f"{source} would unpack to more than {MOST_GROWTH} times its size: it is not an "
            "archive of pictures"
        )


def _of_tar(file: IO[bytes], source: str) -> Originals:
    """The files of an uncompressed tar."""
    found = Originals()
    places: dict[str, tuple[int, int]] = {}
    members = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                members += 1
                if member.isdir():
                    found.add_folder(member.name)
                    continue
                place, problem = (member.offset_data, member.size), None
                if member.islnk() and member.linkname in places:  # a second name of one file
                    place = places[member.linkname]
                elif member.issym() or member.islnk():
                    problem = "is a link; links in archives are not followed"
                elif not member.isreg() or member.issparse():
                    problem = "is not a regular file"
                else:
                    places[member.name] = place
                found.add(member.name, partial(_read_tarred, file, *place), problem)
            file.seek(archive.offset)
            if any(file.read(tarfile.BLOCKSIZE)):  # tarfile takes damage for the end
                raise tarfile.ReadError(f"there is no member at byte {archive.offset:,}")
    except Exception as error:  # damage of all kinds
        if members:
            raise Problem(f"{source} is a damaged tar: {_reason(error)}") from error
        raise Problem(f"{source} {UNSUPPORTED}") from error
    return found


def _read_tarred(file: IO[bytes], offset: int, size: int) -> bytes:
    if size > MOST_BYTES:
        raise Unreadable(TOO_LARGE)
    content = os.pread(file.fileno(), size, offset)
    if len(content) < size:
        raise Unreadable("is damaged: the archive ends within it")
    return content


def _reason(error: Exception) -> str:
    return one_line(error) or type(error).__name__
