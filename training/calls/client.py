"""One request by the openai SDK, and what came of it. The one module here that talks to the network.

The SDK's own retries are off: an attempt that may have been billed must be counted. It runs on aiohttp, the SDK's extra,
and hands over the plain response: a third of the processor time of its default transport and its checked models
(docs/LOG.md), and a malformed answer is ours to tell.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp
import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, DefaultAioHttpClient

from eval.status import Status
from training.calls.answer import Answer
from training.calls.call import Call
from training.calls.endpoints import Endpoint
from training.calls.reading import read_completion, read_failure, read_request_id
from training.calls.retries import retry_after_s

__all__ = ["Attempt", "body_of", "open_client", "send"]

CONNECT_S = 20.0
"""Longest wait for a connection: a host that does not answer this long is not there."""

# Set to DEBUG by OPENAI_LOG, they would write prompts to stderr.
for _name in ("openai", "httpx", "httpx2", "httpcore", "aiohttp"):
    logging.getLogger(_name).setLevel(logging.WARNING)

# What says that the request never left; the SDK's transports wrap one another's errors, so all causes are looked at.
_NEVER_LEFT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ClientHttpProxyError,
)


class Attempt(NamedTuple):
    """What came of one request.

    Attributes
    ----------
    answer : Answer
        As if this attempt had been the only one.
    retry_after_s : float or None
        How long the provider asks to wait.
    """

    answer: Answer
    retry_after_s: float | None = None


def open_client(endpoint: Endpoint, key: str) -> AsyncOpenAI:
    """Return a client of an endpoint, for one event loop; close it there."""
    connect = min(CONNECT_S, endpoint.timeout_s)
    return AsyncOpenAI(
        api_key=key,
        base_url=endpoint.base_url,
        max_retries=0,
        timeout=httpx2.Timeout(endpoint.timeout_s, connect=connect, pool=connect),
        http_client=DefaultAioHttpClient(follow_redirects=False),  # prompts go where base_url says
    )


def body_of(endpoint: Endpoint, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the request's body. Pure."""
    return {
        "model": endpoint.tier.model,
        "messages": _encodable(messages),
        endpoint.output_limit_field: endpoint.max_output_tokens,
        **endpoint.params,
    }


async def send(client: AsyncOpenAI, endpoint: Endpoint, call: Call, key: str) -> Attempt:
    """Send one request and say what came of it; what the network does is never an exception.

    Parameters
    ----------
    client : AsyncOpenAI
        From `open_client`.
    endpoint : Endpoint
        Whom to ask.
    call : Call
        What.
    key : str
        The Idempotency-Key: a provider that honours it bills all requests that carry it once.
    """
    body = body_of(endpoint, call.messages)
    begun = time.perf_counter()
    try:
        # The SDK's timeouts are for each read; an answer that drips would never end.
        async with asyncio.timeout(endpoint.timeout_s):
            raw = await client.post(
                "/chat/completions",
                cast_to=httpx2.Response,
                body=body,
                options={"headers": {"Idempotency-Key": key}},
            )
    except APIStatusError as error:
        answer = read_failure(
            error.status_code,
            error.response.content,
            latency_ms=_since(begun),
            request_id=read_request_id(error.response.headers.get("x-request-id")),
        )
        return Attempt(answer, retry_after_s(error.response.headers))
    except TimeoutError:
        return Attempt(Answer(Status.TIMEOUT, latency_ms=_since(begun)))
    except (APIConnectionError, aiohttp.ClientError, OSError, ValueError) as error:
        # ValueError: bytes of a head that the transport takes, and stumbles over later.
        return Attempt(Answer(_broken(error), latency_ms=_since(begun)))
    answer = read_completion(
        endpoint,
        call.messages,
        raw.content,
        http_status=raw.status_code,
        latency_ms=_since(begun),
        request_id=read_request_id(raw.headers.get("x-request-id")),
    )
    return Attempt(answer)


def _since(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1e3, 3)


def _broken(error: BaseException) -> Status:
    """Return what a broken connection is, by the first of its causes."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(each, _NEVER_LEFT) or type(each).__name__ == "UnsupportedProtocol" for each in causes):
        return Status.UNREACHABLE
    if any(isinstance(each, aiohttp.SocketTimeoutError) for each in causes):
        return Status.TIMEOUT
    if any(type(each).__name__ == "DecodingError" for each in causes):
        return Status.MALFORMED
    return Status.CUT_OFF


def _encodable(messages: Sequence[Mapping[str, Any]]) -> object:
    """Return messages with ? for lone surrogates, which no request can carry."""
    text = json.dumps(messages, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        replaced: object = json.loads(text.encode("utf-8", "replace"))
        return replaced
    return messages
