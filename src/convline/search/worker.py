"""What a search runs on Dask's workers. They get it by value, so it imports nothing of Convline."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from distributed import Status, Worker, WorkerPlugin, get_worker

Spec = dict[str, Any]


class Offer(WorkerPlugin):
    """Offers the cores of each worker whose environment is the search's own.

    `python` and `versions`, of packages by name, describe that environment. Any other worker offers
    no cores, so it gets no trial, and says why in the topic `topic`.
    """

    name = "convline"

    def __init__(self, versions: dict[str, str], python: str, topic: str, local: bool) -> None:
        self.versions = versions
        self.python = python
        self.topic = topic
        self.local = local

    async def setup(self, worker: Worker) -> None:
        """Compare the environment, then offer."""
        if self.local:  # Ctrl-C in the terminal is for the search alone, which ends its workers
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        reason = self.difference()
        if reason:
            worker.log_event(self.topic, {"refused": f"{worker.address} {reason}"})
        cores = 0 if reason else worker.state.nthreads
        if worker.state.total_resources.get("cores") != cores:
            await worker.set_resources(cores=cores)
            # Only a new or resumed worker gets the trials that found none
            worker.status = Status.paused
            worker.status = Status.running

    def difference(self) -> str:
        """In what this environment differs; "" where it does not."""
        python = ".".join(map(str, sys.version_info[:3]))
        if python != self.python:
            return f"has Python {python}, not {self.python}"
        for name, version in self.versions.items():
            try:
                found = metadata.version(name)
            except metadata.PackageNotFoundError:
                return f"lacks {name} {version}"
            if found != version:
                return f"has {name} {found}, not {version}"
        return "" if shutil.which("git") else "lacks git"


def run(source: str, spec: Spec) -> dict[str, Any]:
    """Run the trial `spec` by the script `source` in a process of its own, and return its outcome.

    The script sees the end of its stdin when this process dies, and then ends too.
    """
    worker = get_worker()
    name = spec["name"]
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=worker.local_directory))
    script = folder / "trial.py"
    script.write_text(source)
    cache = spec["cache"] or str(Path(worker.local_directory) / "cache")
    outcome: dict[str, Any] = {}
    group = 0
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin and process.stdout  # noqa: S101  # for the type checker
    trials = worker.__dict__.setdefault("convline_trials", {})
    trials[name] = process
    try:
        process.stdin.write(json.dumps(spec | {"cache": cache}).encode() + b"\n")
        process.stdin.flush()
        for line in process.stdout:
            facts = json.loads(line)
            if "state" in facts:
                outcome = facts
            elif "group" in facts:
                group = facts["group"]
            else:
                worker.log_event(spec["topic"], facts | {"name": name})
    finally:
        del trials[name]
        process.stdin.close()
        code = process.wait()
        if not outcome and group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    return outcome or {"state": "stopped", "reason": f"its process ended with exit code {code}"}


def tell(name: str, word: str, dask_worker: Worker) -> None:
    """Write a word, "prune" or "stop", to the trial `name` if it runs on this worker."""
    process = dask_worker.__dict__.get("convline_trials", {}).get(name)
    if process:
        with suppress(OSError):  # it has just ended
            process.stdin.write(word.encode() + b"\n")
            process.stdin.flush()
