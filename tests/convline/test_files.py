"""Files that appear complete or not at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from convline.files import temporary_file, temporary_folder, write_json, written
from convline.problems import Problem


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with written(path) as file:
        file.write(b"half, ")
        file.flush()
        assert [entry.name for entry in path.parent.iterdir()] == ["file.part"]
        file.write(b"and half")
    assert path.read_bytes() == b"half, and half"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, b"as it was"])
def test_an_error_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException], before: bytes | None
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(error), written(path) as file:
        file.write(b"something else")
        raise error
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([before] if before else [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_full_disk(tmp_path: Path, size: int) -> None:
    """Noticed when the last bytes leave the buffer, too."""
    path = tmp_path / "file"
    path.write_bytes(b"as it was")
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(Problem) as caught, written(path) as file:
        file.write(bytes(size))
    assert str(caught.value) == f"{path} cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"as it was"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"in the way")
    path = tmp_path / "data" / "file"
    with pytest.raises(Problem, match=f"^{path} cannot be written: "), written(path):
        pass
    assert (tmp_path / "data").read_bytes() == b"in the way"


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_linked_file_is_replaced_not_written_through(tmp_path: Path, link: object) -> None:
    """DVC may link an output to its cache, which has to stay as it is."""
    (tmp_path / "cached").write_bytes(b"as it was")
    assert callable(link)
    link(tmp_path / "cached", tmp_path / "file")
    with written(tmp_path / "file") as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "cached").read_bytes() == b"as it was"


def test_json_is_indented_utf_8(tmp_path: Path) -> None:
    content = {"名": "あ", "list": [1, 0.5, None]}
    write_json(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_bytes().decode()
    assert json.loads(text) == content
    assert text.startswith('{\n  "名": "あ",\n')
    assert text.endswith("}\n")


@pytest.mark.parametrize("use", [lambda: temporary_folder().__enter__(), temporary_file])
def test_nowhere_to_write_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[], object]
) -> None:
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr("tempfile.tempdir", str(nowhere))
    with pytest.raises(Problem) as caught:
        use()
    line = str(caught.value)
    assert line.startswith(f"the temporary folder {nowhere} cannot be used: {nowhere}/")
    assert line.endswith(": No such file or directory; free space there or set TMPDIR to another")


def test_no_temporary_folder_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._get_default_tempdir", Path("/no/such").read_bytes)
    with pytest.raises(Problem, match=r"^no temporary folder: .*; free space there or set TMPDIR"):
        temporary_file()
