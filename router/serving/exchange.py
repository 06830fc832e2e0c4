"""A request and its answer, as far as they are told of, and how a body is read."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import Receive

from router.decision import Decision
from router.serving.problems import Problem
from router.serving.schema import RouteRequest

__all__ = [
    "NDJSON",
    "Disconnected",
    "Exchange",
    "Headers",
    "check_encoding",
    "check_json",
    "check_media_type",
    "read_body",
    "too_large",
]

NDJSON = "application/x-ndjson"
Headers = dict[bytes, bytes]


class Disconnected(Exception):  # noqa: N818 - no error of ours
    """The client has gone, or was too slow and cut off."""


class Exchange:
    """A request and its answer, as far as the log and the metrics tell of them."""

    __slots__ = (
        "answer_headers",
        "begun",
        "decision",
        "endpoint",
        "fields",
        "headers",
        "key",
        "problem",
        "request",
        "request_id",
        "seconds",
        "status",
    )

    def __init__(self, request_id: str, endpoint: str, headers: Headers) -> None:
        self.begun = time.perf_counter()
        self.request_id = request_id
        self.endpoint = endpoint
        self.headers = headers
        self.status = 0
        self.answer_headers: list[tuple[bytes, bytes]] = []
        self.seconds = 0.0
        self.key: str | None = None
        self.problem: Problem | None = None
        self.request: RouteRequest | None = None
        self.decision: Decision | None = None
        self.fields: dict[str, Any] = {}

    def describe(self, *, prompts: bool) -> dict[str, Any]:
        """Return what the log tells of the exchange, with the prompt only if asked."""
        fields: dict[str, Any] = {
            "request_id": self.request_id,
            "endpoint": self.endpoint,
            "status": self.status,
            "ms": round(self.seconds * 1e3, 3),
        }
        if self.key is not None:
            fields["key"] = self.key
        if self.problem is not None:
            fields["problem"] = self.problem.name
        decision, request = self.decision, self.request
        if decision is not None:
            fields["tier"] = decision.tier
            fields["reason"] = decision.reason.value
            fields["expected_cost_usd"] = decision.expected_cost_usd
            fields["novelty"] = decision.novelty
            fields["model_id"] = decision.model_id
        if request is not None:
            if request.metadata:
                fields["metadata"] = request.metadata
            if prompts:
                fields["prompt"] = request.prompt if request.messages is None else request.messages
        return fields | self.fields if self.fields else fields


def check_json(headers: Headers) -> None:
    """Raise a Problem unless a body says that it is JSON, uncompressed."""
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json":
        check_media_type(content_type, b"application/json")
    check_encoding(headers)


def check_encoding(headers: Headers) -> None:
    """Raise a Problem if a body is compressed: what it unpacks to is not bounded by its size."""
    if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
        raise Problem("unsupported-media-type", "the body is compressed; send it without Content-Encoding")


def check_media_type(content_type: bytes, *expected: bytes) -> bytes:
    """Return the media type of a body, without its parameters.

    Raises
    ------
    Problem
        415: it is none of those expected, or in another encoding than UTF-8.
    """
    media_type, _, parameters = content_type.lower().partition(b";")
    media_type = media_type.strip()
    if media_type not in expected:
        wanted = " or ".join(name.decode() for name in expected)
        raise Problem(
            "unsupported-media-type", f"expected the header Content-Type: {wanted}, found another or none"
        )
    for parameter in parameters.split(b";"):
        name, _, value = parameter.strip().partition(b"=")
        if name == b"charset" and value.strip(b'"') not in (b"utf-8", b"utf8", b"us-ascii"):
            raise Problem("unsupported-media-type", "the body is in another charset; send JSON as UTF-8")
    return media_type


async def read_body(receive: Receive, headers: Headers, most: int) -> bytes:
    """Return the whole body of a request.

    Raises
    ------
    Problem
        413: it is longer than `most` bytes.
    Disconnected
        The client went before its end.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > most:  # digits, or the parser would have refused it
        raise too_large(most)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > most:
            raise too_large(most)
        return body
    parts, n = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts.append(message.get("body", b""))
        n += len(parts[-1])
        if n > most:
            raise too_large(most)
    return b"".join(parts)


def too_large(most: int) -> Problem:
    """Return the problem of a body that is longer than `most` bytes."""
    return Problem(
        "too-large",
        f"expected at most {most:,} bytes, found more; of a long prompt send the start and the end, with its length in "
        "context_tokens, or let the operator raise --max-body-bytes",
    )
