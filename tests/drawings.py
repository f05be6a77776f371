"""Pictures for tests, drawn: small files whose pixels a seed decides."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PETS = ("ant", "bee", "cat")


def picture(seed: int, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    """A PNG of `size` (width, height) and `mode`. Other seeds give other pixels."""
    width, height = size
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 100, (height, width, len(Image.new(mode, (1, 1)).getbands())))
    # A bar whose place tells the class of `draw`: easy to learn
    pixels[seed % 3 :: 4] += 120
    image = Image.fromarray(pixels.squeeze().astype(np.uint8), mode)
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def draw(folder: Path, names: Iterable[str], first: int = 0) -> Path:
    """Write a picture under each of `names`, all different, into `folder`, which is returned."""
    for seed, name in enumerate(names, first):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed))
    return folder


def draw_pets(folder: Path, count: int = 12) -> Path:
    """Draw `count` pictures of each of the three PETS, as CLASS/NN.png."""
    return draw(folder, [f"{label}/{i:02}.png" for i in range(count) for label in PETS])


def draw_all(folder: Path) -> Path:
    """Draw what the pages in docs/ call ~/pictures. Returns `folder`."""
    return draw_digits(draw_shapes(folder))


def draw_shapes(folder: Path) -> Path:
    """Draw circles, squares and triangles, of all sizes and colours, as docs/pictures.md has them.

    In shapes/CLASS/NN.jpg or .png, and two more circles in new/. Returns `folder`.
    """
    random = np.random.default_rng(0)
    for label, count in (("circle", 90), ("square", 60), ("triangle", 30)):
        for i in range(count):
            _draw_shape(folder / f"shapes/{label}/{i:02}.{'png' if i % 3 else 'jpg'}", random)
    for name in ("round", "red"):
        _draw_shape(folder / f"new/{name}.png", random, "circle")
    return folder


def draw_digits(folder: Path) -> Path:
    """Write a four and a seven on paper, as docs/use.md has them, in digits/. Returns `folder`."""
    for name, digit, corner in (("four", "4", (120, 60)), ("seven", "7", (40, 90))):
        image = Image.new("L", (320, 240), 235)
        ImageDraw.Draw(image).text(corner, digit, 60, ImageFont.load_default(110))
        path = folder / f"digits/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return folder


def _draw_shape(path: Path, random: np.random.Generator, label: str = "") -> None:
    width, height = random.integers(60, 140, 2).tolist()
    ground, colour = (
        tuple(random.integers(*limits, 3).tolist()) for limits in ((180, 256), (0, 130))
    )
    side = 0.7 * min(width, height)
    x, y = random.uniform(0, (width - side, height - side)).tolist()
    image = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(image)
    match label or path.parent.name:
        case "circle":
            pen.ellipse((x, y, x + side, y + side), colour)
        case "square":
            pen.rectangle((x, y, x + side, y + side), colour)
        case "triangle":
            pen.polygon([(x, y + side), (x + side / 2, y), (x + side, y + side)], colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
