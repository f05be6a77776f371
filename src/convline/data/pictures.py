"""Decoding: from the bytes of a picture file to an array of the dataset's shape.

The one place where pictures are decoded and fitted: training and use must see the same pixels.
"""

import hashlib
import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from convline.data.datasets import PictureDataset
from convline.problems import Problem
from convline.text import one_line, shortened

Bytes = npt.NDArray[np.uint8]
T = TypeVar("T")
S = TypeVar("S")

# Pillow's other formats are vector graphics, video, or lack a signature in their first bytes
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
OTHER_SUFFIXES = (".heic", ".heif", ".mpo", ".psd", ".tga", ".ico", ".pcx", ".xcf", ".dng", ".raw")
MOST_BYTES = 1 << 28  # of a file
MOST_PIXELS = 100_000_000  # of a picture
NO_PICTURE = "is not a picture in a supported format, or its header is damaged"
STRIP = 1 << 22  # pixels hashed at a time
AVIF = (b"avif", b"avis")  # brands
AHEAD = 4  # pictures for each processor that are decoded before they are asked for
GAP = 2  # times the final size, to which JPEG's own scaling and box averaging may shrink first

# EXIF and TIFF tags, and what each orientation takes to be upright
ORIENTATION, BITS, PHOTOMETRIC = 0x0112, 0x0102, 0x0106
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)

# Pillow warns of odd metadata and large pictures; what cannot be read raises. Set once for the
# process: `catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Unreadable(Exception):
    """A file that cannot be decoded. Its text goes on after the file's name."""


class NoPicture(Unreadable):
    """A file that is not a picture in a supported format."""


@dataclass(frozen=True)
class Form:
    """What every picture of a dataset becomes. datasets.yaml says what each key means."""

    shape: tuple[int, int, int]
    fit: Literal["pad", "crop", "stretch"]
    background: str


@dataclass(frozen=True)
class Facts:
    """What a picture is before it is fitted.

    `pixels` identifies it: 128 bits in hexadecimal, equal for equal pixels in any file format.
    """

    width: int
    height: int
    mode: str
    pixels: str
    animated: bool


def form(dataset: PictureDataset, source: str) -> Form:
    """What the pictures of `dataset` become.

    Raises `Problem` where its background is not an opaque colour; `source` is its entry.
    """
    try:
        opaque = ImageColor.getcolor(dataset.background, "RGBA")[3] == 255  # type: ignore[index]
    except ValueError:
        opaque = False
    if not opaque:
        raise Problem(
            f"{source}: background is {shortened(dataset.background)}; it should be a colour, such "
            'as white or "#ffffff"'
        )
    return Form(dataset.shape, dataset.fit, dataset.background)


def decode(content: bytes, form: Form) -> Bytes:
    """The picture in `content` as `form` has it: (height, width, channels), uint8.

    The first frame of an animation, the first page of a document. Upright, as its EXIF orientation
    says; 16 bits a channel reduced to their upper 8; transparency over the background. Colour
    profiles are not applied. The same bytes on every run. Raises `Unreadable`.
    """
    height, width, channels = form.shape
    with _opened(content) as file:
        if file.format in ("JPEG", "MPO"):
            _draft(file, form)
        image = _resized(_plain(file), form)
        if image.mode == "RGBA" or image.size != (width, height):
            ground = Image.new("RGBA", (width, height), form.background)
            corner = (width - image.width) // 2, (height - image.height) // 2
            ground.alpha_composite(image.convert("RGBA"), corner)
            image = ground
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        return pixels.reshape(height, width, channels)


def size(content: bytes) -> tuple[int, int]:
    """The width and height of the picture in `content`, from its header. Raises `Unreadable`."""
    with _opened(content) as file:
        return file.size


def decode_grey(content: bytes, side: int) -> Bytes:
    """The whole picture in `content` in grey, (height, width), with no side longer than `side`.

    As `decode`, except that transparency shows white, or black where the picture contrasts more
    with it. Raises `Unreadable`.
    """
    form = Form((side, side, 1), "pad", "white")
    with _opened(content) as file:
        if file.format in ("JPEG", "MPO"):
            _draft(file, form)
        image = _plain(file)
        if max(image.size) > side:
            image = _resized(image, form)
        if image.mode != "RGBA":
            return np.asarray(image.convert("L"))
        grounds = (Image.new("RGBA", image.size, ground) for ground in ("white", "black"))
        shown = (Image.alpha_composite(ground, image).convert("L") for ground in grounds)
        return max(map(np.asarray, shown), key=np.ptp)


