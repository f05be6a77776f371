"""Decoding: every kind of picture comes out right, or is refused in one line."""

import io
import os
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from convline.data import pictures
from convline.data.datasets import PictureDataset
from convline.data.pictures import Form, NoPicture, Unreadable, decode, each, form, inspect
from convline.problems import Problem

Array = np.ndarray
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int) -> Array:
    """A colour picture (height, width, 3) without edges, and without symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (255 * x / width, 255 * y / height, 127 + 127 * np.sin(9 * x / width))
    return np.stack(planes, axis=-1).astype(np.uint8)


def written(image: Image.Image | Array, file_format: str, **options: Any) -> bytes:
    """The bytes of a file with `image` in it."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(size: tuple[int, int], bits: int, kind: int, pixels: bytes, *chunks: bytes) -> bytes:
    """A PNG of `size`, (width, height), whose packed pixels are given."""
    width, height = size
    row = len(pixels) // max(1, height)
    rows = b"".join(b"\0" + pixels[row * i : row * (i + 1)] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def tiff(
    size: tuple[int, int], bits: int, photometric: int, pixels: bytes, order: str = "<", **more: int
) -> bytes:
    """A TIFF of `size`, (width, height), with one sample per pixel, which is given packed."""
    width, height = size
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    tags |= {278: height, 279: len(pixels), **{int(tag[1:]): value for tag, value in more.items()}}
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(pixels))
    entries = b"".join(
        struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    return head + pixels + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def same(shape: tuple[int, ...], channels: int = 3, background: str = "white") -> Form:
    """The form that leaves the pixels of a picture of this shape as they are."""
    return Form((shape[0], shape[1], channels), "pad", background)


def pixels(content: bytes, background: str = "white") -> Array:
    """The pixels (height, width, 3) of a file, without scaling."""
    facts = inspect(content)
    return decode(content, same((facts.height, facts.width), background=background))


def grey(pixels: Array) -> Array:
    """A picture (height, width, 3), which has to be grey, as (height, width)."""
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def colour(values: Array) -> Array:
    """A grey picture (height, width) as (height, width, 3)."""
    return np.repeat(values[..., None], 3, axis=-1)


def refused(content: bytes) -> str:
    """Why a file is refused: the same when it is decoded, and when it is looked at."""
    with pytest.raises(Unreadable) as caught:
        decode(content, Form((8, 8, 3), "pad", "white"))
    with pytest.raises(type(caught.value)) as looked:
        inspect(content)
    assert str(caught.value) == str(looked.value)
    line = str(caught.value)
    assert "\n" not in line
    assert " at 0x" not in line  # an address would differ from run to run
    return line


# Upright


# Each orientation as what a viewer does to the stored picture, with NumPy's words
VIEWED: dict[int, Callable[[Array], Array]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
    8: lambda stored: np.rot90(stored, 1),
}


def exif(orientation: int) -> bytes:
    """EXIF data that says so."""
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II" + struct.pack("<HIH", 42, 8, 1) + tag + bytes(4)


@pytest.mark.parametrize("orientation", VIEWED)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_comes_out_upright(file_format: str, orientation: int) -> None:
    stored = noise(6, 9, 3)
    if file_format == "TIFF":
        content = written(stored, "TIFF", tiffinfo={0x0112: orientation})
    elif file_format == "AVIF":
        stored = smooth(60, 90)
        content = written(stored, "AVIF", quality=100, subsampling="4:4:4", exif=exif(orientation))
    else:
        content = written(stored, file_format, lossless=True, exif=exif(orientation))
    expected = VIEWED[orientation](stored)
    facts = inspect(content)
    assert (facts.height, facts.width) == expected.shape[:2]
    assert np.abs(pixels(content).astype(int) - expected).max() <= (
        3 if file_format == "AVIF" else 0
    )
    if file_format != "AVIF":
        assert facts.pixels == inspect(written(expected.copy(), "BMP")).pixels


@pytest.mark.parametrize("orientation", VIEWED)
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_a_large_photograph_comes_out_upright(fit: Any, orientation: int) -> None:
    """The JPEG decoder scales it before it is turned."""
    stored = smooth(600, 900)
    expected = VIEWED[orientation](stored)
    small = Form((30, 50, 3), fit, "white")
    content = written(stored, "JPEG", quality=95, exif=exif(orientation))
    turned = decode(written(expected.copy(), "PNG"), small)
    assert np.abs(decode(content, small).astype(int) - turned).max() < 12
    wrong = decode(written(np.rot90(expected, 2).copy(), "PNG"), small)
    assert np.abs(decode(content, small).astype(int) - wrong).mean() > 20


def test_16_bits_come_out_upright() -> None:
    stored = np.arange(6, dtype=np.uint16).reshape(2, 3) << 8
    content = tiff((3, 2), 16, 1, stored.tobytes(), _274=6)
    assert grey(pixels(content)).tolist() == [[3, 0], [4, 1], [5, 2]]


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_png_may_say_its_orientation_before_or_after_its_pixels(place: str) -> None:
    stored = noise(2, 3)
    content = png((3, 2), 8, 0, stored.tobytes())
    at = content.index(b"IDAT" if place == "before" else b"IEND") - 4
    content = content[:at] + chunk(b"eXIf", exif(6)[6:]) + content[at:]
    assert np.array_equal(grey(pixels(content)), np.rot90(stored, -1))


@pytest.mark.parametrize(
    "damaged",
    [
        b"Exif\0\0",
        b"Exif\0\0II",
        b"Exif\0\0garbage and nothing else",
        exif(6)[:-9],
        exif(0),
        exif(9),
        exif(6).replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 2, 1)),
        exif(6).replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 3, 1 << 30)),
    ],
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_data_is_left_aside(file_format: str, damaged: bytes) -> None:
    plain = written(smooth(20, 30), file_format, lossless=True)
    content = written(smooth(20, 30), file_format, lossless=True, exif=damaged)
    assert np.array_equal(pixels(content), pixels(plain))


