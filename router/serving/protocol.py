"""uvicorn's HTTP, with bounds: on heads, on time, on connections, and on how much waits to be answered.

Without them a client that sends a byte a second holds a connection for good, and a queue grows until every answer
comes too late. What is turned away is answered right here, in a tenth of the time of a decision, so that turning
away does not itself become the load.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

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
_PATIENCE = 1.0  # seconds after which a request that waits for its client does not count as in flight
_LINGER = 1.0  # seconds to read what a client sends on when it has been refused
_SPARE_CONNECTIONS = 32  # for those who ask how the service is, when all others are taken
_HEALTH = (b"/healthz", b"/readyz", b"/metrics")
_OF_UPGRADES = (b"connection", b"http2-settings", b"upgrade")


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
_OVERLOADED_AND_CLOSED = _render(_OVERLOADED, close=True)


class _Lingering:
    """A connection's transport, to which a request that is answered before its end closes later.

    Closed at once, it would reset a client that is still sending, which then never reads its answer.
    """

    def __init__(self, protocol: BoundedProtocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.close_after_body


class BoundedProtocol(HttpToolsProtocol):
    """A connection. Made by `bounded_protocol`, which says what the bounds are."""

    limits: ClassVar[Limits]
    metrics: ClassVar[Metrics]
    slow: ClassVar[set[BoundedProtocol]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._heard = self._begun = self._idle_since = self.loop.time()
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._turned_away = False
        self._is_upgrade = False
        self._is_done = False
        self._is_spare = False
        self._is_closing = False
        self._parting: Problem | None = None
        self._running: RequestResponseCycle | None = None
        self._stalled: float | None = None
        self._closing: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a connection, if there is room."""
        super().connection_made(transport)
        self._lingering = _Lingering(self)
        beyond = len(self.connections) - self.limits.max_connections
        self._is_spare = beyond > 0
        if beyond > _SPARE_CONNECTIONS:
            self.metrics.count_problem(_CONNECTIONS.name)
            self._is_done = True
            transport.write(_render(_CONNECTIONS, close=True))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self.slow.discard(self)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as the head of the request, or what stands around its body, is not too large."""
        if self._is_done:
            return
        self._heard = self.loop.time()
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    data = self._leave_out_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._break_off(_BAD)
        else:
            if self._in_body and self._head_bytes > MAX_HEADER_BYTES:
                self._break_off(_HEAD)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._begun = self._heard
        self._in_head = self._in_body = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes after the body cannot replace what stood before it."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let a request in, or turn it away."""
        self._in_head = False
        if self._is_done or self.transport.is_closing():
            self._turned_away = True
            return
        is_large = self._head_bytes > MAX_HEADER_BYTES and self._measure_head() > MAX_HEADER_BYTES
        self._head_bytes = 0
        if is_large:
            self._refuse(_HEAD)
            self._turned_away = True
            return
        if (
            sum(name == b"host" for name, _ in self.headers) > 1
        ):  # RFC 9112, section 3.2: two readers may take either
            self._refuse(_BAD)
            self._turned_away = True
            return
        if (
            self._is_spare
            and len(self.connections) > self.limits.max_connections
            and not self._asks_for_health()
        ):
            self._refuse(_CONNECTIONS)
            self._turned_away = True
            return
        method = self.parser.get_method()
        if self.parser.should_upgrade():
            if method == b"CONNECT":
                self._refuse(_BAD)
            self._turned_away = self._is_upgrade = True
            return
        # Where requests are pipelined, answers keep their order.
        waiting = self.cycle is not None and not self.cycle.response_complete
        if (
            self.count_in_flight() >= self.limits.max_in_flight
            and not waiting
            and self.url.startswith(b"/v1/route")
            and method == b"POST"
        ):
            self._turned_away = True
            self._turn_away()
            return
        self.let_in()

    def let_in(self) -> None:
        """Begin to answer a request."""
        super().on_headers_complete()
        self.cycle.transport = self._lingering  # type: ignore[assignment] # as far as it is asked of
        if (
            self.expect_100_continue
        ):  # refused at its head, its body may come or not, and then nothing can follow
            self.cycle.keep_alive = False

    def count_in_flight(self) -> int:
        """Return how many requests are read and not yet answered, but for those that wait for their client."""
        return len(self.tasks) - len(self.slow)

    def on_body(self, body: bytes) -> None:
        """Keep what belongs to a request that was let in."""
        self._head_bytes = 0
        if not self._turned_away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._in_body = False
        self._head_bytes = 0
        if self._is_closing:
            self.transport.close()
        if self.slow:
            self.slow.discard(self)
        self._idle_since = self._heard
        if not self._turned_away:
            super().on_message_complete()
            return
        self._turned_away = False
        if not (self._is_upgrade or self._is_done or self.parser.should_keep_alive()):
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Note which request is being answered: uvicorn tells only the newest one when the client has gone."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Be idle, or go on to the next request."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self._parting is not None and self.cycle.response_complete and not self.transport.is_closing():
            self._part(self._parting)

    def close_after_body(self) -> None:
        """Close, but for a client that is still sending: then at the end of that, or of its time."""
        if self._in_body and not self.expect_100_continue:
            self._is_closing = True
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Note since when the client does not take its answer."""
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it does."""
        self._stalled = None
        self.slow.discard(self)
        super().resume_writing()

    def expire(self, now: float) -> None:
        """Close the connection if it has taken too long over something.

        Parameters
        ----------
        now : float
            Seconds on the event loop's clock.
        """
        limits = self.limits
        if self.transport.is_closing():  # and is still there: the client does not take the last of its answer
            self._closing = now if self._closing is None else self._closing
            if now - self._closing > limits.read_timeout:
                self.transport.abort()
        elif self._stalled is not None:
            self._be_patient(now - self._stalled)
            if now - self._stalled > limits.read_timeout:
                self.transport.abort()
        elif self._is_done:  # it closes by itself
            return
        elif self._in_head:
            if now - self._begun > (_PATIENCE if self._is_spare else limits.header_timeout):
                self._refuse(_SLOW)
        elif self._in_body:
            # A stream may last; it may not pause, but for our own sake.
            since = self._heard if self._is_stream() and not self._is_answered() else self._begun
            self._be_patient(now - since)
            if now - since > limits.read_timeout and not self.flow.read_paused:
                self._break_off(_SLOW)
        elif self.cycle is None or self.cycle.response_complete:
            first = self.cycle is None
            usual = limits.header_timeout if first else limits.keep_alive
            if now - self._idle_since > (_PATIENCE if self._is_spare else usual):
                self.transport.close()

    def _be_patient(self, seconds: float) -> None:
        """Let others in, in place of a request that waits for its client: few could keep everyone out."""
        if seconds > _PATIENCE:
            self.slow.add(self)

    def _turn_away(self) -> None:
        """Answer that there is too much to do, at once, and read on past the request."""
        self.metrics.count_problem(_OVERLOADED.name)
        if self.flow.write_paused:  # it asks on without reading; its answers would pile up
            self.transport.abort()
        elif self.expect_100_continue:  # its body may come or not
            self.transport.write(_OVERLOADED_AND_CLOSED)
            self.transport.close()
        else:
            self.transport.write(_OVERLOADED_ANSWER)

    def _leave_out_upgrade(self, rest: bytes) -> bytes:
        """Return a request that would rather speak another protocol as if it had not said so, to be read again.

        The parser takes its body for that protocol. Java's client asks for HTTP/2 so, with each first request.
        """
        self._is_upgrade = False
        if self._is_done:
            return b""
        headers = [(name, value) for name, value in self.headers if name not in _OF_UPGRADES]
        if any(b"close" in value.lower() for name, value in self.headers if name == b"connection"):
            headers.append((b"connection", b"close"))
        method, version = self.parser.get_method(), self.parser.get_http_version().encode("ascii")
        lines = [method + b" " + self.url + b" HTTP/" + version, *(b": ".join(header) for header in headers)]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join((*lines, b"", rest))

    def _asks_for_health(self) -> bool:
        return self.url.partition(b"?")[0] in _HEALTH

    def _measure_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _is_stream(self) -> bool:
        types = (value for name, value in self.headers if name == b"content-type")
        return any(value.lower().startswith(NDJSON.encode()) for value in types)

    def _break_off(self, problem: Problem) -> None:
        """Refuse a request amid its head or its body, or only close where it has its answer."""
        if self._is_done or self.transport.is_closing():
            return
        if self._in_body and not self._in_head and self._is_answered():
            self._is_done = True
            self.transport.close()
        else:
            self._refuse(problem)

    def _is_answered(self) -> bool:
        """Whether the request whose body is being read has its answer already."""
        return self._turned_away or (self.cycle is not None and self.cycle.response_complete)

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem, after what was asked before it, and read no more."""
        self.metrics.count_problem(problem.name)
        self._is_done = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:  # asked before, and answered first
                self._parting = problem
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        self._part(problem)

    def _part(self, problem: Problem) -> None:
        """Say what is wrong, and close when that has been read: at once, what still comes would take it back."""
        self.transport.write(_render(problem, close=True))
        self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.close)


def bounded_protocol(limits: Limits, metrics: Metrics) -> type[BoundedProtocol]:
    """Return the protocol with its bounds; uvicorn makes one for each connection."""
    return type("Protocol", (BoundedProtocol,), {"limits": limits, "metrics": metrics, "slow": set()})
