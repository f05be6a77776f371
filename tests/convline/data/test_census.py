"""The census: what a folder of pictures holds, and all that is wrong with it, at once."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from convline.data import census, originals
from convline.data.census import Census
from drawings import PETS, draw, draw_pets, picture


def take(folder: Path) -> Census:
    with originals.opened(str(folder)) as found:
        return census.take(found)


def labels(taken: Census) -> dict[str, int]:
    """How many pictures each class has."""
    return dict(Counter(row.label for row in taken.rows))


def damaged(taken: Census) -> list[str]:
    return sorted(map(str, taken.damaged))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Four pictures of each of three classes."""
    return draw_pets(tmp_path / "pets", 4)


def test_every_picture_is_a_row(pets: Path) -> None:
    taken = take(pets)
    assert labels(taken) == {"ant": 4, "bee": 4, "cat": 4}
    assert taken.classes == list(PETS)
    assert [taken.damaged, taken.errors, taken.remarks, taken.others] == [[], [], [], Counter()]
    first = taken.pictures[0]
    assert first.read() == (pets / first.row.file_name).read_bytes()
    assert taken.rows == sorted(taken.rows)


def test_what_systems_leave_behind_is_not_looked_at(pets: Path) -> None:
    for name in (".DS_Store", "cat/Thumbs.db", ".git/HEAD", ".ipynb_checkpoints/cat/1.png"):
        path = pets / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(99))
    taken = take(pets)
    assert labels(taken) == {"ant": 4, "bee": 4, "cat": 4}
    assert [taken.damaged, taken.errors, taken.others] == [[], [], Counter()]


def test_texts_are_counted_and_left_out(pets: Path) -> None:
    (pets / "README.md").write_text("About pets")
    (pets / "LICENSE").write_text("Free")
    (pets / "empty.txt").touch()
    (pets / "docs").mkdir()
    (pets / "docs/notes.txt").write_text("More")
    (pets / "cat/0.json").write_text("{}")
    taken = take(pets)
    assert [taken.damaged, taken.errors] == [[], []]
    assert taken.others == {".md": 1, "without a suffix": 1, ".txt": 2, ".json": 1}
    assert labels(taken) == {"ant": 4, "bee": 4, "cat": 4}


def test_a_wrapper_folder_does_not_change_the_rows(pets: Path, tmp_path: Path) -> None:
    """Nor does a README beside the classes, as in an archive from GitHub."""
    before = take(pets).rows
    outer = tmp_path / "outer"
    shutil.copytree(pets, outer / "pets-main")
    (outer / "pets-main/README.md").write_text("About pets")
    assert take(outer).rows == before


def test_all_problems_are_found_at_once(pets: Path) -> None:
    (pets / "ant/00.png").write_bytes(b"no picture")
    (pets / "bee/01.png").write_bytes((pets / "bee/01.png").read_bytes()[:-60])
    (pets / "bee/02.jpg").touch()
    (pets / "loose.png").write_bytes(picture(77))
    (pets / "dog").mkdir()
    (pets / "Cat").mkdir()
    (pets / "Cat/1.png").write_bytes(picture(78))
    taken = take(pets)
    names = [line.split()[0] for line in damaged(taken)]
    assert names == ["ant/00.png", "bee/01.png", "bee/02.jpg", "loose.png"]
    assert taken.errors[:2] == [
        "the class dog has no pictures",
        "the classes 'Cat' and 'cat' can hardly be told apart: give them one name",
    ]
    assert "the class Cat is too small to be split: it has 1 different" in taken.errors[2]


def test_damage_is_named_where_the_layout_is_wrong_too(pets: Path) -> None:
    (pets / "ant/00.png").write_bytes(b"no picture")
    shutil.move(pets / "bee", pets / "train")
    taken = take(pets)
    assert [line.split()[0] for line in damaged(taken)] == ["ant/00.png"]
    assert "the folder train could be a split" in taken.errors[0]
    assert len(taken.errors) == 1


