"""Names and values in Markdown: whatever they hold, a reader sees them as they are."""

import html
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from convline import markdown
from convline.text import one_line

rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render

ODD = [
    "<b>bold</b>",
    "&lt;b&gt;",
    "a|b",
    "a\\|b",
    "`",
    "``a` ``",
    "`` ` ``",
    "*a*",
    "_a_",
    "__a__",
    "a_b",
    "[a](http://b)",
    "![a](b)",
    "~~a~~",
    "a\\",
    "\\*a\\*",
    "# a #",
    "a #",
    "1. a",
    "- a",
    "> a",
    "---",
    "    a",
    "$a$",
    "<http://a>",
    "<!--",
]

names = st.text(alphabet="ab1 \\`*_[]()<>&|~$#!-+.:;é", min_size=1) | st.text(min_size=1)


def every_odd(test: Callable[[str], None]) -> Callable[[str], None]:
    """Try each of ODD besides what Hypothesis draws."""
    for name in ODD:
        test = example(name)(test)
    return test


def seen(page: str) -> str:
    """What a reader sees of HTML, white space as single spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())


@every_odd
@given(names)
def test_a_name_is_text(name: str) -> None:
    page = rendered(f"Of class {markdown.text(name)}, and {markdown.text(name)}")
    assert re.findall(r"<\w+", page) == ["<p"]
    assert seen(page) == one_line(f"Of class {one_line(name)}, and {one_line(name)}")


@every_odd
@given(names)
def test_a_name_is_text_in_a_heading_and_in_bold(name: str) -> None:
    shown = one_line(name)
    page = rendered(f"# Of {markdown.text(name)}\n\n**Of {markdown.text(name)} images**\n")
    assert re.findall(r"<\w+", page) == ["<h1", "<p", "<strong"]
    assert seen(page) == one_line(f"Of {shown} Of {shown} images")


@every_odd
@given(names)
def test_a_value_is_code(value: str) -> None:
    page = rendered(f"At {markdown.code(value)}, and **{markdown.code(value)} is better**")
    assert re.findall(r"<\w+", page) == ["<p", "<code", "<strong", "<code"]
    assert seen(page) == one_line(f"At {one_line(value)}, and {one_line(value)} is better")


@every_odd
@given(names)
def test_both_stay_in_their_cells(name: str) -> None:
    row = (markdown.text(name), markdown.code(name))
    page = rendered(markdown.table(row, [row]))
    cells = re.findall(r"<(?:th|td).*?>(.*?)</(?:th|td)>", page)
    assert [seen(cell) for cell in cells] == [one_line(name)] * 4
    assert [cell.startswith("<code>") for cell in cells] == [False, True] * 2


@pytest.mark.parametrize(
    "name", ["ant", "t-shirt", "ankle boot", "fashion-mnist", "a_b", "C#", "B&W", "0", "あ"]
)
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert markdown.text(name) == name
    assert markdown.code(name) == f"`{name}`"
