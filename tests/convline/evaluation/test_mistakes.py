"""The picture of the worst mistakes."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from conftest import NAMES
from convline.evaluation.mistakes import COLUMNS, IMAGE, NAME, ROWS, TILE, TITLE, sheet
from convline.text import one_line

CLASSES = ["ant", "bee"]
Array = npt.NDArray[np.uint8]


def draw(
    count: int,
    wrong: list[int],
    classes: list[str] = CLASSES,
    shape: tuple[int, ...] = (4, 4, 1),
    names: list[str] | None = None,
) -> Array:
    """The picture (height, width) of `count` images, of which those in `wrong` are mistaken.

    Image i has the value i in all pixels and channels, and the classifier is the surer of it the
    larger i is. Of colour images, the picture is (height, width, 3).
    """
    images = np.zeros((count, *shape), np.uint8) + np.arange(count)[:, None, None, None]
    actual = np.isin(np.arange(count), wrong).astype(np.intp)
    sure = (0.6 + 0.004 * np.arange(count)).astype(np.float32)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    png = sheet(images.astype(np.uint8), actual, probabilities, classes, "tiny", names or [])
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
    left = tile(draw(100, [7], shape=(4, 8, 1)), 0)[:IMAGE, 8 : 8 + IMAGE]
    assert (left[: IMAGE // 2] == 7).all()
    assert (left[IMAGE // 2 :] == 255).all()


def test_colour_images_keep_their_colours() -> None:
    image = np.zeros((1, 4, 4, 3), np.uint8) + np.array([250, 40, 10], np.uint8)
    png = sheet(image, np.array([1]), np.array([[1, 0]], np.float32), CLASSES, "tiny", [])
    drawn = np.asarray(Image.open(io.BytesIO(png)))
    assert drawn.shape == (TITLE + TILE[1], COLUMNS * TILE[0], 3)
    assert (drawn[TITLE : TITLE + IMAGE, 8 : 8 + IMAGE] == [250, 40, 10]).all()
    assert (drawn[:TITLE] == drawn[:TITLE, :, :1]).all()  # the title is black on white


def test_small_images_keep_their_pixels_and_large_ones_are_averaged() -> None:
    """A chessboard of single pixels, which taking every fourth would turn all black."""
    for side, expected in ((4, {0, 255}), (4 * IMAGE, set(range(120, 136)))):
        board = (255 * (np.indices((side, side)).sum(axis=0) % 2)).astype(np.uint8)
        png = sheet(
            board[None, ..., None],
            np.array([1]),
            np.array([[1, 0]], np.float32),
            CLASSES,
            "tiny",
            [],
        )
        drawn = np.asarray(Image.open(io.BytesIO(png)))[TITLE : TITLE + IMAGE, 8 : 8 + IMAGE]
        assert set(np.unique(drawn[2:-2, 2:-2]).tolist()) <= expected


def test_a_file_name_is_a_line_of_its_own_and_keeps_its_end() -> None:
    def name_line(name: str) -> Array:
        drawn = draw(100, [7], names=[name] * 100)
        assert drawn.shape == (TITLE + TILE[1] + NAME, COLUMNS * TILE[0])
        line = drawn[TITLE + IMAGE : TITLE + IMAGE + 18]
        used = np.flatnonzero((line < 255).any(axis=0))
        assert 8 <= used.min() <= used.max() < TILE[0]
        return line[:, : TILE[0]]

    long = "x" * 5000 + "rex.jpg"
    assert (name_line(long) == name_line("y" + long)).all()
    assert (name_line(long) != name_line("x" * 5000 + "tom.jpg")).any()
    assert (name_line("cat/rex.jpg") != name_line("dog/rex.jpg")).any()


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_is_drawn_on_one_line(name: str) -> None:
    drawn, escaped = (draw(100, [7], names=[shown] * 100) for shown in (name, one_line(name)))
    np.testing.assert_array_equal(drawn, escaped)
