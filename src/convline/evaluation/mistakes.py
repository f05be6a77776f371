"""The worst mistakes, on one picture."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from convline.data.arrays import ImageFile

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

COLUMNS, ROWS = 8, 4
IMAGE = 112  # the longer side of an enlarged image, in pixels
TILE = (IMAGE + 16, IMAGE + 64)
TITLE = 40


def sheet(
    images: ImageFile | npt.NDArray[np.uint8],
    actual: npt.NDArray[np.intp],
    probabilities: npt.NDArray[np.float32],
    classes: list[str],
    title: str,
) -> bytes:
    """A PNG of the mistakes made with the greatest confidence, each with both its labels.

    `images` (n, height, width, 1), `actual` (n,), `probabilities` (n, classes).
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    mistakes = np.flatnonzero(predicted != actual)
    worst = mistakes[np.argsort(-confidence[mistakes], kind="stable")][: COLUMNS * ROWS]

    rows = max(1, -(-len(worst) // COLUMNS))
    sheet = Image.new("L", (COLUMNS * TILE[0], TITLE + rows * TILE[1]), 255)
    draw = ImageDraw.Draw(sheet)
    count = f"{len(mistakes):,} mistake{'s' if len(mistakes) != 1 else ''}"
    draw.text((8, 10), f"{title}: {count}, the most confident first", 0, _font(18))
    for i, (row, image) in enumerate(zip(worst, images[worst])):
        left = i % COLUMNS * TILE[0] + 8
        top = TITLE + i // COLUMNS * TILE[1]
        picture = Image.fromarray(image[..., 0])
        enlarged = ImageOps.contain(picture, (IMAGE, IMAGE), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (left, top))
        caption = (
            f"is {classes[actual[row]]}",
            f"taken for {classes[predicted[row]]}",
            f"{confidence[row]:.1%} sure",
        )
        text = "\n".join(_fitted(line, _font(12)) for line in caption)
        draw.text((left, top + IMAGE + 2), text, 0, _font(12), spacing=4)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _fitted(line: str, font: Font) -> str:
    """`line`, without the end where it is wider than the image above it."""
    if font.getlength(line) <= IMAGE:
        return line
    while font.getlength(line + "…") > IMAGE:
        line = line[:-1]
    return line + "…"


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
