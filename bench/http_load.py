"""A load generator for bench/http.py: keep-alive connections, one request at a time on each, every response checked.

`python -m bench.http_load FILE` is a child that takes orders on its input. FILE holds the texts: a JSON object of
`short` and `long` texts and of `words`, of which further ones are made. An order is a line of JSON (`Order`); the child
builds the requests and answers `ready`; at the next line it sends them, and answers with what it found.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO, cast
from urllib.parse import urlsplit

import uvloop

from bench.http_requests import Order, build_requests
from bench.service import MB

__all__: list[str] = []

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIER = b'"tier":'
_TICK_S = 0.001  # what a timer of the loop resolves
_BETWEEN_READINGS_S = 0.02


class _Watch:
    """Other processes' CPU time and resident size, from /proc (proc(5))."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.pids = pids
        self._tick, self._page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> list[float]:
        """Return user and system seconds so far, of each."""
        taken = []
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            taken.append((int(fields[11]) + int(fields[12])) / self._tick)
        return taken

    def resident_mb(self) -> float:
        """Return the resident size of all, in 1e6 bytes; a shared page counts in each."""
        pages = sum(
            int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in self.pids
        )
        return round(pages * self._page / MB, 2)


class _Connection(asyncio.Protocol):
    """One keep-alive connection; tells its load of each whole response."""

    __slots__ = ("busy", "due", "held", "load", "needed", "sent", "transport")

    def __init__(self, load: _Load) -> None:
        self.load = load
        self.held, self.needed = b"", 0
        self.busy = False
        self.due = self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it

    def send(self, request: bytes, due: float | None = None) -> None:
        self.busy, self.sent = True, perf_counter()
        self.due = self.sent if due is None else due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        held = self.held + data if self.held else data
        if len(held) >= self.needed:
            i = held.find(b"\r\n\r\n")
            if i >= 0:
                length = _LENGTH.search(held, 0, i)
                assert length is not None, "a response without its length"
                self.needed = i + 4 + int(length[1])
                if len(held) >= self.needed:
                    self.held, self.needed, self.busy = b"", 0, False
                    self.load.take_answer(self, held, i)
                    return
        self.held = held

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.held, self.needed = b"", 0
        self.load.take_loss(self)


class _Load:
    """The state of one order: what was sent, what came back and when."""

    def __init__(self, order: Order, given: dict[str, list[str]]) -> None:
        self.order, self.watch = order, _Watch(order.watch)
        # Made one by one while sending where they are many, else beforehand.
        requests = build_requests(order, given)
        self.requests = requests if order.texts == "made" and order.kind != "stream" else iter([*requests])
        if order.seconds is not None:
            self.requests = cycle(self.requests)
        self.end = float("inf")
        self.n_sent = self.n_in_time = self.n_lost = 0
        self.accepted: list[float] = []  # seconds from sending; and from when it was due
        self.accepted_due: list[float] = []
        self.rejected: list[float] = []
        self.failures: dict[str, int] = {}
        self.resident: list[tuple[int, float]] = []
        self.open: set[_Connection] = set()
        self.idle: deque[_Connection] = deque()
        self.done = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        where = urlsplit(self.order.url)
        host, port = where.hostname, where.port
        assert host is not None
        assert port is not None
        make = _Stream if self.order.kind == "stream" else _Connection
        try:
            _, connection = await asyncio.get_running_loop().create_connection(lambda: make(self), host, port)
        except OSError as exc:
            self.fail(f"no connection: {type(exc).__name__}")
            return
        self.open.add(connection)
        self.idle.append(connection)

    async def run(self) -> dict[str, Any]:
        for _ in range(self.order.connections):
            await self.connect()
        assert self.open, "no connection to the server"
        resident_before = self.watch.resident_mb()
        before, own_before = self.watch.cpu_s(), time.process_time()
        self.begin = perf_counter()
        if self.order.seconds is not None:
            self.end = self.begin + self.order.seconds
        if self.order.rate is not None:
            self.tick()
        else:
            for connection in [*self.idle]:
                self.send_next(connection)
        await self.done
        finished = perf_counter()
        cpu_s = time.process_time() - own_before
        watched = [y - x for x, y in zip(before, self.watch.cpu_s(), strict=True)]
        for connection in self.open:
            connection.transport.close()
        return {
            "begin": self.begin,
            "end": min(finished, self.end),
            "sent": self.n_sent,
            "accepted_in_time": self.n_in_time,
            "accepted_us": _whole_us(self.accepted),
            "accepted_due_us": _whole_us(self.accepted_due),
            "rejected_us": _whole_us(self.rejected),
            "failures": self.failures,
            "lost": self.n_lost,
            "results": sum(c.count_results() for c in self.open if isinstance(c, _Stream)),
            "wall_s": finished - self.begin,
            "cpu_s": cpu_s,
            "watched_cpu_s": watched,
            "resident_before_mb": resident_before,
            "resident": self.resident,
        }

    def tick(self) -> None:
        """Send all that is due, while connections are free; and again a little later."""
        if perf_counter() < self.end:
            while self.idle and self.send_due(self.idle[0]):
                self.idle.popleft()
            asyncio.get_running_loop().call_later(_TICK_S, self.tick)
        else:
            self.stop_if_done()

    def send_due(self, connection: _Connection) -> bool:
        assert self.order.rate is not None
        due = self.begin + self.n_sent / self.order.rate
        if due > min(perf_counter(), self.end):
            return False
        self.n_sent += 1
        connection.send(next(self.requests), due)
        return True

    def send_next(self, connection: _Connection) -> None:
        """Let a connection that is free send the next request, or rest."""
        if self.order.rate is not None:
            if perf_counter() >= self.end or not self.send_due(connection):
                self.idle.append(connection)
                self.stop_if_done()
            return
        request = next(self.requests, None) if perf_counter() < self.end else None
        if request is None:
            self.stop_if_done()
            return
        self.n_sent += 1
        connection.send(request)

    def stop_if_done(self) -> None:
        over = self.order.rate is None or perf_counter() >= self.end
        if over and not self.done.done() and not any(connection.busy for connection in self.open):
            self.done.set_result(None)

    def take_answer(self, connection: _Connection, response: bytes, head: int) -> None:
        """Check a response, note its time, and send the next request."""
        now = perf_counter()
        if response.startswith(b"HTTP/1.1 200 ") and response.count(_TIER, head) == self.order.items:
            self.accepted.append(now - connection.sent)
            if self.order.rate is not None:
                self.accepted_due.append(now - connection.due)
            self.n_in_time += now <= self.end
            every = self.order.every
            if every and len(self.accepted) % every == 0:
                self.resident.append((len(self.accepted), self.watch.resident_mb()))
        else:
            self.take_refusal(now - connection.sent, response[:head].lower())
            if b"\r\nconnection: close" in response[:head].lower():
                connection.transport.close()  # and connect again, when it is lost
                return
        self.send_next(connection)

    def take_refusal(self, taken: float, head: bytes) -> None:
        status = head[9:12].decode("ascii", "replace")
        if status != "503" and not (status == "429" and self.order.kind == "batch"):
            self.fail(f"status {status}, or not the tiers asked for")
        elif b"\r\nretry-after: " not in head or b"\r\ncontent-type: application/problem+json" not in head:
            self.fail(f"{status} without Retry-After or problem+json")
        else:
            self.rejected.append(taken)

    def take_loss(self, connection: _Connection) -> None:
        """Connect again while there is something to send."""
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.done.done():
            return
        self.n_lost += 1
        if connection.busy:
            self.fail("connection lost before the answer")
        task = asyncio.ensure_future(self.replace())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def replace(self) -> None:
        await self.connect()
        if self.order.rate is None and self.idle:
            self.send_next(self.idle.pop())
        self.stop_if_done()

    def fail(self, why: str) -> None:
        self.failures[why] = self.failures.get(why, 0) + 1


