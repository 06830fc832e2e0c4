"""Calls for tests: endpoints of a server, units of small prompts, a run of them, and a server whose bytes a test chooses."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toys import ROOT

from eval.progress import Progress
from router.tiers import read_tiers
from training.calls.answer import Answer
from training.calls.call import Call, Unit, call_key
from training.calls.endpoints import Endpoint
from training.calls.engine import CallsSummary, run_calls
from training.calls.journal import Journal

LADDER = read_tiers(ROOT / "examples" / "standin" / "tiers.toml")


def endpoints(url: str, **fields: Any) -> dict[str, Endpoint]:
    """The stand-in's tiers at an address; no key is needed, for it is of this machine."""
    plain = {"base_url": url, "api_key_env": "TIERWISE_TEST_KEY", "max_output_tokens": 100, "max_attempts": 1}
    return {tier.name: Endpoint(tier.name, tier, **plain | fields) for tier in LADDER.tiers}


def units(
    count: int, names: Sequence[str] = LADDER.names, words: Callable[[int], str] | None = None
) -> Iterator[Unit]:
    """Units of one prompt on each tier."""
    for i in range(count):
        text = f"What is {i} + {i}?" if words is None else words(i)
        messages = ({"role": "user", "content": text},)
        yield Unit(
            tuple(
                Call(call_key(f"q-{i}", text, name), name, messages, f"prompt q-{i}, tier {name}")
                for name in names
            )
        )


def run(
    url: str, folder: Path, count: int = 4, *, journal: Journal | None = None, **options: Any
) -> CallsSummary:
    """Run the units of so many prompts; what `endpoints` and `units` take is picked out of the options."""
    fields = options.pop("fields", {})
    names = options.pop("names", LADDER.names)
    asked = {name: each for name, each in endpoints(url, **fields).items() if name in names}
    made = options.pop("units", None)
    made = units(count, names) if made is None else made
    settings = {"progress": Progress(), "total": count * len(names), "concurrency": 8} | options
    if journal is not None:
        return run_calls(made, asked, journal, **settings)
    with Journal.open(folder) as opened:
        return run_calls(made, asked, opened, **settings)


def answers(folder: Path, count: int = 4, names: Sequence[str] = LADDER.names) -> dict[str, Answer | None]:
    """What a journal holds of the units of so many prompts, by label."""
    with Journal.open(folder) as journal:
        return {call.label: journal.answer(call.key) for unit in units(count, names) for call in unit.calls}


def completion(text: str = "hello", **more: Any) -> bytes:
    """The body of an answer."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage} | more).encode()


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A whole answer, of a length that it need not have."""
    head = [f"HTTP/1.1 {status}", "content-type: application/json", "connection: close", *headers]
    head.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join([*head, "", ""]).encode() + body


@dataclass
class Raw:
    """A server that has read some requests."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each was read, by the monotonic clock."""
    let_go: threading.Event = field(default_factory=threading.Event)
    """Set to end connections that are kept without an answer."""

    def keys(self) -> list[str]:
        """The Idempotency-Key of each request."""
        return [
            line.partition(b":")[2].strip().decode()
            for request in self.requests
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"idempotency-key:")
        ]


@contextmanager
def raw_server(respond: Callable[[int, bytes], bytes | None]) -> Iterator[Raw]:
    """Serve bytes: `respond` takes a request's number, from 0, and its bytes; after its answer the connection ends.

    None is no answer: the connection is kept until `Raw.let_go` is set, which the end does.
    """
    lock = threading.Lock()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            request = _read_request(self.request)
            if not request:
                return
            with lock:
                number = len(raw.requests)
                raw.requests.append(request)
                raw.times.append(time.monotonic())
            answer = respond(number, request)
            if answer is None:
                raw.let_go.wait()
                return
            with suppress(OSError):
                self.request.sendall(answer)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        raw = Raw(f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield raw
        finally:
            raw.let_go.set()
            server.shutdown()
            thread.join()


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    while missing > 0:
        chunk = connection.recv(65536)
        data += chunk
        missing -= len(chunk) or missing
    return data
