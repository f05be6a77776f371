"""Layouts: what folders and tables say of the classes and splits of pictures."""

import unicodedata

import pytest

from convline.data import layouts
from convline.data.layouts import Layout, Place
from convline.problems import Problem

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def read(
    *pictures: str, damaged: str = "", folders: str = "", others: str = "", tables: str = ""
) -> tuple[str, Layout]:
    """The top of these paths, and the layout by folders below it. Each text is split at blanks."""
    used = layouts.used(pictures, damaged.split(), folders.split(), others.split())
    top = layouts.top(pictures, used, tables.split())
    below = {name.removeprefix(top) for name in used if name.startswith(top)}
    return top, layouts.from_folders([name.removeprefix(top) for name in pictures], below)


def table(text: str, *pictures: str, damaged: str = "") -> Layout:
    """The layout by the table `text`, lines separated by blanks."""
    content = "\n".join(text.split()).encode()
    return layouts.from_table("labels.csv", content, set(pictures), set(damaged.split()))


def reasons(layout: Layout) -> list[str]:
    """What the user reads."""
    return [*map(str, layout.damaged), *layout.errors]


def test_a_folder_is_a_class_with_all_that_is_in_it() -> None:
    top, layout = read("cat/1.png", "cat/old/very/2.png", "dog/1.png")
    assert top == ""
    assert layout == Layout(
        {
            "cat/1.png": Place("cat"),
            "cat/old/very/2.png": Place("cat"),
            "dog/1.png": Place("dog"),
        }
    )


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        *[(name, "train") for name in ("train", "training", "Train", "TRAINING")],
        *[(name, "validation") for name in ("validation", "valid", "val", "dev", "Val")],
        *[(name, "test") for name in ("test", "testing", "eval", "evaluation", "TEST")],
    ],
)
def test_the_usual_words_for_splits(folder: str, split: str) -> None:
    _, layout = read(f"{folder}/cat/1.png", f"{folder}/dog/deep/2.png")
    assert layout.places == {
        f"{folder}/cat/1.png": Place("cat", split),
        f"{folder}/dog/deep/2.png": Place("dog", split),
    }
    assert reasons(layout) == []


@pytest.mark.parametrize(
    "pictures",
    [("train/1.png", "cat/1.png"), ("train/cat/1.png", "train/dog/1.png", "cat/3.png")],
)
def test_a_split_among_classes_is_refused_with_both_readings(pictures: tuple[str, ...]) -> None:
    with pytest.raises(Problem) as caught:
        read(*pictures)
    message = str(caught.value)
    assert (
        "the folder train could be a split, and then cat would need to be in a split too" in message
    )
    assert "or a class, like cat: move the classes into the split's folder, or rename" in message


def test_an_empty_folder_called_like_a_split_counts_too() -> None:
    with pytest.raises(Problem, match="the folder test could be a split"):
        read("cat/1.png", "dog/1.png", folders="cat dog test")


def test_loose_pictures_are_named() -> None:
    _, layout = read("1.png", "cat/1.png", "dog/1.png")
    assert reasons(layout) == ["1.png is in no class: pictures belong in CLASS/"]
    _, layout = read("train/1.png", "train/cat/1.png", "test/cat/2.png", "2.png")
    assert reasons(layout) == [
        "train/1.png is in the split train, but in no class: pictures belong in CLASS/",
        "2.png is in no class: pictures belong in CLASS/",
    ]


def test_two_words_for_one_split_are_refused() -> None:
    _, layout = read("train/cat/1.png", "val/cat/1.png", "valid/cat/2.png")
    assert reasons(layout) == ["the folders val, valid mean the same split, validation: keep one"]


