"""Trials at work: as many at once as there are places, until there are no more."""

import queue
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from convline.problems import Problem
from convline.search.cluster import Cluster
from convline.text import one_line

PATIENCE = 1.0  # seconds between two looks for workers that joined
STATES = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Job:
    """A trial to run: its name, the values to set, the cores that it takes, whose it is."""

    name: str
    overrides: list[str]
    cores: int
    owner: Any


class Runner:
    """Runs jobs on a cluster; `common` is what their specifications share.

    `told` gets what a job tells and says whether to prune it; `ended` gets its outcome and seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        common: Callable[[Job], dict[str, Any]],
        told: Callable[[Job, dict[str, Any]], bool],
        ended: Callable[[Job, dict[str, Any], float], None],
    ) -> None:
        self.cluster = cluster
        self.common = common
        self.told = told
        self.ended = ended
        self.interruptions = 0
        self.running: dict[str, tuple[Job, float]] = {}
        self._said: dict[str, str] = {}

    def run(self, jobs: Iterator[Job], cores: int) -> bool:
        """Run all `jobs`, each asked for when a place is free. False after Ctrl-C.

        Raises `Problem` where the scheduler is gone.
        """
        more = True
        with self._interruptible():
            while self.running or (more and not self.interruptions):
                more = self._fill(jobs, cores) if more and not self.interruptions else more
                try:
                    self._handle(*self.cluster.events.get(timeout=PATIENCE))
                except queue.Empty:
                    continue
                except BaseException:
                    for name in self.running:
                        self.cluster.tell(name, "stop")
                    raise
        return not self.interruptions

    def _fill(self, jobs: Iterator[Job], cores: int) -> bool:
        """Start jobs in all free places, and return whether there may be more of them."""
        places = self.cluster.places(cores)
        if not places:
            self._say("", f"no worker offers {cores} cores yet")
        while len(self.running) < places and not self.interruptions:
            job = next(jobs, None)
            if job is None:
                return False
            self.running[job.name] = (job, time.monotonic())
            self.cluster.start(self.common(job), job.cores)
        return True

    def _handle(self, kind: str, name: str, facts: Any) -> None:
        if kind == "refused":
            self._say("", f"no trials for the worker {facts}: it needs the search's environment")
        elif kind == "interrupted":
            self._end(facts)
        elif name not in self.running:
            return  # of another search, or told before the end and delivered after it
        elif kind == "told":
            self._hear(self.running[name][0], facts)
        else:
            job, start = self.running.pop(name)
            if facts["state"] == "lost":
                raise Problem("the scheduler is gone; with one, the same command goes on")
            if facts["state"] == "stopped" and self.interruptions < 2:
                facts = {"state": "failed", "reason": facts["reason"]}
            if facts["state"] in STATES:
                self.ended(job, facts, time.monotonic() - start)

    def _hear(self, job: Job, facts: dict[str, Any]) -> None:
        if "waiting" in facts:
            self._say(job.name, f"{job.name} waits and tries again: {facts['waiting']}")
        elif "step" in facts and self.told(job, facts):
            self.cluster.tell(job.name, "prune")

    def _say(self, about: str, text: str) -> None:
        """Print a line, unless it was the last one about the same."""
        if self._said.get(about) != text:
            self._said[about] = text
            print(f"search: {one_line(text)}", flush=True)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        previous = signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def _interrupt(self, *_: object) -> None:
        self.interruptions += 1
        self.cluster.events.put(("interrupted", "", self.interruptions))  # safe in a handler

    def _end(self, interruptions: int) -> None:
        names = ", ".join(self.running)
        if interruptions == 1:
            print(f"\nsearch: no new trials; waits for {names}; Ctrl-C again ends them", flush=True)
            return
        print(f"\nsearch: ends {names}", flush=True)
        for name in list(self.running):
            self.cluster.tell(name, "stop")
