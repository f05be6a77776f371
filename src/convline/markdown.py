"""Names and values in Markdown, shown literally whatever characters they hold."""

import re
from collections.abc import Iterable

from tabulate import tabulate

from convline.text import one_line

# What begins emphasis, code, a link, HTML, an entity, mathematics or the end of a heading.
# Within a word, `_`, `&` and `#` mean nothing.
SPECIAL = re.compile(r"[\\`*\[\]<~$]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|(?<!\w)#")


def text(name: str) -> str:
    """`name` as literal text, anywhere but at the start of a line."""
    return SPECIAL.sub(r"\\\g<0>", one_line(name))


def code(value: str) -> str:
    """`value` as a code span, with enough backticks around it."""
    content = one_line(value) or " "
    fence = "`" * (max(map(len, re.findall("`+", content)), default=0) + 1)
    space = " " if "`" in (content[0], content[-1]) else ""
    return f"{fence}{space}{content}{space}{fence}"


def table(
    header: Iterable[str], rows: Iterable[Iterable[object]], align: Iterable[str] | None = None
) -> str:
    """A table of cells in Markdown; `align` has "left" or "right" for each column."""
    above, *below = ([str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows))
    return str(
        tabulate(below, headers=above, tablefmt="pipe", colalign=align, disable_numparse=True)
    )