def test_an_orientation_counts_though_other_exif_data_is_odd() -> None:
    """Pillow's own transposition writes all of it again, which fails."""
    entries = [(0x0112, 3, 1, 6), (0x8769, 4, 1, 9999), (0x0132, 12, 1, 0xFFFFFFF0)]
    tags = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    odd = b"Exif\0\0II" + struct.pack("<HIH", 42, 8, len(entries)) + tags + bytes(4)
    stored = smooth(20, 30)
    turned = pixels(written(stored, "JPEG", exif=odd))
    assert np.array_equal(turned, np.rot90(pixels(written(stored, "JPEG")), -1))


# Modes and depths


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk(file_format: str) -> None:
    inks = np.zeros((8, 32, 4), np.uint8)
    inks[:, 8:16, 0] = inks[:, 16:24, 2] = inks[:, 24:, 3] = 255
    image = Image.frombytes("CMYK", (32, 8), inks.tobytes())
    content = written(image, file_format)
    found = pixels(content)[4, 4::8].astype(int)
    assert np.abs(found - [WHITE, (0, 255, 255), (255, 255, 0), BLACK]).max() <= 3
    if file_format == "JPEG":
        assert b"Adobe" in content  # what tells of inks that are stored inverted


def test_ycck() -> None:
    """As Photoshop writes: K inverted, and C, M, Y turned into a luminance and two differences."""
    inks = Image.new("RGB", (16, 16), (0, 255, 255)).convert("YCbCr")
    # Pillow inverts what it is given
    stored = np.dstack([255 - np.array(inks), np.zeros((16, 16), np.uint8)])
    content = written(Image.frombytes("CMYK", (16, 16), stored.tobytes()), "JPEG", quality=95)
    at = content.index(b"Adobe") + 11
    assert content[at] == 0
    content = content[:at] + b"\2" + content[at + 1 :]
    assert np.abs(pixels(content)[8, 8].astype(int) - (255, 0, 0)).max() <= 4


PALETTE = [10, 0, 0, 0, 20, 0, 0, 0, 30, 40, 50, 60]


def indexed() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
    image.putpalette(PALETTE)
    return image


@pytest.mark.parametrize(
    ("transparency", "expected"),
    [
        (None, [(10, 0, 0), (0, 20, 0), (0, 0, 30), (40, 50, 60)]),
        (1, [(10, 0, 0), WHITE, (0, 0, 30), (40, 50, 60)]),
        (bytes([0, 255, 0, 255]), [WHITE, (0, 20, 0), WHITE, (40, 50, 60)]),
        (bytes([255, 255, 255, 51]), [(10, 0, 0), (0, 20, 0), (0, 0, 30), (212, 214, 216)]),
    ],
)
def test_a_palette(transparency: Any, expected: list[tuple[int, int, int]]) -> None:
    options = {} if transparency is None else {"transparency": transparency}
    assert pixels(written(indexed(), "PNG", **options))[0].tolist() == list(map(list, expected))


def test_the_transparent_colour_of_a_gif() -> None:
    content = written(indexed(), "GIF", transparency=2)
    assert pixels(content)[0, 2].tolist() == list(WHITE)
    assert pixels(content)[0, 3].tolist() == [40, 50, 60]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_partial_transparency_shows_the_background(mode: str, file_format: str) -> None:
    """By the definition of alpha, over red."""
    image = Image.new("RGBA", (3, 1))
    for x, (value, alpha) in enumerate([(100, 255), (100, 51), (100, 0)]):
        image.putpixel((x, 0), (value, value, value, alpha))
    content = written(image.convert(mode), file_format)
    assert pixels(content, "red")[0].tolist() == [[100, 100, 100], [224, 20, 20], [255, 0, 0]]
    in_grey = decode(content, same((1, 3), 1, "white"))
    assert in_grey.ravel().tolist() == [100, 224, 255]


def test_premultiplied_alpha() -> None:
    """Of TIFF: grey values that are multiplied by their alpha already."""
    content = tiff((2, 1), 8, 1, bytes([50, 51, 200, 255]), _277=2, _338=1)
    two = struct.pack("<HHIHH", 258, 3, 2, 8, 8)
    at = content.index(struct.pack("<HHI", 258, 4, 1))
    content = content[:at] + two + content[at + 12 :]
    assert pixels(content, "red")[0].tolist() == [[254, 50, 50], [200, 200, 200]]


