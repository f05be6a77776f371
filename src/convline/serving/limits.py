"""Limits of the server: what a request may bring, and how long anybody waits for it.

Memory stays bounded whatever is sent: a body is counted while it arrives and while it is
decompressed, and all bodies together have a bound too.
"""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Receive

MEBIBYTE = 2**20
ENCODINGS = ("gzip", "deflate")  # of bodies, both ways
STEP = MEBIBYTE  # bytes that are decompressed at a time
WORTH = 1024  # bytes of an answer, from which on it is compressed for those who ask


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    body: int = 32 * MEBIBYTE  # of a request, and once it is decompressed
    json: int = 8 * MEBIBYTE  # of a request's JSON, which as objects takes many times its size
    bodies: int = 256 * MEBIBYTE  # of all requests that are being received or answered
    pictures: int = 256  # of a request
    pixels: int = 25_000_000  # of a picture, before it is decoded
    id: int = 1024  # characters of a request's id, which its answer repeats
    connections: int = 512
    head_seconds: float = 10  # for the headers of a request
    body_seconds: float = 30  # for its body
    send_seconds: float = 30  # that a client may leave an answer unread
    idle_seconds: int = 60  # of a connection between two requests
    linger_seconds: float = 2  # that a refused body is read on and dropped
    finish_seconds: int = 30  # for what has begun when the server is stopped


class Refused(Exception):
    """A request that is refused, with the status of its answer. Its text is the reason.

    `unread` says that a part of its body has not been received.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        headers: dict[str, str] | None = None,
        *,
        unread: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers or {}
        self.unread = unread


@dataclass
class Bodies:
    """The bodies in memory, and how many bytes they are."""

    limits: Limits
    held: int = field(default=0, init=False)

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[bytes]:
        """The body of `request`, decompressed. It counts as held until the context ends.

        Raises `Refused` where it is too large, too slow or wrongly compressed, and where other
        bodies leave no room for it. Raises `ClientDisconnect` where the client hangs up.
        """
        content = bytearray()
        try:
            try:
                async with asyncio.timeout(self.limits.body_seconds):
                    async for chunk in self._decoded(request):
                        content += chunk
                        self.held += len(chunk)
                        if len(content) > self.limits.body:
                            raise self._too_large()
                        if self.held > self.limits.bodies:
                            reason = "other requests leave no room for this one; try again"
                            raise Refused(503, reason, {"retry-after": "1"})
            except TimeoutError as error:
                seconds = f"{self.limits.body_seconds:g}"
                reason = f"the body did not arrive within {seconds} seconds"
                raise Refused(408, reason, unread=True) from error
            except Refused as refused:
                refused.unread = True
                raise
            yield bytes(content)
        finally:
            self.held -= len(content)

    async def _decoded(self, request: Request) -> AsyncIterator[bytes]:
        """The chunks of the body of `request`, decompressed where it says how it is compressed."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in (*ENCODINGS, "identity"):
            accepted = {"accept-encoding": ", ".join(ENCODINGS)}
            reason = f"a body should be compressed with {' or '.join(ENCODINGS)}, or not at all"
            raise Refused(415, reason, accepted)
        if int(request.headers.get("content-length", 0)) > self.limits.body:
            raise self._too_large()
        if encoding == "identity":
            async for chunk in request.stream():
                if chunk:
                    yield chunk
            return
        decompressor = zlib.decompressobj(wbits=47)  # the header tells gzip from zlib
        try:
            async for chunk in request.stream():
                while chunk:
                    if decompressor.eof:
                        raise zlib.error("data after its end")
                    yield decompressor.decompress(chunk, STEP)
                    chunk = decompressor.unconsumed_tail or decompressor.unused_data
        except zlib.error as error:
            raise Refused(400, f"the body is no valid {encoding}: {error}") from error
        if not decompressor.eof:
            raise Refused(400, f"the body is no valid {encoding}: it ends too early")

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self.limits.body / MEBIBYTE:g} MiB")


def encoded(content: bytes, accepted: str) -> tuple[bytes, dict[str, str]]:
    """An answer's body for a client that accepts these encodings, and the headers that say how."""
    wanted = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    encoding = next((encoding for encoding in ENCODINGS if encoding in wanted), None)
    if encoding is None or len(content) < WORTH:
        return content, {}
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    return pack(content, 1), {"content-encoding": encoding, "vary": "accept-encoding"}


async def linger(receive: Receive, seconds: float) -> None:
    """Read the rest of a refused body and drop it, so that its sender gets to read the answer.

    Closed with data unread, a connection is reset, and the answer may be lost.
    """
    try:
        async with asyncio.timeout(seconds):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass
