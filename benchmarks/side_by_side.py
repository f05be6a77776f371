"""What the comparisons share: a copy of the project to run in, measured children, a report."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
TUTORIAL = REPOSITORY / "benchmarks" / "tutorial.py"
# Prints the kind and strength of each corruption, and the accuracy on so many validation images
CORRUPTED = """
import json, sys
sys.path[0] = "src"
from convline import backend
from convline.backend import BackendParams
settings = BackendParams(backend="tensorflow", threads=2)
backend.choose(settings)
backend.configure(settings)
from convline.data import arrays
from convline.evaluation import corruptions, predictions
from convline.paths import PROCESSED

validation = arrays.load_split(PROCESSED, "validation")
corrupted = corruptions.Corrupted(validation, int(sys.argv[1]))
probabilities = predictions.predict(predictions.load(validation), corrupted)
print(json.dumps(corruptions.accuracies(corrupted.actual, probabilities).values.tolist()))
"""
PARTS = (
    "src",
    "params.yaml",
    "dvc.yaml",
    "datasets.yaml",
    ".dvc/config",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    "data/processed/.gitignore",
    "metrics/.gitignore",
    "models/.gitignore",
)


@dataclass(frozen=True)
class Child:
    """A finished process: what it printed, its wall time, its CPU time and its peak memory."""

    output: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Project:
    """A copy of the project at `path`, in which the stages run as scripts."""

    path: Path

    def set_params(self, **changes: object) -> None:
        """Change keys of the copy's params.yaml, and in its sections the keys that are given."""
        file = self.path / "params.yaml"
        file.write_text(yaml.safe_dump(merged(self.params(), changes)))

    def params(self) -> dict[str, Any]:
        """The content of the copy's params.yaml."""
        return dict(yaml.safe_load((self.path / "params.yaml").read_bytes()))

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
        """Run a Python script in the copy, with further variables."""
        return run(command, self.path, environment or {})

    def stage(self, name: str) -> Child:
        """Run one stage."""
        return self.run([f"src/{name}.py"])

    def experiment(self, name: str, **changes: object) -> None:
        """Run the pipeline with changed parameters, as an experiment of DVC."""
        changed = [f"--set-param={key}={value}" for key, value in changes.items()]
        self.dvc("exp", "run", f"--name={name}", *changed)

    def dvc(self, *arguments: str, **environment: str) -> Child:
        """Run dvc in the copy, with further variables."""
        return self.run(["-m", "dvc", *arguments], environment)

    def git(self, *arguments: str) -> None:
        """Run git in the copy."""
        subprocess.run(["git", *arguments], cwd=self.path, check=True)  # noqa: S607

    def images(self, split: str) -> int:
        """The number of images of a split, once preprocess has run."""
        return len(np.load(self.path / f"data/processed/{split}_images.npy", mmap_mode="r"))

    def validation_accuracy(self) -> float:
        """What the stage train has found."""
        return float(json.loads((self.path / "metrics/train.json").read_bytes())["accuracy"])

    def corrupted_accuracies(self, images: int) -> dict[tuple[str, int], float]:
        """The model's accuracy for each kind and strength of corruption of validation images.

        Measured on a sample of at most so many images.
        """
        rows = json.loads(self.run(["-c", CORRUPTED, str(images)]).output.splitlines()[-1])
        return {(kind, strength): accuracy for kind, strength, accuracy in rows}

    def test_accuracy(self) -> float:
        """What the stage evaluate has found."""
        return float(json.loads((self.path / "metrics/evaluate.json").read_bytes())["accuracy"])

    def bare(self, seed: int) -> Child:
        """Run the bare script on as many images, and for as many epochs, as the stage train."""
        options = {"images": self.images("train"), "epochs": self.params()["epochs"], "seed": seed}
        return self.run([str(TUTORIAL), *(f"--{name}={value}" for name, value in options.items())])


def recipe(name: str) -> dict[str, Any]:
    """All parameters that a recipe sets: a file is the difference from the tutorial's."""
    tutorial, own = (
        yaml.safe_load((REPOSITORY / f"recipes/{file}.yaml").read_bytes())
        for file in ("tutorial", name)
    )
    return merged(tutorial, own)


def merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes`, of which a section replaces only the keys that it has."""
    return values | {
        key: values[key] | change if isinstance(change, dict) and key in values else change
        for key, change in changes.items()
    }


@contextmanager
def copy_of_project() -> Iterator[Project]:
    """Make a copy of the project in a temporary folder, for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            source, target = REPOSITORY / part, Path(folder, part)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        project = Project(Path(folder))
        # DVCLive asks for a repository with a commit, an experiment for one that has the project
        project.git("init", "--quiet")
        project.git("config", "user.name", "benchmark")
        project.git("config", "user.email", "benchmark@localhost")
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "Begin")
        yield project


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Child:
    """Run a Python script in `folder` and measure it, its start included.

    `environment` has the variables that it sees besides those of this process.

    The system counts the memory of the process that starts a child as the child's until the
    child's program begins: whoever calls this should be small itself, so import no Keras. Ends
    this process where the child fails.
    """
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        sys.exit(f"{text}\n{' '.join(command)} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Child(text, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def training_seconds(output: str) -> float:
    """The seconds that the stage train says it has trained for."""
    return float(re.findall(r" in ([\d.]+) s$", output, re.MULTILINE)[-1])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:])),
        ]
        for line in (header, rule, *rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(name: str, title: str, *blocks: str) -> None:
    """Print `blocks` of Markdown, and write them to benchmarks/NAME.md with where they are from."""
    text = "\n\n".join([f"# {title}", *blocks, origin()]) + "\n"
    (REPOSITORY / "benchmarks" / f"{name}.md").write_text(text)
    print(f"\n{text}")


def origin() -> str:
    """The command, the versions and the machine that a report comes from, in Markdown."""
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    versions = {
        name: importlib.metadata.version(importlib.metadata.packages_distributions()[name][0])
        for name in ("keras", "tensorflow")  # tensorflow may come as tensorflow-cpu
    }
    return (
        f"From `{command}`: Python {platform.python_version()}, "
        f"Keras {versions['keras']}, TensorFlow {versions['tensorflow']}, "
        f"{platform.system()}, {processor()}, {os.cpu_count()} cores."
    )


def processor() -> str:
    """The processor's name as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
