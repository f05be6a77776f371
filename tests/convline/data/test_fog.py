"""Fog: how much white it adds, and where."""

import numpy as np
import pytest

from convline.data.fog import foggy


def test_the_veil_is_as_thick_as_asked_and_uneven() -> None:
    """On black, what is seen is the veil, scaled as its thickest place needs."""
    black = np.zeros((3, 40, 60, 1), np.uint8)
    thickness = np.array([0.5, 1, 4], np.float32)
    veils = foggy(black, thickness, np.random.default_rng(0))
    assert veils.min(axis=(1, 2, 3)) == pytest.approx(0, abs=1e-3)
    assert veils.max(axis=(1, 2, 3)) == pytest.approx(255 * thickness / (1 + thickness))
    shares = (veils / veils.max(axis=(1, 2, 3), keepdims=True))[..., 0]
    assert (shares.std(axis=(1, 2)) > 0.05).all()
    assert np.abs(np.diff(shares, axis=1)).max() < 0.25  # no edges
    assert not np.allclose(shares[0], shares[1], atol=0.1)


def test_images_are_seen_through_it() -> None:
    """What is darker remains darker, in the colours it has."""
    colour = np.zeros((2, 8, 9, 3), np.uint8)
    colour[..., 1], colour[..., 2] = 100, 255
    seen = foggy(colour, np.array([1, 3], np.float32), np.random.default_rng(0))
    assert seen[0, ..., 2] - seen[0, ..., 0] == pytest.approx(np.full((8, 9), 127.5))
    assert seen[1, ..., 1] - seen[1, ..., 0] == pytest.approx(np.full((8, 9), 25))
    assert seen.max() == pytest.approx(255)


def test_a_single_pixel() -> None:
    one = np.full((1, 1, 1, 1), 200, np.uint8)
    assert foggy(one, np.ones(1, np.float32), np.random.default_rng(0)) == 100
