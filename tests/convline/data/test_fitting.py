"""Fitting: what a model gets is what preprocess would have made of the same picture."""

import io

import numpy as np
import pytest
from PIL import Image

import exports
from convline.data import ink, pictures
from convline.data.fitting import fit
from convline.data.pictures import Form, Unreadable
from convline.exported import About
from drawings import picture

DIGITS = exports.about(shape=(28, 28, 1), ink=0.714)


def png(image: np.ndarray, mode: str | None = None, **options: object) -> bytes:
    """A PNG of `image`, converted to `mode`."""
    file = io.BytesIO()
    made = Image.fromarray(image)
    (made.convert(mode) if mode else made).save(file, "PNG", **options)
    return file.getvalue()


def digit(seed: int = 0) -> np.ndarray:
    """An image of MNIST's form: grey ink on black."""
    random = np.random.default_rng(seed)
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 10:18] = random.integers(0, 256, (20, 8))
    return image


@pytest.mark.parametrize("how", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_decoded_as_preprocess_does(how: str, channels: int) -> None:
    content = picture(1, (40, 30))
    about = exports.about(shape=(16, 20, channels), fit=how, background="red")
    expected = pictures.decode(content, Form((16, 20, channels), how, "red"))  # type: ignore[arg-type]
    assert np.array_equal(fit(content, about), expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_an_image_of_the_dataset_loses_nothing(mode: str) -> None:
    image = digit()
    assert np.array_equal(fit(png(image, mode), DIGITS)[..., 0], image)


def test_its_negative_is_turned_round() -> None:
    fitted = fit(png(255 - digit()), DIGITS)
    assert fitted.shape == (28, 28, 1)
    assert fitted[0].max() == 0
    assert fitted.max() == 255


@pytest.mark.parametrize("pen", ["black", "white"])
def test_ink_on_nothing_is_seen(pen: str) -> None:
    """A drawing without paper: transparent around its strokes, dark or bright."""
    stroke = Image.fromarray(digit()).resize((280, 280))
    drawing = Image.new("RGBA", (280, 280), pen)
    drawing.putalpha(stroke)
    file = io.BytesIO()
    drawing.save(file, "PNG")
    assert fit(file.getvalue(), DIGITS).max() == 255


@pytest.mark.parametrize("about", [DIGITS, exports.about()], ids=["ink", "other"])
@pytest.mark.parametrize("content", [b"", b"text", png(digit())[:-30]])
def test_what_is_no_picture_is_refused(content: bytes, about: About) -> None:
    with pytest.raises(Unreadable):
        fit(content, about)


def test_a_large_photograph_is_shrunk_before_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def centred(image: np.ndarray, shape: tuple[int, int], box: float) -> np.ndarray:
        seen.append(image.shape)
        return image

    monkeypatch.setattr(ink, "centred", centred)
    file = io.BytesIO()
    Image.new("L", (4000, 3000), "white").save(file, "JPEG")
    fit(file.getvalue(), DIGITS)
    assert seen == [(192, 256)]
