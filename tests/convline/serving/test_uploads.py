"""The files in a form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import encode_multipart_formdata

from convline.serving.limits import Limits, Refused
from convline.serving.uploads import Upload, uploads

LIMITS = Limits(pictures=3)
FORM = "multipart/form-data; boundary=edge"


def part(disposition: str, content: bytes) -> bytes:
    """A part of a form."""
    header = b"Content-Disposition: " + disposition.encode()
    return b"--edge\r\n" + header + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A form with these parts."""
    return b"".join(parts) + b"--edge--\r\n"


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_files_come_back_byte_for_byte(contents: list[bytes]) -> None:
    fields = [("any", (f"{n}.png", content)) for n, content in enumerate(contents)]
    body, content_type = encode_multipart_formdata(fields)
    found = uploads(body, content_type, LIMITS)
    assert found == [Upload(f"{n}.png", content) for n, content in enumerate(contents)]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('form-data; name="f"; filename="a.png"', "a.png"),
        ("form-data; name=f; filename=a.png", "a.png"),
        ('FORM-DATA; filename="a b.png"; name="f"', "a b.png"),
        ('form-data; filename="no field.png"', "no field.png"),
        ('form-data; name="f"; filename=""', ""),
        ('form-data; name="f"; filename="ü.png"', "ü.png"),
    ],
)
def test_names(disposition: str, name: str) -> None:
    (found,) = uploads(form(part(disposition, b"x")), FORM, LIMITS)
    assert found == Upload(name, b"x")


def test_fields_that_are_no_files_are_left_out() -> None:
    body = form(part('form-data; name="top"', b"3"), part('form-data; filename="a"', b"x"))
    assert uploads(body, FORM, LIMITS) == [Upload("a", b"x")]


FILE = part('form-data; name="f"; filename="a"', b"x")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (form(FILE), "multipart/form-data", 400, "names no boundary"),
        (form(FILE), "multipart/form-data; boundary=" + "x" * 1000, 400, "has no end"),
        (form(FILE), "multipart/form-data; boundary=other", 400, "has no end"),
        (FILE, FORM, 400, "has no end"),
        (FILE[:-5], FORM, 400, "has no end"),
        (b"", FORM, 400, "has no end"),
        (b"--edge\r\n" + b"A: b\r\n" * 1000, FORM, 400, "has no end"),
        (b"--edge\r\nA: " + b"b" * 100_000, FORM, 400, "cannot be read"),
        (b"--edge\r\nno headers\r\n--edge--", FORM, 400, "a part of it has no headers"),
        (b"--edge\r\n\r\n\r\n" * 10_001 + b"--edge--", FORM, 400, "too many parts"),
        (form(part('form-data; name="top"', b"3")), FORM, 400, "holds no file"),
        (form(*[FILE] * 4), FORM, 413, "3 pictures"),
        (b"", "image/png", 400, "is empty"),
        (b"x", "", 415, "is missing"),
        (b"x", "text/html", 415, "is text/html"),
        (b"x", "image", 415, "is image;"),
    ],
)
def test_what_cannot_be_read_is_refused(
    body: bytes, content_type: str, status: int, reason: str
) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        uploads(body, content_type, LIMITS)
    assert refused.value.status == status
