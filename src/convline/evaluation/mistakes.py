"""The worst mistakes, on one picture."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from convline.data.arrays import ImageFile
from convline.text import one_line

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

COLUMNS, ROWS = 8, 4
IMAGE = 112  # the longer side of an image as drawn, in pixels
TILE = (IMAGE + 16, IMAGE + 64)
NAME = 16  # how much higher a tile with a file name is
TITLE = 40


def sheet(
    images: ImageFile | npt.NDArray[np.uint8],
    actual: npt.NDArray[np.intp],
    probabilities: npt.NDArray[np.float32],
    classes: list[str],
    title: str,
    names: list[str],
) -> bytes:
    """A PNG of the mistakes made with the greatest confidence, each with both its labels.

    `images` (n, height, width, 1 or 3), `actual` (n,), `probabilities` (n, classes), and `names` of
    the n files, which are shown too, or none. The PNG is greyscale if the images are.
    """
    grey = images.shape[3] == 1
    width, height = TILE[0], TILE[1] + (NAME if names else 0)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    mistakes = np.flatnonzero(predicted != actual)
    worst = mistakes[np.argsort(-confidence[mistakes], kind="stable")][: COLUMNS * ROWS]

    rows = max(1, -(-len(worst) // COLUMNS))
    size = (COLUMNS * width, TITLE + rows * height)
    sheet = Image.new("L" if grey else "RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    count = f"{len(mistakes):,} mistake{'s' if len(mistakes) != 1 else ''}"
    draw.text((8, 10), f"{title}: {count}, the most confident first", "black", _font(18))
    for i, (row, image) in enumerate(zip(worst, images[worst])):
        left = i % COLUMNS * width + 8
        top = TITLE + i // COLUMNS * height
        sheet.paste(_fitted(Image.fromarray(image[..., 0] if grey else image)), (left, top))
        caption = [
            f"is {classes[actual[row]]}",
            f"taken for {classes[predicted[row]]}",
            f"{confidence[row]:.1%} sure",
        ]
        lines = [_shortened(line, _font(12)) for line in caption]
        if names:  # the end of a path tells more than its start
            lines.insert(0, _shortened(one_line(names[row])[::-1], _font(12))[::-1])
        text = "\n".join(lines)
        draw.text((left, top + IMAGE + 2), text, "black", _font(12), spacing=4)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _fitted(picture: Image.Image) -> Image.Image:
    """`picture` with a longer side of IMAGE pixels: small ones keep their pixels, as squares."""
    large = max(picture.size) > IMAGE
    resampling = Image.Resampling.LANCZOS if large else Image.Resampling.NEAREST
    return ImageOps.contain(picture, (IMAGE, IMAGE), resampling)


def _shortened(line: str, font: Font) -> str:
    """`line`, without the end where it is wider than the image above it."""
    if font.getlength(line) <= IMAGE:
        return line
    line = line[:IMAGE]  # a character is at least a pixel wide: names can have thousands
    while font.getlength(line + "…") > IMAGE:
        line = line[:-1]
    return line + "…"


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
