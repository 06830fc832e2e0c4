"""uvicorn's HTTP, with bounds: on heads, on time, on connections, and on how much waits to be answered.

Without them a client that sends a byte a second holds a connection for good, and a queue grows until every answer
comes too late. What is turned away is answered right here, in a tenth of the time of a decision, so that turning
away does not itself become the load.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.serving.exchange import NDJSON
from router.serving.limits import MAX_HEADER_BYTES, Limits
from router.serving.metrics import Metrics
from router.serving.problems import MEDIA_TYPE, Problem

__all__ = ["BoundedProtocol", "bounded_protocol"]

_RETRY_AFTER = {"retry-after": "1"}
_OVERLOADED = Problem(
    "overloaded",
    "more requests wait than the service answers in good time; ask again later",
    headers=_RETRY_AFTER,
)
_CONNECTIONS = Problem("overloaded", "too many connections are open; ask again later", headers=_RETRY_AFTER)
_HEAD = Problem("headers-too-large", f"expected at most {MAX_HEADER_BYTES:,} bytes of headers, found more")
_SLOW = Problem("too-slow", "the request did not come to its end in time; send it faster")
_BAD = Problem("bad-http", "the request is not HTTP/1.1")


def _render(problem: Problem, *, close: bool) -> bytes:
    content = problem.to_json()
    lines = [
        f"HTTP/1.1 {problem.status} {problem.title}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(content)}",
        *(f"{name}: {value}" for name, value in problem.headers.items()),
    ]
    if close:
        lines.append("connection: close")
    return "\r\n".join((*lines, "", "")).encode("ascii") + content


_OVERLOADED_ANSWER = _render(_OVERLOADED, close=False)


class BoundedProtocol(HttpToolsProtocol):
    """A connection. Made by `bounded_protocol`, which says what the bounds are."""

    limits: ClassVar[Limits]
    metrics: ClassVar[Metrics]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._heard = self._begun = self.loop.time()
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._turned_away = False
        self._stalled: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a connection, if there is room."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(_CONNECTIONS)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as the head of the request is not too large."""
        self._heard = self.loop.time()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._refuse(_HEAD)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._begun = self._heard
        self._in_head = self._in_body = True

    def on_headers_complete(self) -> None:
        """Let a request in, or turn it away."""
        self._in_head = False
        if self._head_bytes > MAX_HEADER_BYTES and self._measure_head() > MAX_HEADER_BYTES:
            self._turned_away = True
            self._refuse(_HEAD)
            return
        waiting = (
            self.cycle is not None and not self.cycle.response_complete
        )  # pipelined: answers keep their order
        if (
            len(self.tasks) >= self.limits.max_in_flight
            and not waiting
            and self.url.startswith(b"/v1/route")
            and self.parser.get_method() == b"POST"
        ):
            self._turned_away = True
            self.metrics.count_problem(_OVERLOADED.name)
            self.transport.write(_OVERLOADED_ANSWER)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep what belongs to a request that was let in."""
        if not self._turned_away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._in_body = False
        self._head_bytes = 0
        if not self._turned_away:
            super().on_message_complete()
            return
        self._turned_away = False
        if not self.parser.should_keep_alive():
            self.transport.close()

    def pause_writing(self) -> None:
        """Note since when the client does not take its answer."""
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it does."""
        self._stalled = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's sentence, in place of which stands ours
        """Answer what is not HTTP."""
        if not self.transport.is_closing():
            self._refuse(_BAD)

    def expire(self, now: float) -> None:
        """Close the connection if it has taken too long over something.

        Parameters
        ----------
        now : float
            Seconds on the event loop's clock.
        """
        if self.transport.is_closing():
            return
        limits = self.limits
        if self._stalled is not None and now - self._stalled > limits.read_timeout:
            self.transport.abort()
        elif self._in_head:
            if now - self._begun > limits.header_timeout:
                self._refuse(_SLOW)
        elif self._in_body:
            # A stream may last; it may not pause, but for our own sake.
            since = self._heard if self._is_stream() else self._begun
            if now - since <= limits.read_timeout or self.flow.read_paused:
                return
            if self._turned_away or self.cycle.response_complete:  # answered already, and sends on
                self.transport.close()
            else:
                self._refuse(_SLOW)
        elif self.cycle is None or self.cycle.response_complete:
            first = self.cycle is None
            if now - self._heard > (limits.header_timeout if first else limits.keep_alive):
                self.transport.close()

    def _measure_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _is_stream(self) -> bool:
        types = (value for name, value in self.headers if name == b"content-type")
        return any(value.lower().startswith(NDJSON.encode()) for value in types)

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem if nothing else has been, and close."""
        self.metrics.count_problem(problem.name)
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_render(problem, close=True))
        self.transport.close()


def bounded_protocol(limits: Limits, metrics: Metrics) -> type[BoundedProtocol]:
    """Return the protocol with its bounds; uvicorn makes one for each connection."""
    return type("Protocol", (BoundedProtocol,), {"limits": limits, "metrics": metrics})
