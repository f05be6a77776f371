"""Which environments take part, and what a process sees of the worker that started it."""

import sys
from importlib import metadata

import pytest

from convline.search import worker


def offer(python: str = "", **versions: str) -> worker.Offer:
    """The offer of a search with these packages."""
    mine = ".".join(map(str, sys.version_info[:3]))
    return worker.Offer(versions, python or mine, "topic", local=False)


def test_the_same_environment_takes_part() -> None:
    assert offer(dvc=metadata.version("dvc")).difference() == ""


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (offer(dvc="0.1"), f"has dvc {metadata.version('dvc')}, not 0.1"),
        (offer(nothing="1"), "lacks nothing 1"),
        (offer("2.7.18"), ", not 2.7.18"),
    ],
)
def test_another_says_in_what_it_differs(other: worker.Offer, reason: str) -> None:
    assert reason in other.difference()


def test_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert offer().difference() == "lacks git"
