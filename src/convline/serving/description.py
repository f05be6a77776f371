"""What the server says of its model."""

from dataclasses import dataclass
from typing import Any

from convline.serving.current import Served


@dataclass(frozen=True)
class Described:
    """A model: its facts for programs, and its card in Markdown for people."""

    facts: dict[str, Any]
    card: str


def describe(model: Served) -> Described:
    """What is known of `model`."""
    about = model.classifier.about
    facts = model.named | about.model_dump(exclude={"model_md5"}) | {"figures": None}
    lines = [f"- {key}: {value}" for key, value in facts.items() if value is not None]
    return Described(facts, "\n".join([f"# Classifier of {about.dataset}", "", *lines, ""]))
