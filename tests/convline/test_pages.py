"""Pages from templates: what comes from outside is escaped, and what is missing is an error."""

from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import UndefinedError

from convline import pages

FILTERS: dict[str, Callable[..., Any]] = dict.fromkeys(("shown", "value_text", "result"), str)


def facts(**changes: object) -> dict[str, object]:
    """What search.html shows of a search without trials."""
    return {
        "name": "<b>",
        "settings": {"direction": "maximize", "metric": "a:b", "key": "b"},
        "names": [],
        "trials": [],
        "best": "",
        "confirmed": [],
        "plots": [],
    } | changes


def test_text_is_escaped_and_the_style_is_in_the_page() -> None:
    page = pages.render("search.html", FILTERS, facts())
    assert "<title>Search &lt;b&gt;</title>" in page
    assert "<b>" not in page
    assert "--accent" in page


def test_a_missing_fact_is_an_error() -> None:
    without = facts()
    del without["best"]
    with pytest.raises(UndefinedError, match="best"):
        pages.render("search.html", FILTERS, without)
