"""Trials at work, on a cluster that only remembers what it is told."""

import queue
from collections.abc import Iterator
from typing import Any, cast

import pytest

from convline.problems import Problem
from convline.search.cluster import Cluster
from convline.search.runner import Job, Runner


class Pretended:
    """A cluster of some places; what happens in it is up to the test."""

    def __init__(self, places: int) -> None:
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.free = places
        self.started: list[str] = []
        self.words: list[tuple[str, str]] = []

    def places(self, cores: int) -> int:
        """As in a cluster."""
        return self.free // cores

    def start(self, spec: dict[str, Any], cores: int) -> None:
        """Remember the job."""
        self.started.append(spec["name"])

    def tell(self, name: str, word: str) -> None:
        """Remember the word, and end a job that is to stop."""
        self.words.append((name, word))
        if word == "stop":
            self.end(name, state="stopped", reason="told to")

    def end(self, name: str, **outcome: object) -> None:
        """Let a job end."""
        self.events.put(("ended", name, outcome))


class Driven:
    """A runner on a pretended cluster, and what it reported."""

    def __init__(self, places: int, prune: bool = False) -> None:
        self.cluster = Pretended(places)
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.told: list[tuple[str, int]] = []
        self.asked = 0

        def told(job: Job, facts: dict[str, Any]) -> bool:
            self.told.append((job.name, facts["step"]))
            return prune

        def ended(job: Job, outcome: dict[str, Any], seconds: float) -> None:
            assert seconds >= 0
            self.outcomes[job.name] = outcome

        self.runner = Runner(
            cast(Cluster, self.cluster), lambda job: {"name": job.name}, told, ended
        )

    def jobs(self, count: int, then: list[Any]) -> Iterator[Job]:
        """So many jobs; before the end, what is in `then` happens."""
        for number in range(count):
            self.asked += 1
            yield Job(f"job-{number}", [], 1, None)
        for event in then:
            self.cluster.events.put(event)


def complete(*numbers: int) -> list[Any]:
    """The events of jobs that become experiments."""
    return [("ended", f"job-{number}", {"state": "complete", "value": 1}) for number in numbers]


def test_no_more_than_there_are_places() -> None:
    driven = Driven(places=2)
    driven.cluster.events.put(complete(0)[0])
    driven.cluster.events.put(complete(1)[0])
    driven.cluster.events.put(complete(2)[0])
    assert driven.runner.run(driven.jobs(3, []), cores=1)
    assert driven.cluster.started == ["job-0", "job-1", "job-2"]
    assert set(driven.outcomes) == {"job-0", "job-1", "job-2"}


def test_epochs_are_told_and_a_word_goes_back(capsys: pytest.CaptureFixture[str]) -> None:
    driven = Driven(places=1, prune=True)
    driven.cluster.events.put(("told", "job-0", {"step": 1, "value": 0.5}))
    driven.cluster.events.put(("told", "job-9", {"step": 1, "value": 0.5}))  # of another search
    for _ in range(2):
        driven.cluster.events.put(("told", "job-0", {"waiting": "git push: no\nroute"}))
    driven.cluster.end("job-0", state="pruned", reason="pruned")
    assert driven.runner.run(driven.jobs(1, []), cores=1)
    assert driven.told == [("job-0", 1)]
    assert driven.cluster.words == [("job-0", "prune")]
    assert driven.outcomes["job-0"]["state"] == "pruned"
    output = capsys.readouterr().out
    assert output == "search: job-0 waits and tries again: git push: no route\n"


def test_ctrl_c_asks_for_no_more_and_again_ends_all(capsys: pytest.CaptureFixture[str]) -> None:
    driven = Driven(places=2)
    interrupt = driven.runner._interrupt

    def jobs() -> Iterator[Job]:
        yield from driven.jobs(2, [])
        pytest.fail("a third was asked for")

    driven.cluster.events.put(("told", "job-0", {"pushed": "data"}))
    original = driven.runner._handle

    def handle(kind: str, name: str, facts: Any) -> None:
        original(kind, name, facts)
        if kind == "told":
            interrupt()
        if kind == "interrupted" and facts == 1:
            driven.cluster.events.put(complete(0)[0])
        if kind == "ended" and name == "job-0":
            interrupt()

    driven.runner._handle = handle  # type: ignore[method-assign]
    assert not driven.runner.run(jobs(), cores=1)
    assert driven.cluster.words == [("job-1", "stop")]
    # What was ended goes on another time: it has no outcome
    assert set(driven.outcomes) == {"job-0"}
    output = capsys.readouterr().out
    assert "no new trials; waits for job-0, job-1; Ctrl-C again ends them" in output
    assert "ends job-1" in output


def test_a_trial_whose_process_was_killed_has_failed() -> None:
    driven = Driven(places=1)
    driven.cluster.end("job-0", state="stopped", reason="its process ended with exit code -9")
    assert driven.runner.run(driven.jobs(1, []), cores=1)
    assert driven.outcomes["job-0"] == {
        "state": "failed",
        "reason": "its process ended with exit code -9",
    }


def test_without_a_scheduler_all_is_left_as_it_is() -> None:
    driven = Driven(places=2)
    driven.cluster.end("job-0", state="lost")
    with pytest.raises(Problem, match="the scheduler is gone"):
        driven.runner.run(driven.jobs(2, []), cores=1)
    assert driven.outcomes == {}


def test_a_problem_ends_what_runs() -> None:
    driven = Driven(places=2)

    def ended(job: Job, outcome: dict[str, Any], seconds: float) -> None:
        raise Problem("too many failed")

    driven.runner.ended = ended
    driven.cluster.events.put(complete(0)[0])
    with pytest.raises(Problem, match="too many failed"):
        driven.runner.run(driven.jobs(2, []), cores=1)
    assert driven.cluster.words == [("job-1", "stop")]


def test_workers_may_come_later(capsys: pytest.CaptureFixture[str]) -> None:
    driven = Driven(places=0)
    driven.cluster.events.put(("refused", "", "tcp://a has dvc 1, not 2"))
    original = driven.cluster.places

    def places(cores: int) -> int:
        found = original(cores)
        driven.cluster.free = 4  # has joined meanwhile
        return found

    driven.cluster.places = places  # type: ignore[method-assign]
    assert driven.runner.run(driven.jobs(1, complete(0)), cores=2)
    output = capsys.readouterr().out
    assert "no worker offers 2 cores yet" in output
    assert "no trials for the worker tcp://a has dvc 1, not 2" in output
