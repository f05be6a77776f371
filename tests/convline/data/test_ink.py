"""Ink in pictures: found in any light, and placed as MNIST's authors placed it."""

import warnings

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from convline.data import digits, ink
from convline.data.datasets import TEST_IMAGES, TRAIN_IMAGES

Bytes = np.ndarray
SHAPE = (28, 28)
BOX = 0.714  # as datasets.yaml has it for MNIST


def seven(x: int = 300, y: int = 120, side: int = 100, paper: int = 230, pen: int = 40) -> Bytes:
    """A drawn 7 of `side` pixels at (x, y) in a picture of 640 x 480."""
    image = Image.new("L", (640, 480), paper)
    corners = [(x, y), (x + side * 0.7, y), (x + side * 0.2, y + side)]
    ImageDraw.Draw(image).line(corners, pen, side // 9, joint="curve")
    return np.asarray(image)


def middle(image: Bytes) -> tuple[float, float]:
    """The centre of mass, in pixels from the upper left one."""
    rows, columns = np.indices(image.shape)
    return (rows * image).sum() / image.sum(), (columns * image).sum() / image.sum()


def box(image: Bytes) -> tuple[int, int]:
    """The height and width of what is at least half as dark as ink."""
    rows, columns = np.nonzero(image > 127)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def differs(one: Bytes, other: Bytes) -> float:
    """The mean difference, as a share of the ink."""
    return float(np.abs(one.astype(int) - other).sum() / one.sum())


@pytest.mark.parametrize("place", [(20, 30, 60), (300, 120, 100), (150, 40, 400), (590, 400, 60)])
def test_ink_fills_the_box_of_mnist_and_is_centred(place: tuple[int, int, int]) -> None:
    """In MNIST, the box has 20 pixels and the centre of mass is in pixel 14."""
    image = ink.centred(seven(*place), SHAPE, BOX)
    assert image.shape == SHAPE
    assert image.dtype == np.uint8
    assert max(box(image)) in (19, 20)
    assert middle(image) == pytest.approx((14, 14), abs=0.3)
    assert image.max() == 255


def test_other_shapes_are_filled_in_proportion() -> None:
    image = ink.centred(seven(), (56, 84), BOX)
    assert image.shape == (56, 84)
    assert max(box(image)) in (39, 40)
    assert middle(image) == pytest.approx((28, 42), abs=0.6)


@pytest.mark.parametrize("place", [(20, 30, 60), (300, 120, 100), (590, 400, 60)])
def test_ink_may_fill_the_image_and_is_not_cut_off(place: tuple[int, int, int]) -> None:
    """The centre of mass of a 7 is above its middle."""
    image = ink.centred(seven(*place), SHAPE, 1.0)
    assert max(box(image)) in (27, 28)
    smaller = ink.centred(seven(*place), (56, 56), 0.5)
    assert image.sum() == pytest.approx(smaller.sum(), rel=0.02)


def test_bright_ink_on_dark_is_the_same() -> None:
    dark = seven(paper=255, pen=0)
    assert differs(ink.centred(dark, SHAPE, BOX), ink.centred(255 - dark, SHAPE, BOX)) < 0.02


def test_faint_ink_is_as_dark_as_any() -> None:
    assert differs(ink.centred(seven(), SHAPE, BOX), ink.centred(seven(pen=180), SHAPE, BOX)) < 0.05


def test_uneven_light_shadows_and_noise_leave_the_ink() -> None:
    plain = seven()
    rows, columns = np.indices(plain.shape)
    light = (0.6 + 0.4 * columns / 640) * np.where(columns + 2 * rows > 700, 0.6, 1)
    blurred = Image.fromarray((plain * light).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))
    noise = np.random.default_rng(0).normal(0, 8, plain.shape)
    photo = np.clip(np.asarray(blurred) + noise, 0, 255).astype(np.uint8)
    assert differs(ink.centred(plain, SHAPE, BOX), ink.centred(photo, SHAPE, BOX)) < 0.35
    threshold = np.where(photo < 128, 255, 0).astype(
        np.uint8
    )  # what the light makes of a simple way
    assert differs(ink.centred(plain, SHAPE, BOX), ink.centred(255 - threshold, SHAPE, BOX)) > 0.7


def test_specks_and_what_reaches_in_from_the_edge_are_left_out() -> None:
    plain, picture = seven(), seven().copy()
    picture[400:406, 50:56] = picture[10:15, 600:604] = 30
    picture[200:480, :30] = 30
    assert differs(ink.centred(plain, SHAPE, BOX), ink.centred(picture, SHAPE, BOX)) < 0.02


def test_ink_in_two_parts_stays_whole() -> None:
    picture = seven().copy()
    picture[160:166] = 230  # cut in two
    whole = ink.centred(seven(), SHAPE, BOX)
    assert differs(whole, ink.centred(picture, SHAPE, BOX)) < 0.2
    assert max(box(ink.centred(picture, SHAPE, BOX))) in (19, 20)


def test_ink_that_touches_the_edge_is_found_where_there_is_no_other() -> None:
    image = ink.centred(seven(0, 0, 460)[5:], SHAPE, BOX)
    assert max(box(image)) in (19, 20)


@pytest.mark.parametrize("value", [0, 1, 77, 254, 255])
@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (1, 256), (256, 1), (2, 2), (3, 30)])
def test_a_blank_picture_becomes_black(shape: tuple[int, int], value: int) -> None:
    with warnings.catch_warnings(action="error"):
        assert not ink.centred(np.full(shape, value, np.uint8), SHAPE, BOX).any()


@pytest.mark.parametrize("shape", [(480, 640), (1, 256), (256, 1), (2, 2), (3, 30), (28, 28)])
def test_noise_becomes_an_image(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with warnings.catch_warnings(action="error"):
        image = ink.centred(picture, SHAPE, BOX)
    assert image.shape == SHAPE
    assert image.dtype == np.uint8


def test_images_of_the_dataset_have_its_form_already() -> None:
    """All of `digits`, whose ink touches the border; their negatives do not."""
    arrays = digits.make()
    for images in (arrays[TRAIN_IMAGES], arrays[TEST_IMAGES]):
        assert all(ink.has_form(image, SHAPE) for image in images)
        assert not any(ink.has_form(255 - image, SHAPE) for image in images)
    assert not ink.has_form(np.zeros((28, 29), np.uint8), SHAPE)


def test_parts_are_connected_across_corners() -> None:
    """A spiral, whose turns have to be followed, beside a line."""
    picture = np.array(
        [
            [1, 1, 1, 1, 1, 0, 2],
            [0, 0, 0, 0, 1, 0, 2],
            [1, 1, 1, 0, 1, 0, 2],
            [1, 0, 0, 0, 1, 0, 2],
            [1, 1, 1, 1, 0, 0, 2],
        ]
    )
    numbers = np.cumsum(picture > 0).reshape(picture.shape) - 1
    pairs = [
        (numbers[y, x], numbers[y + dy, x + dx])
        for y in range(5)
        for x in range(7)
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1))
        if y + dy < 5 and 0 <= x + dx < 7 and picture[y, x] and picture[y + dy, x + dx]
    ]
    part = ink._joined(int(numbers[-1, -1]) + 1, *np.array(pairs).T)
    of_pixels, expected = part[numbers[picture > 0]], picture[picture > 0]
    assert np.array_equal(of_pixels[:, None] == of_pixels, expected[:, None] == expected)
