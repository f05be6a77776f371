"""Files of folders and archives, here and elsewhere: what is found, refused, and never done."""

import bz2
import errno
import gzip
import hashlib
import inspect
import io
import lzma
import os
import stat
import struct
import sys
import tarfile
import threading
import tracemalloc
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.pool import ThreadPool
from pathlib import Path

import fsspec
import pytest

from convline.data import download, originals
from convline.data.originals import Originals, opened
from convline.data.pictures import MOST_BYTES, Unreadable
from convline.files import temporary_folder
from convline.problems import Problem

UNSUPPORTED = "is not a folder, a zip or a tar"
FILES = {"cat/1.png": b"first", "cat/2.png": b"second", "dog/nested/3.png": b"third"}


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary folders, which has to be empty in the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def memory() -> Iterator[str]:
    """The URL of a folder in memory, which holds `FILES`."""
    fs = fsspec.filesystem("memory")
    path = f"/{uuid.uuid4()}"
    for name, content in FILES.items():
        fs.pipe_file(f"{path}/{name}", content)
    yield f"memory:/{path}"
    fs.rm(path, recursive=True)


def contents(found: Originals) -> dict[str, bytes]:
    """What can be read, by name. Nothing may be twice."""
    read = {original.name: original.read() for original in found.files}
    assert len(read) == len(found.files)
    return read


def problems(found: Originals) -> list[str]:
    return sorted(map(str, found.problems))


def of(source: object) -> tuple[dict[str, bytes], list[str]]:
    """The files of a source and what is wrong with others."""
    with opened(str(source)) as found:
        return contents(found), problems(found)


def unread(source: object, name: str) -> str:
    """Why the file `name` of a source cannot be read."""
    with opened(str(source)) as found:
        (original,) = (one for one in found.files if one.name == name)
        with pytest.raises(Unreadable) as caught:
            original.read()
    return str(caught.value)


def refused(source: object) -> str:
    """The one line that refuses a source, after its name."""
    with pytest.raises(Problem) as caught, opened(str(source)):
        pass
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{source} ")
    return line.removeprefix(f"{source} ")


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


Member = tuple[str, bytes, Mapping[str, object]]


