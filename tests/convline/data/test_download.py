"""Downloads: what the tests of the fetch stage do not show."""

import hashlib
import pwd
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from convline.data import datasets
from convline.data.download import NotDelivered, download, sources
from convline.problems import Problem

CONTENT = bytes(range(256)) * 1000
FILE = datasets.File(bytes=len(CONTENT), checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
RAW = Path("a/b")
Put = Callable[[bytes], str]


@pytest.fixture
def put() -> Iterator[Put]:
    """Puts content at NAME of a new source in memory, and returns the source's URL."""
    memory = fsspec.filesystem("memory")
    folders = []

    def put(content: bytes) -> str:
        folders.append(f"/{uuid.uuid4()}")
        memory.pipe_file(f"{folders[-1]}/name", content)
        return f"memory:/{folders[-1]}"

    yield put
    for folder in folders:
        memory.rm(folder, recursive=True)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of downloads, one of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/convline"


def dataset(*mirrors: str) -> datasets.IdxDataset:
    """A dataset of which only the mirrors matter."""
    return datasets.IdxDataset(
        shape=(1, 1), classes=["a", "b"], mirrors=mirrors, files="scikit-learn"
    )


def test_the_variable_comes_before_the_mirrors_and_dvc_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONVLINE_MIRROR", "first")
    assert sources(dataset("second", "third"), RAW) == ("first", "second", "third", "dvc://a/b")
    assert sources(dataset(), RAW) == ("first", "dvc://a/b")


@pytest.mark.parametrize("value", ["", None])
def test_without_the_variable_the_others_are_left(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("CONVLINE_MIRROR", raising=False)
    else:
        monkeypatch.setenv("CONVLINE_MIRROR", value)
    assert sources(dataset("second", "third"), RAW) == ("second", "third", "dvc://a/b")
    assert sources(dataset(), RAW) == ("dvc://a/b",)


def test_whatever_fsspec_opens_is_a_source(put: Put, tmp_path: Path) -> None:
    download((put(CONTENT),), "name", FILE, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_the_first_good_source_is_the_last_one_asked(put: Put, tmp_path: Path) -> None:
    download((put(CONTENT), "/no/such/folder"), "name", FILE, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT + b"\0", "sends more than the 256,000 bytes expected"),
        (CONTENT[1:], "ended after 255,999 of 256,000 bytes"),
        (b"", "ended after 0 of 256,000 bytes"),
        (CONTENT[::-1], "has other bytes: its sha256 is"),
    ],
)
def test_nothing_is_lost_where_no_source_is_good(
    put: Put, tmp_path: Path, content: bytes, reason: str
) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"as it was")
    source = put(content)
    with pytest.raises(NotDelivered) as caught:
        download(("/no/such/folder", source), "name", FILE, target)
    assert "no source delivered name: /no/such/folder (not found); " in str(caught.value)
    assert f"; {source} ({reason}" in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "cache"}
    assert target.read_bytes() == b"as it was"


def test_a_target_that_cannot_be_written_is_no_fault_of_the_source(
    put: Put, tmp_path: Path
) -> None:
    """`make run` turns to another dataset only where no source delivers."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(Problem, match="folder cannot be written: ") as caught:
        download((put(CONTENT),), "name", FILE, tmp_path / "folder")
    assert not isinstance(caught.value, NotDelivered)


def test_what_was_delivered_once_needs_no_source(put: Put, tmp_path: Path) -> None:
    download((put(CONTENT),), "name", FILE, tmp_path / "file")
    download((), "another name", FILE, tmp_path / "another")
    assert (tmp_path / "another").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"", CONTENT[1:], CONTENT[::-1], CONTENT + b"\0"])
def test_a_damaged_file_in_the_cache_is_replaced(
    put: Put, tmp_path: Path, cache: Path, content: bytes
) -> None:
    download((put(CONTENT),), "name", FILE, tmp_path / "file")
    kept = cache / FILE.checksum.replace(":", "-")
    kept.write_bytes(content)
    with pytest.raises(NotDelivered):
        download((), "name", FILE, tmp_path / "another")
    assert not (tmp_path / "another").exists()
    download((put(CONTENT),), "name", FILE, tmp_path / "another")
    assert (tmp_path / "another").read_bytes() == kept.read_bytes() == CONTENT


@pytest.mark.parametrize("value", ["", "relative", None])
def test_the_cache_is_in_the_home_folder(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Unless the variable names another: it has to be absolute, as XDG's specification says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if value is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    download((put(CONTENT),), "name", FILE, tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "home"}
    kept = tmp_path / "home/.cache/convline" / FILE.checksum.replace(":", "-")
    assert kept.read_bytes() == CONTENT


@pytest.mark.parametrize("reason", ["no home", "a file in the way", "a full disk"])
def test_without_a_cache_downloads_go_on(
    put: Put, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    if reason == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.getpwnam(f"no user {uid}"))
    elif reason == "a file in the way":
        cache.parent.write_text("in the way")
    elif not Path("/dev/full").exists():
        pytest.skip("needs Linux's /dev/full")
    else:
        cache.mkdir(parents=True)
        (cache / f"{FILE.checksum.replace(':', '-')}.part").symlink_to("/dev/full")
    download((put(CONTENT),), "name", FILE, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert not list(cache.glob("*-*[!k]"))
