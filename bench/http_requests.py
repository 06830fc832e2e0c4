"""What the load generator of bench/http.py is told to send, and the bytes of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

from bench.service import count_prompts

__all__ = ["Order", "build_requests"]

_PIECE = 60_000  # bytes of a chunk of a streamed body


@dataclass(frozen=True, slots=True)
class Order:
    """What to send, where, and for how long.

    Attributes
    ----------
    kind : str
        `route`: a prompt. `full`: the same as messages, with policy, needs and metadata. `batch`: `items` prompts.
        `stream`: one request of `count` lines.
    texts : str
        `short`, `long`, or `made`: each of `count` then is another.
    start, count : int
        The first text, and how many requests.
    seconds : float or None
        Send the same requests over and over for so long, instead of each once.
    rate : float or None
        Requests a second, sent whether others are answered or not while a connection is free; with `seconds`.
    watch : list of int
        Processes whose CPU time is read before and after, and whose resident size is read every `every` responses.
    """

    url: str
    key: str
    kind: str = "route"
    texts: str = "short"
    start: int = 0
    count: int = 1000
    items: int = 1
    connections: int = 1
    seconds: float | None = None
    rate: float | None = None
    watch: Sequence[int] = ()
    every: int = 0


def _write_body(order: Order, texts: Sequence[str]) -> bytes:
    item: dict[str, Any] = {"prompt": texts[0]}
    if order.kind == "full":
        item = {
            "messages": [
                {"role": "system", "content": "You answer briefly."},
                {"role": "user", "content": texts[0]},
            ],
            "policy": {"max_regret": 0.1, "ceiling": "large", "max_cost_usd": 1.0},
            "context_tokens": 1200,
            "needs": ["json"],
            "metadata": {"feature": "search", "user_tier": "free"},
        }
    elif order.kind == "batch":
        item = {"items": [{"prompt": text} for text in texts]}
    return json.dumps(item, ensure_ascii=False).encode()


def build_requests(order: Order, given: dict[str, list[str]]) -> Iterator[bytes]:
    """Yield the requests of an order, whole. Pure."""
    path = "/v1/route/batch" if order.kind in ("batch", "stream") else "/v1/route"
    content = "application/x-ndjson" if order.kind == "stream" else "application/json"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(order.url).netloc}\r\nAuthorization: Bearer {order.key}\r\n"
        f"Content-Type: {content}\r\n"
    ).encode()
    if order.texts == "made":
        texts: Iterator[str] = count_prompts(given["words"], order.count * order.items, order.start)
    else:
        texts = islice(cycle(given[order.texts]), order.start, None)
    if order.kind == "stream":
        yield head + b"Transfer-Encoding: chunked\r\n\r\n"
        lines = b"".join(_write_body(order, [text]) + b"\n" for text in islice(texts, order.count))
        for i in range(0, len(lines), _PIECE):
            piece = lines[i : i + _PIECE]
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
        yield b"0\r\n\r\n"
        return
    for _ in range(order.count):
        body = _write_body(order, list(islice(texts, order.items)))
        yield b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