def tarred(path: Path, *members: Member, format: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of `members`: name, content, and what their headers say besides."""
    with tarfile.open(path, "w", format=format) as archive:
        for name, content, attributes in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def of_files(files: dict[str, bytes]) -> list[Member]:
    return [(name, content, {}) for name, content in files.items()]


# Folders


def test_a_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    (folder / "bird").mkdir()
    with opened(str(folder)) as found:
        assert contents(found) == FILES
        assert found.folders == {"cat", "dog", "dog/nested", "bird"}
        assert found.problems == []


@pytest.mark.parametrize("end", ["", "/", "/.", "/../pictures"])
def test_a_folder_may_be_written_in_several_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    fill(tmp_path / "pictures", FILES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in ("pictures", "~/pictures", tmp_path / "pictures"):
        assert of(f"{source}{end}") == (FILES, [])


@pytest.mark.parametrize(
    "name",
    [
        "with space.png",
        " leading.png",
        "line\nend.png",
        "naïve.png",
        "nai\N{COMBINING DIAERESIS}ve.png",
        "猫.png",
        "[1]*?.png",
        "back\\slash.png",
        "~.png",
    ],
)
def test_odd_names_are_kept(tmp_path: Path, name: str) -> None:
    files = {f"{name}/{name}": b"content"}
    assert of(fill(tmp_path / "pictures", files)) == (files, [])


def test_two_forms_of_an_accent_are_two_files(tmp_path: Path) -> None:
    files = {"\u00e9.png": b"composed", "e\u0301.png": b"decomposed"}
    assert of(zipped(tmp_path / "x.zip", files)) == (files, [])


def test_a_name_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    try:
        (folder / os.fsdecode(b"na\xefve.png")).write_bytes(b"content")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert of(folder) == (FILES, ["na?ve.png has a name that is not UTF-8"])


CLUTTER = [
    ".hidden.png",
    "cat/.hidden.png",
    ".git/x.png",
    ".ipynb_checkpoints/1-checkpoint.png",
    ".DS_Store",
    "cat/Thumbs.db",
    "cat/thumbs.db",
    "desktop.ini",
    "__MACOSX/cat/._1.png",
    "cat/._1.png",
    "lost+found/x",
]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "memory"])
def test_what_systems_leave_behind_is_left_out(tmp_path: Path, memory: str, kind: str) -> None:
    clutter = dict.fromkeys(CLUTTER, b"clutter")
    source: object = memory
    if kind == "folder":
        source = fill(tmp_path / "pictures", FILES | clutter)
    elif kind == "zip":
        source = zipped(tmp_path / "x.zip", {"__MACOSX/": b"", **FILES, **clutter})
    elif kind == "tar":
        source = tarred(tmp_path / "x.tar", *of_files(FILES | clutter))
    else:
        fs, path = fsspec.core.url_to_fs(memory)
        for name, content in clutter.items():
            fs.pipe_file(f"{path}/{name}", content)
    with opened(str(source)) as found:
        assert contents(found) == FILES
        assert found.problems == []
        assert found.folders <= {"cat", "dog", "dog/nested"}


def test_a_source_within_a_hidden_folder_is_no_clutter(tmp_path: Path) -> None:
    assert of(fill(tmp_path / ".cache/pictures", FILES)) == (FILES, [])


def test_links_are_followed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    fill(tmp_path / "elsewhere", {"4.png": b"fourth"})
    (folder / "outside").symlink_to(tmp_path / "elsewhere")
    (folder / "inside").symlink_to("cat")
    (folder / "cat/3.png").symlink_to("../dog/nested/3.png")
    (tmp_path / "link").symlink_to(folder)
    linked = {
        "outside/4.png": b"fourth",
        "inside/1.png": b"first",
        "inside/2.png": b"second",
        "inside/3.png": b"third",
        "cat/3.png": b"third",
    }
    assert of(tmp_path / "link") == (FILES | linked, [])


def test_a_link_that_leads_back_is_reported_once(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    (folder / "dog/loop").symlink_to(folder)
    (folder / "dog/nested/loop").symlink_to("..")
    with opened(str(folder)) as found:
        assert contents(found) == FILES
        assert problems(found) == [
            "dog/loop is a link to a folder that contains it",
            "dog/nested/loop is a link to a folder that contains it",
        ]
        assert found.folders == {"cat", "dog", "dog/nested"}


def test_links_that_lead_nowhere_are_reported(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    (folder / "broken.png").symlink_to("no such file")
    (folder / "itself.png").symlink_to("itself.png")
    assert of(folder) == (
        FILES,
        ["broken.png is a broken link", "itself.png is a broken link"],
    )


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    os.mkfifo(folder / "pipe.png")
    assert of(folder) == (FILES, ["pipe.png is not a regular file"])
    assert refused(folder / "pipe.png") == UNSUPPORTED


def forbid(monkeypatch: pytest.MonkeyPatch, method: str, forbidden: Path) -> None:
    """Let a method of `forbidden` fail as without permission, for root too."""
    original = getattr(Path, method)

    def fail(path: Path, *arguments: object, **options: object) -> object:
        if path == forbidden:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, method, fail)


def test_what_may_not_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    forbid(monkeypatch, "stat", folder / "cat/2.png")
    forbid(monkeypatch, "iterdir", folder / "dog")
    assert of(folder) == (
        {"cat/1.png": b"first"},
        ["cat/2.png cannot be read: Permission denied", "dog cannot be read: Permission denied"],
    )
    forbid(monkeypatch, "iterdir", folder)
    assert refused(folder) == "cannot be read: Permission denied"
    forbid(monkeypatch, "open", zipped(tmp_path / "x.zip", FILES))
    assert refused(tmp_path / "x.zip") == "cannot be read: Permission denied"


def test_a_file_that_vanishes_is_reported_when_it_is_read(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    with opened(str(folder)) as found:
        (folder / "cat/1.png").unlink()
        (original,) = (one for one in found.files if one.name == "cat/1.png")
        with pytest.raises(Unreadable, match=r"^cannot be read: No such file or directory$"):
            original.read()


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "pictures", {"huge.png": bytes(1001), "2.png": bytes(1000)})
    monkeypatch.setattr(originals, "MOST_BYTES", 1000)
    with opened(str(folder)) as found:
        assert found.files[0].read() == bytes(1000)
    assert unread(folder, "huge.png") == "is larger than 256 MiB, the limit"


def test_folders_are_deeper_than_calls_can_be(tmp_path: Path) -> None:
    files = {"d/" * 150 + "1.png": b"deep"}
    folder = fill(tmp_path / "pictures", files)
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert of(folder) == (files, [])
    finally:
        sys.setrecursionlimit(usual)


@pytest.mark.parametrize("source", ["", "no/such", "~nobody-of-this-name/x", "file:///no/such"])
def test_a_source_that_does_not_exist(source: str) -> None:
    with (
        pytest.raises(Problem, match=r"does not exist|^the source is empty; give a folder"),
        opened(source),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b"text", b"PK", b"\x89PNG\r\n\x1a\n" + bytes(999)])
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.zip").write_bytes(content)
    assert refused(tmp_path / "file.zip") == UNSUPPORTED


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"Rar!\x1a\x07\x01\0", "RAR"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
        (b"\x28\xb5\x2f\xfd\x04\x58", "Zstandard"),
    ],
)
def test_an_archive_of_another_kind_is_named(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "file.zip").write_bytes(start + bytes(99))
    expected = f"is a {kind} archive, which is not supported: unpack it first"
    assert refused(tmp_path / "file.zip") == expected


# Zip


@pytest.mark.parametrize(
    "method",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_a_zip(tmp_path: Path, method: int) -> None:
    """Whatever its suffix."""
    path = zipped(tmp_path / "pictures.tar", FILES | {"empty/folder/": b""}, method)
    with opened(str(path)) as found:
        assert contents(found) == FILES
        assert found.folders == {"empty/folder"}
        assert found.problems == []


def test_a_zip_of_64_bits(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in FILES.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(content)
    assert of(tmp_path / "x.zip") == (FILES, [])


def test_a_zip_without_members(tmp_path: Path) -> None:
    assert of(zipped(tmp_path / "x.zip", {})) == ({}, [])


def test_a_zip_within_a_zip_is_a_file(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", FILES).read_bytes()
    path = zipped(tmp_path / "x.zip", {"inner.zip": inner})
    assert of(path) == ({"inner.zip": inner}, [])


LEADS_OUT = "has a path outside the archive"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("../x.png", "../x.png"),
        ("cat/../../x.png", "cat/../../x.png"),
        ("/etc/x.png", "/etc/x.png"),
        ("..\\x.png", "../x.png"),
        ("C:\\cat\\x.png", "C:/cat/x.png"),
        ("c:/x.png", "c:/x.png"),
        ("\\\\server\\share\\x.png", "//server/share/x.png"),
    ],
)
def test_a_name_that_leads_out_of_a_zip(tmp_path: Path, written: str, shown: str) -> None:
    path = zipped(tmp_path / "x.zip", FILES | {written: b"out", "../out/": b"", "/out/": b""})
    with opened(str(path)) as found:
        assert contents(found) == FILES
        assert problems(found) == [f"{shown} {LEADS_OUT}"]
        assert found.folders == set()


def test_the_backslashes_of_windows(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"cat\\": b"", "cat\\1.png": b"first"})
    with opened(str(path)) as found:
        assert contents(found) == {"cat/1.png": b"first"}
        assert found.folders == {"cat"}


def test_names_that_differ_only_in_slashes_are_one(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "x.zip",
        {"cat/1.png": b"first", "cat//1.png": b"other", "./cat/1.png": b"another", ".": b"none"},
    )
    assert of(path) == (
        {"cat/1.png": b"first"},
        [
            ". has no name",
            "./cat/1.png is in the archive twice",
            "cat//1.png is in the archive twice",
        ],
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_in_a_zip_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("1.png", b"first")
        archive.writestr("1.png", b"second")
    assert of(tmp_path / "x.zip") == ({"1.png": b"first"}, ["1.png is in the archive twice"])


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_a_zip_that_does_not_say_how_names_are_encoded(tmp_path: Path, encoding: str) -> None:
    """DOS wrote code page 437, macOS writes UTF-8."""
    name = "ä/é.png"
    placeholder = "x" * len(name.encode(encoding))
    path = zipped(tmp_path / "x.zip", {placeholder: b"content"})
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), name.encode(encoding)))
    assert of(path) == ({name: b"content"}, [])


def test_a_zip_that_says_how_names_are_encoded(tmp_path: Path) -> None:
    assert of(zipped(tmp_path / "x.zip", {"├ñ.png": b"content"})) == ({"├ñ.png": b"content"}, [])


def test_a_link_in_a_zip_is_not_followed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("link.png")
        member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert of(path) == (FILES, ["link.png is a link; links in archives are not followed"])


def marked(content: bytes, offsets: tuple[int, int], value: int) -> bytes:
    """A zip with 16 bits set in both headers of its only member, at these offsets in each."""
    changed = bytearray(content)
    for magic, offset in zip((b"PK\3\4", b"PK\1\2"), offsets):
        struct.pack_into("<H", changed, content.index(magic) + offset, value)
    return bytes(changed)


def test_an_encrypted_member_is_reported(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"1.png": b"content"})
    path.write_bytes(marked(path.read_bytes(), (6, 8), 1))
    assert of(path) == ({}, ["1.png is encrypted"])


def test_an_unknown_compression(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"1.png": b"content"})
    path.write_bytes(marked(path.read_bytes(), (8, 10), 19))
    assert unread(path, "1.png").startswith("cannot be unpacked: ")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_member_that_is_damaged(tmp_path: Path, method: int) -> None:
    """The others can be read all the same."""
    noise = hashlib.shake_256(b"seed").digest(4000)
    path = zipped(tmp_path / "x.zip", {"1.png": noise, "2.png": b"good"}, method)
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(content)
    assert unread(path, "1.png").startswith("is damaged in the archive: ")
    with opened(str(path)) as found:
        assert found.files[1].read() == b"good"


@pytest.mark.parametrize("keep", [10, -30, -1])
def test_a_zip_that_is_cut_off(tmp_path: Path, keep: int) -> None:
    path = zipped(tmp_path / "x.zip", FILES)
    path.write_bytes(path.read_bytes()[:keep])
    assert refused(path).startswith("is a damaged zip: ")


def test_a_member_that_declares_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "x.zip", {"huge.png": bytes(1001), "2.png": bytes(1000)})
    monkeypatch.setattr(originals, "MOST_BYTES", 1000)
    with opened(str(path)) as found:
        assert found.files[1].read() == bytes(1000)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    assert unread(path, "huge.png") == "is larger than 256 MiB, the limit"


def test_a_member_that_is_larger_than_it_declares_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"1.png": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 1 << 20), struct.pack("<I", 1 << 10)))
    assert unread(path, "1.png").startswith("is damaged in the archive: Bad CRC-32")


def bomb(members: int, declared: int) -> bytes:
    """A zip whose members share one packed content, and declare `declared` bytes each."""
    packed = zlib.compress(bytes(1000), 9)[2:-4]
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 33, 0, len(packed), declared, 1, 0)
    content, directory = local + b"0" + packed, b""
    for number in range(members):
        name = f"{number}.png".encode()
        directory += struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\1\2", 20, 20, 0, 8, 0, 33, 0, len(packed), declared, len(name)),
            *(0, 0, 0, 0, 0, 0),
        )
        directory += name
    end = (b"PK\5\6", 0, 0, members, members, len(directory), len(content), 0)
    return content + directory + struct.pack("<4s4H2LH", *end)


@pytest.mark.parametrize(("members", "declared"), [(1, 0xFFFF0000), (6, 200_000_000)])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, members: int, declared: int
) -> None:
    (tmp_path / "x.zip").write_bytes(bomb(members, declared))
    expected = "would unpack to more than 100 times its size: it is not an archive of pictures"
    assert refused(tmp_path / "x.zip") == expected


def test_overlapping_members_are_measured_by_the_size_of_the_file(tmp_path: Path) -> None:
    """Each claims a thousand times what it has: together, they claim to be large when packed."""
    content = bomb(1000, 1 << 21)
    packed = len(zlib.compress(bytes(1000), 9)) - 6
    (tmp_path / "x.zip").write_bytes(
        content.replace(struct.pack("<2L", packed, 1 << 21), struct.pack("<2L", 1 << 20, 1 << 21))
    )
    assert refused(tmp_path / "x.zip").startswith("would unpack to more than 100 times its size")


def test_a_zip_is_not_read_as_a_whole(tmp_path: Path) -> None:
    noise = [hashlib.shake_256(bytes([i])).digest(1 << 20) for i in range(32)]
    path = zipped(tmp_path / "x.zip", {f"{i}.png": content for i, content in enumerate(noise)})
    digests = [hashlib.sha256(content).digest() for content in noise]
    del noise
    tracemalloc.start()
    try:
        with opened(str(path)) as found:
            assert [hashlib.sha256(one.read()).digest() for one in found.files] == digests
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_files_can_be_read_in_threads_and_in_any_order(tmp_path: Path, kind: str) -> None:
    files = {f"{i}.png": hashlib.shake_256(bytes([i])).digest(20_000) for i in range(100)}
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        zipped(path, files, zipfile.ZIP_DEFLATED)
    else:
        tarred(path, *of_files(files))
    if kind == "tar.gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    with opened(str(path)) as found, ThreadPool(8) as pool:
        backwards = found.files[::-1]
        read = pool.map(lambda original: original.read(), backwards, chunksize=1)
    assert dict(zip((original.name for original in backwards), read)) == files


# Tar


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_a_tar(tmp_path: Path, packer: Callable[[bytes], bytes]) -> None:
    """Whatever its suffix."""
    long = {f"{'a' * 90}/{'b' * 90}/ä.png": b"a long name"}
    members: list[Member] = [("./bird", b"", {"type": tarfile.DIRTYPE}), *of_files(FILES | long)]
    path = tarred(tmp_path / "pictures.zip", *members)
    path.write_bytes(packer(path.read_bytes()))
    with opened(str(path)) as found:
        assert contents(found) == FILES | long
        assert found.folders == {"bird"}
        assert found.problems == []


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name", ["PK/1.png", "BZh/1.png"])
def test_a_tar_whose_first_name_looks_like_another_format(
    tmp_path: Path, format: int, name: str
) -> None:
    path = tarred(tmp_path / "x.tar", (name, b"first", {}), format=format)
    assert of(path) == ({name: b"first"}, [])


@pytest.mark.parametrize("name", ["../x.png", "cat/../../x.png", "/etc/x.png"])
def test_a_name_that_leads_out_of_a_tar(tmp_path: Path, name: str) -> None:
    path = tarred(tmp_path / "x.tar", *of_files(FILES), (name, b"out", {}))
    assert of(path) == (FILES, [f"{name} {LEADS_OUT}"])


def test_a_hard_link_is_a_second_name(tmp_path: Path) -> None:
    link = ("dog/1.png", b"", {"type": tarfile.LNKTYPE, "linkname": "cat/1.png"})
    path = tarred(tmp_path / "x.tar", *of_files(FILES), link)
    assert of(path) == (FILES | {"dog/1.png": b"first"}, [])


LINK = "is a link; links in archives are not followed"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "cat/1.png"}, LINK),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, LINK),
        ({"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}, LINK),
        ({"type": tarfile.LNKTYPE, "linkname": "later.png"}, LINK),
        ({"type": tarfile.FIFOTYPE}, "is not a regular file"),
        ({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}, "is not a regular file"),
        ({"type": tarfile.BLKTYPE, "devmajor": 1, "devminor": 5}, "is not a regular file"),
    ],
)
def test_members_that_are_no_files(
    tmp_path: Path, attributes: Mapping[str, object], reason: str
) -> None:
    members = [*of_files(FILES), ("x.png", b"", attributes), ("later.png", b"later", {})]
    path = tarred(tmp_path / "x.tar", *members)
    assert of(path) == (FILES | {"later.png": b"later"}, [f"x.png {reason}"])


def test_a_hard_link_to_what_is_no_file(tmp_path: Path) -> None:
    path = tarred(
        tmp_path / "x.tar",
        ("a.png", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("b.png", b"", {"type": tarfile.LNKTYPE, "linkname": "a.png"}),
    )
    assert of(path) == ({}, [f"a.png {LINK}", f"b.png {LINK}"])


def test_a_sparse_member(tmp_path: Path) -> None:
    """As GNU tar writes it: its bytes in the archive are not those of the file."""
    headers = {"GNU.sparse.map": "0,5", "GNU.sparse.size": "1000", "GNU.sparse.numblocks": "1"}
    member = ("sparse.png", b"bytes", {"pax_headers": headers})
    path = tarred(tmp_path / "x.tar", *of_files(FILES), member)
    assert of(path) == (FILES, ["sparse.png is not a regular file"])


def test_a_name_that_is_in_a_tar_twice(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", ("1.png", b"first", {}), ("./1.png", b"second", {}))
    assert of(path) == ({"1.png": b"first"}, ["./1.png is in the archive twice"])


def test_a_name_in_a_tar_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tarred(
        tmp_path / "x.tar", (os.fsdecode(b"\xe9.png"), b"", {}), format=tarfile.GNU_FORMAT
    )
    assert of(path) == ({}, ["?.png has a name that is not UTF-8"])


def cut_off(content: bytes) -> bytes:
    return content[: 3 * 512 - 100]


def with_a_damaged_header(content: bytes) -> bytes:
    """Of the second member, which Python's tarfile takes for the end of the archive."""
    return content[:1024] + b"?" + content[1025:]


def cut_off_in_a_header(content: bytes) -> bytes:
    return content[: 2 * 512 + 100]


@pytest.mark.parametrize("damage", [cut_off, with_a_damaged_header, cut_off_in_a_header])
def test_a_tar_that_is_damaged_loses_nothing_in_silence(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tarred(tmp_path / "x.tar", *of_files(FILES))
    path.write_bytes(damage(path.read_bytes()))
    assert refused(path).startswith("is a damaged tar: ")


@pytest.mark.parametrize("packer", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_a_packed_tar_that_is_damaged(tmp_path: Path, packer: str, damage: str) -> None:
    noise = {f"{i}.png": hashlib.shake_256(bytes([i])).digest(9000) for i in range(9)}
    content = bytearray(PACKERS[packer](tarred(tmp_path / "x", *of_files(noise)).read_bytes()))
    middle = len(content) // 2
    if damage == "cut off":
        del content[middle:]
    else:
        content[middle] ^= 0xFF
    (tmp_path / "x").write_bytes(content)
    assert refused(tmp_path / "x").startswith("is damaged: ")


def test_a_gzip_bomb_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: Path
) -> None:
    """The disk takes little more than what is allowed."""
    monkeypatch.setattr(originals, "ALLOWANCE", 1 << 22)
    monkeypatch.setattr(originals, "MOST_GROWTH", 10)
    path = tarred(tmp_path / "x", ("huge.png", bytes(1 << 24), {}))
    path.write_bytes(gzip.compress(path.read_bytes()))
    most = []
    check = originals._check_growth

    def record(packed: int, unpacked: int, source: str) -> None:
        most.append(unpacked)
        check(packed, unpacked, source)

    monkeypatch.setattr(originals, "_check_growth", record)
    assert (
        refused(path)
        == "would unpack to more than 10 times its size: it is not an archive of pictures"
    )
    assert max(most) < (1 << 22) + 10 * path.stat().st_size + (1 << 21)


@pytest.mark.parametrize("packer", [gzip.compress, bz2.compress, lzma.compress])
def test_what_is_packed_and_no_tar_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packer: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(originals, "_check_growth", None)
    (tmp_path / "x.csv.gz").write_bytes(packer(b"file_name,label\n" * 99))
    assert refused(tmp_path / "x.csv.gz") == UNSUPPORTED


def test_a_member_of_a_tar_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    info = tarfile.TarInfo("huge.png")
    info.size = MOST_BYTES + 512
    path.write_bytes(info.tobuf())
    os.truncate(path, 512 + info.size + 1024)
    assert unread(path, "huge.png") == "is larger than 256 MiB, the limit"


# Elsewhere


def test_a_folder_elsewhere(memory: str) -> None:
    assert of(memory) == (FILES, [])
    assert of(f"{memory}/") == (FILES, [])


def test_a_folder_under_the_url_of_files_is_read_in_place(tmp_path: Path, scratch: Path) -> None:
    folder = fill(tmp_path / "pictures", FILES)
    (folder / "loop").symlink_to(folder)
    with opened(folder.as_uri()) as found:
        assert contents(found) == FILES
        assert problems(found) == ["loop is a link to a folder that contains it"]
        assert [path for path in scratch.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("place", ["memory", "file"])
def test_an_archive_elsewhere(tmp_path: Path, memory: str, place: str) -> None:
    path = zipped(tmp_path / "x.zip", FILES)
    if place == "file":
        assert of(path.as_uri()) == (FILES, [])
    else:
        fs, folder = fsspec.core.url_to_fs(memory)
        fs.pipe_file(f"{folder}/x.zip", path.read_bytes())
        assert of(f"{memory}/x.zip") == (FILES, [])


def test_an_empty_folder_elsewhere(memory: str) -> None:
    fs, folder = fsspec.core.url_to_fs(memory)
    fs.mkdir(f"{folder}/empty")
    assert of(f"{memory}/empty") == ({}, [])


def test_odd_names_elsewhere(memory: str) -> None:
    fs, folder = fsspec.core.url_to_fs(memory)
    names = ["with space.png", "[1]*?.png", "猫#1.png", "50%.png"]
    for name in names:
        fs.pipe_file(f"{folder}/odd/{name}", name.encode())
    assert of(f"{memory}/odd") == ({name: name.encode() for name in names}, [])


def test_a_file_elsewhere_that_is_too_large_is_not_copied(
    memory: str, monkeypatch: pytest.MonkeyPatch, scratch: Path
) -> None:
    monkeypatch.setattr(originals, "MOST_BYTES", 5)
    with opened(memory) as found:
        assert contents(found).keys() == {"cat/1.png", "dog/nested/3.png"}
        (problem,) = found.problems
        assert str(problem) == "cat/2.png is larger than 256 MiB, the limit"
        assert len([path for path in scratch.rglob("*") if path.is_file()]) == 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("memory://no/such", "cannot be read: not found"),
        ("foo://bucket/x", "cannot be read: Protocol not known: foo"),
    ],
)
def test_a_url_that_leads_nowhere(source: str, reason: str) -> None:
    assert refused(source).startswith(reason)


def test_a_bucket_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(handler: BaseHTTPRequestHandler) -> None:
        body = b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"
        reply(handler, body, 404)

    with serving(handle) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        assert refused("s3://no-such-bucket/pictures").startswith("cannot be read: ")


@contextmanager
def serving(handle: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The URL of a server on loopback that lets `handle` answer each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer."""
            handle(self)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def reply(
    handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, declared: int | None = None
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if declared is None else declared))
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(body)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing stand between a test and its server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_on_a_web_server(tmp_path: Path, kind: str) -> None:
    if kind == "zip":
        body = zipped(tmp_path / "x", FILES).read_bytes()
    else:
        body = gzip.compress(tarred(tmp_path / "x", *of_files(FILES)).read_bytes())
    with serving(lambda handler: reply(handler, body)) as url:
        assert of(f"{url}/x?download=1") == (FILES, [])


@pytest.mark.parametrize(
    ("body", "status", "declared", "reason"),
    [
        (b"", 404, None, "cannot be read: 404 Not Found"),
        (b"", 503, None, "cannot be read: 503 Service Unavailable"),
        (b"PK\3\4", 200, 9999, "cannot be read: "),
        (b"<!doctype html><title>Sign in</title>", 200, None, UNSUPPORTED),
    ],
)
def test_a_web_server_that_does_not_deliver(
    body: bytes, status: int, declared: int | None, reason: str
) -> None:
    with serving(lambda handler: reply(handler, body, status, declared)) as url:
        assert refused(f"{url}/x.zip").startswith(reason)


def test_a_web_server_that_is_not_there() -> None:
    with serving(lambda handler: reply(handler, b"")) as url:
        pass
    assert refused(f"{url}/x.zip").startswith("cannot be read: Cannot connect to host")


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: stopped.wait(30))
    try:
        assert refused("ssh://host/x") == "cannot be read: no answer for 0.2 seconds"
    finally:
        stopped.set()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("foo://user:secret@host/x", "foo://user:***@host/x"),
        ("foo://user:sec/r@et@host:22/x", "foo://user:***@host:22/x"),
        ("http://secret@127.0.0.1:9/x.zip", "http://***@127.0.0.1:9/x.zip"),
        ("http://a:secret@127.0.0.1:9/x.zip", "http://***@127.0.0.1:9/x.zip"),
        ("http://127.0.0.1:9/x.zip?sig=secret", "http://127.0.0.1:9/x.zip?***"),
        ("memory://user:secret@host/x", "memory://user:***@host/x"),
        ("zip://x::foo://user:secret@host/x", "zip://x::foo://user:***@host/x"),
    ],
)
def test_messages_do_not_show_what_is_secret(url: str, shown: str) -> None:
    with pytest.raises(Problem) as caught, opened(url):
        pass
    line = str(caught.value)
    assert line.startswith(f"{shown} cannot be read: ")
    assert "secret" not in line
    assert "sec/r" not in line


def test_the_reasons_that_libraries_give_do_not_show_what_is_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(url: str) -> None:
        raise ValueError(f"cannot parse {url}")

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(Problem) as caught, opened("ssh://user:secret@host/x"):
        pass
    url = "ssh://user:***@host/x"
    assert str(caught.value) == f"{url} cannot be read: cannot parse {url}"


# The temporary folder


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("kind", ["archive elsewhere", "folder elsewhere", "packed tar"])
def test_a_full_disk(
    tmp_path: Path, memory: str, scratch: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    @contextmanager
    def full() -> Iterator[Path]:
        with temporary_folder() as folder:
            for name in ("archive", "tar", "0"):
                (folder / name).symlink_to("/dev/full")
            yield folder

    monkeypatch.setattr(originals, "temporary_folder", full)
    source = memory
    if kind == "archive elsewhere":
        fs, folder = fsspec.core.url_to_fs(memory)
        fs.pipe_file(f"{folder}/x", zipped(tmp_path / "x", FILES).read_bytes())
        source = f"{memory}/x"
    elif kind == "packed tar":
        source = str(tmp_path / "x")
        tarred(tmp_path / "x", *of_files(FILES))
        (tmp_path / "x").write_bytes(gzip.compress((tmp_path / "x").read_bytes()))
    with pytest.raises(Problem) as caught, opened(source):
        pass
    assert str(caught.value) == (
        f"the temporary folder {scratch} cannot be used: No space left on device; free space "
        "there or set TMPDIR to another"
    )


@pytest.mark.parametrize("error", [FileNotFoundError("git"), KeyError("x"), KeyboardInterrupt()])
def test_what_the_caller_raises_is_left_as_it_is(tmp_path: Path, error: BaseException) -> None:
    path = zipped(tmp_path / "x.zip", FILES)
    with pytest.raises(type(error)) as caught, opened(str(path)):
        raise error
    assert caught.value is error