@pytest.mark.parametrize(
    ("bits", "packed", "key", "values"),
    [
        (1, b"\x50", 1, [0, None, 0, None]),
        (2, b"\x1b", 2, [0, 85, None, 255]),
        (4, b"\x0f\x37", 3, [0, 255, None, 119]),
        (8, b"\1\2\3\4", 4, [1, 2, 3, None]),
    ],
)
def test_the_transparent_grey_of_a_png(
    bits: int, packed: bytes, key: int, values: list[int | None]
) -> None:
    """Stored in the depth of the pixels."""
    content = png((4, 1), bits, 0, packed, chunk(b"tRNS", struct.pack(">H", key)))
    expected = [[255, 0, 0] if value is None else [value] * 3 for value in values]
    assert pixels(content, "red")[0].tolist() == expected


def test_the_transparent_colour_of_a_png() -> None:
    key = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    content = png((2, 1), 8, 2, bytes([1, 2, 3, 4, 5, 6]), key)
    assert pixels(content)[0].tolist() == [[255, 255, 255], [4, 5, 6]]


@pytest.mark.parametrize("kind", [0, 2])
def test_a_transparent_colour_of_16_bits_is_refused(kind: int) -> None:
    """Pillow compares 8 bits, and would take others for it."""
    size = 2 * (3 if kind else 1)
    content = png((1, 1), 16, kind, bytes(size), chunk(b"tRNS", bytes(size)))
    assert refused(content) == "has a transparent colour of 16 bits; save it with an alpha channel"


DEEP = np.array([[0x0000, 0x00FF, 0x0100, 0x7F80, 0xFFFF]], ">u2")
UPPER = [0, 0, 1, 127, 255]


@pytest.mark.parametrize(
    "content",
    [
        png((5, 1), 16, 0, DEEP.tobytes()),
        tiff((5, 1), 16, 1, DEEP.astype("<u2").tobytes()),
        tiff((5, 1), 16, 1, DEEP.tobytes(), ">"),
        b"P5 5 1 65535\n" + DEEP.tobytes(),
        written(Image.frombytes("I;16", (5, 1), DEEP.astype("<u2").tobytes()), "JPEG2000"),
    ],
    ids=["PNG", "TIFF", "TIFF, big endian", "PGM", "JPEG 2000"],
)
def test_grey_of_16_bits(content: bytes) -> None:
    assert grey(pixels(content))[0].tolist() == UPPER
    assert inspect(content).pixels == inspect(written(np.array([UPPER], np.uint8), "PNG")).pixels


def test_grey_of_12_bits() -> None:
    content = tiff((4, 1), 12, 1, bytes([0x12, 0x3F, 0xFF, 0x00, 0x08, 0x00]))
    assert grey(pixels(content))[0].tolist() == [0x12, 0xFF, 0x00, 0x80]


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_other_pictures_of_16_bits(kind: int) -> None:
    samples = {2: 3, 4: 2, 6: 4}[kind]
    values = (noise(2, 3, samples).astype(int) * 256 + noise(2, 3, samples, seed=1)).astype(">u2")
    if samples != 3:
        values[..., -1] = 0xFFFF
    found = pixels(png((3, 2), 16, kind, values.tobytes()))
    expected = values[..., :3] if samples > 2 else colour(values[..., 0])
    assert np.array_equal(found, expected >> 8)


def test_colour_of_16_bits_in_other_formats() -> None:
    values = np.array([[[0, 0x7FFF, 0xFFFF], [0x0101, 0x8080, 0xFEFE]]], ">u2")
    content = b"P6 2 1 65535\n" + values.tobytes()
    assert np.abs(pixels(content).astype(int) - (values >> 8)).max() <= 1
    tags = {258: (16, 16, 16), 277: 3}
    for order in "<>":
        plain = tiff((2, 1), 16, 2, values.astype(f"{order}u2").tobytes(), order, _277=3)
        # Three numbers of bits do not fit into the entry; they stand at the end
        at = plain.index(struct.pack(f"{order}HHI", 258, 4, 1))
        entry = struct.pack(f"{order}HHII", 258, 3, 3, len(plain))
        bits = struct.pack(f"{order}HHH", *tags[258])  # type: ignore[misc]
        assert np.array_equal(pixels(plain[:at] + entry + plain[at + 12 :] + bits), values >> 8)


BITS = [255, 0, 255, 255, 0, 0, 0, 255, 255]