def _whole_us(taken: list[float]) -> list[int]:
    return [round(seconds * 1e6) for seconds in taken]


class _Stream(_Connection):
    """A connection that streams one body of chunks while it reads the answer."""

    __slots__ = ("parts", "paused", "read_at", "tail")

    def __init__(self, load: _Load) -> None:
        super().__init__(load)
        self.parts: list[bytes] = []
        self.tail, self.paused, self.read_at = b"", False, 0.0

    def send(self, request: bytes, due: float | None = None) -> None:
        super().send(request, due)
        self.write_more()

    def write_more(self) -> None:
        while not self.paused and (piece := next(self.load.requests, None)) is not None:
            self.transport.write(piece)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.write_more()

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        self.tail = (self.tail + data)[-7:]
        now = perf_counter()
        if self.load.order.watch and now > self.read_at + _BETWEEN_READINGS_S:
            self.read_at = now
            self.load.resident.append((len(self.parts), self.load.watch.resident_mb()))
        if self.tail == b"\r\n0\r\n\r\n" or not self.parts[0].startswith(b"HTTP/1.1 200 "):
            self.busy = False
            self.load.stop_if_done()

    def count_results(self) -> int:
        """Return how many whole lines with a tier came back, or 0 where the answer is no stream."""
        head, _, body = b"".join(self.parts).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or b"transfer-encoding: chunked" not in head.lower():
            print(head[:300], body[:300], file=sys.stderr)
            return 0
        lines, i = bytearray(), 0
        while size := int(body[i : (j := body.index(b"\r\n", i))], 16):
            lines += body[j + 2 : j + 2 + size]
            i = j + 4 + size
        return sum(_TIER in line for line in lines.split(b"\n"))


async def _carry_out(order: Order, given: dict[str, list[str]], answers: TextIO) -> dict[str, Any]:
    load = _Load(order, given)
    gc.collect()
    gc.freeze()  # so that no collection walks the requests while the clock runs
    print('"ready"', file=answers, flush=True)
    sys.stdin.readline()
    return await load.run()


def main() -> None:
    """Carry out the orders of the input, one after the other."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # Not sys.stdout: where that is unbuffered (PYTHONUNBUFFERED), a long line that a pipe takes in parts is cut short.
    with os.fdopen(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False) as answers:
        for line in sys.stdin:
            found = uvloop.run(_carry_out(Order(**json.loads(line)), given, answers))
            gc.unfreeze()
            print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
