"""Measure how the time and the peak memory of each stage grow with the data.

Makes datasets of 1, 4 and 16 times as many images, which are those of the dataset and the same
again, shifted, and runs the pipeline on each, train for one epoch. Run on an otherwise idle
machine, from anywhere, with the project's environment; the images come from where the stage fetch
gets them. Writes benchmarks/growth.md.
"""

import argparse
import gzip
import hashlib
import struct
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from numpy.lib.stride_tricks import sliding_window_view

from side_by_side import Child, Project, copy_of_project, report, table

STAGES = ("fetch", "preprocess", "train", "evaluate")
SHIFT = 2  # pixels, at most, up or down and left or right
BLOCK = 4096  # images
FLAT = 1.15  # the most that peak memory may grow by


def main() -> None:
    """Run the pipeline on each multiple of the dataset and report what each stage takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--multiples", type=int, nargs="+", default=[1, 4, 16], help="ascending, default 1 4 16"
    )
    multiples = parser.parse_args().multiples
    if multiples[0] < 1 or len(multiples) < 2 or multiples != sorted(set(multiples)):
        parser.error("--multiples should be two or more, from 1 up, ascending")

    children: dict[str, list[Child]] = {name: [] for name in STAGES}
    for multiple in multiples:
        with copy_of_project() as project, tempfile.TemporaryDirectory() as folder:
            dataset = project.params()["dataset"]
            project.stage("fetch")
            multiply(project, multiple, Path(folder))
            # What it downloads now is not for the user's cache
            environment = {"CONVLINE_MIRROR": folder, "XDG_CACHE_HOME": f"{folder}/cache"}
            for name in STAGES:
                child = project.run([f"src/{name}.py"], environment)
                children[name].append(child)
                print(f"{multiple} times: {name}: {child.seconds:.1f} s", flush=True)

    def seconds(name: str) -> list[str]:
        taken = [child.seconds for child in children[name]]
        rises = [
            (later - earlier) / (more - fewer)
            for (fewer, more), (earlier, later) in zip(pairwise(multiples), pairwise(taken))
        ]
        return [name, *(f"{one:.1f}" for one in taken), *(f"{rise:.2f}" for rise in rises)]

    def megabytes(name: str) -> list[str]:
        taken = [child.peak_bytes / 1e6 for child in children[name]]
        return [name, *(f"{one:,.0f}" for one in taken), f"{growth[name]:.2f}"]

    growth = {name: children[name][-1].peak_bytes / children[name][0].peak_bytes for name in STAGES}
    times = [f"{multiple} times" for multiple in multiples]
    largest = max(growth, key=lambda name: growth[name])
    report(
        "growth",
        "Growth with the data",
        f"Dataset {dataset}, with {multiples[0]} to {multiples[-1]} times as many images for "
        f"training, validation and testing: the originals and copies shifted by up to {SHIFT} "
        "pixels in each direction. One run each, including process start; train runs for 1 epoch.",
        "## Seconds",
        "The last columns are the marginal seconds per additional copy of the data. They are equal "
        "if time grows linearly.",
        table(
            ["stage", *times, *(f"each, {a} to {b}" for a, b in pairwise(multiples))],
            [seconds(name) for name in STAGES],
        ),
        "## Peak memory, MB",
        table(
            ["stage", *times, f"{multiples[-1]} : {multiples[0]}"],
            [megabytes(name) for name in STAGES],
        ),
        f"Memory is {'flat' if growth[largest] <= FLAT else 'NOT flat'}, which means that it grows "
        f"by at most {FLAT - 1:.0%}: {largest} grows most, to {growth[largest]:.2f} times its "
        "memory.",
    )


def multiply(project: Project, multiple: int, mirror: Path) -> None:
    """Make a dataset of `multiple` times the fetched images, and have the project use it.

    Writes its files to `mirror`.
    """
    params = project.params()
    catalogue = project.path / "datasets.yaml"
    entries = yaml.safe_load(catalogue.read_bytes())
    entry = entries[params["dataset"]]
    files = {}
    for source in sorted((project.path / "data/raw").glob("*.gz")):
        target = mirror / source.name
        repeat(source, target, multiple)
        with open(target, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[target.name] = {"bytes": target.stat().st_size, "checksum": f"sha256:{digest}"}
    name = f"{params['dataset']}-{multiple}"
    entries[name] = {"shape": entry["shape"], "classes": entry["classes"], "files": files}
    catalogue.write_text(yaml.safe_dump(entries))
    project.set_params(dataset=name, epochs=1)


def repeat(source: Path, target: Path, multiple: int) -> None:
    """Write an IDX file of images or labels that has `multiple` times those of `source`.

    All but the first time, each image is shifted. A block at a time: this process stays small,
    as `side_by_side.run` asks for.
    """
    random = np.random.default_rng(multiple)
    with gzip.open(target, "wb", compresslevel=1) as output:
        for time in range(multiple):
            with gzip.open(source, "rb") as file:
                magic = file.read(4)
                count, *shape = struct.unpack(f">{magic[3]}I", file.read(4 * magic[3]))
                if time == 0:
                    output.write(magic + struct.pack(f">{magic[3]}I", multiple * count, *shape))
                while content := file.read(BLOCK * int(np.prod(shape))):
                    block = np.frombuffer(content, np.uint8).reshape(-1, *shape)
                    output.write(shifted(block, random) if shape and time else content)


def shifted(images: npt.NDArray[np.uint8], random: np.random.Generator) -> bytes:
    """Images (n, height, width), each moved by up to `SHIFT` pixels both ways, 0 behind it."""
    around = (SHIFT, SHIFT)
    windows = sliding_window_view(
        np.pad(images, ((0, 0), around, around)), images.shape[1:], axis=(1, 2)
    )
    down, right = random.integers(0, 2 * SHIFT + 1, (2, len(images)))
    return bytes(windows[np.arange(len(images)), down, right].tobytes())


if __name__ == "__main__":
    main()
