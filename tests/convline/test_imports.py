"""How large libraries are imported: without others, and without their greetings."""

import contextlib
import gc
import importlib
import json
import os
import sys

import pytest

from convline import imports
from convline.problems import Problem


def test_what_is_hidden_cannot_be_imported_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an error; what was imported before is the same module."""
    monkeypatch.setattr(imports, "HIDDEN", ("json",))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(ZeroDivisionError), imports.lean("colorsys"):
        for name in ("json", "colorsys"):
            with pytest.raises(ImportError):
                importlib.import_module(name)
        raise ZeroDivisionError
    assert importlib.import_module("json") is json
    assert importlib.import_module("colorsys").__name__ == "colorsys"


def test_what_is_imported_is_never_collected() -> None:
    with imports.lean():
        assert not gc.isenabled()
        cycle: list[object] = []
        cycle.append(cycle)
    assert gc.isenabled()
    assert not any(item is cycle for item in gc.get_objects())


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (None, ""),
        (ZeroDivisionError(), "a note\n"),
        (KeyboardInterrupt(), "a note\n"),
        (MemoryError(), ""),
        (Problem("too small"), ""),
    ],
    ids=repr,
)
def test_notes_of_native_code_are_shown_after_an_error_only(
    capfd: pytest.CaptureFixture[str], error: BaseException | None, shown: str
) -> None:
    """But not where a line says what to do, or that memory is too little."""
    expected = (ZeroDivisionError, KeyboardInterrupt, MemoryError, Problem)
    with contextlib.suppress(*expected), imports.quiet():
        os.write(2, b"a note\n")
        if error:
            raise error
    os.write(2, b"then\n")
    assert capfd.readouterr().err == f"{shown}then\n"