@pytest.mark.parametrize(
    ("top", "pictures", "more"),
    [
        ("pets/", ("pets/cat/1.png", "pets/dog/1.png"), {}),
        ("a/b/", ("a/b/cat/1.png", "a/b/dog/1.png"), {"folders": "a a/b a/b/cat a/b/dog"}),
        ("a/", ("a/train/cat/1.png", "a/test/cat/1.png"), {}),
        # As GitHub packs a repository
        ("x-main/", ("x-main/train/cat/1.png", "x-main/test/cat/1.png"), {"others": "x-main/R.md"}),
        ("x/", ("x/cat/1.png", "x/dog/1.png"), {"others": "LICENSE x/README docs/a.txt"}),
        # A single class is no wrapper
        ("", ("cat/1.png", "cat/2.png"), {}),
        ("pets/", ("pets/cat/1.png", "pets/cat/2.png"), {}),
        ("", ("cat/young/1.png", "cat/old/1.png"), {"folders": "cat dog cat/young cat/old"}),
        ("pets/", ("pets/cat/1.png",), {"folders": "pets pets/cat pets/dog"}),
        ("", ("cat/young/1.png", "cat/old/1.png"), {"damaged": "dog/1.png"}),
        # Nor is a split
        ("", ("train/cat/1.png", "train/dog/1.png"), {}),
        ("", ("1.png", "cat/2.png"), {}),
        ("", (), {}),
    ],
)
def test_a_folder_around_everything_is_no_class(
    top: str, pictures: tuple[str, ...], more: dict[str, str]
) -> None:
    assert read(*pictures, **more)[0] == top


@pytest.mark.parametrize(
    ("top", "pictures", "tables"),
    [
        ("", ("images/1.png", "images/2.png"), "labels.csv"),
        ("pets/", ("pets/images/a/1.png", "pets/images/b/2.png"), "pets/metadata.csv"),
        ("pets/", ("pets/cat/1.png", "pets/cat/2.png"), "pets/cat/x/labels.csv pets/labels.csv"),
        ("", ("cat/1.png", "dog/2.png"), "cat/labels.csv"),
    ],
)
def test_a_table_is_at_the_top(top: str, pictures: tuple[str, ...], tables: str) -> None:
    assert read(*pictures, tables=tables)[0] == top


def test_a_class_without_pictures_is_refused() -> None:
    _, layout = read("cat/1.png", "dog/1.png", folders="cat dog emu emu/deep")
    assert reasons(layout) == ["the class emu has no pictures"]
    _, layout = read("cat/1.png", "dog/1.png", damaged="emu/1.png", others="emu/notes.txt")
    assert reasons(layout) == ["the class emu has no pictures"]
    _, layout = read("train/cat/1.png", "test/cat/2.png", folders="train/dog")
    assert reasons(layout) == ["the class train/dog has no pictures"]


def test_a_folder_of_texts_is_no_class() -> None:
    _, layout = read("cat/1.png", "dog/1.png", folders="cat docs dog", others="docs/a.txt R.md")
    assert reasons(layout) == []


def test_classes_that_look_alike_are_refused() -> None:
    _, layout = read("Cat/1.png", "cat/2.png", f"{COMPOSED}/3.png", f"{DECOMPOSED}/4.png")
    assert reasons(layout) == [
        "the classes 'Cat' and 'cat' can hardly be told apart: give them one name",
        "the classes 'cafe\\u0301' and 'caf\\xe9' can hardly be told apart: give them one name",
    ]
    _, layout = read("cat /1.png", "cat/2.png", "dog/3.png")
    assert "'cat' and 'cat '" in reasons(layout)[0]


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", " ", "\u200d"])
def test_classes_that_cannot_be_printed_are_refused(name: str) -> None:
    _, layout = read(f"{name}/1.png", "dog/2.png")
    assert reasons(layout) == [f"the class {name!a} has a name that cannot be printed"]


def test_names_are_composed() -> None:
    _, layout = read(f"{DECOMPOSED}/1.png", "dog/1.png")
    assert layout.places[f"{DECOMPOSED}/1.png"] == Place(COMPOSED)


