"""Measure what becomes of handwriting in pictures: test digits of MNIST in larger pictures.

Trains nothing: takes an exported model of MNIST, and the test images of data/processed/ beside it.
Writes benchmarks/ink.md.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from side_by_side import REPOSITORY, report, table

sys.path.append(str(REPOSITORY / "src"))
from convline import exported
from convline.data import arrays, fitting, pictures
from convline.data.pictures import Form
from convline.paths import ONNX, PROCESSED

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT = 640, 480
SIDES = (
    60,
    440,
)  # pixels, between which the side of a pasted image is, where 20 / 28 are the digit
FORM = Form((28, 28, 1), "stretch", "white")


def main() -> None:
    """Paste the test images into pictures, fit these in each way, classify, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="default all 10000")
    options = parser.parse_args()
    classifier = exported.read(REPOSITORY / ONNX)
    test = arrays.load_split(REPOSITORY / PROCESSED, "test")
    images = test.images[np.arange(len(test.images))][: options.images, ..., 0]
    labels = np.asarray(test.labels[: options.images]).argmax(axis=1)
    ways: dict[str, Callable[[bytes], Bytes]] = {
        "resized only": resized,
        "resized, inverted": lambda content: ~resized(content),
        "threshold, box, centre": thresholded,
        "`convline predict`": lambda content: fitting.fit(content, classifier.about),
    }
    kinds: dict[str, Callable[[Bytes, np.random.Generator], bytes]] = {
        "as given": as_given,
        "clean": clean,
        "photo-like": photo,
    }
    right = {(way, kind): 0 for way in ways for kind in kinds}
    seconds = dict.fromkeys(right, 0.0)
    random = np.random.default_rng(0)
    for image, label in zip(images, labels, strict=True):
        for kind, make in kinds.items():
            content = make(image, random)
            for way, fit in ways.items():
                start = time.thread_time()
                fitted = fit(content)
                seconds[way, kind] += time.thread_time() - start
                right[way, kind] += int(classifier(fitted[None]).argmax() == label)

    def cells(values: dict[tuple[str, str], str]) -> list[list[str]]:
        return [[way, *(values[way, kind] for kind in kinds)] for way in ways]

    given = float(np.mean(classifier(images[..., None]).argmax(axis=1) == labels))
    report(
        "ink",
        "Handwriting in pictures",
        f"Accuracy on {len(images):,} test images of MNIST, pasted dark on light into pictures of "
        f"{WIDTH} x {HEIGHT} pixels, at random places and sizes; photo-like: with uneven light, a "
        "shadow, out of focus, noisy, as JPEG. The model gets "
        f"{given:.2%} of the images themselves right.",
        table(
            ["a picture is", *kinds],
            cells({key: f"{count / len(images):.2%}" for key, count in right.items()}),
        ),
        "Milliseconds of processor time per picture, decoding included:",
        table(
            ["a picture is", *kinds],
            cells({key: f"{1000 * spent / len(images):.1f}" for key, spent in seconds.items()}),
        ),
    )


def resized(content: bytes) -> Bytes:
    """The whole picture in the shape of the images."""
    return pictures.decode(content, FORM)


def thresholded(content: bytes) -> Bytes:
    """What is darker than Otsu's threshold, in MNIST's box, its centre of mass in the middle."""
    grey = pictures.decode_grey(content, WIDTH)
    if grey.mean() < 128:
        grey = ~grey
    counts = np.bincount(grey.ravel(), minlength=256).astype(float)
    below, sums = counts.cumsum(), (counts * np.arange(256)).cumsum()
    with np.errstate(all="ignore"):
        between = (sums[-1] * below / below[-1] - sums) ** 2 / (below * (below[-1] - below))
    ink = grey <= np.nanargmax(between)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(cut.shape)
    height, width = (max(1, round(scale * side)) for side in cut.shape)
    small = Image.fromarray(cut.astype(np.uint8) * 255).resize((width, height), reducing_gap=2)
    pixels = np.asarray(small, float) + 1e-9
    y, x = (pixels.sum(1 - axis) @ np.arange(pixels.shape[axis]) / pixels.sum() for axis in (0, 1))
    canvas = Image.new("L", (28, 28))
    canvas.paste(small, (round(14 - x), round(14 - y)))
    return np.asarray(canvas)[..., None]


def as_given(image: Bytes, _random: np.random.Generator) -> bytes:
    """The image as it is in the dataset, (28, 28), in a PNG."""
    return saved(Image.fromarray(image), "PNG")


def clean(image: Bytes, random: np.random.Generator) -> bytes:
    """A PNG of dark ink on light paper, somewhere and of some size."""
    return saved(Image.fromarray(on_paper(image, random).round().astype(np.uint8)), "PNG")


def photo(image: Bytes, random: np.random.Generator) -> bytes:
    """As `clean`, photographed: uneven light, a shadow, out of focus, noisy, as a JPEG."""
    across, down = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))

    def ramp() -> Floats:
        """A plane that rises from -1 to 1 in a random direction."""
        angle = random.uniform(0, 2 * np.pi)
        plane = across * np.cos(angle) + down * np.sin(angle)
        return np.asarray(plane / np.abs(plane).max())

    light = 1 - random.uniform(0, 0.35) * (1 + ramp()) / 2
    edge = (ramp() - random.uniform(-0.6, 0.6)) * WIDTH / 2 / random.uniform(4, 40)
    shadow = 1 - random.uniform(0, 0.45) / (1 + np.exp(-edge))
    lit = Image.fromarray((on_paper(image, random) * light * shadow).round().astype(np.uint8))
    blurred = lit.filter(ImageFilter.GaussianBlur(random.uniform(0, 2.5)))
    noise = random.normal(0, random.uniform(2, 12), (HEIGHT, WIDTH))
    pixels = np.clip(np.asarray(blurred) + noise, 0, 255).round().astype(np.uint8)
    return saved(Image.fromarray(pixels), "JPEG", quality=int(random.integers(40, 91)))


def on_paper(image: Bytes, random: np.random.Generator) -> Floats:
    """Grey values (HEIGHT, WIDTH) of the image's ink on paper."""
    side = int(random.integers(*SIDES))
    ink = Image.new("L", (WIDTH, HEIGHT))
    left, top = (int(random.integers(0, room - side + 1)) for room in (WIDTH, HEIGHT))
    ink.paste(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), (left, top))
    paper, pen = random.uniform(190, 256), random.uniform(0, 90)
    return np.asarray(paper + (pen - paper) * (np.asarray(ink) / 255))


def saved(image: Image.Image, file_format: str, **options: int) -> bytes:
    """The bytes of a file with `image` in it."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


if __name__ == "__main__":
    main()
