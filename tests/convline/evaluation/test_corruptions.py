"""Corruptions: what each does to an image, that they repeat, and what is measured on them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inprocess
from convline.data.arrays import Labelled

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

KINDS = (
    "noise",
    "blur",
    "brightness",
    "contrast",
    "fog",
    "rotation",
    "scale",
    "shift",
    "occlusion",
    "compression",
)


@pytest.fixture(scope="module", autouse=True)
def corruptions() -> Any:
    """The module. Keras, which it imports, has its backend chosen first."""
    inprocess.configure()
    from convline.evaluation import corruptions

    return corruptions


def spots(height: int = 40, width: int = 60, channels: int = 1) -> Bytes:
    """20 images of a bright spot, 6 rows above and 8 columns to the right of the middle."""
    y, x = np.indices((height, width)) - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    spot = 20 + 200 * np.exp(-((y + 6) ** 2 + (x - 8) ** 2) / 4)
    image = np.broadcast_to(spot.round().astype(np.uint8)[..., None], (height, width, channels))
    return np.broadcast_to(image, (20, height, width, channels)).copy()


def places(images: Bytes) -> Floats:
    """Where the spots are, from the middle in rows and columns: (n, 2)."""
    weights = np.clip(images[..., 0].astype(float) - 30, 0, None)
    weights /= weights.sum(axis=(1, 2), keepdims=True)
    y, x = (np.arange(size) - (size - 1) / 2 for size in images.shape[1:3])
    return np.stack([weights.sum(axis=2) @ y, weights.sum(axis=1) @ x], axis=1)


def copies(corruptions: Any, kind: str, images: Bytes) -> list[Bytes]:
    """`images` in the three strengths of `kind`."""
    at = KINDS.index(kind)
    return [corruptions.corrupted(images, 3 * at + level, 0) for level in range(3)]


def test_kinds_and_strengths(corruptions: Any) -> None:
    assert [(kind.__name__, level) for kind, level in corruptions.COPIES] == [
        (kind, level) for kind in KINDS for level in (1, 2, 3)
    ]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 29),
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])),
    st.integers(0, 255),
)
def test_any_image_has_copies_that_repeat(
    corruptions: Any, copy: int, shape: tuple[int, ...], value: int
) -> None:
    images = np.full(shape, value, np.uint8)
    before = images.copy()
    found = corruptions.corrupted(images, copy, 5)
    assert (found.shape, found.dtype) == (shape, np.uint8)
    assert np.array_equal(images, before)
    assert np.array_equal(corruptions.corrupted(images, copy, 5), found)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_stronger_the_further_from_the_image(
    corruptions: Any, kind: str, channels: int
) -> None:
    images = spots(channels=channels)
    distances = [
        np.abs(copy.astype(float) - images).mean() for copy in copies(corruptions, kind, images)
    ]
    assert 0 < distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("kind", ["noise", "fog", "rotation", "scale", "shift", "occlusion"])
def test_images_and_parts_differ_by_chance(corruptions: Any, kind: str) -> None:
    images = spots()
    copy = 3 * KINDS.index(kind)
    here, there = (corruptions.corrupted(images, copy, part) for part in (0, 1))
    assert not np.array_equal(here, there)
    assert len({image.tobytes() for image in here}) > 1


def test_noise(corruptions: Any) -> None:
    images = np.full((10, 50, 50, 3), 128, np.uint8)
    for copy, expected in zip(copies(corruptions, "noise", images), (0.1, 0.2, 0.3)):
        error = copy / 255 - 128 / 255
        inside = (copy > 0) & (copy < 255)
        assert error.mean() == pytest.approx(0, abs=0.01)
        assert np.abs(error[inside]).mean() < expected  # what is clipped was further away
        assert np.quantile(error, 0.75) == pytest.approx(0.6745 * expected, rel=0.05)
        assert not np.array_equal(copy[..., 0], copy[..., 1])


def test_blur_is_wider_where_the_image_is(corruptions: Any) -> None:
    images = np.zeros((2, 51, 101, 1), np.uint8)
    images[0, 24:27, 49:52] = 255
    for copy, share in zip(copies(corruptions, "blur", images), (0.02, 0.035, 0.05)):
        assert not copy[1].any()  # each image by itself
        weights = copy[0, ..., 0] / copy.sum(dtype=float)
        for axis, size in ((1, 51), (0, 101)):
            at = np.arange(size) - size // 2
            deviation = np.sqrt(weights.sum(axis=axis) @ at**2)
            assert deviation == pytest.approx(np.hypot(share * size, 0.8165), rel=0.1)


def test_brightness(corruptions: Any) -> None:
    images = np.array([0, 100, 250], np.uint8).reshape(3, 1, 1, 1)
    for copy, share in zip(copies(corruptions, "brightness", images), (0.2, 0.35, 0.5)):
        expected = np.minimum(images.ravel() + 255 * share, 255)
        assert copy.ravel() == pytest.approx(expected, abs=0.51)


def test_contrast_is_around_the_mean_of_each_image(corruptions: Any) -> None:
    images = np.array([[0, 100], [200, 240]], np.uint8).reshape(2, 1, 2, 1)
    for copy, factor in zip(copies(corruptions, "contrast", images), (0.6, 0.4, 0.2)):
        low, high = 50 * (1 - factor), 100 - 50 * (1 - factor)
        assert copy[0].ravel() == pytest.approx([low, high], abs=0.51)
        assert copy[1].mean() == pytest.approx(220, abs=0.51)


def test_fog_is_uneven_and_exceeds_no_white(corruptions: Any) -> None:
    images = np.zeros((10, 40, 40, 1), np.uint8)
    images[:, 20:] = 255
    for copy, thickness in zip(copies(corruptions, "fog", images), (0.5, 1.0, 2.0)):
        added = copy.astype(float) * (1 + thickness) - images
        assert added.min() == pytest.approx(0, abs=thickness + 1)
        assert added.max() == pytest.approx(255 * thickness, abs=thickness + 1)
        assert added.max(axis=(1, 2, 3)) == pytest.approx(np.full(10, 255 * thickness), abs=3)
        steps = np.abs(np.diff(added[:, :20], axis=2))
        assert steps.max() < 40 * thickness < np.ptp(added)  # no edges


def test_rotation_is_to_both_sides(corruptions: Any) -> None:
    images = spots()
    angle = np.arctan2(*places(images)[0])
    for copy, degrees in zip(copies(corruptions, "rotation", images), (10, 20, 30)):
        y, x = places(copy).T
        turned = np.rad2deg(np.arctan2(y, x) - angle)
        assert np.abs(turned) == pytest.approx(np.full(20, degrees), abs=1)
        assert np.hypot(y, x) == pytest.approx(np.full(20, 10), abs=0.2)
        assert set(np.sign(turned)) == {-1, 1}


def test_scale_is_larger_and_smaller(corruptions: Any) -> None:
    images = spots()
    for copy, factor in zip(copies(corruptions, "scale", images), (1.15, 1.3, 1.5)):
        factors = places(copy) / [-6, 8]
        assert factors[:, 0] == pytest.approx(factors[:, 1], rel=0.03)
        expected = np.where(factors[:, 0] > 1, factor, 1 / factor)
        assert factors[:, 0] == pytest.approx(expected, rel=0.03)
        assert len(set(expected)) == 2


def test_shift_is_a_share_of_each_side(corruptions: Any) -> None:
    images = spots()
    for copy, share in zip(copies(corruptions, "shift", images), (0.05, 0.1, 0.15)):
        moved = places(copy) - [-6, 8]
        assert np.abs(moved) == pytest.approx(np.tile([share * 40, share * 60], (20, 1)), abs=0.1)
        assert len({tuple(np.sign(move)) for move in moved}) == 4


@pytest.mark.parametrize("kind", ["rotation", "scale", "shift"])
def test_beyond_the_border_the_image_goes_on_as_at_it(corruptions: Any, kind: str) -> None:
    """As black corners would not: the background of most pictures is not black."""
    images = np.full((10, 30, 30, 3), 200, np.uint8)
    for copy in copies(corruptions, kind, images):
        assert (copy == 200).all()


def test_occlusion_hides_a_share_of_each_side(corruptions: Any) -> None:
    images = np.zeros((200, 20, 40, 1), np.uint8)
    for copy, share in zip(copies(corruptions, "occlusion", images), (0.2, 0.3, 0.4)):
        hidden = copy[..., 0] == 128
        assert (copy[..., 0][~hidden] == 0).all()
        assert (hidden.any(axis=2).sum(axis=1) == share * 20).all()
        assert (hidden.any(axis=1).sum(axis=1) == share * 40).all()
        assert hidden.any(axis=(0, 1)).all() and hidden.any(axis=(0, 2)).all()  # anywhere


def test_compression_is_that_of_jpeg(corruptions: Any) -> None:
    """Blocks of 8 x 8 pixels, each with little more than its mean left at low quality."""
    images = np.random.default_rng(0).integers(100, 156, (5, 32, 32, 1), np.uint8)
    _, _, strong = copies(corruptions, "compression", images)
    blocks = images.reshape(5, 4, 8, 4, 8).mean(axis=(2, 4))
    found = strong.reshape(5, 4, 8, 4, 8)
    assert found.mean(axis=(2, 4)) == pytest.approx(blocks, abs=8)
    assert found.std(axis=(2, 4)).mean() < images.std() / 2


@pytest.mark.parametrize(("images", "expected"), [(700, 300), (40, 40)])
def test_the_sample_is_of_one_size_at_most(corruptions: Any, images: int, expected: int) -> None:
    """Drawn from all images, once each, and the same for all copies."""
    numbers = np.arange(images)
    pixels = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8)
    data = Labelled(pixels.reshape(images, 1, 2, 1), np.eye(7, dtype=np.uint8)[numbers % 7])
    sample = corruptions.Corrupted(data)
    assert len(sample.actual) == len(set(sample.order.tolist())) == expected
    assert sample.order.max() > images * 0.9
    assert sample.actual.tolist() == (sample.order % 7).tolist()

    batches = [sample[i] for i in range(len(sample))]
    labels = np.concatenate([labels for _, labels in batches]).argmax(axis=1)
    assert labels.reshape(30, expected).tolist() == [sample.actual.tolist()] * 30
    parts = [sample.order[start : start + 250] for start in range(0, expected, 250)]
    for index, (found, _) in enumerate(batches):
        copy, part = divmod(index, len(parts))
        given = data.images[parts[part]]
        assert np.array_equal(found, corruptions.corrupted(given, copy, part))


def test_accuracies(corruptions: Any) -> None:
    """Of four images, in a copy each: as many are right as its number has, modulo 5."""
    actual = np.array([0, 1, 2, 0])
    predicted = [
        [label if i < copy % 5 else (label + 1) % 3 for i, label in enumerate(actual)]
        for copy in range(30)
    ]
    table = corruptions.accuracies(actual, np.eye(3, dtype=np.float32)[np.ravel(predicted)])
    assert table["accuracy"].tolist() == [copy % 5 / 4 for copy in range(30)]
    assert table.iloc[4].tolist() == ["blur", 2, 1.0]
    assert list(table.columns) == ["corruption", "strength", "accuracy"]
