"""The pictures of a dataset, packed: a table of them, and their files unchanged in a few zips.

DVC is slow with many small files. The content of a picture chooses its zip, so that a new picture
changes one of them; the same pictures make the same bytes, however the disk orders them.
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from convline.data.datasets import INDEX
from convline.files import written
from convline.problems import Problem
from convline.text import one_line

SKIPPED = "skipped.csv"
REMEDY = "`dvc repro fetch` fetches it again"


class Row(NamedTuple):
    """A picture: its zip, its path in the source, where it belongs, and the id of its pixels."""

    archive: str
    file_name: str
    label: str
    split: str
    group: str
    pixels: str


def archive_of(content: bytes) -> str:
    """The zip, one of 16, that a file with this content goes into."""
    return f"pictures-{hashlib.sha256(content).hexdigest()[0]}.zip"


def write(folder: Path, rows: Iterable[Row], read: Callable[[Row], bytes]) -> None:
    """Write the table and the zips of `rows` to `folder`.

    `read` returns the bytes of a picture. Raises `Problem` where a file cannot be written.
    """
    rows = sorted(rows)
    write_table(folder / INDEX, Row._fields, rows)
    for name, of_archive in groupby(rows, lambda row: row.archive):
        with written(folder / name) as file, zipfile.ZipFile(file, "w") as archive:
            for row in of_archive:
                # Without the time and the rights of the file on this machine
                member = zipfile.ZipInfo(row.file_name)
                member.create_system, member.external_attr = 3, 0o644 << 16
                archive.writestr(member, read(row))


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV file in UTF-8, with the line ends of its standard.

    With others, Python before 3.12 leaves those in a name without quotes.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with written(path) as file:
        file.write(text.getvalue().encode())


def rows(folder: Path) -> list[Row]:
    """The table of the pictures in `folder`. Raises `Problem` where it is missing or damaged."""
    path = folder / INDEX
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file, strict=True)
            if tuple(header) != Row._fields:
                raise ValueError(f"it has the columns {','.join(header)}")
            return [Row(*line) for line in lines]
    except FileNotFoundError as error:
        raise Problem(f"{path} is missing; {REMEDY}") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise Problem(f"{path} is damaged: {error}; {REMEDY}") from error


def contents(folder: Path, rows: Iterable[Row]) -> Iterator[tuple[Row, bytes]]:
    """Each of `rows`, sorted, with the bytes of its picture. One zip is open at a time.

    Raises `Problem` where a zip or a picture in it is missing or damaged.
    """
    for name, of_archive in groupby(rows, lambda row: row.archive):
        path = folder / name
        try:
            with zipfile.ZipFile(path) as archive:
                for row in of_archive:
                    yield row, archive.read(row.file_name)
        except FileNotFoundError as error:
            raise Problem(f"{path} is missing; {REMEDY}") from error
        except MemoryError:
            raise
        except Exception as error:  # damage raises whatever it leads zipfile to
            reason = one_line(error) or type(error).__name__
            raise Problem(f"{path} is damaged: {reason}; {REMEDY}") from error