def inspect(content: bytes) -> Facts:
    """What the picture in `content` is. It is decoded to its last pixel. Raises `Unreadable`."""
    with _opened(content) as file:
        mode, animated = file.mode, _animated(file)
        image = _plain(file)
        width, height = image.size
        digest = hashlib.blake2b(f"{width} {height} ".encode(), digest_size=16)
        rows = max(1, STRIP // width)
        for top in range(0, height, rows):
            strip = image.crop((0, top, width, min(height, top + rows))).convert("RGBA")
            # Premultiplied: the colour of a fully transparent pixel does not show
            digest.update(strip.convert("RGBa").tobytes())
        return Facts(width, height, mode, digest.hexdigest(), animated)


def claims(name: str) -> bool:
    """Whether a file's name says that it is a picture: then it is damaged where it is none."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in OTHER_SUFFIXES or Image.registered_extensions().get(suffix) in FORMATS


def each(function: Callable[[T], S], items: Iterable[T]) -> Iterator[S]:
    """What `function`, which decodes, returns for each of `items`, in their order.

    As many at a time as there are processors, in threads: Pillow decodes outside of Python's lock.
    Few items are taken before their results are asked for. What `function` raises is raised here,
    in its turn.
    """
    processors = os.cpu_count() or 1
    started: deque[Future[S]] = deque()
    with ThreadPoolExecutor(processors) as executor:
        try:
            for item in items:
                started.append(executor.submit(function, item))
                if len(started) > AHEAD * processors:
                    yield started.popleft().result()
            while started:
                yield started.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile]:
    """Open the picture. Whatever Pillow raises within the context becomes `Unreadable`."""
    if not content:
        raise Unreadable("is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if not width * height:
                raise Unreadable(f"has no pixels: {width} x {height}")
            if width * height > MOST_PIXELS:
                raise Unreadable(f"has {width:,} x {height:,} pixels; the limit is {MOST_PIXELS:,}")
            yield image
    except UnidentifiedImageError as error:
        if content[4:8] == b"ftyp" and content[8:12] not in AVIF:
            raise NoPicture("is HEIC or a video; convert it to JPEG") from error
        raise NoPicture(NO_PICTURE) from error
    except Image.DecompressionBombError as error:
        raise Unreadable(f"has too many pixels; the limit is {MOST_PIXELS:,}") from error
    except (MemoryError, Unreadable):
        raise
    except Exception as error:  # each of Pillow's decoders raises its own kinds
        raise Unreadable(f"is damaged: {one_line(error) or type(error).__name__}") from error


def _animated(image: ImageFile) -> bool:
    """Whether it has more frames or pages than the first."""
    # Phones add smaller copies and depth to photographs (MPO)
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _draft(image: ImageFile, form: Form) -> None:
    """Let the JPEG decoder scale by 1/2, 1/4 or 1/8, which saves most of its time."""
    sideways = _orientation(image) in SIDEWAYS
    width, height = _scaled(image.size[::-1] if sideways else image.size, form)
    if sideways:
        width, height = height, width
    image.draft(None, (GAP * width, GAP * height))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:  # damaged EXIF data: viewers show such a picture as it is
        return 1
    return value if value in UPRIGHT else 1


def _plain(file: ImageFile) -> Image.Image:
    """The picture upright, in one of the modes L, RGB and RGBA."""
    if file.format == "PNG":
        _scale_key(file)
    frame = file.tile[0].extents if file.format == "GIF" else None
    file.load()
    orientation = _orientation(file)
    image: Image.Image = file
    if image.mode.startswith("I;16") or (file.mode == "I" and file.format == "PPM"):
        image = _upper_8_bits(image)
    elif image.mode in ("I", "F", "LAB"):
        kind = {"I": "integers of 32 bits or with a sign", "F": "floating-point numbers"}
        raise Unreadable(
            f"holds {kind.get(image.mode, image.mode)}; save it with 8 or 16 bits per channel"
        )
    elif image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else image.mode).convert("RGBA")
    else:
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    if frame and frame != (0, 0, *image.size):
        # Browsers show nothing around a frame, Pillow any colour of the palette
        canvas = Image.new("RGBA", image.size)
        canvas.paste(image.crop(frame), frame)
        image = canvas
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _scale_key(image: ImageFile) -> None:
    """Scale the transparent grey of a PNG to 8 bits, as Pillow scales its pixels alone."""
    key, raw = image.info.get("transparency"), image.tile[0].args
    if key is not None and raw in ("I;16B", "RGB;16B"):
        raise Unreadable("has a transparent colour of 16 bits; save it with an alpha channel")
    if key is not None and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * {"L;2": 0x55, "L;4": 0x11}[raw]


def _upper_8_bits(image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", {})  # of TIFF: Pillow does not scale 12 bits, or invert 16
    upper = (np.asarray(image) >> (tags.get(BITS, (16,))[0] - 8)).astype(np.uint8)
    return Image.fromarray(~upper if tags.get(PHOTOMETRIC) == 0 else upper)


def _scaled(size: tuple[int, int], form: Form) -> tuple[int, int]:
    """The width and height that the whole picture is scaled to: cropped or padded afterwards."""
    height, width, _ = form.shape
    if form.fit == "stretch":
        return width, height
    ratios = width / size[0], height / size[1]
    ratio = min(ratios) if form.fit == "pad" else max(ratios)
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _resized(image: Image.Image, form: Form) -> Image.Image:
    """The picture in the form's size or, where it is to be padded, smaller."""
    height, width, _ = form.shape
    box = (0.0, 0.0, float(image.width), float(image.height))
    scaled = _scaled(image.size, form)
    if form.fit == "crop":
        # Cropped before it is scaled: a long picture would become far longer
        ratio = max(width / image.width, height / image.height)
        x, y = (image.width - width / ratio) / 2, (image.height - height / ratio) / 2
        box = (max(0.0, x), max(0.0, y), min(box[2], box[2] - x), min(box[3], box[3] - y))
        scaled = width, height
    return image.resize(scaled, Image.Resampling.LANCZOS, box=box, reducing_gap=GAP)
