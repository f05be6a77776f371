"""The entries of datasets.yaml: names that can be printed, and what pictures need."""

from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from convline.data import datasets, pictures
from convline.paths import DATASETS
from convline.problems import Problem

UNPRINTABLE = ["\x1b[31m", "9\r8", "\x1b]0;", "a\nb", "\0", "\x85", "\u202eabc", "\ufeff", "\ue000"]
BLANK = ["", " ", "\u200d"]


@pytest.mark.parametrize(
    "name",
    ["0", "t-shirt", "ankle boot", "é", "あ", "न\u200cन", "क्\u200dष", "👩\u200d🚀", "<b> | `x`"],
)
def test_a_name_that_can_be_printed_is_taken(name: str) -> None:
    assert TypeAdapter(datasets.Name).validate_python(name) == name


@pytest.mark.parametrize("name", [*UNPRINTABLE, *BLANK])
def test_another_name_is_refused(name: str) -> None:
    reason = "blank" if name in BLANK else "cannot be printed"
    with pytest.raises(ValidationError, match=reason):
        TypeAdapter(datasets.Name).validate_python(name)


@pytest.mark.parametrize("name", [UNPRINTABLE[0], *BLANK])
def test_a_dataset_needs_a_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = {"shape": [1, 1], "classes": ["a", "b"], "files": "scikit-learn"}
    DATASETS.write_text(yaml.safe_dump({name: entry}))
    with pytest.raises(Problem, match=r"^datasets\.yaml: name is '.*'; it should "):
        datasets.load(name)


FILE = {"bytes": 1, "checksum": f"sha256:{'0' * 64}"}
PETS = {
    "shape": [16, 16, 3],
    "fit": "pad",
    "background": "white",
    "classes": ["ant", "bee"],
    "test_share": 0.2,
    "split_seed": 7,
    "mirrors": ["https://example.com/pets"],
    "files": {"pictures-0.zip": FILE, "pictures.csv": FILE},
}


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> object:
    """What an entry with `changes` is; None takes a key away."""
    monkeypatch.chdir(folder)
    entry = {key: value for key, value in (PETS | changes).items() if value is not None}
    DATASETS.write_text(yaml.safe_dump({"pets": entry}))
    dataset = datasets.load("pets")
    assert isinstance(dataset, datasets.PictureDataset)
    pictures.form(dataset, "datasets.yaml: pets")
    return dataset


def test_an_entry_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load(tmp_path, monkeypatch)
    assert isinstance(dataset, datasets.PictureDataset)
    assert dataset.input_shape == (16, 16, 3)
    assert dataset.classes == ["ant", "bee"]
    assert load(tmp_path, monkeypatch, test_share=None, split_seed=None, mirrors=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [16, 16, 2]}, "shape.2 is 2; it should be 1 or 3"),
        ({"shape": [16, 16, 4]}, "shape.2 is 4; it should be 1 or 3"),
        ({"shape": [16, 16]}, "shape.2: Field required"),
        ({"shape": [0, 16, 3]}, "shape.0 is 0; it should be greater than or equal to 1"),
        ({"shape": [16, 5000, 3]}, "shape.1 is 5000; it should be less than or equal to 4096"),
        ({"fit": "squash"}, "fit is 'squash'; it should be 'pad', 'crop' or 'stretch'"),
        ({"background": "whiteish"}, "background is whiteish; it should be a colour"),
        ({"background": 0xFFFFFF}, "background is 16777215; it should be a valid string"),
        ({"test_share": 1}, "test_share is 1; it should be less than 1"),
        ({"test_share": 0}, "test_share is 0; it should be greater than 0"),
        ({"split_seed": -1}, "split_seed is -1; it should be greater than or equal to 0"),
        ({"classes": ["ant"]}, "classes is ['ant']: List should have at least 2 items"),
        ({"backgrounds": "red"}, "backgrounds: Extra inputs are not permitted; did you mean backg"),
        ({"files": {"pictures.csv": {"bytes": 1}}}, "files.pictures.csv.checksum: Field required"),
    ],
)
def test_a_wrong_entry_of_pictures_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(Problem) as caught:
        load(tmp_path, monkeypatch, **changes)
    message = str(caught.value)
    assert message.startswith("datasets.yaml: pets: ")
    assert words in message
