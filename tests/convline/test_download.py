"""Downloads: what the tests of the fetch stage do not show."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from convline import datasets
from convline.download import NotDelivered, download, sources
from convline.stage import Problem

CONTENT = bytes(range(256)) * 1000
FILE = datasets.File(bytes=len(CONTENT), checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
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


def dataset(*mirrors: str) -> datasets.Dataset:
    """A dataset of which only the mirrors matter."""
    return datasets.Dataset(shape=(1, 1), classes=["a", "b"], mirrors=mirrors, files="scikit-learn")


def test_the_variable_comes_before_the_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVLINE_MIRROR", "first")
    assert sources(dataset("second", "third")) == ("first", "second", "third")
    assert sources(dataset()) == ("first",)


@pytest.mark.parametrize("value", ["", None])
def test_without_the_variable_the_mirrors_are_left(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("CONVLINE_MIRROR", raising=False)
    else:
        monkeypatch.setenv("CONVLINE_MIRROR", value)
    assert sources(dataset("second", "third")) == ("second", "third")
    assert sources(dataset()) == ()


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
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"as it was"


def test_a_target_that_cannot_be_written_is_no_fault_of_the_source(
    put: Put, tmp_path: Path
) -> None:
    """`make run` turns to another dataset only where no source delivers."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(Problem, match="folder cannot be written: ") as caught:
        download((put(CONTENT),), "name", FILE, tmp_path / "folder")
    assert not isinstance(caught.value, NotDelivered)