@pytest.mark.parametrize(
    "names", [[], ["1.png"], ["cat/1.png"], [f"cat/{i}.png" for i in range(9)]]
)
def test_fewer_than_two_classes(tmp_path: Path, names: list[str]) -> None:
    taken = take(draw(tmp_path, names))
    there = "cat" if "cat/1.png" in names else "none"
    assert taken.errors == [
        f"at least two classes with pictures are needed, and there is {there}: a class is a "
        "folder, or a label in labels.csv"
    ]


def test_more_classes_than_a_label_can_tell(tmp_path: Path) -> None:
    labels = [f"{i:03}" for i in range(257)]
    names = [f"{i}.png" for i in range(3 * 257)]
    rows = "".join(f"{name},{labels[i % 257]}\n" for i, name in enumerate(names))
    draw(tmp_path, names)
    (tmp_path / "labels.csv").write_text(f"file_name,label\n{rows}")
    assert take(tmp_path).errors == ["there are 257 classes; at most 256 are possible"]


def test_classes_too_small_to_be_split(tmp_path: Path) -> None:
    """Copies count once, and a group counts once."""
    draw_pets(tmp_path, 3)
    shutil.copy(tmp_path / "ant/00.png", tmp_path / "ant/01.png")
    (tmp_path / "bee/02.png").unlink()
    assert take(tmp_path).errors == [
        f"the class {label} is too small to be split: it has 2 different pictures or groups, and "
        "needs 3"
        for label in ("ant", "bee")
    ]


def test_a_class_that_training_never_saw(tmp_path: Path) -> None:
    draw_pets(tmp_path / "train", 4)
    draw(tmp_path / "test", ["ant/1.png", "dog/1.png"], first=50)
    draw(tmp_path / "val", ["cat/1.png", "emu/1.png", "emu/2.png"], first=60)
    taken = take(tmp_path)
    assert taken.errors == [
        "the class dog is in test, but not in training",
        "the class emu is in validation, but not in training",
    ]
    assert "the class bee has no picture in test" in taken.remarks


def test_a_test_split_without_training(tmp_path: Path) -> None:
    draw_pets(tmp_path / "test", 4)
    assert [error.split(",")[0] for error in take(tmp_path).errors] == [
        f"the class {label} is in test" for label in PETS
    ]


def test_a_validation_split_larger_than_training(tmp_path: Path) -> None:
    draw_pets(tmp_path / "train", 2)
    draw(tmp_path / "val", [f"{label}/v{i}.png" for i in range(3) for label in PETS], first=50)
    draw(tmp_path / "test", [f"{label}/t.png" for label in PETS], first=90)
    assert take(tmp_path).errors == ["9 pictures are in validation, and only 6 in training"]


def test_imbalance_is_said_in_words(tmp_path: Path) -> None:
    draw(tmp_path, [*(f"cat/{i}.png" for i in range(9)), *(f"dog/{i}.png" for i in range(3))])
    (remark,) = take(tmp_path).remarks
    assert remark.startswith("the classes are imbalanced: cat has 9 pictures, dog 3. `-S class_w")


def test_the_same_pixels_are_found_in_any_file(pets: Path) -> None:
    """With another label, in another format, with other metadata."""
    with Image.open(pets / "ant/00.png") as image:
        image.save(pets / "bee/copy.bmp")
        image.save(pets / "ant/copy.tiff", dpi=(72, 72))
    assert take(pets).remarks == [
        "the same picture has different labels: ant/00.png, ant/copy.tiff, bee/copy.bmp",
        "pictures with the same pixels as another: 2. They stay on one side of each split, unless "
        "the source puts them elsewhere",
    ]


def test_pictures_that_leak_into_another_split_are_named(tmp_path: Path) -> None:
    draw_pets(tmp_path / "train", 4)
    draw(tmp_path / "test", [f"{label}/t.png" for label in PETS], first=50)
    shutil.copy(tmp_path / "train/ant/00.png", tmp_path / "test/ant/leak.png")
    remarks = take(tmp_path).remarks
    assert "the same picture is in different splits: test/ant/leak.png, train/ant/00.png" in remarks


