"""Batches as a stream: a request a line in, a result a line out, in order, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from pydantic_core import to_json
from starlette.types import Receive

from router.decision import Decision
from router.model import Model
from router.serving.exchange import Disconnected, Exchange, too_large
from router.serving.problems import Problem
from router.serving.scoring import decide_many
from router.serving.service import Service
from router.serving.strict_json import parse_json

__all__ = ["AT_ONCE", "decide_in_turns", "render_results", "stream"]

AT_ONCE = 128
"""Prompts decided before other requests get their turn: 4 ms."""


async def decide_in_turns(
    service: Service, model: Model, documents: Sequence[Any]
) -> list[Decision | Problem]:
    """Decide on many bodies of requests, one batch at a time for a turn, and other requests in between."""
    results: list[Decision | Problem] = []
    for first in range(0, len(documents), AT_ONCE):
        async with service.turn:
            results += decide_many(model, documents[first : first + AT_ONCE])
            await asyncio.sleep(0)
    return results


def render_results(
    results: Sequence[Decision | Problem], service: Service, exchange: Exchange, first: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield results as plain data, and count them."""
    decided = failed = 0
    for item, result in enumerate(results, start=first):
        if isinstance(result, Problem):
            failed += 1
            service.metrics.count_problem(result.name)
            yield {"item": item, "error": result.to_dict()}
        else:
            decided += 1
            service.metrics.count_decision(result)
            yield {**result.to_dict(), "item": item}
    fields = exchange.fields
    fields["items"] = fields.get("items", 0) + decided
    fields["failed_items"] = fields.get("failed_items", 0) + failed


async def stream(receive: Receive, service: Service, exchange: Exchange) -> AsyncIterator[bytes]:
    """Yield results as they are ready, as lines, until the request ends or the client goes.

    The model that decides is the one at the beginning. The batch has been entered, and is left here.
    """
    model = service.model
    item = 0
    try:
        async for lines in _read_lines(receive, service.limits.max_body_bytes):
            for start in range(0, len(lines), AT_ONCE):
                async with service.turn:
                    documents = [_parse(line) for line in lines[start : start + AT_ONCE]]
                    results = decide_many(model, documents)
                    rendered = render_results(results, service, exchange, item)
                    answers = b"".join(to_json(result) + b"\n" for result in rendered)
                    await asyncio.sleep(0)
                item += len(results)
                yield answers
    except Disconnected:
        exchange.fields["disconnected"] = True
    finally:
        service.leave_batch()


def _parse(line: bytes | Problem) -> Any:  # noqa: ANN401 - checked against a schema
    if isinstance(line, Problem):
        return line
    try:
        return parse_json(line)
    except Problem as problem:
        return problem


async def _read_lines(receive: Receive, most: int) -> AsyncIterator[list[bytes | Problem]]:
    """Yield the lines that have come, without empty ones; a line too long is a problem, and is not kept."""
    rest, skipping, more = b"", False, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        more = message.get("more_body", False)
        *whole, rest = (rest + message.get("body", b"")).split(b"\n")
        if not more:
            whole.append(rest)
        lines: list[bytes | Problem] = []
        for line in whole:
            if skipping:
                skipping = False  # the end of a line that was too long
            elif len(line) > most:
                lines.append(too_large(most))
            elif line.strip():
                lines.append(line)
        if more and len(rest) > most:
            if not skipping:
                lines.append(too_large(most))
            rest, skipping = b"", True
        if lines:
            yield lines
