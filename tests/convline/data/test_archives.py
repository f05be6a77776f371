"""The packed pictures: which bytes they are, and what happens when those are damaged."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convline.data import archives
from convline.data.archives import Row
from convline.problems import Problem

CONTENTS = {f"cat/{i}.png": f"picture {i}".encode() * 20 for i in range(60)}
NAMES = ["a,b.png", 'say "hi".png', "two\nlines.png", "return\r.png", " x .png", "é.png", "あ.png"]


def row(file_name: str, content: bytes, label: str = "cat") -> Row:
    return Row(archives.archive_of(content), file_name, label, "", "", f"id of {file_name}")


def pack(folder: Path, contents: dict[str, bytes]) -> list[Row]:
    """Write the pictures of `contents` into `folder`, and return their rows."""
    rows = [row(name, content) for name, content in contents.items()]
    archives.write(folder, rows, lambda row: contents[row.file_name])
    return rows


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def unpacked(folder: Path) -> dict[str, bytes]:
    return {
        row.file_name: content for row, content in archives.contents(folder, archives.rows(folder))
    }


def test_what_was_packed_is_there(tmp_path: Path) -> None:
    rows = pack(tmp_path, CONTENTS)
    assert archives.rows(tmp_path) == sorted(rows)
    assert unpacked(tmp_path) == CONTENTS
    assert len(files(tmp_path)) == 17


def test_any_name_comes_back(tmp_path: Path) -> None:
    contents = {name: name.encode() for name in NAMES}
    pack(tmp_path, contents)
    assert unpacked(tmp_path) == contents


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=6, max_size=6)
)
def test_any_text_in_the_table_comes_back(
    tmp_path_factory: pytest.TempPathFactory, fields: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("table")
    archives.write_table(folder / "pictures.csv", Row._fields, [fields])
    assert archives.rows(folder) == [Row(*fields)]


def test_the_same_pictures_make_the_same_bytes(tmp_path: Path) -> None:
    """In whatever order they come, and whenever."""
    pack(tmp_path / "one", CONTENTS)
    pack(tmp_path / "two", dict(reversed(CONTENTS.items())))
    assert files(tmp_path / "one") == files(tmp_path / "two")
    for name in files(tmp_path / "one"):
        if name.endswith(".zip"):
            with zipfile.ZipFile(tmp_path / "one" / name) as archive:
                assert {member.date_time[0] for member in archive.infolist()} == {1980}


def test_a_new_picture_changes_one_zip(tmp_path: Path) -> None:
    pack(tmp_path / "one", CONTENTS)
    pack(tmp_path / "two", {"a first.png": b"new", **CONTENTS})
    before, after = files(tmp_path / "one"), files(tmp_path / "two")
    changed = {name for name in after if before[name] != after[name]}
    assert changed == {"pictures.csv", archives.archive_of(b"new")}


def damaged(folder: Path) -> str:
    """The one line about damage in `folder`."""
    with pytest.raises(Problem) as caught:
        unpacked(folder)
    message = str(caught.value)
    assert message.endswith("; `dvc repro fetch` fetches it again")
    return message


@pytest.mark.parametrize("name", ["pictures.csv", "pictures-0.zip"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    pack(tmp_path, CONTENTS)
    (tmp_path / name).unlink()
    assert damaged(tmp_path).startswith(f"{tmp_path / name} is missing")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"archive,file_name\n",
        b"archive,file_name,label,split,group,pixels\npictures-0.zip,a.png,cat\n",
        b'archive,file_name,label,split,group,pixels\npictures-0.zip,"a.png',
        b"archive,file_name,label,split,group,pixels\n\xff",
    ],
)
def test_a_damaged_table(tmp_path: Path, content: bytes) -> None:
    pack(tmp_path, CONTENTS)
    (tmp_path / "pictures.csv").write_bytes(content)
    assert damaged(tmp_path).startswith(f"{tmp_path / 'pictures.csv'} is damaged: ")


@pytest.mark.parametrize(
    "damage",
    [lambda c: b"", lambda c: c[:-9], lambda c: c[9:], lambda c: c.replace(b"pic", b"PIC")],
)
def test_a_damaged_zip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    pack(tmp_path, CONTENTS)
    path = tmp_path / "pictures-0.zip"
    path.write_bytes(damage(path.read_bytes()))
    assert damaged(tmp_path).startswith(f"{path} is damaged: ")


def test_damage_of_any_byte_is_harmless_or_one_line(tmp_path: Path) -> None:
    """The dates and other bytes that nothing reads may change."""
    contents = {"a.png": b"picture"}
    (only,) = pack(tmp_path, contents)
    path = tmp_path / only.archive
    good = path.read_bytes()
    for at in range(len(good)):
        for bit in (1, 8, 128):
            path.write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
            try:
                assert unpacked(tmp_path) == contents
            except Problem as problem:
                assert str(problem).startswith(f"{path} is damaged: ")


def test_a_picture_that_is_missing_from_its_zip(tmp_path: Path) -> None:
    pack(tmp_path, CONTENTS)
    with open(tmp_path / "pictures.csv", "a") as table:
        table.write("pictures-f.zip,zzz.png,cat,,,0\n")
    assert "There is no item named 'zzz.png'" in damaged(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "pictures-8.zip.part").symlink_to("/dev/full")
    with pytest.raises(Problem, match=r"pictures-8\.zip cannot be written: No space left"):
        pack(tmp_path, CONTENTS)
