"""Measure what push and pull move, and how long they take, over a folder, SSH and S3.

The servers are those of the tests, on this machine: no network is in it. The dataset comes from
where the stage fetch gets it; the network is trained for one epoch. Writes benchmarks/remotes.md.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import yaml

from side_by_side import REPOSITORY, Project, copy_of_project, report, table

sys.path.append(str(REPOSITORY / "tests"))
import servers
from servers import Storage

ACTIONS = ("push, remote empty", "push, all there", "pull, clone empty", "pull, all there")
NEEDED = ("repro", "--pull", "--allow-missing")


def main() -> None:
    """Run the pipeline once, push and pull it a number of times, each kind of remote in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement, default 5")
    repeats = parser.parse_args().repeats
    if repeats < 1:
        parser.error("--repeats should be 1 or more")

    if reason := servers.missing(*servers.WRITABLE):
        sys.exit(reason)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = stack.enter_context(copy_of_project())
        project.set_params(epochs=1)
        project.dvc("repro")
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "Reproduce")
        storages = {}
        for kind, server in servers.WRITABLE.items():
            (folder / kind).mkdir()
            storages[kind] = stack.enter_context(server(folder / kind))

        seconds: dict[tuple[str, str], list[float]] = {}
        for repeat in range(1, repeats + 1):
            for kind, storage in storages.items():
                place = folder / f"{kind}-{repeat}"
                times = there_and_back(project, storage.at(str(repeat)), place)
                for action, time in zip(ACTIONS, times):
                    seconds.setdefault((kind, action), []).append(time)
                    print(f"{repeat} of {repeats}: {kind}: {action}: {time:.2f} s", flush=True)

        shared = storages["folder"].at("1")
        everything, trains, evaluates = (clone(project, shared, folder / str(n)) for n in range(3))
        everything.dvc("pull")
        trains.set_params(epochs=2)
        trains.dvc(*NEEDED)
        with (evaluates.path / "src/evaluate.py").open("a") as file:
            file.write("# a change\n")
        evaluates.dvc(*NEEDED)
        pulled = {
            "everything": moved(everything, shared),
            "what another `epochs` needs": moved(trains, shared),
            "what another evaluation needs": moved(evaluates, shared),
        }
        dataset = project.params()["dataset"]
        stages = stored(project)

    def megabytes(sizes: list[int]) -> list[str]:
        return [str(len(sizes)), f"{sum(sizes) / 1e6:.2f}"]

    medians = {of: median(measured) for of, measured in seconds.items()}
    runs = f"medians of {repeats} runs" if repeats > 1 else "one run"
    report(
        "remotes",
        "Sizes and times of push and pull",
        f"Dataset {dataset}. Files that each stage gives DVC to store:",
        table(["stage", "files", "MB"], [[name, *megabytes(stages[name])] for name in stages]),
        f"Downloads of a new clone with `dvc pull`, and with `dvc {' '.join(NEEDED)}` after a "
        "change. The list of files in a directory counts as an object:",
        table(["pulled", "objects", "MB"], [[name, *megabytes(pulled[name])] for name in pulled]),
        f"Seconds, {runs}, including process start. The servers are on the same machine; the kinds "
        "of remote took turns:",
        table(
            ["", *storages, "s3 : folder"],
            [
                [
                    action,
                    *(f"{medians[kind, action]:.2f}" for kind in storages),
                    f"{medians['s3', action] / medians['folder', action]:.1f}",
                ]
                for action in ACTIONS
            ],
        ),
    )


def there_and_back(project: Project, storage: Storage, place: Path) -> list[float]:
    """The seconds of each of ACTIONS, of two machines that share nothing but the storage."""
    connect(project, storage)
    receiver = clone(project, storage, place / "receiver")
    return [
        person.dvc(
            command, DVC_SITE_CACHE_DIR=str(place / f"{command}-site"), **storage.environment
        ).seconds
        for command, person in (("push", project), ("pull", receiver))
        for _ in range(2)
    ]


def clone(project: Project, storage: Storage, folder: Path) -> Project:
    """A clone with nothing in it yet that DVC stores."""
    project.git("clone", "--quiet", ".", str(folder))
    receiver = Project(folder)
    connect(receiver, storage)
    return receiver


def connect(project: Project, storage: Storage) -> None:
    """Make the storage the project's remote."""
    project.dvc("remote", "add", "--local", "--force", "--default", "storage", storage.url)
    for option, value in {"verify": "true", **storage.options}.items():
        project.dvc("remote", "modify", "--local", "storage", option, value)


def stored(project: Project) -> dict[str, list[int]]:
    """The sizes, in bytes, of the files that each stage leaves for DVC to store."""
    stages = yaml.safe_load((project.path / "dvc.lock").read_bytes())["stages"]
    paths = {
        name: [project.path / out["path"] for out in stage["outs"]]
        for name, stage in stages.items()
    }
    return {
        name: [
            file.stat().st_size
            for out in outs
            for file in (out.rglob("*") if out.is_dir() else [out])
            if file.is_file() and not out.match("metrics/*.json")  # those are in git
        ]
        for name, outs in paths.items()
    }


def moved(project: Project, storage: Storage) -> list[int]:
    """The sizes, in bytes, of the objects in the project's cache that the storage has."""
    cache = project.path / ".dvc/cache/files/md5"
    root = f"{storage.root}/files/md5"
    objects = [Path(path).relative_to(root) for path in storage.fs.find(root)]
    return [(cache / name).stat().st_size for name in objects if (cache / name).exists()]


if __name__ == "__main__":
    main()
