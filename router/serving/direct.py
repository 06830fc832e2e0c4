"""`POST /v1/route`, answered where its last byte is read.

A decision waits for nothing, so a task, an event and an ASGI application around it are 70 microseconds for nothing
(docs/LOG.md). What is out of the ordinary, such as a body in chunks or more than one request in flight on a
connection, goes the way of everything else; the answers are the same.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from router.serving.exchange import Exchange
from router.serving.gate import CLIENT_CLOSED, Gate
from router.serving.limits import Limits
from router.serving.metrics import Metrics
from router.serving.protocol import BoundedProtocol

__all__ = ["Turn", "direct_protocol"]

_MOST_BODY_BYTES = 64 * 1024  # more is kept back while it cannot be read on, and that is uvicorn's to do
_PATH = b"/v1/route"


class Turn:
    """One turn of the event loop: what it has let in waits for what it let in before."""

    def __init__(self) -> None:
        self.let_in = 0
        self._most = 0

    def end(self) -> None:
        """Begin the next."""
        self._most = max(self._most, self.let_in)
        self.let_in = 0

    def take_most(self) -> int:
        """Return the most that one turn has let in since it was asked last."""
        most, self._most = self._most, 0
        return most


class _Cycle:
    """A request under way, in the words in which uvicorn asks of one."""

    message_event: ClassVar[asyncio.Event] = asyncio.Event()  # set, and waited for by no one

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.parts: list[bytes] = []
        self.keep_alive = True
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False


class DirectProtocol(BoundedProtocol):
    """A connection. Made by `direct_protocol`."""

    gate: ClassVar[Gate]
    turn: ClassVar[Turn]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._direct: _Cycle | None = None

    def let_in(self) -> None:
        """Begin to answer a request, here or as everything else."""
        headers = dict(self.headers)
        if not self._is_ordinary(headers):
            super().let_in()
            return
        turn = self.turn
        if not turn.let_in:
            self.loop.call_soon(turn.end)
        turn.let_in += 1
        self._direct = _Cycle(self.gate.open(_PATH.decode(), headers))
        self.cycle = self._direct  # type: ignore[assignment] # as far as it is asked of

    def count_in_flight(self) -> int:
        """Return how many requests are read and not yet answered, those of this turn included."""
        return super().count_in_flight() + self.turn.let_in

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body."""
        if self._direct is None:
            super().on_body(body)
        else:
            self._direct.parts.append(body)

    def on_message_complete(self) -> None:
        """Answer, if the request is to be answered here."""
        super().on_message_complete()
        direct = self._direct
        if direct is None or self.transport.is_closing():
            return  # in the second case the connection's end tells of it
        self._direct = None
        exchange = direct.exchange
        content = self.gate.answer(exchange, b"".join(direct.parts))
        headers = [*self.server_state.default_headers, *exchange.answer_headers]
        if not direct.keep_alive:  # the service stops
            headers.append((b"connection", b"close"))
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[exchange.status], lines, content))
        direct.response_started = direct.response_complete = True
        self.server_state.total_requests += 1
        if not direct.keep_alive:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange of a client that did not wait."""
        if self._direct is not None:
            exchange = self._direct.exchange
            exchange.status = CLIENT_CLOSED
            self.gate.close(exchange)
            self._direct = None
        super().connection_lost(exc)

    def _is_ordinary(self, headers: dict[bytes, bytes]) -> bool:
        length = headers.get(b"content-length")
        return (
            self.url == _PATH
            and self.parser.get_method() == b"POST"
            and length is not None
            and int(length) <= min(_MOST_BODY_BYTES, self.limits.max_body_bytes)
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and (self.cycle is None or self.cycle.response_complete)
        )


def direct_protocol(limits: Limits, metrics: Metrics, gate: Gate, turn: Turn) -> type[DirectProtocol]:
    """Return the protocol with its bounds and its gate; uvicorn makes one for each connection."""
    fields = {"limits": limits, "metrics": metrics, "slow": set(), "gate": gate, "turn": turn}
    return type("Protocol", (DirectProtocol,), fields)
