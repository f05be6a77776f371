"""Searches in tests: a pipeline that pretends to train, and Dask's own programs on loopback."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

import servers
from conftest import Project
from fork_server import SOCKET

# Tells a figure of each epoch, which is better the nearer `learning_rate` is to 0.01
STAGE = """
import json, math, os, time
from pathlib import Path
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())
rate, epochs = float(params["learning_rate"]), params["epochs"]
if rate > 0.5:
    raise SystemExit("train: diverged")
accuracy = 1 - abs(math.log10(rate) + 2) / 10 + params["seed"] / 1000
history = Path("metrics/history/plots/metrics/validation/accuracy.tsv")
history.parent.mkdir(parents=True, exist_ok=True)
with history.open("w") as file:
    file.write("step\\taccuracy\\n")
    for epoch in range(1, epochs + 1):
        time.sleep(float(os.environ.get("NAP", 0)))
        file.write(f"{epoch}\\t{accuracy * epoch / epochs}\\n")
        file.flush()
Path("models").mkdir(exist_ok=True)
Path("models/model.keras").write_text(f"{rate} {params['batch_size']} {params['seed']}")
Path("metrics/train.json").write_text(json.dumps({"accuracy": round(accuracy, 6)}))
"""
PIPELINE = {
    "stages": {
        "train": {
            "cmd": "python pretend.py",
            "deps": ["pretend.py"],
            "params": ["learning_rate", "batch_size", "epochs", "seed"],
            "outs": ["metrics/history", "models/model.keras"],
            "metrics": [{"metrics/train.json": {"cache": False}}],
        }
    }
}
VARY = {"learning_rate": {"low": 0.0001, "high": 0.1, "log": True}, "batch_size": [16, 32]}


def pretend(project: Project, trials: int, **search: object) -> Project:
    """Let `project` pretend to train, in searches of so many trials."""
    (project.path / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    (project.path / "dvc.lock").unlink(missing_ok=True)
    for old in ("train", "evaluate", "export"):
        (project.path / f"metrics/{old}.json").unlink(missing_ok=True)
    (project.path / "pretend.py").write_text(STAGE)
    settings = {"vary": VARY, "trials": trials, "sampler": "random", "pruner": "none"} | search
    project.set_params(threads=1)
    content = yaml.safe_load((project.path / "params.yaml").read_text())
    content["search"] |= settings
    (project.path / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    project.commit("Pretend")
    return project


@dataclass
class Dask:
    """A scheduler and its workers, each with a folder of its own and the variables of `project`."""

    folder: Path
    environment: dict[str, str]
    address: str = ""
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, **environment: str) -> None:
        """Start a worker of one core, or start it again in its old folder."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        with (place / "log").open("ab") as log:
            self.workers[name] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "distributed.cli.dask_worker", self.address),
                    *("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"),
                    *("--host", servers.LOOPBACK, "--local-directory", str(place)),
                ],
                env=self.environment | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, name: str) -> None:
        """Kill -9 a worker."""
        self.workers[name].kill()
        self.workers.pop(name).wait()

    def left(self) -> list[str]:
        """The folders of trials that are there."""
        return [str(path) for path in self.folder.glob("*/dask-scratch-space/worker-*/*-*/project")]


def workers_environment(project: Project) -> dict[str, str]:
    """The variables of `project`, for whole processes, with the real Python and DVC."""
    environment = {key: value for key, value in project.environment.items() if key != SOCKET}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return environment


@contextmanager
def dask(folder: Path, project: Project, *options: str) -> Iterator[Dask]:
    """A scheduler without workers; at the end, all are stopped."""
    port = servers.free_port()
    one = Dask(
        folder,
        workers_environment(project),
        f"{'tls' if options else 'tcp'}://{servers.LOOPBACK}:{port}",
    )
    scheduler = (
        *(sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"),
        *("--host", servers.LOOPBACK, "--port", str(port), *options),
    )
    with ExitStack() as stack:
        stack.enter_context(servers.running(folder, *scheduler, **one.environment))
        servers.wait_for(port)
        try:
            yield one
        finally:
            for process in one.workers.values():
                process.kill()
                process.wait()


def experiments(project: Project, where: str = ".") -> dict[str, str]:
    """The experiments of a git repository: their commits by name. Each name is there once."""
    found = project.run("git", "ls-remote", where, "refs/exps/*").stdout.split()
    names = [ref.rpartition("/")[2] for ref in found[1::2] if not ref.startswith("refs/exps/exec/")]
    assert len(set(names)) == len(names), names
    return dict(zip(names, found[::2]))


def until(condition: Callable[[], object], seconds: float = 240) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


def of_trial(name: str, place: Path) -> list[int]:
    """The processes that work in the folder of a trial, which is somewhere in `place`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            folder = str((process / "cwd").readlink())
        except OSError:
            continue
        if folder.startswith(str(place)) and re.search(rf"/{name}-\w+(/|$)", folder):
            found.append(int(process.name))
    return found