@pytest.mark.parametrize(
    "content",
    [
        png((9, 1), 1, 0, b"\xb1\x80"),
        b"P4 9 1\n\x4e\x7f",
        b"P1 9 1 0 1 0 0 1 1 1 0 0",
        tiff((9, 1), 1, 1, b"\xb1\x80"),
        tiff((9, 1), 1, 0, b"\x4e\x7f"),
        written(Image.frombytes("1", (9, 1), b"\xb1\x80"), "TIFF", compression="group4"),
        written(Image.frombytes("1", (9, 1), b"\xb1\x80"), "BMP"),
        written(Image.frombytes("1", (9, 1), b"\xb1\x80"), "GIF"),
    ],
    ids=["PNG", "PBM", "plain PBM", "TIFF", "TIFF, white is 0", "TIFF, fax", "BMP", "GIF"],
)
def test_black_and_white(content: bytes) -> None:
    assert grey(pixels(content))[0].tolist() == BITS


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_in_which_white_is_0(bits: int) -> None:
    values = np.array([[0, 1, 100, 255]], np.uint8)
    stored = values if bits == 8 else (values.astype(int) * 256).astype("<u2")
    content = tiff((4, 1), bits, 0, stored.tobytes())
    assert grey(pixels(content))[0].tolist() == [255, 254, 155, 0]


def test_colour_spaces_of_tiff() -> None:
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    found = pixels(written(image.convert("YCbCr"), "TIFF")).astype(int)
    assert np.abs(found - (200, 100, 50)).max() <= 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (written(Image.new("I", (2, 2)), "TIFF"), "integers of 32 bits or with a sign"),
        (tiff((2, 2), 16, 1, bytes(8), _339=2), "integers of 32 bits or with a sign"),
        (written(Image.new("F", (2, 2)), "TIFF"), "floating-point numbers"),
        (b"Pf 2 2 -1.0\n" + bytes(16), "floating-point numbers"),
        (written(Image.new("LAB", (2, 2)), "TIFF"), "LAB"),
    ],
)
def test_what_has_no_plain_meaning_is_refused(content: bytes, reason: str) -> None:
    assert refused(content) == f"holds {reason}; save it with 8 or 16 bits per channel"


@pytest.mark.parametrize(
    "file_format", ["PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "QOI", "JPEG2000"]
)
def test_every_lossless_format_keeps_every_pixel(file_format: str) -> None:
    stored = colour(noise(5, 7)) if file_format == "GIF" else noise(5, 7, 3)
    content = written(stored, file_format, lossless=True)
    assert np.array_equal(pixels(content), stored)
    assert inspect(content).animated is False


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "AVIF"])
def test_every_lossy_format_keeps_what_is_seen(file_format: str) -> None:
    content = written(smooth(40, 60), file_format, quality=95)
    assert np.abs(pixels(content).astype(int) - smooth(40, 60)).mean() < 3


# Several pictures in a file


FRAMES = [Image.new("RGB", (6, 4), name) for name in ("red", "lime", "blue")]
RED = np.full((4, 6, 3), (255, 0, 0))


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_or_page_counts(file_format: str) -> None:
    content = written(
        FRAMES[0], file_format, save_all=True, append_images=FRAMES[1:], lossless=True, quality=100
    )
    assert inspect(content).animated is True
    assert np.abs(pixels(content).astype(int) - RED).max() <= (4 if file_format == "AVIF" else 0)


def test_a_photograph_with_a_second_one_behind_it_is_no_animation() -> None:
    """As phones write (MPO). The first is drafted and turned like any other JPEG."""
    first, second = Image.fromarray(smooth(600, 900)), Image.new("RGB", (90, 60), "blue")
    content = written(first, "MPO", save_all=True, append_images=[second], quality=95, exif=exif(6))
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "MPO"
    facts = inspect(content)
    assert (facts.width, facts.height, facts.animated) == (600, 900, False)
    small = decode(content, Form((45, 30, 3), "stretch", "white")).astype(int)
    expected = np.rot90(smooth(600, 900), -1)[10::20, 10::20]
    assert np.abs(small - expected).mean() < 4


def gif(box: tuple[int, int, int, int], *, transparent: bool = False) -> bytes:
    """A GIF of 4 x 4 pixels, in which the first frame fills `box` with the colours 3, 2, 3, 2..."""
    left, top, width, height = box
    head = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x81, 1, 0) + bytes(PALETTE)
    control = b"\x21\xf9\x04\x01\0\0\x02\0" if transparent else b""
    clear, end = 4, 5  # each pixel after a clear code, so that codes stay 3 bits long
    codes = [code for i in range(width * height) for code in (clear, 3 - i % 2)] + [end]
    number = sum(code << 3 * i for i, code in enumerate(codes))
    packed = number.to_bytes((3 * len(codes) + 7) // 8, "little")
    frame = b"," + struct.pack("<HHHHB", left, top, width, height, 0)
    return head + control + frame + b"\2" + bytes([len(packed)]) + packed + b"\0;"


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("background", [WHITE, (9, 8, 7)])
def test_around_a_small_first_frame_there_is_nothing(
    background: tuple[int, int, int], transparent: bool
) -> None:
    """Neither the first colour of the palette, nor the one that a GIF calls its background."""
    expected = np.full((4, 4, 3), background)
    colours = {3: (40, 50, 60), 2: background if transparent else (0, 0, 30)}
    for y, x in np.ndindex(2, 3):
        expected[1 + y, 1 + x] = colours[3 - (3 * y + x) % 2]
    found = pixels(
        gif((1, 1, 3, 2), transparent=transparent), "#{:02x}{:02x}{:02x}".format(*background)
    )
    assert found.tolist() == expected.tolist()


def test_a_first_frame_that_fills_a_gif_is_opaque() -> None:
    assert np.array_equal(pixels(gif((0, 0, 4, 4))), pixels(gif((0, 0, 4, 4)), "red"))


# What is no picture


BOX = struct.pack(">I", 24)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"isom", b"qt  ", b"mp42"])
def test_heic_and_video_are_told_to_become_jpeg(brand: bytes) -> None:
    content = BOX + b"ftyp" + brand + bytes(4) + brand + b"mif1" + bytes(99)
    assert refused(content) == "is HEIC or a video; convert it to JPEG"