def listed(folder: Path, *lines: str) -> Path:
    """Write a table of pictures into `folder`."""
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def test_a_table_decides_whatever_the_folders(pets: Path) -> None:
    names = [f"{label}/{i:02}.png" for label in PETS for i in range(4)]
    rows = [f"{name},{i % 2},{i % 6}" for i, name in enumerate(names)]
    taken = take(listed(pets, "file_name,label,group", *rows))
    assert labels(taken) == {"0": 6, "1": 6}
    assert {row.group for row in taken.rows} == set("012345")
    assert [taken.damaged, taken.errors, taken.others] == [[], [], Counter()]


def test_a_table_in_a_folder_of_its_own(pets: Path, tmp_path: Path) -> None:
    names = [f"{label}/{i:02}.png" for label in PETS for i in range(4)]
    listed(pets, "file_name,label", *(f"{name},{i % 2}" for i, name in enumerate(names)))
    before = take(pets).rows
    outer = tmp_path / "outer"
    shutil.copytree(pets, outer / "some/where")
    assert take(outer).rows == before


def test_a_table_and_the_files_differ(pets: Path) -> None:
    (pets / "bee/01.png").write_bytes(b"no picture")
    (pets / "notes.txt").write_text("about")
    lines = [f"{label}/{i:02}.png,{label}" for label in PETS for i in range(4)]
    taken = take(listed(pets, "file_name,label", *lines[1:], "gone.png,ant", "notes.txt,ant"))
    first, second, *others = damaged(taken)
    assert first == "ant/00.png is not in labels.csv"
    assert second.startswith("bee/01.png is not a picture")
    assert others == [
        "gone.png is in line 13 of labels.csv, but there is no such picture",
        "notes.txt is in line 14 of labels.csv, but there is no such picture",
    ]


def test_two_tables(pets: Path) -> None:
    shutil.copy(listed(pets, "file_name,label") / "labels.csv", pets / "metadata.csv")
    assert take(pets).errors == ["there are labels.csv and metadata.csv: keep one"]


def test_a_wrong_table_is_one_problem(pets: Path) -> None:
    assert take(listed(pets, "name;class", "ant/00.png;ant")).errors == [
        "labels.csv has the columns name, class; expected file_name,label and, if you like, split "
        "and group, each once"
    ]


def test_groups_that_contradict_themselves(pets: Path) -> None:
    shutil.copy(pets / "ant/00.png", pets / "ant/copy.png")
    rows = [f"{label}/{i:02}.png,{label},train,{label}{i}" for label in PETS for i in range(4)]
    rows += ["ant/copy.png,ant,train,other"]
    taken = take(listed(pets, "file_name,label,split,group", *rows))
    (error,) = taken.errors
    assert error.startswith("the same picture is in different groups: ")
    rows[-1] = "ant/copy.png,ant,test,ant0"
    taken = take(listed(pets, "file_name,label,split,group", *rows))
    assert taken.errors == ["the group ant0 is in different splits: test, train"]


def test_the_table_of_the_census(pets: Path) -> None:
    shutil.move(pets / "cat", pets / "all")
    (pets / "all/wide.png").write_bytes(picture(80, (40, 8), "L"))
    taken = take(pets)
    sides = ["test" if row.label == "bee" else "train" for row in taken.rows]
    header, _, *lines = census.table(taken, sides).splitlines()
    assert " ".join(header.split()) == "class train validation test smallest largest modes"
    assert [" ".join(line.split()) for line in lines] == [
        "all 5 0 0 16 x 16 40 x 8 RGB 4, L 1",
        "ant 4 0 0 16 x 16 16 x 16 RGB 4",
        "bee 0 0 4 16 x 16 16 x 16 RGB 4",
        "all classes 9 0 4 16 x 16 40 x 8 RGB 12, L 1",
    ]
