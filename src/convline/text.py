"""Text for people: on one line, printable, short."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

JOINERS = "\u200c\u200d"  # of letters and emoji: real names hold them, though they show nothing


def one_line(text: object) -> str:
    """`text` with every run of white space as one space, and what cannot be printed as an escape.

    A terminal would obey a control character.
    """
    return "".join(
        character if printable(character) else character.encode("unicode_escape").decode()
        for character in " ".join(str(text).split())
    )


def printable(text: str) -> bool:
    """Whether `text` shows as it is: it holds no control characters and no line ends."""
    return all(character.isprintable() or character in JOINERS for character in text)


def shortened(text: object, length: int = 60) -> str:
    """`text` on one line of at most `length` characters."""
    line = one_line(text)
    return line if len(line) <= length else line[: length - 3] + "..."


def few(items: Sequence[T], write: Callable[[T], str] = str, most: int = 10) -> str:
    """The first `most` of `items` and the number of the others: "a, b and 15 more"."""
    shown = ", ".join(map(write, items[:most]))
    return shown + (f" and {len(items) - most:,} more" if len(items) > most else "")
