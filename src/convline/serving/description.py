"""What the server says of its model: facts for programs, and a card for people."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convline import lineage
from convline.evaluation import results
from convline.evaluation.results import Run
from convline.markdown import text
from convline.paths import MODEL
from convline.problems import Problem
from convline.revisions import WORKSPACE
from convline.serving.current import Served

AGAIN = 30.0  # seconds after which a run that was not found is looked for once more


@dataclass(frozen=True)
class Described:
    """A model: its facts, and its card in Markdown."""

    facts: dict[str, Any]
    card: str


class Descriptions:
    """Describes models, from the project where it is there. `write` makes the card of a run.

    To find a run takes a second or more, so it is kept. Threads wait for one another.
    """

    def __init__(self, write: Callable[[Run], str]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._last: tuple[Served, Described, float] | None = None

    def of(self, model: Served) -> Described:
        """What is known of `model`."""
        with self._lock:
            if self._last and self._last[0] is model and time.monotonic() < self._last[2]:
                return self._last[1]
            described, lasts = self._describe(model)
            self._last = model, described, time.monotonic() + lasts
            return described

    def _describe(self, model: Served) -> tuple[Described, float]:
        """What is known, and for how many seconds that counts."""
        about = model.classifier.about
        facts = model.named | about.model_dump(exclude={"model_md5"}) | {"figures": None}
        try:
            run = _run(model)
            facts["figures"] = run.scores.figures
            return Described(facts, self._write(run)), float("inf")
        except Problem:  # a file from elsewhere, no repository, no figures yet
            height, width, channels = about.shape
            names = "".join(f"- {key}: {value}\n" for key, value in model.named.items() if value)
            card = (
                f"# Classifier of {text(about.dataset)}\n\n{names}- input: raw images "
                f"`(n, {height}, {width}, {channels})` with values from 0 to 255\n- classes: "
                f"{', '.join(map(text, about.classes))}\n\nNo run of this model is at hand. In the "
                f"project, `convline which {about.model_md5}` finds it.\n"
            )
            return Described(facts, card), AGAIN


def _run(model: Served) -> Run:
    """The run that made `model`. Raises `Problem` where it is not found."""
    md5 = model.classifier.about.model_md5
    revision = model.revision
    if revision is None:
        revision = WORKSPACE
        if not _made(results.load(WORKSPACE), md5):
            found = lineage.origins(md5)
            if not found:
                raise Problem(f"no run with the model {md5} is here")
            revision = found[0].revision
    run = results.load(revision)
    if not _made(run, md5):
        raise Problem(f"{revision} has another model than {md5}")
    return run


def _made(run: Run, md5: str) -> bool:
    return lineage.outputs(run.lock).get(str(MODEL)) == md5