@pytest.mark.parametrize(
    "content",
    [
        b"file_name,label\na.png,cat\nb/c.png,dog\n",
        b"\xef\xbb\xbffile_name,label\r\na.png,cat\r\nb/c.png,dog\r\n",
        b"file_name;label\na.png;cat\nb/c.png;dog",
        b"label\tFile_Name \ncat\ta.png\ndog\tb/c.png\n",
        b'"file_name","label"\n"a.png","cat"\n"b/c.png","dog"\n',
        b"file_name,label\ra.png,cat\rb/c.png,dog\r",
        b"file_name,label,width\n./a.png, cat ,5\n\nb\\c.png,dog,6\n,,\n",
        b"file_name,label,split,group\na.png,cat\nb/c.png,dog,,\n",
        b"file_name,label\na.png,cat\nb/c.png,dog\na.png,cat\n",
    ],
)
def test_tables_as_programs_write_them(content: bytes) -> None:
    layout = layouts.from_table("labels.csv", content, {"a.png", "b/c.png"}, set())
    assert layout == Layout({"a.png": Place("cat"), "b/c.png": Place("dog")})


def test_a_table_names_splits_and_groups() -> None:
    layout = table("file_name,label,split,group a,1,Train,x b,02,val,y c,1,TEST,z", "a", "b", "c")
    assert layout.places == {
        "a": Place("1", "train", "x"),
        "b": Place("02", "validation", "y"),
        "c": Place("1", "test", "z"),
    }
    assert reasons(layout) == []


def test_file_names_of_all_kinds_are_found_in_a_table() -> None:
    names = {"a,b.png", 'say "hi".png', "two\nlines.png", " x .png ", "back\\slash.png"}
    names |= {"next\x85line.png", "sep\u2028.png", "あ.png"}
    rows = "".join('"{}",cat\n'.format(name.replace('"', '""')) for name in names)
    layout = layouts.from_table("labels.csv", f"file_name,label\n{rows}".encode(), names, set())
    assert layout == Layout(dict.fromkeys(names, Place("cat")))
    bare = f"file_name,label\n{'next' + chr(0x85) + 'line.png'},cat\n".encode()
    assert layouts.from_table("labels.csv", bare, {"next\x85line.png"}, set()).damaged == []


def test_a_file_name_in_another_form_of_unicode_is_found() -> None:
    layout = table(f"file_name,label {COMPOSED}.png,x", f"{DECOMPOSED}.png")
    assert layout == Layout({f"{DECOMPOSED}.png": Place("x")})


def test_all_that_is_wrong_in_a_table_is_said_at_once() -> None:
    layout = table(
        "file_name,label,split no,x,train a,,train b,x,trial c,x, d,x,test d,y,test e,x,test "
        ",x,test",
        *"abcdef",
    )
    assert reasons(layout) == [
        "no is in line 2 of labels.csv, but there is no such picture",
        "a has no label in line 3 of labels.csv",
        "b has the split 'trial' in line 4 of labels.csv, not train, validation or test",
        "c has no split in line 5 of labels.csv, as others have",
        "f is not in labels.csv",
        "d is in line 7 of labels.csv, and differently in line 6",
        "line 9 of labels.csv has no file_name",
    ]
    assert set(layout.places) == {"d", "e"}


def test_what_is_damaged_is_not_missing_from_a_table() -> None:
    layout = table("file_name,label a,x b,x", "a", damaged="b c")
    assert layout == Layout({"a": Place("x")})


def test_a_label_whose_pictures_are_all_damaged() -> None:
    layout = table("file_name,label a,x b,y c,z", "a", damaged="b")
    assert layout.errors == ["the class y has no pictures", "the class z has no pictures"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has the columns (none); expected file_name,label and, if you like"),
        (b"name,label\na,b\n", "labels.csv has the columns name, label; expected file_name,label"),
        (b"file_name,label,label\na,b,c\n", "each once"),
        (b"file_name,label\na\xff,b\n", "is not UTF-8"),
        ("file_name,label\na,b\n".encode("utf-16"), "is not UTF-8"),
        (b'file_name,label\na,"b\n', "labels.csv, line 2: unexpected end of data"),
        (b'file_name,label\na,"b"c\n', "labels.csv, line 2: ',' expected after '\"'"),
        (b"file_name,label\nb, c.png,cat\n", "line 2 has 3 fields, and its first line 2: a name"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(Problem) as caught:
        layouts.from_table("labels.csv", content, set("a"), set())
    assert words in str(caught.value)
