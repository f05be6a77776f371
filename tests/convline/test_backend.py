"""How the large libraries are imported."""

import gc
import importlib
import json
import sys

import pytest

from convline import backend


def test_what_is_hidden_cannot_be_imported_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an error; what was imported before is the same module."""
    monkeypatch.setattr(backend, "HIDDEN", ("json", "colorsys"))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(ZeroDivisionError), backend.lean_imports():
        for name in backend.HIDDEN:
            with pytest.raises(ImportError):
                importlib.import_module(name)
        raise ZeroDivisionError
    assert importlib.import_module("json") is json
    assert importlib.import_module("colorsys").__name__ == "colorsys"


def test_what_is_imported_is_never_collected() -> None:
    with backend.lean_imports():
        assert not gc.isenabled()
        cycle: list[object] = []
        cycle.append(cycle)
    assert gc.isenabled()
    assert not any(item is cycle for item in gc.get_objects())