NOTHING = "is not a picture in a supported format, or its header is damaged"


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        b"file_name,label\n",
        b"\0",
        b"\0" * 999,
        b"GIF",
        b"\x0c\0\0\0\x02\0\x02\0\x01\0\x18\0" + bytes(99),
        b"#define x_width 9\n#define x_height 9\nstatic char x_bits[] = { 0 };",
        b"RIFF\x99\0\0\0AVI LIST" + bytes(99),
        BOX + b"ftypavif" + bytes(99),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"BM",
        b"II*\0",
    ],
)
def test_what_is_no_picture_is_called_so(content: bytes) -> None:
    with pytest.raises(NoPicture):
        decode(content, Form((8, 8, 3), "pad", "white"))
    assert refused(content) == NOTHING


def test_nothing_is_started_to_decode_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow can run Ghostscript for EPS."""
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(os, "system", None)
    eps = written(Image.new("RGB", (9, 9)), "EPS")
    assert refused(eps) == NOTHING
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)
    assert refused(b"\xc5\xd0\xd3\xc6" + eps) == NOTHING


def test_an_empty_file() -> None:
    assert refused(b"") == "is empty"


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (0, 0)])
def test_a_picture_without_pixels(size: tuple[int, int]) -> None:
    assert refused(png(size, 8, 0, b"")).startswith(("has no pixels: ", NOTHING))
    netpbm = b"P5 %d %d 255\n" % size
    assert refused(netpbm)


# Damage


PHOTOGRAPH = noise(64, 96, 3)
FILES = {
    "JPEG": written(PHOTOGRAPH, "JPEG"),
    "progressive JPEG": written(PHOTOGRAPH, "JPEG", progressive=True),
    "PNG": written(PHOTOGRAPH, "PNG"),
    "GIF": written(PHOTOGRAPH, "GIF"),
    "WEBP": written(PHOTOGRAPH, "WEBP"),
    "BMP": written(PHOTOGRAPH, "BMP"),
    "TIFF": written(PHOTOGRAPH, "TIFF"),
    "packed TIFF": written(PHOTOGRAPH, "TIFF", compression="tiff_lzw"),
    "AVIF": written(PHOTOGRAPH, "AVIF"),
    "PPM": written(PHOTOGRAPH, "PPM"),
    "QOI": written(PHOTOGRAPH, "QOI"),
    "JPEG2000": written(PHOTOGRAPH, "JPEG2000"),
}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_cut_off(kind: str, share: float, capfd: pytest.CaptureFixture[str]) -> None:
    """The libraries in C print nothing either."""
    content = FILES[kind]
    assert refused(content[: int(share * len(content))])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", FILES)
def test_trailing_bytes_do_no_harm(kind: str) -> None:
    assert np.array_equal(pixels(FILES[kind] + bytes(999)), pixels(FILES[kind]))


@pytest.mark.parametrize("repaired", [False, True])
def test_a_png_that_was_changed_in_the_middle(repaired: bool) -> None:
    """Noticed by the checksum of the chunk or, were that right, by the packed stream."""
    content = bytearray(FILES["PNG"])
    at = content.index(b"IDAT")
    (length,) = struct.unpack_from(">I", content, at - 4)
    for i in range(at + 4 + length // 2, at + 14 + length // 2):
        content[i] ^= 0xFF
    if repaired:
        checksum = zlib.crc32(content[at : at + 4 + length])
        struct.pack_into(">I", content, at + 4 + length, checksum)
    assert refused(bytes(content)).startswith("is damaged: ")


@pytest.mark.parametrize("kind", FILES)
def test_no_damage_ends_in_a_traceback(kind: str) -> None:
    """It is decoded, as far as can be seen, or refused."""
    random = np.random.default_rng(0)
    for _ in range(40):
        content = bytearray(FILES[kind])
        for at in random.integers(0, len(content), 3):
            content[at] = random.integers(256)
        for at in random.integers(0, min(len(content), 300), 2):
            content[at] = random.integers(256)
        try:
            found = decode(bytes(content), Form((8, 8, 3), "pad", "white"))
        except Unreadable as error:
            assert str(error)
        else:
            assert found.shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((50_000, 50_000), "has too many pixels; the limit is 100,000,000"),
        ((10_001, 10_000), "has 10,001 x 10,000 pixels; the limit is 100,000,000"),
        ((100_000_001, 1), "has 100,000,001 x 1 pixels; the limit is 100,000,000"),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "PPM", "BMP", "TIFF"])
def test_a_picture_that_declares_too_many_pixels(
    file_format: str, size: tuple[int, int], reason: str
) -> None:
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    content = {
        "PNG": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")),
        "PPM": b"P5 %d %d 255\n" % size,
        "BMP": b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, *size, 1, 24, *[0] * 6),
        "TIFF": tiff(size, 8, 1, bytes(9)),
    }[file_format]
    tracemalloc.start()
    try:
        assert refused(content) == reason
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt"])
def test_a_bomb_in_the_metadata_of_a_png(kind: bytes) -> None:
    bomb = chunk(kind, b"name\0\0" + zlib.compress(bytes(1 << 26), 9))
    tracemalloc.start()
    try:
        line = refused(png((1, 1), 8, 0, b"\0", bomb))
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    assert line.startswith("is damaged: Decompressed data too large")


# Fitting


def test_a_picture_of_the_right_size_keeps_every_pixel() -> None:
    stored = noise(7, 5, 3)
    for fit in ("pad", "crop", "stretch"):
        found = decode(written(stored, "PNG"), Form((7, 5, 3), fit, "white"))
        assert np.array_equal(found, stored)
        assert found.dtype == np.uint8
        in_grey = decode(written(stored[..., 0], "PNG"), Form((7, 5, 1), fit, "white"))
        assert np.array_equal(in_grey[..., 0], stored[..., 0])
        as_colour = decode(written(stored[..., 0], "PNG"), Form((7, 5, 3), fit, "white"))
        assert np.array_equal(as_colour, colour(stored[..., 0]))


def test_a_large_jpeg_of_the_right_size_is_decoded_as_it_is() -> None:
    content = written(noise(200, 300, 3), "JPEG")
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image)
    assert np.array_equal(pixels(content), expected)


def test_colour_becomes_grey_by_luminance() -> None:
    """ITU-R 601-2."""
    stored = noise(9, 9, 3)
    found = decode(written(stored, "PNG"), same((9, 9), 1))[..., 0]
    expected = stored @ np.array([0.299, 0.587, 0.114])
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("size", "box"),
    [  # height and width of the picture; top, left, height and width of what it becomes
        ((20, 40), (5, 0, 10, 20)),
        ((40, 20), (0, 5, 20, 10)),
        ((5, 10), (5, 0, 10, 20)),
        ((10, 5), (0, 5, 20, 10)),
        ((40, 41), (0, 0, 20, 20)),
        ((10, 19), (4, 0, 11, 20)),
        ((100, 1), (0, 9, 20, 1)),
        ((1, 100), (9, 0, 1, 20)),
        ((1, 1), (0, 0, 20, 20)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_padded_picture_is_centred(
    size: tuple[int, int], box: tuple[int, int, int, int], channels: Any
) -> None:
    content = written(Image.new("RGB", size[::-1], (0, 0, 0)), "PNG")
    found = decode(content, Form((20, 20, channels), "pad", "#ffff00"))
    expected = np.full((20, 20, 3), (255, 255, 0)) if channels == 3 else np.full((20, 20, 1), 226)
    top, left, height, width = box
    expected[top : top + height, left : left + width] = 0
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_cropped_picture_keeps_its_centre(flipped: bool) -> None:
    """Of four columns of one colour each, the two in the middle."""
    stripes = np.repeat(np.array([[10, 90, 160, 250]], np.uint8), 20, axis=1).repeat(40, axis=0)
    stripes = stripes.T if flipped else stripes
    found = decode(written(stripes.copy(), "PNG"), Form((40, 40, 1), "crop", "white"))[..., 0]
    found = found.T if flipped else found
    assert np.array_equal(found[:, :20], np.full((40, 20), 90))
    assert np.array_equal(found[:, 20:], np.full((40, 20), 160))


def test_a_stretched_picture_is_whole() -> None:
    stored = np.repeat(np.array([[10, 250]], np.uint8), 40, axis=1)
    found = decode(written(stored, "PNG"), Form((6, 4, 1), "stretch", "white"))[..., 0]
    assert (found[:, 0] <= 20).all()
    assert (found[:, 3] >= 240).all()
    assert (found == found[0]).all()


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("size", [(3, 3), (5, 8), (31, 17), (200, 300), (1, 9)])
@pytest.mark.parametrize("shape", [(13, 13, 3), (7, 16, 1), (16, 7, 3), (1, 1, 3)])
def test_a_picture_of_one_colour_stays_so(
    fit: Any, size: tuple[int, int], shape: tuple[int, int, Any]
) -> None:
    content = written(Image.new("RGB", size, (90, 90, 90)), "PNG")
    found = decode(content, Form(shape, fit, "#5a5a5a"))
    assert found.shape == shape
    assert (found == 90).all()


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_line_of_pixels(fit: Any, flipped: bool) -> None:
    line = np.repeat(np.array([[0, 100, 200]], np.uint8), 10_000, axis=1)
    content = written((line.T if flipped else line).copy(), "PNG")
    tracemalloc.start()
    try:
        found = decode(content, Form((33, 33, 1), fit, "white"))[..., 0]
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()
    found = found.T if flipped else found
    if fit == "pad":
        assert found[:16].min() == found[17:].min() == 255
        found = found[16:17]
    if fit == "crop":
        assert (found == 100).all()
    else:
        assert (found[:, 5] == 0).all()
        assert (found[:, 16] == 100).all()
        assert (found[:, 27] == 200).all()


def test_the_colour_of_what_is_transparent_does_not_bleed() -> None:
    stored = np.zeros((40, 40, 4), np.uint8)
    stored[:, :20] = (0, 0, 255, 255)
    stored[:, 20:] = (255, 255, 0, 0)
    found = decode(written(stored, "PNG"), Form((7, 7, 3), "stretch", "blue"))
    assert np.abs(found.astype(int) - (0, 0, 255)).max() <= 1


# Drafts


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize(
    ("size", "decoded"),
    [((1600, 1200), 8), ((800, 600), 4), ((400, 300), 2), ((100, 75), 1)],
)
def test_a_large_jpeg_is_decoded_small(
    monkeypatch: pytest.MonkeyPatch, fit: Any, size: tuple[int, int], decoded: int
) -> None:
    """By up to 8, and never to less than twice the final size."""
    sizes = []
    load = ImageFile.ImageFile.load

    def record(image: Any) -> Any:
        sizes.append(image.size)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", record)
    small = Form((75, 75, 3) if fit == "crop" else (75, 100, 3), fit, "white")
    content = written(smooth(size[1], size[0]), "JPEG", quality=95)
    found = decode(content, small)
    assert sizes[0] == (size[0] // decoded, size[1] // decoded)
    whole = decode(written(smooth(size[1], size[0]), "BMP"), small)
    assert np.abs(found.astype(int) - whole).mean() < 2


@pytest.mark.parametrize("file_format", ["JPEG", "MPO"])
def test_a_sideways_jpeg_is_decoded_small(
    monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    drafts = []
    monkeypatch.setattr(
        "PIL.JpegImagePlugin.JpegImageFile.draft", lambda image, mode, size: drafts.append(size)
    )
    second = [Image.new("RGB", (9, 6))]
    options = {"save_all": True, "append_images": second} if file_format == "MPO" else {}
    content = written(smooth(600, 900), file_format, exif=exif(6), **options)
    decode(content, Form((90, 60, 3), "stretch", "white"))
    assert drafts == [(180, 120)]


# Facts


def test_the_facts_of_a_picture() -> None:
    facts = inspect(written(noise(4, 6), "PNG"))
    assert (facts.width, facts.height, facts.mode, facts.animated) == (6, 4, "L", False)
    assert len(bytes.fromhex(facts.pixels)) == 16


def ids(*contents: bytes) -> set[str]:
    return {inspect(content).pixels for content in contents}


def test_the_same_pixels_have_one_id() -> None:
    stored = noise(4, 6, 3)
    opaque = Image.fromarray(stored).convert("RGBA")
    assert (
        len(
            ids(
                *(written(stored, name, lossless=True) for name in ("PNG", "BMP", "TIFF", "WEBP")),
                written(opaque, "PNG"),
                written(opaque, "TIFF"),
                written(stored, "PNG", compress_level=0),
                written(np.rot90(stored, 1).copy(), "PNG", exif=exif(6)),
            )
        )
        == 1
    )


def test_the_same_grey_has_one_id() -> None:
    stored = noise(4, 6)
    palette = Image.fromarray(stored)
    palette.putpalette([value for value in range(256) for _ in "RGB"])
    assert (
        len(
            ids(
                written(stored, "PNG"),
                written(stored, "BMP"),
                written(colour(stored), "PNG"),
                written(Image.fromarray(stored).convert("LA"), "PNG"),
                written(palette, "PNG"),
                png((6, 4), 16, 0, (stored.astype(int) * 256).astype(">u2").tobytes()),
            )
        )
        == 1
    )


def test_the_colour_of_what_is_transparent_does_not_count() -> None:
    stored = noise(4, 6, 4)
    stored[:2, :, 3] = 0
    stored[2:, :, 3] = 255
    other, differing = stored.copy(), stored.copy()
    other[0, 0, :3] += 1
    differing[0, 0, 3] = 1
    contents = [written(array, "PNG") for array in (stored, other, differing)]
    assert len(ids(*contents[:2])) == 1
    assert len(ids(*contents)) == 2


def test_different_pictures_have_different_ids() -> None:
    stored = noise(4, 6, 3)
    other = stored.copy()
    other[3, 5, 2] ^= 1
    flat = np.full((4, 6, 3), 7, np.uint8)
    contents = [
        written(array, "PNG")
        for array in (stored, other, stored[::-1].copy(), flat, flat.swapaxes(0, 1).copy())
    ]
    contents.append(written(flat.reshape(2, 12, 3), "PNG"))
    assert len(ids(*contents)) == len(contents)


def test_the_id_does_not_depend_on_the_strips_that_are_hashed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = written(noise(50, 70, 3), "PNG")
    expected = ids(content)
    for strip in (1, 70, 1000):
        monkeypatch.setattr(pictures, "STRIP", strip)
        assert ids(content) == expected


# Many


def test_results_come_in_order() -> None:
    waits = threading.Barrier(2, timeout=0.01)

    def slow(number: int) -> int:
        if number % 3 == 0:
            try:
                waits.wait()
            except threading.BrokenBarrierError:
                waits.reset()
        return number**2

    assert list(each(slow, range(200))) == [number**2 for number in range(200)]
    assert list(each(slow, [])) == []


def test_decoding_in_threads_gives_the_same_bytes() -> None:
    contents = [
        written(noise(40, 50 + seed, 3, seed=seed), name)
        for seed in range(10)
        for name in ("JPEG", "PNG", "WEBP")
    ]
    small = Form((16, 16, 3), "pad", "white")
    expected = [decode(content, small).tobytes() for content in contents]
    for _ in range(3):
        assert [found.tobytes() for found in each(lambda c: decode(c, small), contents)] == expected
    backwards = [found.tobytes() for found in each(lambda c: decode(c, small), contents[::-1])]
    assert backwards == expected[::-1]


def counting(counts: list[int]) -> Iterator[int]:
    for number in range(10_000):
        counts.append(number)
        yield number


def test_few_items_are_taken_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    taken: list[int] = []
    for number, _ in enumerate(each(str, counting(taken))):
        assert len(taken) <= number + 1 + 2 * pictures.AHEAD
        if number == 100:
            break
    assert len(taken) < 120


def test_what_has_not_begun_is_dropped_when_the_consumer_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    done: list[int] = []

    def slow(number: int) -> None:
        if number:
            time.sleep(0.3)
        done.append(number)

    threads = threading.active_count()
    results = each(slow, range(10_000))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == threads
    assert len(done) <= 1 + 2 + 2  # of the nine that were taken


@pytest.mark.parametrize("fails", ["function", "items"])
def test_what_is_raised_is_raised_in_its_turn(fails: str) -> None:
    def function(number: int) -> int:
        if fails == "function" and number == 50:
            raise Problem("50")
        return number

    def items() -> Iterator[int]:
        yield from range(50)
        if fails == "items":
            raise Problem("50")
        yield from range(50, 999)

    found = []
    with pytest.raises(Problem, match="50"):
        for number in each(function, items()):
            found.append(number)
    assert found == list(range(len(found)))
    assert len(found) == 50 or fails == "items"


# Warnings


QUIET = """
import contextlib, sys, warnings
sys.path.insert(0, "src")
from convline.data import pictures
form = pictures.Form((8, 8, 3), "pad", "white")
def look(content):
    with contextlib.suppress(pictures.Unreadable):
        pictures.decode(content, form)
