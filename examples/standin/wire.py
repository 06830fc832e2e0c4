"""HTTP/1.1, as much of it as a client of models speaks, on asyncio alone.

The rule: bytes in, bytes out; what a request means is for `app`, which is called once for each and returns a `Reply`.
It is its own protocol because a stand-in must also be able to do what no server should: never answer, or hang up in the
middle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, cast

__all__ = ["Connection", "Reply", "Request"]

_LONGEST_HEAD = 65536
_LONGEST_BODY = 2**28
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Request(NamedTuple):
    """A request; names of headers are in small letters."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """What to answer, and how badly.

    Attributes
    ----------
    headers : str
        Further lines, each with its line end.
    share : float
        How much of the body is sent; below 1 the connection is then closed.
    sent : bool
        False for no answer at all: the connection is left open.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: str = ""
    delay_s: float = 0.0
    share: float = 1.0
    sent: bool = True


class Connection(asyncio.Protocol):
    """A connection: one request after the other."""

    def __init__(self, app: Callable[[Request], Reply], loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._received = bytearray()
        self._head: tuple[int, Request] | None = None  # bytes of the body, and what was read so far
        self._busy = self._last = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the client."""
        self._transport = cast(asyncio.Transport, transport)  # a server is given no other

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        """Answer nobody any more."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer what has come as a whole."""
        self._received += data
        self._go_on()

    def _go_on(self) -> None:
        while not self._busy and self._transport is not None:
            if self._head is None and not self._read_head():
                return
            assert self._head is not None  # noqa: S101
            size, request = self._head
            if len(self._received) < size:
                return
            body = bytes(self._received[:size])
            del self._received[:size]
            self._head = None
            self._last = request.headers.get("connection") == "close"
            self._answer(self._app(request._replace(body=body)))

    def _read_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n", 0, _LONGEST_HEAD)
        if end < 0:
            if len(self._received) > _LONGEST_HEAD and self._transport:
                self._transport.close()
            return False
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        del self._received[: end + 4]
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        method, _, rest = first.partition(" ")
        path, _, query = rest.partition(" ")[0].partition("?")
        size = headers.get("content-length", "0")
        if not (size.isascii() and size.isdigit() and len(size) < 20) or "transfer-encoding" in headers:
            self._last = True  # where the body ends is not known
            self._answer(Reply(411, b"expected a body with content-length\n", "text/plain"))
            return False
        if int(size) > _LONGEST_BODY:
            self._last = True
            self._answer(Reply(413, b"expected a shorter body\n", "text/plain"))
            return False
        if headers.get("expect") == "100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._head = int(size), Request(method, path, query, headers, b"")
        return True

    def _answer(self, reply: Reply) -> None:
        self._busy = True
        if not reply.sent:
            return  # and nothing more is read: the client will give up
        if reply.delay_s > 0:
            self._loop.call_later(reply.delay_s, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self._busy = False
        if self._transport is None:
            return
        head = (
            f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}\r\ncontent-type: {reply.content_type}\r\n"
            f"{reply.headers}content-length: {len(reply.body)}\r\n\r\n"
        )
        whole = head.encode("latin-1") + reply.body
        if reply.share > 0.0:
            self._transport.write(whole[: len(whole) - int(len(reply.body) * (1.0 - reply.share))])
        if reply.share < 1.0 or self._last:
            self._transport.close()
        elif reply.delay_s > 0:
            self._go_on()
