"""Text for people: on one line, printable, short."""

import pytest

from convline import text


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("first\n  second\r\n\tthird ", "first second third"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\0b\u202ec", "a\\x00b\\u202ec"),
        ("é 数 👩\u200d🚀", "é 数 👩\u200d🚀"),
        (ValueError("a\nb"), "a b"),
        ("", ""),
    ],
)
def test_one_line_hides_nothing_and_obeys_nothing(given: object, line: str) -> None:
    assert text.one_line(given) == line
    assert text.printable(line)


def test_a_long_text_is_cut_where_it_has_to_be() -> None:
    assert text.shortened("x" * 60) == "x" * 60
    assert text.shortened("x" * 61) == "x" * 57 + "..."
    assert text.shortened("a\n b\n c d", 6) == "a b..."


@pytest.mark.parametrize(
    ("count", "shown"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2 and 1 more")]
)
def test_a_few_of_many(count: int, shown: str) -> None:
    assert text.few(range(count), most=3) == shown


def test_items_are_written_as_told() -> None:
    assert text.few(["a", "b"] * 1000, str.upper, most=2) == "A, B and 1,998 more"
