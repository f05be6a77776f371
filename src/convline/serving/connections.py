"""Connections that do not wait for their clients for ever, which uvicorn leaves to a proxy."""

import asyncio
import socket
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
from starlette.applications import Starlette
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import Server

from convline.problems import Problem
from convline.serving.inference_protocol import dumped
from convline.serving.limits import Limits
from convline.serving.metrics import Metrics

BACKLOG = 2048  # connections that the system holds until they are accepted


class Corked:
    """A transport that sends what is written within one turn of the loop at once.

    uvicorn writes the head of an answer and its body one after the other, and each goes to the
    system on its own, which takes longer than a small network.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data` soon."""
        if not self._written:
            self._loop.call_soon(self.flush)
        self._written.append(data)

    def flush(self) -> None:
        """Send what was written."""
        written, self._written = self._written, []
        if written:
            self._transport.write(b"".join(written))

    def close(self) -> None:
        """Send what was written, and close."""
        self.flush()
        self._transport.close()


class Connection(H11Protocol):
    """One of uvicorn's, which knows since when it waits for its client.

    The app itself limits the time of a body, so that the answer can say so.
    """

    def __init__(self, *arguments: Any, limits: Limits, metrics: Metrics, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.limits = limits
        self.metrics = metrics
        self.since = self.loop.time()  # began the head or the body, or stopped the answer's reading
        self.idle = False  # between two requests

    @property
    def answering(self) -> bool:
        """Whether it waits for the app."""
        busy = self.cycle is not None and not self.cycle.response_complete
        return busy and not self.cycle.more_body and not self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, and give up the one that has waited longest where there are too many."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        if len(self.connections) > self.limits.connections:
            waiting = [one for one in self.connections if not one.answering]  # type: ignore[union-attr]
            min(waiting, key=lambda one: one.since).abort("crowded")  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        """Note when a request begins."""
        if self.idle:
            self.idle, self.since = False, self.loop.time()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have begun."""
        self.idle, self.since = not self.conn.trailing_data[0], self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self.since = self.loop.time()
        super().pause_writing()

    def check(self) -> None:
        """Close it where its client keeps it waiting for too long."""
        waited = self.loop.time() - self.since
        if self.transport.is_closing() or self.flow.write_paused:
            if waited > self.limits.send_seconds:
                self.abort("unread answer")
            return
        waits_for_head = self.cycle is None or self.cycle.response_complete
        if waits_for_head and not self.idle and waited > self.limits.head_seconds:
            self.metrics.closed.labels("slow headers").inc()
            seconds = f"{self.limits.head_seconds:g}"
            self.refuse(408, f"the headers did not arrive within {seconds} seconds")

    def abort(self, reason: str) -> None:
        """Close it at once."""
        self.metrics.closed.labels(reason).inc()
        self.connections.discard(self)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self.metrics.closed.labels("no HTTP").inc()
        self.refuse(400, msg)

    def refuse(self, status: int, reason: str) -> None:
        """Answer without the app, and close. The app hears that the client is gone."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = dumped({"error": reason})
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            parts = (
                h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(self.conn.send(part) or b"" for part in parts))
        self.transport.close()


class LimitedServer(Server):
    """uvicorn's server, which checks its connections each second."""

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if counter % 10 == 0:
            for connection in list(self.server_state.connections):
                connection.check()  # type: ignore[union-attr]
        return await super().on_tick(counter)


def server(app: Starlette, limits: Limits, metrics: Metrics) -> LimitedServer:
    """A server of `app`, for `run(sockets=[...])`."""
    return LimitedServer(
        Config(
            app,
            http=partial(Connection, limits=limits, metrics=metrics),  # type: ignore[arg-type]
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=limits.finish_seconds,
        )
    )


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `Problem` where the address is taken or is none of ours."""
    if not 0 <= port < 1 << 16:  # the system would take it modulo that
        raise Problem(f"cannot listen on {host}:{port}: a port is from 0 to 65535")
    try:
        # With its protocol, or asyncio leaves Nagle's algorithm on, which delays answers by 40 ms
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        raise Problem(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return opened
