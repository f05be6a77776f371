"""Classify pictures with the exported model: files, folders, zips, tars, or - for standard input.

Prints CSV, or JSON, in the order of the arguments. A file that is no picture costs its line on
stderr and exit code 1, and the rest goes on. In folders and archives, hidden files and files that
do not claim to be pictures are left out.
"""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from convline import exported
from convline.data import fitting, originals, pictures
from convline.data.pictures import Unreadable
from convline.exported import Classifier
from convline.paths import ONNX
from convline.problems import Problem
from convline.text import one_line

T = TypeVar("T")
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

STANDARD_INPUT = "-"
BATCH_BYTES = (
    1 << 16
)  # of the images classified at a time; activations take a hundred times as many
MANY = 50  # pictures, from which on a progress bar is shown
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would calculate begins so
DIGITS = 6  # of a probability in JSON


class Source:
    """A picture to classify: its name, and how to read it. `given` on the command line itself."""

    def __init__(self, name: str, read: Callable[[], bytes], given: bool) -> None:
        self.name, self.read, self.given = name, read, given


def main() -> None:
    """Read the model, find the pictures, classify them in batches, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="+", help="a file, a folder, a zip, a tar, a URL, or -")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", type=Path, default=ONNX, help=f"an ONNX file, default {ONNX}")
    model.add_argument("--rev", help="a branch, tag, commit or experiment that has the model")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--top", type=int, default=1, metavar="N", help="show N classes, default 1")
    form.add_argument("--json", action="store_true", help="print an object a line, all classes")
    options = parser.parse_args()
    classifier = from_revision(options.rev) if options.rev else exported.read(options.model)
    classes = classifier.about.classes
    if not 1 <= options.top <= len(classes):
        raise Problem(f"--top is {options.top}; the model has {len(classes)} classes")
    writer = as_json if options.json else partial(as_csv, top=options.top)
    # Names that are no valid Unicode hold halves of surrogate pairs, which print as "\udcff"
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    with ExitStack() as stack:
        sources, failed = found(options.picture, stack)
        any_shown = False
        try:
            if not options.json:
                print(header(options.top), flush=True)
            for source, answer in answers(classifier, sources):
                if isinstance(answer, Unreadable):
                    failed = True
                    complain(f"{one_line(source.name)} {answer}")
                else:
                    any_shown = True
                    print(writer(source.name, classes, answer))
            sys.stdout.flush()
            if not any_shown and not failed:
                raise Problem("there are no pictures; text and hidden files are left out")
        except BrokenPipeError:  # `| head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if failed:
        sys.exit(1)


def from_revision(revision: str) -> Classifier:
    """The model of a revision, from git, DVC's cache or its remote. Raises `Problem`."""
    from convline import revisions  # DVC takes longer to import than an answer

    return Classifier(revisions.read_bytes(str(ONNX), revision), f"{revision}: {ONNX}")


def found(arguments: list[str], stack: ExitStack) -> tuple[list[Source], bool]:
    """The pictures that the arguments lead to, and whether something was wrong with one of them.

    Archives stay open until `stack` closes. What is wrong is said on stderr.
    """
    sources: list[Source] = []
    failed = False
    for argument in arguments:
        if argument == STANDARD_INPUT:
            sources.append(Source(STANDARD_INPUT, standard_input, given=True))
            continue
        try:
            if not originals.is_one(argument):
                read = partial(originals.read_file, Path(argument).expanduser())
                sources.append(Source(argument, read, given=True))
                continue
            opened = stack.enter_context(originals.opened(argument))
        except Problem as problem:
            complain(problem)
            failed = True
            continue
        top = originals.redacted(argument).rstrip("/")
        for finding in opened.problems:
            complain(f"{one_line(top)}/{finding}")
            failed = True
        files = sorted(opened.files, key=lambda file: file.name)
        sources += [Source(f"{top}/{file.name}", file.read, given=False) for file in files]
        if not files and not opened.problems:
            complain(f"{one_line(top)} holds no pictures")
            failed = True
    return sources, failed


def standard_input() -> bytes:
    """The picture on standard input. Raises `Unreadable` where it is too large."""
    content = sys.stdin.buffer.read(pictures.MOST_BYTES + 1)
    if len(content) > pictures.MOST_BYTES:
        raise Unreadable(originals.TOO_LARGE)
    return content


def answers(
    classifier: Classifier, sources: list[Source]
) -> Iterator[tuple[Source, Floats | Unreadable]]:
    """Each source with its probabilities (classes,), or why it has none, in order.

    What does not claim to be a picture is left out, unless it is given itself.
    """

    def fitted(source: Source) -> Bytes | Unreadable:
        try:
            content = source.read()
            if not content:
                return pictures.NoPicture("is empty")
            return fitting.fit(content, classifier.about)
        except Unreadable as error:
            return error

    size = max(1, BATCH_BYTES // int(np.prod(classifier.about.shape)))
    # A lone picture does not need the threads
    fits = pictures.each(fitted, sources) if len(sources) > 1 else map(fitted, sources)
    for batch in batches(zip(sources, watched(fits, len(sources)), strict=True), size):
        images = [image for _, image in batch if not isinstance(image, Unreadable)]
        rows = iter(classifier(np.stack(images)) if images else ())
        for source, image in batch:
            if not isinstance(image, Unreadable):
                yield source, next(rows)
            elif (
                source.given
                or not isinstance(image, pictures.NoPicture)
                or pictures.claims(source.name)
            ):
                yield source, image


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, `size` at a time."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def watched(items: Iterable[T], count: int) -> Iterable[T]:
    """The items, with a progress bar where they are many and only stderr is a terminal."""
    if count < MANY or sys.stdout.isatty() or not sys.stderr.isatty():
        return items
    from tqdm import tqdm

    return tqdm(items, "pictures", count, leave=False)


def header(top: int) -> str:
    """The first line of the CSV."""
    more = [f"class_{rank},probability_{rank}" for rank in range(2, top + 1)]
    return ",".join(["file_name,class,probability", *more])


def as_csv(name: str, classes: list[str], probabilities: Floats, top: int) -> str:
    """A picture's row: the most probable classes and their probabilities, rounded as evaluate does.

    A name that a spreadsheet would calculate gets a "./" before it, and is still the file's.
    """
    row = [f"./{name}" if name.startswith(FORMULA) and name != STANDARD_INPUT else name]
    rounded = probabilities.round(4)
    for label in np.argsort(-probabilities, kind="stable")[:top]:
        row += [classes[label], f"{rounded[label]:.4f}"]
    if sys.stdout.isatty():
        row = list(map(one_line, row))
    # With other line ends, Python before 3.12 leaves those in a name without quotes
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(row)
    return line.getvalue().removesuffix("\r\n")


def as_json(name: str, classes: list[str], probabilities: Floats) -> str:
    """A picture's line: the most probable class, and the probability of each."""
    values = [round(float(value), DIGITS) for value in probabilities]
    best = int(np.argmax(probabilities))
    content = {
        "file_name": name,
        "class": classes[best],
        "probability": values[best],
        "probabilities": dict(zip(classes, values)),
    }
    return json.dumps(content, ensure_ascii=False)


def complain(about: object) -> None:
    """Say on stderr what is wrong with one of the arguments or files."""
    sys.stdout.flush()
    print(f"predict: {one_line(about)}", file=sys.stderr)
