"""A tiny copy of the project, on generated images, in which tests run the real commands."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

import fork_server
import inprocess
import servers
from convline import pipeline
from convline.commands.run import update
from convline.data import idx
from convline.data.datasets import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from convline.params import SECTIONS
from drawings import draw_pets

REPOSITORY = Path(__file__).resolve().parent.parent
# Those of Convline: a project may have more
STAGES = [
    name
    for name in yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    if name in pipeline.STAGES
]
# What tells of runs, and data and pipelines that a project has beside Convline's
OTHERS = re.compile(r"metrics/.*\.json|dvc\.lock|.*/dvc\.(yaml|lock)|.*\.dvc")
CLASSES = ["ant", "bee", "cat"]
SHAPE = (12, 12)
# Of files, which can hold all that a file system allows
NAMES = [
    "cat/rex.jpg",
    "cat/a, b.jpg",
    'cat/"rex".jpg',
    "cat/line\nend.jpg",
    "cat/carriage\rreturn.jpg",
    "cat/\x1b[31m red.jpg",
    "cat/<script>alert(1)</script>.jpg",
    "cat/a|b*c*_d_`e`.jpg",
    "cat/cafe\u0301 \U0001f408\u200d\u2b1b.jpg",
    "cat/\u202egpj.exe",
    "cat/\udcff not UTF-8.jpg",
    "NA",
    "7",
    " ",
]
TINY = {
    "dataset": "tiny",
    "validation_size": 60,
    "convnet": {"filters": [4, 8], "kernels": [3, 3], "dense_units": 8},
    "epochs": 2,
    "batch_size": 32,
    "learning_rate": 0.01,
}

# Run a command and print its peak memory. A process of its own: what a child is said to have
# taken is at least what the process that started it had.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)
sys.exit(code)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests: one at the end would leave the other worker idle."""
    items.sort(key=lambda item: "slow" not in item.keywords)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long text, and a file's content, by its size.

    Every worker collects the tests, and all must find the same names: the bytes of an archive
    hold the time at which they were made.
    """
    if isinstance(val, bytes) or (isinstance(val, str) and len(val) > 100):
        return f"{argname} of length {len(val)}"
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where CONVLINE_SKIP_NONE is set, as in .ci/run, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CONVLINE_SKIP_NONE") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@dataclass
class Project:
    """A git and DVC repository at `path`, and the commands that people run in it."""

    path: Path
    mirror: Path
    shell: dict[str, str] = field(default_factory=dict)
    forks: ClassVar[dict[str, str]] = {}  # variables of tests/fork_server.py

    @property
    def environment(self) -> dict[str, str]:
        """Variables for its commands: this Python first, nothing of make or S3 from outside.

        Nor of Keras, whose backend tests choose for their own process.
        """
        foreign = re.compile(f"MAKE|AWS_|(PYTHON|REV|{'|'.join(fork_server.CHOSEN)})$")
        inherited = {key: value for key, value in os.environ.items() if not foreign.match(key)}
        return inherited | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CONVLINE_MIRROR": str(self.mirror),
            "DVC_SITE_CACHE_DIR": str(self.path.parent / "dvc-site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_CACHE_HOME": str(self.path.parent / "cache"),
            **self.forks,
            **self.shell,
        }

    def run(
        self, *command: str, ok: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` in the project. With `ok`, it has to succeed.

        Pass `**fork_server.NEW` to fork none of its processes: where the process itself is tested,
        or where two must not be alike.
        """
        result = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if ok and result.returncode:
            pytest.fail(
                f"{command} exited with {result.returncode}:\n{result.stdout}{result.stderr}"
            )
        return result

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start `command` in the project, and go on."""
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def dvc(self, *arguments: str, ok: bool = True, **environment: str) -> str:
        """Run dvc and return all that it prints."""
        result = self.run("dvc", *arguments, ok=ok, **environment)
        return result.stdout + result.stderr

    def convline(
        self, *arguments: str, ok: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Convline's commands."""
        return self.run("python", "src", *arguments, ok=ok, **environment)

    def stage(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one stage's script as DVC does, whatever its exit code."""
        return self.run("python", f"src/{name}.py", ok=False, **environment)

    def measured(self, name: str) -> tuple[subprocess.CompletedProcess[str], int]:
        """Run one stage's script, whatever its exit code: the result, and its peak memory in bytes.

        Its stdout is dropped.
        """
        command = ("python", "-c", MEASURED, "python", f"src/{name}.py")
        result = self.run(*command, ok=False, **fork_server.NEW)
        return result, int(result.stdout)

    def problem(self, name: str, **environment: str) -> str:
        """Run a stage's script, or a command, which has to end as bad input does: its one line."""
        if name in STAGES:
            result = self.stage(name, **environment)
        else:
            result = self.convline(name, ok=False, **environment)
        lines = result.stderr.splitlines()
        assert result.returncode == 1, result
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith(f"{name}: ")
        assert not list(self.path.rglob("*.part"))
        return lines[0]

    def set_params(self, **values: object) -> None:
        """Change keys of params.yaml, and in its sections the keys that are given."""
        path = self.path / "params.yaml"
        content = YAML().load(path)
        update(content, values)
        YAML().dump(content, path)

    def set_dataset(self, name: str, **values: object) -> None:
        """Change keys of an entry of datasets.yaml, which may be new."""
        path = self.path / "datasets.yaml"
        entries = yaml.safe_load(path.read_text())
        entries[name] = entries.get(name, {}) | values
        path.write_text(yaml.safe_dump(entries, sort_keys=False))

    def keep_own_stages(self) -> None:
        """Remove what a project may have beside Convline's stages: others, their plots and keys.

        They may need more than the tiny dataset, and take longer than a test.
        """
        with (
            modify_yaml(self.path / "dvc.yaml") as content,
            modify_yaml(self.path / "params.yaml") as params,
        ):
            stages = content["stages"]
            for name in set(stages) - set(STAGES):
                del stages[name]
            outs = tuple(path for stage in stages.values() for path in outputs(stage))
            content["plots"] = [
                plot
                for plot in content["plots"]
                if all(path.startswith(outs) for path in data(plot))
            ]
            used = {key for stage in stages.values() for key in stage["params"] if str(key) == key}
            for key in set(params) - used - {*SECTIONS, *pipeline.networks()}:
                del params[key]

    def commit(self, message: str = "Change") -> None:
        """Commit all that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def install(self) -> None:
        """Give the project this environment, which `make` takes for its own."""
        address = self.forks.get(fork_server.SOCKET)
        environment = Path(address).with_name("environment") if address else sys.prefix
        (self.path / ".venv").symlink_to(environment)

    def add_remote(self, url: str, **options: str) -> None:
        """Make `url` the default DVC remote, "storage", in the committed configuration."""
        self.dvc("remote", "add", "--default", "storage", url)
        for option, value in {"verify": "true", **options}.items():
            self.dvc("remote", "modify", "storage", option, value)

    def rewrite_run(self, old: str, new: str) -> None:
        """Replace a text in dvc.lock and in all that the last run says of itself."""
        records = (self.path / "metrics").glob("*.json")
        for path in (self.path / "dvc.lock", *records):
            path.write_text(path.read_text().replace(old, new))

    def objects(self) -> dict[str, str]:
        """What DVC stores of dvc.lock: the names of the objects, by path."""
        stages = yaml.safe_load((self.path / "dvc.lock").read_text())["stages"].values()
        outs = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}
        in_git = re.compile(r"metrics/.*\.json")
        return {path: md5 for path, md5 in outs.items() if not in_git.fullmatch(path)}

    def hashes(self) -> dict[str, str]:
        """The sha256 of dvc.lock and every output, by path."""
        files = [
            self.path / "dvc.lock",
            *(p for top in ("data", "models", "metrics") for p in (self.path / top).rglob("*")),
        ]
        return {
            str(file.relative_to(self.path)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.is_file()
        }

    def copy(self, path: Path) -> "Project":
        """A copy of the project at another place, its outputs and cache included."""
        shutil.copytree(self.path, path, symlinks=True)
        return Project(path, self.mirror, dict(self.shell))


def with_pets(fresh: Project, folder: Path, **params: object) -> Project:
    """A copy of `fresh` in `folder`, with these parameters, that has imported pets, committed."""
    project = fresh.copy(folder / "project")
    draw_pets(folder / "pets")
    project.set_params(**params)
    project.commit("Set parameters")
    project.convline("import", "pets", "../pets")
    project.commit("Import pets")
    return project


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` says it starts, in order."""
    return re.findall(r"Running stage '([^']+)'", output)


def outputs(stage: dict[str, Any]) -> dict[str, bool]:
    """The paths that an entry of dvc.yaml lists as outputs, and whether DVC caches each."""
    found = {}
    for kind in ("outs", "metrics", "plots"):
        for out in stage.get(kind, []):
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            found[path] = options.get("cache", True)
    return found


def data(plot: str | dict[str, Any]) -> list[str]:
    """The files that a plot of dvc.yaml draws."""
    if isinstance(plot, str):
        return [plot]
    ((name, definition),) = plot.items()
    y = (definition or {}).get("y")
    return list(y) if isinstance(y, dict) else [name]


def tiny_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise (count, 12, 12) with a bright bar whose place is the label (count,): easy to learn."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % len(CLASSES)).astype(np.uint8)
    images = random.integers(0, 100, (count, *SHAPE), dtype=np.uint8)
    for image, label in zip(images, labels):
        image[4 * label : 4 * label + 3] += 120
    return images, labels


def describe(folder: Path) -> dict[str, object]:
    """The files of `folder` as an entry of datasets.yaml lists them."""
    return {
        file.name: {
            "bytes": file.stat().st_size,
            "checksum": f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}",
        }
        for file in sorted(folder.glob("[!.]*"))
    }


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four files of the tiny dataset. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("mirror")
    for images, labels, count, seed in (
        (TRAIN_IMAGES, TRAIN_LABELS, 300, 1),
        (TEST_IMAGES, TEST_LABELS, 90, 2),
    ):
        for name, array in zip((images, labels), tiny_images(count, seed)):
            idx.write(folder / name, array)
    return folder


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Projects' Python and DVC start as forks. Only Linux has all that this needs."""
    if os.environ.get(fork_server.SOCKET):  # tests that a test runs
        Project.forks = {name: os.environ[name] for name in ("PATH", fork_server.SOCKET)}
        yield
    elif sys.platform == "linux":
        with fork_server.running(tmp_path_factory.mktemp("forks")) as variables:
            Project.forks = variables
            yield
    else:
        yield


