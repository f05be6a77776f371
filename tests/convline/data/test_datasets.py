"""Names in datasets.yaml: what can be printed in a table, a plot and a message."""

from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from convline.data import datasets
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
