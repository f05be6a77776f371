"""The picture of the worst mistakes."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from convline.evaluation.mistakes import COLUMNS, IMAGE, ROWS, TILE, TITLE, sheet

CLASSES = ["ant", "bee"]
Array = npt.NDArray[np.uint8]


def draw(
    count: int, wrong: list[int], classes: list[str] = CLASSES, shape: tuple[int, int] = (4, 4)
) -> Array:
    """The picture (height, width) of `count` images, of which those in `wrong` are mistaken.

    Image i is all of grey i, and the classifier the surer of it the larger i is.
    """
    images = np.zeros((count, *shape, 1), np.uint8) + np.arange(count)[:, None, None, None]
    actual = np.isin(np.arange(count), wrong).astype(np.intp)
    sure = (0.6 + 0.004 * np.arange(count)).astype(np.float32)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    png = sheet(images.astype(np.uint8), actual, probabilities, classes, "tiny")
    assert png.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(png)))


def tile(drawn: Array, index: int) -> Array:
    """The tile at `index`, with its left margin."""
    top, left = TITLE + index // COLUMNS * TILE[1], index % COLUMNS * TILE[0]
    return drawn[top : top + TILE[1], left : left + TILE[0]]


@pytest.mark.parametrize(
    ("mistakes", "rows"), [(0, 1), (1, 1), (8, 1), (9, 2), (32, 4), (33, 4), (90, 4)]
)
def test_the_size_follows_the_number_of_mistakes(mistakes: int, rows: int) -> None:
    drawn = draw(100, list(range(mistakes)))
    assert drawn.shape == (TITLE + rows * TILE[1], COLUMNS * TILE[0])
    assert rows <= ROWS
    for index in range(rows * COLUMNS):
        assert (tile(drawn, index).min() < 255) == (index < mistakes)


def test_the_surest_mistakes_come_first() -> None:
    drawn = draw(100, list(range(0, 100, 2)))
    shown = [int(tile(drawn, index)[IMAGE // 2, TILE[0] // 2]) for index in range(COLUMNS * ROWS)]
    assert shown == list(range(98, 34, -2))


def test_the_title_counts_the_mistakes() -> None:
    titles = {draw(100, list(range(count)))[:TITLE].tobytes() for count in (0, 1, 2, 50)}
    assert len(titles) == 4


def test_long_class_names_stay_within_their_tile() -> None:
    short, long = (draw(100, [7], classes=[name, name]) for name in ("w", "w" * 100))
    caption = slice(TITLE + IMAGE, None)
    used = np.flatnonzero((long[caption] < 255).any(axis=0))
    assert used.max() < TILE[0]
    assert len(used) > len(np.flatnonzero((short[caption] < 255).any(axis=0)))


def test_images_keep_their_proportions() -> None:
    left = tile(draw(100, [7], shape=(4, 8)), 0)[:IMAGE, 8 : 8 + IMAGE]
    assert (left[: IMAGE // 2] == 7).all()
    assert (left[IMAGE // 2 :] == 255).all()
