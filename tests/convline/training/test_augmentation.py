"""What augmentation does to images, and that it can be repeated."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convline.training.augmentation import Augmentation

HEIGHT, WIDTH = 40, 50
NONE: dict[str, Any] = {
    "rotation": 0.0,
    "zoom": 0.0,
    "shift": 0.0,
    "distortion": 0.0,
    "fog": 0.0,
    "cutout": 0.0,
    "noise": 0.0,
}
ALL: dict[str, Any] = {"rotation": 10, "zoom": 0.1, "shift": 2, "distortion": 1}
IMAGES = np.random.default_rng(0).integers(0, 256, (500, HEIGHT, WIDTH, 1), np.uint8)


def augmentation(**changes: float) -> Augmentation:
    """One with only the named distortions."""
    return Augmentation(HEIGHT, WIDTH, border=0, **NONE | changes)


def moved(**changes: float) -> npt.NDArray[np.float64]:
    """Where the spot of 500 images ends up, from the centre in rows and columns: (500, 2).

    It begins 6 rows below the centre and 8 columns to its right, and is a few pixels wide.
    """
    y, x = np.indices((HEIGHT, WIDTH)) - np.array([HEIGHT - 1, WIDTH - 1]).reshape(2, 1, 1) / 2
    spot = 255 * np.exp(-((y - 6) ** 2 + (x - 8) ** 2) / 4)
    images = np.broadcast_to(spot.round().astype(np.uint8)[..., None], IMAGES.shape)
    result = augmentation(**changes)(images, np.random.default_rng(0))[..., 0].astype(float)
    weights = result / result.sum(axis=(1, 2), keepdims=True)
    return np.stack([(weights * y).sum(axis=(1, 2)), (weights * x).sum(axis=(1, 2))], axis=1)


def test_without_distortions_images_stay_as_they_are() -> None:
    np.testing.assert_array_equal(augmentation()(IMAGES, np.random.default_rng(0)), IMAGES)


def test_rotation_turns_to_both_sides_within_its_bound() -> None:
    y, x = moved(rotation=30).T
    np.testing.assert_allclose(np.hypot(y, x), 10, atol=0.2)
    angles = np.rad2deg(np.arctan2(y, x) - np.arctan2(6, 8))
    assert -30.5 < angles.min() < -29
    assert 29 < angles.max() < 30.5
    assert abs(angles.mean()) < 2


def test_zoom_shrinks_and_enlarges_height_and_width_independently() -> None:
    factors = moved(zoom=0.2) / np.array([6, 8])
    np.testing.assert_allclose(factors.min(axis=0), 0.8, atol=0.02)
    np.testing.assert_allclose(factors.max(axis=0), 1.2, atol=0.02)
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.15


def test_shift_moves_in_all_directions_within_its_bound() -> None:
    shifts = moved(shift=2.5) - np.array([6, 8])
    np.testing.assert_allclose(shifts.min(axis=0), -2.5, atol=0.1)
    np.testing.assert_allclose(shifts.max(axis=0), 2.5, atol=0.1)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.15


def test_a_shift_by_whole_pixels_alone_blurs_nothing_and_mirrors_the_border() -> None:
    result = augmentation(shift=2)(IMAGES, np.random.default_rng(0))
    above, below = IMAGES[:, 2:0:-1], IMAGES[:, -2:-4:-1]
    tall = np.concatenate([above, IMAGES, below], axis=1)
    left, right = tall[:, :, 2:0:-1], tall[:, :, -2:-4:-1]
    padded = np.concatenate([left, tall, right], axis=2)
    offsets = [(y, x) for y in range(5) for x in range(5)]
    ways = [padded[:, y : y + HEIGHT, x : x + WIDTH] for y, x in offsets]
    found = np.array([(result == way).all(axis=(1, 2, 3)) for way in ways])
    assert (found.sum(axis=0) == 1).all()
    assert found.any(axis=1).all()


def test_distortion_displaces_smoothly_by_its_standard_deviation() -> None:
    still = augmentation().sources(500, np.random.default_rng(0))
    bent = augmentation(distortion=1.5).sources(500, np.random.default_rng(0))
    displacement = bent - still
    np.testing.assert_allclose(displacement.std(axis=1), 1.5, atol=0.25)
    steps = np.diff(displacement, axis=3)
    assert steps.std() < 0.5
    apart = np.corrcoef(displacement[0, :, 0, 0], displacement[0, :, -1, -1])[0, 1]
    assert abs(apart) < 0.15


def test_a_generator_in_the_same_state_gives_the_same_bytes() -> None:
    augment = augmentation(**ALL)
    first, again, other = (augment(IMAGES, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert first.dtype == np.uint8
    assert first.shape == IMAGES.shape


def test_each_image_is_distorted_in_its_own_way() -> None:
    same = np.repeat(IMAGES[:1], 50, axis=0)
    result = augmentation(rotation=10)(same, np.random.default_rng(0))
    assert len({image.tobytes() for image in result}) == 50


def test_the_border_that_the_network_ignores_is_black_and_changes_nothing_else() -> None:
    whole, bordered = (
        Augmentation(HEIGHT, WIDTH, border, **NONE | ALL)(IMAGES, np.random.default_rng(0))
        for border in (0, 3)
    )
    whole[:, :3] = whole[:, -3:] = 0
    whole[:, :, :3] = whole[:, :, -3:] = 0
    np.testing.assert_array_equal(bordered, whole)


def test_channels_are_distorted_alike_and_as_one_alone() -> None:
    colour = np.random.default_rng(1).integers(0, 256, (20, HEIGHT, WIDTH, 3), np.uint8)
    augment = augmentation(**ALL)
    result = augment(colour, np.random.default_rng(0))
    assert result.shape == colour.shape
    for channel in range(3):
        grey = augment(colour[..., channel, None], np.random.default_rng(0))
        np.testing.assert_array_equal(result[..., channel, None], grey)


@pytest.mark.parametrize("change", [{"fog": 1.0}, {"cutout": 0.25}, {"noise": 0.2}])
def test_fog_cutout_and_noise_change_half_of_the_images_and_no_distortion(
    change: dict[str, float],
) -> None:
    without, changed = (
        augmentation(**ALL, **more)(IMAGES, np.random.default_rng(0)) for more in ({}, change)
    )
    same = (changed == without).all(axis=(1, 2, 3))
    assert 200 < same.sum() < 300


def test_fog_is_as_thick_as_it_may_be_or_less() -> None:
    black = np.zeros_like(IMAGES)
    lightest = augmentation(fog=1.0)(black, np.random.default_rng(0)).max(axis=(1, 2, 3))
    veiled = lightest[lightest > 0]
    assert 200 < len(veiled) < 300
    assert np.quantile(veiled / (255 - veiled.astype(float)), [0.25, 0.5, 0.75]) == pytest.approx(
        [0.25, 0.5, 0.75], abs=0.08
    )
    assert veiled.max() in (126, 127, 128)  # as much white as black


def test_a_cutout_has_one_colour_and_a_share_of_each_side() -> None:
    grey = np.full((500, 20, 40, 3), 100, np.uint8)
    random = np.random.default_rng(0)
    result = Augmentation(20, 40, 0, **NONE | {"cutout": 0.3})(grey, random)
    hidden = (result != grey).any(axis=3)
    covered = np.flatnonzero(hidden.any(axis=(1, 2)))
    assert 200 < len(covered) < 300
    colours = set()
    for image, mask in zip(result[covered], hidden[covered]):
        assert (mask.any(axis=1).sum(), mask.any(axis=0).sum(), mask.sum()) == (6, 12, 72)
        (colour,) = {tuple(pixel) for pixel in image[mask].tolist()}
        colours.add(colour)
    assert len(colours) > 200
    assert hidden.any(axis=(0, 1)).all() and hidden.any(axis=(0, 2)).all()  # anywhere


def test_noise_is_as_strong_as_it_may_be_or_less() -> None:
    grey = np.full((500, 30, 30, 3), 128, np.uint8)
    random = np.random.default_rng(0)
    result = Augmentation(30, 30, 0, **NONE | {"noise": 0.1})(grey, random)
    deviations = result.std(axis=(1, 2, 3)) / 255
    assert 200 < (deviations > 0).sum() < 300
    quartiles = np.quantile(deviations[deviations > 0], [0.25, 0.5, 0.75, 1])
    assert quartiles == pytest.approx([0.025, 0.05, 0.075, 0.1], abs=0.008)
    assert result.mean() == pytest.approx(128, abs=0.1)
    assert not np.array_equal(result[..., 0], result[..., 1])
