"""Measure the import of pictures beside `dvc add` of the same folder, and decoding beside Keras's.

Draws folders of small pictures, imports each, and pushes and pulls it over a folder and S3, whose
server is that of the tests, on this machine. Writes benchmarks/pictures.md.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from remotes import clone, connect
from side_by_side import REPOSITORY, Child, Project, copy_of_project, report, table

sys.path.append(str(REPOSITORY / "tests"))
import servers
from servers import Storage

KINDS = ("folder", "s3")
CLASSES = 10
SMALL, LARGE = (48, 48), (1024, 768)  # width and height in pixels
LARGE_PICTURES = 500
# Decode a folder to 64 x 64 pixels of 3 channels, and print the seconds without the imports
OURS = """
import sys, time
from pathlib import Path
sys.path.insert(0, "src")
from convline.data import pictures
form = pictures.Form((64, 64, 3), "stretch", "white")
start = time.perf_counter()
paths = sorted(Path(sys.argv[1]).rglob("*.jpg"))
for _ in pictures.each(lambda path: pictures.decode(path.read_bytes(), form), paths):
    pass
print(time.perf_counter() - start)
"""
KERAS = """
import sys, time
import keras
start = time.perf_counter()
for _ in keras.utils.image_dataset_from_directory(
    sys.argv[1], image_size=(64, 64), shuffle=False, verbose=False
):
    pass
print(time.perf_counter() - start)
"""


def main() -> None:
    """Draw, import, push and pull each number of pictures, and decode them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pictures", type=int, nargs="+", default=[10_000, 100_000], help="default 10000 100000"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of the decoding, default 3")
    options = parser.parse_args()
    if min(options.pictures) < 100 or options.repeats < 1:
        parser.error("--pictures should be 100 or more, --repeats 1 or more")
    if reason := servers.missing(*KINDS):
        sys.exit(reason)

    columns: dict[str, dict[str, Child]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        storages = {}
        for kind in KINDS:
            (folder / kind).mkdir()
            storages[kind] = stack.enter_context(servers.WRITABLE[kind](folder / kind))
        for count in options.pictures:
            drawn = draw(folder / f"drawn-{count}", count, SMALL)
            for way in WAYS:
                measured = columns[f"{count:,}: {way.name}"] = {}
                place = folder / f"{way.track.__name__}-{count}"
                for action, child in there_and_back(way, drawn, storages, place):
                    print(f"{count:,}: {way.name}: {action}: {timed(child)}", flush=True)
                    measured[action] = child
                shutil.rmtree(place)
        few = min(options.pictures)
        large = draw(folder / "large", LARGE_PICTURES, LARGE)
        decoding = [
            decoded(f"{few:,} of 48 x 48", folder / f"drawn-{few}", options.repeats),
            decoded(f"{LARGE_PICTURES} of 1024 x 768", large, options.repeats),
        ]

    actions = list(dict.fromkeys(action for of_column in columns.values() for action in of_column))
    memory = {name: of_column for name, of_column in columns.items() if name.endswith("import")}
    report(
        "pictures",
        "Pictures: import, push and pull",
        f"JPEGs of 48 x 48 pixels in {CLASSES} classes. Seconds, one run each, including process "
        "start, and in brackets the seconds of CPU time of the process, which other work on the "
        "machine changes less. The S3 server is on the same machine:",
        table(
            ["", *columns],
            [
                [
                    action,
                    *(timed(one[action]) if action in one else "" for one in columns.values()),
                ]
                for action in actions
            ],
        ),
        "Peak memory, MB:",
        table(
            ["", *memory],
            [
                [action, *(f"{one[action].peak_bytes / 1e6:.0f}" for one in memory.values())]
                for action in ("import", "preprocess")
            ],
        ),
        "Decoding to 64 x 64 pixels, milliseconds per picture, without imports, medians of "
        f"{options.repeats} runs in turn:",
        table(["", "convline", "image_dataset_from_directory", "ratio"], decoding),
    )


def timed(child: Child) -> str:
    """The seconds that `child` took, and those of the processors."""
    return f"{child.seconds:.1f} ({child.cpu_seconds:.1f})"


def draw(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Draw `count` JPEGs of `size`, smooth noise, in classes."""
    random = np.random.default_rng(0)
    for i in range(count):
        place = folder / f"class{i % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        noise = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        noise.resize(size).save(place / f"{i:06}.jpg")
    return folder


def imported(project: Project, drawn: Path) -> Child:
    """Import the folder."""
    return project.run(["src", "import", "drawn", str(drawn)])


def added(project: Project, drawn: Path) -> Child:
    """Let DVC track a copy of the folder in the project."""
    shutil.copytree(drawn, project.path / "pictures", dirs_exist_ok=True)
    return project.dvc("add", "pictures")


@dataclass(frozen=True)
class Way:
    """A way to let DVC track a folder: its name, what does it, and the file that it makes."""

    name: str
    track: Callable[[Project, Path], Child]
    tracked: str


WAYS = (
    Way("import", imported, "data/sets/drawn.dvc"),
    Way("`dvc add`", added, "pictures.dvc"),
)


def there_and_back(
    way: Way, drawn: Path, storages: dict[str, Storage], place: Path
) -> Iterator[tuple[str, Child]]:
    """What each action takes, from the folder to another machine and back to one more picture."""
    first = next(drawn.rglob("*.jpg"))
    more = first.with_name("one-more.jpg")
    with copy_of_project() as project:
        yield "import", way.track(project, drawn)
        yield "`dvc status`", project.dvc("status")
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "Track pictures")
        for kind, storage in storages.items():
            here = storage.at(place.name)
            connect(project, here)
            yield f"push, {kind}", project.dvc("push", **here.environment)
            receiver = clone(project, here, place / kind)
            yield f"pull, {kind}", receiver.dvc("pull", way.tracked, **here.environment)
        if way.track is imported:
            project.set_params(dataset="drawn")
            project.stage("fetch")
            yield "preprocess", project.stage("preprocess")
        try:
            Image.open(first).transpose(Image.Transpose.ROTATE_90).save(more)
            yield "one picture more", way.track(project, drawn)
            yield "`dvc status` after that", project.dvc("status")
            yield f"push after that, {kind}", project.dvc("push", **here.environment)
        finally:
            more.unlink()


def decoded(label: str, pictures: Path, repeats: int) -> list[str]:
    """A row of the table of decoding."""
    seconds: dict[str, list[float]] = {OURS: [], KERAS: []}
    count = len(list(pictures.rglob("*.jpg")))
    with copy_of_project() as project:
        for _ in range(repeats):
            for code, taken in seconds.items():
                child = project.run(["-c", code, str(pictures)])
                taken.append(float(child.output.splitlines()[-1]))
    ours, theirs = (float(np.median(taken)) / count * 1000 for taken in seconds.values())
    return [label, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}"]


if __name__ == "__main__":
    main()
