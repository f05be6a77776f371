"""A trial of a search: a clone of the project in which `dvc exp run` makes one experiment.

Workers get this file as text and start it in a folder of its own, so it uses only the standard
library. The first line of stdin is a JSON object, `Search.spec` in commands/search.py; "prune" and
"stop" may follow. If stdin ends first, the worker is dead: the trial kills what it started, removes
its folder and ends. On stdout it reports progress, one JSON object a line; the last has "state".
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
LONGEST_WAIT = 60.0  # seconds between two attempts
ATTEMPTS = 10  # at `dvc exp run`, where something else than a stage fails: four minutes
NEEDED = ("--pull", "--allow-missing")  # gets what a stage that runs needs, and nothing else
GRACE = 60.0  # seconds that an interrupted training has to end
# A training must not depend on its worker. Dask sets the first four for its workers; Slurm and Open
# MPI set the others, and train would take all workers for processes of one training
OF_WORKER = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MALLOC_TRIM_THRESHOLD_",
    "SLURM_NTASKS",
    "OMPI_COMM_WORLD_SIZE",
)


class Failed(Exception):
    """The trial cannot end as an experiment."""


class Trial:
    """The trial that `spec` describes, in `folder`."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        self.spec = spec
        self.folder = folder
        self.project = folder / "project"
        self.log = folder / "log"
        self.pruned = False
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._seen = 0  # epochs of the history that were told

    def run(self) -> dict[str, Any]:
        """Make the experiment and share it. A name that origin has already is not made again."""
        if there := self._published():
            return self._known(there)
        self._clone()
        self._experiment()
        return self._share()

    # What the worker says

    def obey(self) -> None:
        """Follow stdin until it ends."""
        while data := os.read(0, 1000):
            if b"stop" in data:
                break
            if b"prune" in data:
                self.pruned = True
                with self._lock:
                    if self._child:
                        threading.Thread(target=self._interrupt, daemon=True).start()
        self.leave()

    def leave(self) -> None:
        """Kill what runs, remove the folder, end. Nothing starts or is told meanwhile."""
        with self._lock:
            if self._child:
                _signal(self._child, signal.SIGKILL)
            for _ in range(100):  # a killed process may still be writing
                shutil.rmtree(self.folder, ignore_errors=True)
                if not self.folder.exists():
                    break
                time.sleep(0.05)
            os._exit(1)

    def finish(self, outcome: dict[str, Any]) -> None:
        """Remove the folder, tell the outcome, end."""
        with self._lock:
            shutil.rmtree(self.folder, ignore_errors=True)
            say(**outcome)
            os._exit(0)  # not waiting for the thread that reads stdin

    def _interrupt(self) -> None:
        """End the stage that runs as Ctrl-C would; kill it where that takes too long."""
        child = self._child
        if child:
            _signal(child, signal.SIGINT)
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)

    # Steps

    def _clone(self) -> None:
        spec = self.spec

        def clone() -> None:
            shutil.rmtree(self.project, ignore_errors=True)
            self._git("clone", "--quiet", "--no-checkout", spec["origin"], self.project, at=".")

        persist("git clone", clone)
        self._git("checkout", "--quiet", "--detach", spec["commit"])
        for key, value in spec["identity"].items():
            self._git("config", f"user.{key}", value)
        # `--pull` fails without a remote, even where the cache has all; it is laid out like one
        remote = spec["remote"] or {"name": "cache", "url": spec["cache"]}
        lines = ["[core]", "    analytics = false", f"    remote = {remote['name']}"]
        lines += ["[cache]", f"    dir = {spec['cache']}", f"['remote \"{remote['name']}\"']"]
        lines += [f"    {key} = {remote[key]}" for key in sorted(remote.keys() - {"name"})]
        (self.project / ".dvc/config.local").write_text("\n".join(lines) + "\n")

    def _experiment(self) -> None:
        overrides = [word for one in self.spec["overrides"] for word in ("--set-param", one)]
        command = ["exp", "run", "--name", self.spec["name"], *NEEDED, *overrides]
        for attempt in range(ATTEMPTS):
            code = self._call(_dvc(*command), watch=self._tell_epochs)
            if code == 0:
                return
            if self.pruned:
                raise Failed("pruned")
            text = self.log.read_text(errors="replace")
            # A stage's own failure would come again, and so would a value that DVC cannot set
            if "failed to run: " in text or "override" in text.lower():
                break
            if attempt < ATTEMPTS - 1:
                say(waiting=f"dvc exp run: {self._reason()}")
                time.sleep(min(2.0**attempt, LONGEST_WAIT))
                self._git("reset", "--quiet", "--hard")
        raise Failed(self._reason())

    def _share(self) -> dict[str, Any]:
        """Push the data, then the name, and look whether origin has exactly this experiment."""
        spec = self.spec
        outcome = self._outcome()
        if spec["remote"]:
            persist("dvc push", lambda: self._checked(_dvc("push")))
        say(pushed="data")
        rev = self._git("rev-parse", spec["ref"]).strip()

        def push() -> str:
            there = self._published()
            if not there:
                # Only if origin has no such name: it is never overwritten
                lease = f"--force-with-lease={spec['ref']}:"
                self._git("push", "--quiet", lease, spec["origin"], f"{rev}:{spec['ref']}")
                there = self._published()
            return there

        there = persist("git push", push)
        # A worker that was taken for lost may have been faster
        return outcome | {"rev": rev} if there == rev else self._known(there)

    def _published(self) -> str:
        """The commit that origin has under the trial's name; "" if there is no such name."""
        command = ("ls-remote", self.spec["origin"], self.spec["ref"])
        found = persist("git ls-remote", lambda: self._git(*command, at="."))
        return found.split()[0] if found else ""

    def _known(self, rev: str) -> dict[str, Any]:
        """The outcome of the experiment `rev` that origin has."""
        if not (self.project / ".dvc").exists():
            self._clone()
        persist(
            "git fetch",
            lambda: self._git("fetch", "--quiet", self.spec["origin"], self.spec["ref"]),
        )
        self._git("checkout", "--quiet", "--force", "--detach", rev)
        file = self.spec["file"]
        if not (self.project / file).exists():
            persist("dvc pull", lambda: self._checked(_dvc("pull", file)))
        return self._outcome() | {"rev": rev}

    def _outcome(self) -> dict[str, Any]:
        file, key = self.spec["file"], self.spec["key"]
        try:
            value = json.loads((self.project / file).read_text())
            for part in key.split("."):
                value = value[part]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise Failed(f"{file} has no {key}") from error
        if type(value) not in (int, float) or not math.isfinite(value):
            raise Failed(f"{file}: {key} is {value!r}, not a finite number")
        return {"state": "complete", "value": value}

    def _tell_epochs(self) -> None:
        """Tell the figure of each epoch that the training has logged since."""
        history = self.spec["history"]
        try:
            text = (self.project / history).read_text() if history else ""
        except OSError:
            return
        rows = text.splitlines(keepends=True)[1:]
        complete = [row.split("\t") for row in rows if row.endswith("\n")]
        for step, value in complete[self._seen :]:
            say(step=int(step), value=float(value))
        self._seen = len(complete)

    # Commands

    def _git(self, *arguments: str | Path, at: str = "project") -> str:
        return self._checked(["git", *map(str, arguments)], at)

    def _checked(self, command: list[str], at: str = "project") -> str:
        """What `command` prints. Raises `OSError` where it fails."""
        if self._call(command, at):
            raise OSError(self._reason())
        return self.log.read_text(errors="replace")

    def _call(
        self, command: list[str], at: str = "project", watch: Callable[[], None] | None = None
    ) -> int:
        """Run `command` in a process group of its own, and return its exit code.

        What it prints is in the log, which has only the last command's.
        """
        environment = {key: value for key, value in os.environ.items() if key not in OF_WORKER}
        # `python` in the stages of dvc.yaml has to be this one
        environment["PATH"] = os.pathsep.join(
            [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
        )
        environment["DVC_SITE_CACHE_DIR"] = str(self.folder / "site")
        environment["GIT_TERMINAL_PROMPT"] = "0"
        with self.log.open("wb") as log:
            with self._lock:
                child = subprocess.Popen(
                    command,
                    cwd=self.folder / at,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
                self._child = child
            say(group=child.pid)
            while True:
                try:
                    code = child.wait(0.2 if watch else None)
                    break
                except subprocess.TimeoutExpired:
                    if watch:
                        watch()
            with self._lock:
                self._child = None
        if watch:
            watch()
        return code

    def _reason(self) -> str:
        """The last lines of the log: a stage's own, and what DVC says of it."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
        return "; ".join([line for line in lines if line][-2:]) or "no reason was printed"


def persist(what: str, attempt: Callable[[], Any]) -> Any:
    """What `attempt` returns once it succeeds: a server may be away, or full, for a while."""
    wait = 1.0
    while True:
        try:
            return attempt()
        except OSError as error:
            say(waiting=f"{what}: {error}")
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)


def say(**facts: object) -> None:
    """Write a line to the worker."""
    os.write(1, (json.dumps(facts) + "\n").encode())


def _dvc(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _signal(child: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal to the group of `child`, unless that has ended."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)


def main() -> None:
    """Read what to do, do it, tell the outcome, remove the folder."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # may have been ignored by whoever started it
    spec = json.loads(sys.stdin.buffer.raw.readline())  # type: ignore[union-attr]
    trial = Trial(spec, Path(__file__).resolve().parent)
    threading.Thread(target=trial.obey, daemon=True).start()
    try:
        outcome = trial.run()
    except Failed as failure:
        state = "pruned" if trial.pruned else "failed"
        outcome = {"state": state, "reason": str(failure)}
    except Exception as error:
        outcome = {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
    trial.finish(outcome)


if __name__ == "__main__":
    main()
