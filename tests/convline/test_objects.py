"""The names of DVC's objects, of which paths are made."""

from typing import Any

import pytest

from convline import objects
from convline.problems import Problem

MD5 = "0123456789abcdef" * 2


@pytest.mark.parametrize("name", [MD5, f"{MD5}.dir"])
def test_an_md5_is_a_name(name: str) -> None:
    assert objects.checked_name(name, "data/x") == name


@pytest.mark.parametrize(
    "name", ["", MD5[1:], MD5.upper(), f"{MD5}\n", f"../{MD5}", f"{MD5}.dirs", 1, None, "x" * 999]
)
def test_nothing_else_is(name: object) -> None:
    with pytest.raises(
        Problem, match=r"^data/x has '.*' for its md5, which should be 32"
    ) as caught:
        objects.checked_name(name, "data/x")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("part", ["deps", "outs"])
def test_every_md5_of_a_lock_is_checked(part: str) -> None:
    entries = [{"path": "a", "md5": MD5}, {"path": "http://x", "etag": "e"}, {"path": "b"}]
    lock: dict[str, Any] = {"stages": {"no_deps": {"cmd": "true"}, "mine": {part: entries}}}
    objects.check_lock(lock)
    objects.check_lock({"schema": "2.0", "stages": None})
    entries.append({"path": "c", "md5": "../../x"})
    with pytest.raises(Problem, match=r"^c has '\.\./\.\./x' for its md5"):
        objects.check_lock(lock)
