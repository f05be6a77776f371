"""Measure what a trial of a search costs beyond its stages, and how many an hour there are.

The pipeline is one stage that only sleeps, origin a bare repository, the DVC remote a folder, and
all workers are on this machine. Writes benchmarks/search.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import yaml

from side_by_side import REPOSITORY, Project, copy_of_project, report, table

sys.path.append(str(REPOSITORY / "tests"))
import servers

STAGE = """
import sys, time
from pathlib import Path
import yaml

time.sleep({seconds})
Path("models/model.keras").write_bytes(b"0" * 400_000)
Path("metrics/train.json").write_text('{{"accuracy": 0.5}}')
"""
PIPELINE = {
    "stages": {
        "train": {
            "cmd": "python sleeps.py",
            "deps": ["sleeps.py"],
            "params": ["learning_rate"],
            "outs": ["models/model.keras"],
            "metrics": [{"metrics/train.json": {"cache": False}}],
        }
    }
}


def main() -> None:
    """Search with each number of workers, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="that a stage sleeps, default 30")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=2, help="trials of each worker, default 2")
    options = parser.parse_args()

    rows = []
    for count in options.workers:
        trials = count * options.rounds
        seconds, cpu, of_search = measured(count, trials, options.seconds)
        beyond = seconds / options.rounds - options.seconds
        rows.append(
            [
                str(count),
                str(trials),
                f"{seconds:.0f}",
                f"{beyond:.1f}",
                f"{cpu / trials:.1f}",
                f"{of_search / trials:.2f}",
                f"{3600 * trials / seconds:.0f}",
                f"{3600 * count / options.seconds:.0f}",
            ]
        )
        print(" ".join(rows[-1]), flush=True)
    report(
        "search",
        "Trials on many workers",
        f"A stage sleeps for {options.seconds:g} s. Beyond it, a trial clones, runs `dvc exp run`, "
        "`dvc push` and two git commands; the first round also waits for all workers. CPU seconds "
        "are of all that a trial starts and of its share of the workers; those of the search, its "
        "start included, are beside them.",
        table(
            [
                "workers",
                "trials",
                "seconds",
                "beyond the stage, s a trial",
                "CPU s a trial",
                "of the search, CPU s a trial",
                "trials an hour",
                "without any overhead",
            ],
            rows,
        ),
    )


def measured(count: int, trials: int, seconds: float) -> tuple[float, float, float]:
    """The wall time from the first trial's start to the last end, and the CPU time.

    The latter is that of the workers, and that of the search.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = stack.enter_context(copy_of_project())
        sleeping(project, trials, seconds, folder)
        port = servers.free_port()
        address = f"tcp://{servers.LOOPBACK}:{port}"
        dask = [sys.executable, "-m", "distributed.cli.dask_"]
        local = ["--host", servers.LOOPBACK, "--no-dashboard"]
        (folder / "log").mkdir()
        scheduler = [*dask[:2], f"{dask[2]}scheduler", *local, "--port", str(port)]
        stack.enter_context(servers.running(folder / "log", *scheduler))
        servers.wait_for(port)
        worker = [*dask[:2], f"{dask[2]}worker", address, *local, "--nthreads", "1", "--no-nanny"]
        workers = [
            subprocess.Popen(
                [*worker, "--local-directory", str(folder / f"worker-{number}")],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number in range(count)
        ]
        try:
            time.sleep(10)  # until all have joined
            search = subprocess.Popen(
                [sys.executable, "src", "search", "sleep", "--scheduler", address],
                cwd=project.path,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                text=True,
            )
            assert search.stdout  # noqa: S101  # for the type checker
            ends: list[tuple[float, float]] = []  # when a trial ended, and how long it took
            for line in search.stdout:
                if " s); best " in line:
                    took = float(line.partition(" s); best ")[0].rpartition("; ")[2])
                    ends.append((time.perf_counter(), took))
            _, search.returncode, usage = os.wait4(search.pid, 0)
            if search.returncode or len(ends) != trials:
                sys.exit(f"the search ended with {len(ends)} of {trials} trials")
            of_search = usage.ru_utime + usage.ru_stime
        finally:
            for one in workers:
                one.terminate()
        cpu = 0.0
        for one in workers:
            _, _, usage = os.wait4(one.pid, 0)
            one.returncode = 0
            cpu += usage.ru_utime + usage.ru_stime
    start = min(end - took for end, took in ends)
    return max(end for end, _ in ends) - start, cpu, of_search


def sleeping(project: Project, trials: int, seconds: float, folder: Path) -> None:
    """Make the project one whose only stage sleeps, with an origin and a remote in `folder`."""
    (project.path / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    (project.path / "sleeps.py").write_text(STAGE.format(seconds=seconds))
    (project.path / "requirements.txt").write_bytes((REPOSITORY / "requirements.txt").read_bytes())
    project.set_params(threads=1)
    search = {
        "vary": {"learning_rate": {"low": 0.001, "high": 0.1}},
        "trials": trials,
        "sampler": "random",
        "pruner": "none",
    }
    project.set_params(search=project.params()["search"] | search)
    project.dvc("remote", "add", "--default", "storage", str(folder / "store"))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Sleep")
    project.git("clone", "--quiet", "--bare", ".", str(folder / "origin"))
    project.git("remote", "add", "origin", str(folder / "origin"))
    project.git("push", "--quiet", "origin", "HEAD")


if __name__ == "__main__":
    main()
