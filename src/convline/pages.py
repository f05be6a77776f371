"""Pages from the templates beside the commands: no scripts, and nothing to load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).with_name("commands")


def render(template: str, filters: dict[str, Callable[..., Any]], facts: dict[str, Any]) -> str:
    """The page of `template`, which uses `filters`, filled with `facts`."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(template).render(facts)