@pytest.fixture(scope="session")
def fresh(mirror: Path, forks: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as just cloned, with the tiny dataset. Tests leave it as it is."""
    project = Project(tmp_path_factory.mktemp("fresh") / "project", mirror)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, project.path / name
        if source.is_file() and not OTHERS.fullmatch(name):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    project.keep_own_stages()
    project.set_params(**TINY)
    project.set_dataset("tiny", shape=list(SHAPE), classes=CLASSES, files=describe(mirror))
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@example.com")
    project.commit("Start")
    return project


@pytest.fixture(scope="session")
def reproduced(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after `dvc repro`, committed. Tests leave it as it is."""
    project = fresh.copy(tmp_path_factory.mktemp("reproduced") / "project")
    project.dvc("repro")
    project.commit("Reproduce")
    return project


@pytest.fixture(scope="session")
def experimented(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The reproduced project with a far worse experiment, "worse". Tests leave it as it is."""
    project = reproduced.copy(tmp_path_factory.mktemp("experimented") / "project")
    project.dvc("exp", "run", "--name", "worse", "-S", "epochs=1", "-S", "learning_rate=1e-5")
    project.run("git", "checkout", "HEAD", "--", ".")
    project.dvc("checkout")
    return project


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what tests/conversions.py writes of all networks. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("exports")
    inprocess.run(f"import conversions as c; c.write({str(folder)!r}, [*c.PLAIN, *c.QUANTIZED])")
    return folder


@pytest.fixture(scope="session")
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.Storage]:
    """Room for remotes, of the kind that the test names with `teams.on`."""
    kind = request.param
    if reason := servers.missing(kind):
        pytest.skip(reason)
    with servers.WRITABLE[kind](tmp_path_factory.mktemp(kind)) as storage:
        yield storage


@pytest.fixture
def clone(fresh: Project, tmp_path: Path) -> Project:
    """A project of the test's own, as just cloned."""
    return fresh.copy(tmp_path / "project")


@pytest.fixture
def project(reproduced: Project, tmp_path: Path) -> Project:
    """A project of the test's own, after `dvc repro`."""
    return reproduced.copy(tmp_path / "project")
