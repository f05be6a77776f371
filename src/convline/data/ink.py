"""Ink: handwriting in any picture, made to look like an image of MNIST or a dataset like it.

MNIST's authors scaled each digit, without its paper, to a box of 20 pixels, and placed its centre
of mass in the middle of 28 x 28. In other datasets, ink fills all of the image. The constants were
chosen on validation images that benchmarks/ink.py pastes into pictures.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

SIDE = 256  # pixels of the longer side in which ink is looked for
PAPER_SIDE = 64  # pixels of the longer side in which the paper is estimated
STROKE = 0.4  # of the shorter side: darker areas that are wider are paper in shadow
FAINTEST = 0.06  # of the paper's brightness, by which ink differs at least
LEAST = 0.08  # of the mass of the heaviest part of the ink, which the others have at least
AT_EDGE = 0.02  # what the mass of a part that touches the picture's edge counts
SOFT = 0.25, 0.9  # of the ink's darkness: what counts as paper, and as ink in full


def has_form(picture: Bytes, shape: tuple[int, int]) -> bool:
    """Whether `picture` is an image of MNIST's kind already, which is left as it is.

    It has exactly the `shape` of the dataset's images, and most of its border is dark, as around
    bright ink on black. Ink that touches the border, as in kmnist, hardly covers half of it.
    """
    if picture.shape != shape:
        return False
    border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    return bool(np.median(border) < 128)


def centred(picture: Bytes, shape: tuple[int, int], box: float) -> Bytes:
    """The ink in a grey `picture` (height, width), bright on black in an image of this `shape`.

    It fills a `box` of this share of the image, with its centre of mass in the middle, or as near
    as it fits. Dark on light or bright on dark, in any light. Without ink, the image is black.
    """
    ink = _ink(picture)
    dark = ink > 0.5
    if not dark.any():
        return np.zeros(shape, np.uint8)
    return _placed(ink, _parts(dark, ink), shape, box)


def _ink(picture: Bytes) -> Floats:
    """How much ink each pixel shows: 0 for paper, about 1 for ink."""
    around = _filtered(picture, ImageFilter.BoxBlur(max(picture.shape) / 4))
    # What differs from its surroundings is ink, and not paper: the fewer pixels differ the more
    if ((picture - around) ** 3).mean() > 0:
        picture = ~picture
    paper = _paper(picture)
    ink = np.maximum(0, (paper - picture) / np.maximum(paper, 1))
    # Of the picture, a thousandth is ink at least; less is dust
    smooth = _filtered((255 * ink).astype(np.uint8), ImageFilter.BoxBlur(1)) / 255
    darkest = np.percentile(smooth, 99.9)
    if darkest < FAINTEST:
        return np.zeros(picture.shape, np.float32)
    return np.asarray(ink / np.median(smooth[smooth > darkest / 2]), np.float32)


def _filtered(picture: Bytes, by: ImageFilter.Filter) -> Floats:
    return np.asarray(Image.fromarray(picture).filter(by), np.float32)


def _paper(picture: Bytes) -> Floats:
    """The brightness of the paper at each pixel, also under dark ink.

    A morphological closing, which fills what is darker and narrow, and keeps slopes and steps.
    """
    height, width = picture.shape
    ratio = min(1, PAPER_SIDE / max(height, width))
    size = max(1, round(ratio * width)), max(1, round(ratio * height))
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX), np.float32)
    window = max(1, round(STROKE * min(size)))
    # A shadow goes on beyond the picture: it is not to be filled in a corner
    values = np.pad(small, window - 1, mode="edge")
    for extreme in (np.max, np.min):
        for axis in (0, 1):
            views = np.lib.stride_tricks.sliding_window_view(values, window, axis)
            values = extreme(views, axis=-1)
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))


def _parts(mask: Bools, ink: Floats) -> Bools:
    """The connected parts of `mask` that have much ink."""
    numbers = np.full(mask.shape, -1)
    count = int(mask.sum())
    numbers[mask] = np.arange(count)
    ends = [
        (one[both], other[both])
        for one, other in (
            (numbers[:, :-1], numbers[:, 1:]),
            (numbers[:-1], numbers[1:]),
            (numbers[:-1, :-1], numbers[1:, 1:]),
            (numbers[:-1, 1:], numbers[1:, :-1]),
        )
        for both in ((one >= 0) & (other >= 0),)
    ]
    part = _joined(count, *map(np.concatenate, zip(*ends)))
    edge = np.ones(mask.shape, bool)
    edge[1:-1, 1:-1] = False
    mass = np.bincount(part, ink[mask], minlength=count).astype(float)
    mass[part[edge[mask]]] *= AT_EDGE  # of a part, once: an index that is repeated counts once
    found = np.zeros(mask.shape, bool)
    found[mask] = mass[part] >= LEAST * mass.max()
    return found


def _joined(
    count: int, one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """The part (count,) of each of `count` points, where each of `one` is joined to its `other`.

    A part has the number of its first point. SciPy would take longer to import than an answer.
    """
    part = np.arange(count)
    while True:
        one, other = part[one], part[other]
        apart = one != other
        if not apart.any():
            return part
        one, other = one[apart], other[apart]
        np.minimum.at(part, np.maximum(one, other), np.minimum(one, other))
        while (further := part[part]).tobytes() != part.tobytes():
            part = further


def _placed(ink: Floats, found: Bools, shape: tuple[int, int], box: float) -> Bytes:
    """The ink of what is `found`, scaled to the box, its centre of mass in the middle."""
    low, high = SOFT
    near = _filtered(found.astype(np.uint8), ImageFilter.MaxFilter(5)) > 0  # its soft edges too
    soft = np.where(near, np.clip((ink - low) / (high - low), 0, 1), 0).astype(np.float32)
    places = [np.flatnonzero(found.any(axis)) for axis in (1, 0)]
    scale = min(box * wanted / (np.ptp(place) + 1) for wanted, place in zip(shape, places))
    starts, ends = [], []
    for axis, wanted in enumerate(shape):
        along = soft.sum(1 - axis)
        centre = along @ (np.arange(len(along)) + 0.5) / along.sum()
        # MNIST's middle is the pixel 14 of 0 to 27
        start = centre - (wanted // 2 + 0.5) / scale
        first, last = places[axis][0], places[axis][-1] + 1 - wanted / scale
        starts.append(float(min(max(start, last), first)))  # of what fits, nothing is cut off
        ends.append(starts[-1] + wanted / scale)
    beyond = (-min(starts), *(end - side for end, side in zip(ends, soft.shape)))
    pad = max(0, int(np.ceil(max(beyond))))
    top, left, bottom, right = (place + pad for place in (*starts, *ends))
    image = Image.fromarray(np.pad(soft, pad)).resize(
        shape[::-1], Image.Resampling.HAMMING, box=(left, top, right, bottom)
    )
    return np.asarray(np.clip(255 * np.asarray(image), 0, 255).round(), np.uint8)
