"""Where trials run: Dask's workers, on this machine or wherever they joined a scheduler."""

import os
import platform
import queue
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import cloudpickle
import distributed

from convline.problems import Problem, os_reason
from convline.search import trial, worker
from convline.text import one_line

CONNECT = 30  # seconds until a scheduler counts as out of reach
LOCKED = Path("requirements.txt")

Event = tuple[str, str, Any]  # what happened, to which trial, and more of it


class Cluster:
    """Workers that take trials. What happens to these comes through the queue `events`.

    An event is ("told", name, facts) while a trial runs, ("ended", name, outcome) once it does, and
    ("refused", "", reason) for a worker whose environment is another.
    """

    def __init__(self, client: distributed.Client, topic: str, local: bool) -> None:
        self.client = client
        self.topic = topic
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        client.subscribe_topic(topic, self._told)
        offer = worker.Offer(_versions(), platform.python_version(), topic, local)
        client.register_plugin(offer)

    def start(self, spec: worker.Spec, cores: int) -> None:
        """Let a worker that offers so many cores run a trial, or find the one that does.

        It goes on if this process dies; a trial of the same name at the same commit is the same.
        """
        name = spec["name"]
        source = Path(trial.__file__).read_text()
        future = self.client.submit(
            worker.run,
            source,
            spec | {"topic": self.topic},
            key=f"{name}@{spec['commit']}",
            resources={"cores": cores},
            pure=False,
        )
        distributed.fire_and_forget(future)
        future.add_done_callback(lambda future: self._ended(name, future))

    def tell(self, name: str, word: str) -> None:
        """Tell the trial `name` to end: "prune" or "stop"."""
        self.client.run(worker.tell, name, word, on_error="ignore")

    def places(self, cores: int) -> int:
        """How many trials of so many cores run at once."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(one["resources"].get("cores", 0)) // cores for one in workers)

    def _told(self, event: tuple[float, dict[str, Any]]) -> None:
        facts = dict(event[1])
        if "refused" in facts:
            self.events.put(("refused", "", facts["refused"]))
        else:
            self.events.put(("told", facts.pop("name"), facts))

    def _ended(self, name: str, future: distributed.Future) -> None:
        if future.status == "finished":
            outcome = future.result()
        elif future.status == "error":
            error = future.exception()
            reason = one_line(error)
            if isinstance(error, distributed.KilledWorker):
                reason = "its worker died each time that it ran"
            outcome = {"state": "failed", "reason": reason}
        else:
            outcome = {"state": "lost"}
        future.release()  # or the scheduler would answer the next run with this outcome
        self.events.put(("ended", name, outcome))


@contextmanager
def connected(scheduler: str | None, topic: str, cores: int) -> Iterator[Cluster]:
    """Workers of the scheduler at an address, or one on this machine, whose `cores` it offers.

    Raises `Problem` where no scheduler answers.
    """
    cloudpickle.register_pickle_by_value(worker)
    if scheduler is None:
        with _local(cores) as cluster, distributed.Client(cluster) as client:
            yield Cluster(client, topic, local=True)
        return
    try:
        client = distributed.Client(scheduler, timeout=CONNECT)
    except (OSError, ValueError, RuntimeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise Problem(f"no Dask scheduler answers at {scheduler}: {one_line(reason)}") from error
    with client:
        yield Cluster(client, topic, local=False)


@contextmanager
def _local(cores: int) -> Iterator[distributed.LocalCluster]:
    # Ctrl-C in the terminal reaches this process's children too: they inherit that it is ignored
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cluster = distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=cores,
            memory_limit=0,  # of the worker alone, which needs little; trials are not its threads
            dashboard_address=None,
            security=True,  # or every account on this machine could run commands in the worker
            silence_logs="CRITICAL",
        )
    finally:
        signal.signal(signal.SIGINT, previous)
    with cluster:
        yield cluster


def cores_here() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _versions() -> dict[str, str]:
    """The version installed here of each package in the lock file."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", LOCKED.read_text(), re.MULTILINE)
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
    return versions
