"""Uploads: the picture files in the body of a request."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from convline.serving.limits import Limits, Refused
from convline.text import shortened

HINT = "send files as `curl -F file=@picture.png` does, or one file with `Content-Type: image/png`"


@dataclass
class Upload:
    """A file: its name is None where the request does not say it."""

    name: str | None
    content: bytes


def uploads(body: bytes, content_type: str, limits: Limits) -> list[Upload]:
    """The files of a form, or the one file that is the body. Raises `Refused`."""
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        return _parts(body, options.get(b"boundary", b""), limits)
    if not kind.startswith(b"image/") and kind != b"application/octet-stream":
        given = shortened(content_type) if content_type else "missing"
        raise Refused(415, f"the content type is {given}; {HINT}")
    if not body:
        raise Refused(400, f"the body is empty; {HINT}")
    return [Upload(None, body)]


@dataclass
class _Form:
    """The parser's callbacks, and the files that they found."""

    most: int
    files: list[Upload] = field(default_factory=list)
    ended: bool = False
    _name: bytearray = field(default_factory=bytearray)  # of the header that is being read
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _content: bytearray = field(default_factory=bytearray)

    def part_begin(self) -> None:
        self._disposition, self._content = b"", bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def part_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            return  # a field of the form
        if len(self.files) == self.most:
            raise Refused(413, f"a request may bring {self.most} pictures; send several requests")
        name = options[b"filename"].decode(errors="replace")
        self.files.append(Upload(name, bytes(self._content)))

    def end(self) -> None:
        self.ended = True


def _parts(body: bytes, boundary: bytes, limits: Limits) -> list[Upload]:
    form = _Form(limits.pictures)
    try:
        if not boundary:
            raise FormParserError("its content type names no boundary")
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.part_begin,
                "on_header_field": form.header_field,
                "on_header_value": form.header_value,
                "on_header_end": form.header_end,
                "on_part_data": form.part_data,
                "on_part_end": form.part_end,
                "on_end": form.end,
            },
        )
        parser.write(body)
        parser.finalize()
        if not form.ended:
            raise FormParserError("it ends too early")
    except FormParserError as error:
        raise Refused(400, f"the form cannot be read: {shortened(error, 150)}") from error
    if not form.files:
        raise Refused(400, f"the form holds no file; {HINT}")
    return form.files