before = list(warnings.filters)
contents = [bytes.fromhex(line) for line in sys.stdin]
results = pictures.each(look, contents)
next(results)
assert warnings.filters == before
warnings.warn("of the caller")
list(results)
look(contents[0])
"""


def test_pillow_warns_of_nothing_and_the_caller_still_may() -> None:
    odd = exif(6).replace(
        struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 3, 1 << 30)
    )
    contents = [
        png((9_500, 9_500), 1, 0, b""),  # Pillow calls it a possible bomb
        written(smooth(9, 9), "JPEG", exif=odd),
        written(indexed(), "PNG", transparency=bytes([0, 255, 9])),
    ]
    result = subprocess.run(
        [sys.executable, "-W", "always", "-c", QUIET],
        input="\n".join(content.hex() for content in contents),
        capture_output=True,
        text=True,
        check=True,
    )
    (warning,) = (line for line in result.stderr.splitlines() if "Warning" in line)
    assert warning.endswith("UserWarning: of the caller")


# Form


def dataset(background: str) -> PictureDataset:
    file = {"bytes": 1, "checksum": f"md5:{'0' * 32}"}
    return PictureDataset.model_validate(
        {
            "classes": ["a", "b"],
            "shape": (4, 5, 3),
            "fit": "crop",
            "background": background,
            "files": {"pictures.csv": file},
        }
    )


@pytest.mark.parametrize("background", ["white", "#ffffff", "#fff", "#ffffffff", "hsl(0,100%,50%)"])
def test_the_form_of_a_dataset(background: str) -> None:
    assert form(dataset(background), "here") == Form((4, 5, 3), "crop", background)


@pytest.mark.parametrize(
    "background", ["", "snowwhite", "#ff", "#ffffff00", "#0008", "white\n", "x" * 999]
)
def test_a_background_that_is_no_colour(background: str) -> None:
    with pytest.raises(Problem) as caught:
        form(dataset(background), "datasets.yaml: name")
    line = str(caught.value)
    assert line.startswith("datasets.yaml: name: background is ")
    assert line.endswith('; it should be a colour, such as white or "#ffffff"')
    assert "\n" not in line


def test_the_size_is_read_from_the_header_alone() -> None:
    file = io.BytesIO()
    Image.new("L", (31, 17)).save(file, "PNG")
    assert pictures.size(file.getvalue()[:-20]) == (31, 17)
    with pytest.raises(pictures.NoPicture):
        pictures.size(b"no picture")
