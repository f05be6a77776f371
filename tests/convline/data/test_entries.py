"""Entries of datasets.yaml: what is written, and that everything else stays."""

from pathlib import Path

import pytest
import yaml

from convline.data import entries
from convline.data.datasets import INDEX, PictureDataset
from convline.problems import Problem

NEW = {
    "shape": (16, 16, 3),
    "fit": "pad",
    "background": "white",
    "classes": ["ant", "no"],
    "test_share": 0.2,
    "split_seed": 0,
    "files": {},
}
CHECKSUM = '"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"'  # of nothing


OWN = """# About pets
pets:  # mine
  fit: crop  # no borders
  shape: [20, 24, 1]
  background: "#102030"
  classes: [cat, bee, ant]  # by size
  mirrors:
    - /nowhere  # not yet
  split_seed: 5
  test_share: 0.3  # more
  files:
    pictures.csv: {bytes: 1, checksum: "sha256:%s"}

# About others
others:
  shape: [28, 28]  # small
  classes: ['a', "b"]

  files: scikit-learn
""" % ("0" * 64)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of empty packed files, beside a datasets.yaml."""
    monkeypatch.chdir(tmp_path)
    Path("datasets.yaml").write_text(OWN)
    (tmp_path / "packed").mkdir()
    for name in ("pictures-0.zip", "pictures-a.zip", INDEX):
        (tmp_path / "packed" / name).touch()
    return tmp_path / "packed"


def dataset(**changes: object) -> PictureDataset:
    return PictureDataset.model_validate(NEW | changes)


def known(classes: list[str]) -> PictureDataset:
    """What OWN says of pets, with other classes."""
    entry = yaml.safe_load(OWN)["pets"]
    return PictureDataset.model_validate(entry | {"classes": classes})


def test_a_new_entry_is_short(folder: Path) -> None:
    entries.write("new", dataset(), folder)
    assert (
        Path("datasets.yaml").read_text()
        == OWN
        + f"""
new:
  shape: [16, 16, 3]
  fit: pad
  background: white
  classes: [ant, "no"]
  test_share: 0.2
  split_seed: 0
  files:
    pictures-0.zip: {{bytes: 0, checksum: {CHECKSUM}}}
    pictures-a.zip: {{bytes: 0, checksum: {CHECKSUM}}}
    pictures.csv: {{bytes: 0, checksum: {CHECKSUM}}}
"""
    )


def test_many_classes_have_a_line_each(folder: Path) -> None:
    classes = [f"a class with the number {i:03}" for i in range(256)]
    entries.write("new", dataset(classes=classes), folder)
    text = Path("datasets.yaml").read_text()
    assert "  classes:\n    - a class with the number 000\n    - a class" in text
    assert yaml.safe_load(text)["new"]["classes"] == classes


@pytest.mark.parametrize("label", ["yes", "1e3", "1", "a: b", "#1", "'", "\u00e9", "[x]", "~"])
def test_every_name_of_a_class_is_read_back(folder: Path, label: str) -> None:
    entries.write("new", dataset(classes=["ant", label]), folder)
    assert yaml.safe_load(Path("datasets.yaml").read_text())["new"]["classes"] == ["ant", label]


def test_an_entry_that_is_there_stays(folder: Path) -> None:
    """Only what the pictures decide changes, and no comment is lost."""
    entries.write("pets", known(["cat", "bee", "ant", "no"]), folder)
    expected = OWN.replace("[cat, bee, ant]  #", '[cat, bee, ant, "no"] #')
    start, end = expected.split("    pictures.csv")
    end = end.partition("}")[2]
    text = Path("datasets.yaml").read_text()
    assert text.startswith(start)
    assert text.endswith(end)
    listed = yaml.safe_load(text)["pets"]["files"]
    assert set(listed) == {path.name for path in folder.iterdir()}
    # As long as the list of files
    (folder / "skipped.csv").touch()
    entries.write("pets", known(["cat", "bee", "ant", "no"]), folder)
    assert Path("datasets.yaml").read_text().endswith(end)
    (folder / "skipped.csv").unlink()
    (folder / "pictures-a.zip").unlink()
    entries.write("pets", known(["cat", "bee", "ant"]), folder)
    text = Path("datasets.yaml").read_text()
    assert text.split()[: len(start.split()) - 1] == start.replace(', "no"]', "]").split()
    assert text.endswith(end)
    assert set(yaml.safe_load(text)["pets"]["files"]) == {path.name for path in folder.iterdir()}


def test_the_same_again_changes_nothing(folder: Path) -> None:
    entries.write("new", dataset(), folder)
    before = Path("datasets.yaml").read_bytes()
    entries.write("new", dataset(), folder)
    assert Path("datasets.yaml").read_bytes() == before


def test_a_datasets_yaml_that_is_broken(folder: Path) -> None:
    Path("datasets.yaml").write_text(f"{OWN}pets: {{}}\n")
    with pytest.raises(
        Problem, match=r'^datasets.yaml is no valid YAML: .*found duplicate key "pets"'
    ):
        entries.read()
