"""What a provider answered, read as what it is. Pure.

Nothing of the provider's words is kept but the answer itself, and its error code where that is one short word: an error's
text may quote the prompt or the key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from eval.status import Status
from router.tiers import CHARS_PER_TOKEN, MAX_TOKENS
from training.calls.answer import Answer
from training.calls.budget import most_usd
from training.calls.endpoints import Endpoint

__all__ = ["input_chars", "read_completion", "read_failure", "read_request_id"]

# No digits among letters, so that no key can pass for a word.
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{1,47}|[0-9]{1,6}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_FILTERED = ("content_filter", "content_policy_violation", "responsibleaipolicyviolation")
_NO_ACCESS = (401, 402, 403)


def read_completion(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    body: bytes | Mapping[str, Any],
    *,
    http_status: int = 200,
    latency_ms: float = 0.0,
    attempts: int = 1,
    request_id: str | None = None,
) -> Answer:
    """Return what an answer with success came to: a chat completion, or `Status.MALFORMED`.

    Parameters
    ----------
    endpoint : Endpoint
        Who was asked; its prices make the cost.
    messages : sequence of mappings
        What was asked: its tokens are estimated where the provider did not count.
    body : bytes or mapping
        Of the answer: JSON, or what it decodes to.
    http_status, latency_ms, attempts, request_id
        As in `Answer`.
    """
    document = _decode(body)
    status, response, finish_reason = _read_choice(document)
    usage = _read_usage(document)
    cost, possibly, estimated = 0.0, 0.0, False
    if usage is None and status is Status.MALFORMED:  # whatever it was, it was billed perhaps
        possibly = most_usd(endpoint, messages)
    else:
        if usage is None:
            estimated = True
            usage = _estimate(input_chars(messages)), _estimate(len(response or "")), 0
        cost = endpoint.tier.cost_usd(*usage)
    given, made, cached = (None, None, None) if usage is None else usage
    return Answer(
        status,
        response,
        finish_reason,
        given,
        made,
        cached,
        usage_is_estimate=estimated,
        cost_usd=cost,
        possibly_usd=possibly,
        latency_ms=latency_ms,
        attempts=attempts,
        http_status=http_status,
        code=_read_code(document) if status is Status.MALFORMED else None,
        request_id=request_id,
    )


def read_failure(
    http_status: int,
    body: bytes | Mapping[str, Any],
    *,
    latency_ms: float = 0.0,
    attempts: int = 1,
    request_id: str | None = None,
) -> Answer:
    """Return what an answer without success came to; parameters as in `read_completion`."""
    document = _decode(body)
    code = _read_code(document)
    return Answer(
        _failure(http_status, document),
        latency_ms=latency_ms,
        attempts=attempts,
        http_status=http_status,
        code=code,
        request_id=request_id,
    )


def read_request_id(text: str | None) -> str | None:
    """Return a provider's name for a request, if it looks like one."""
    return text if text is not None and _REQUEST_ID.fullmatch(text) else None


def input_chars(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return how many characters of text messages hold."""
    return sum(_chars_within(message.get("content")) for message in messages)


def _chars_within(content: object) -> int:
    if isinstance(content, str):
        return len(content)
    if isinstance(content, list | tuple):
        return sum(_chars_within(part.get("text")) for part in content if isinstance(part, Mapping))
    return 0


def _estimate(chars: int) -> int:
    return math.ceil(chars / CHARS_PER_TOKEN)


def _decode(body: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(body, Mapping):
        return body
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_choice(document: Mapping[str, Any]) -> tuple[Status, str | None, str | None]:
    """Return status, response and finish reason of a completion."""
    malformed = Status.MALFORMED, None, None
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return malformed
    choice = choices[0]
    message = choice.get("message")
    reason = choice.get("finish_reason")
    reason = reason if isinstance(reason, str) and _WORD.fullmatch(reason) else None
    if not isinstance(message, dict):
        # A filter may leave a choice without a message.
        return (Status.FILTERED, None, reason) if reason == "content_filter" else malformed
    content = _text_of(message.get("content"))
    refusal = _text_of(message.get("refusal"))
    calls = message.get("tool_calls") or message.get("function_call")
    if content is None or refusal is None:
        return malformed
    text = content if content.strip() else ""
    if reason == "content_filter":
        return Status.FILTERED, text or None, reason
    if refusal.strip():
        return Status.REFUSED, refusal, reason
    if reason == "length":
        return Status.LENGTH, text or None, reason
    if text:
        return Status.ANSWERED, text, reason
    if calls:
        return Status.TOOL_CALL, _valid(json.dumps(calls, ensure_ascii=False, sort_keys=True)), reason
    return Status.EMPTY, None, reason


def _text_of(content: object) -> str | None:
    """Return the text of a content, "" for none, and None for what is no content."""
    if content is None:
        return ""
    if isinstance(content, str):
        return _valid(content)
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        texts = (part.get("text") for part in content)
        return _valid("".join(text for text in texts if isinstance(text, str)))
    return None


def _valid(text: str) -> str:
    """Return a text with ? for lone surrogates, which no file of UTF-8 can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _read_usage(document: Mapping[str, Any]) -> tuple[int, int, int] | None:
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    given, made = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if given is None or made is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return given, made, min(cached or 0, given)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        return None
    return value


def _error_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    error = document.get("error")
    return error if isinstance(error, dict) else document


def _read_code(document: Mapping[str, Any]) -> str | None:
    error = _error_of(document)
    for key in ("code", "type"):
        value = error.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and _WORD.fullmatch(str(value)[:64]):
            return str(value)
    return None


def _is_filter(document: Mapping[str, Any]) -> bool:
    error = _error_of(document)
    inner = error.get("innererror")
    words = [error.get("code"), inner.get("code") if isinstance(inner, dict) else None]
    return any(isinstance(word, str) and word.lower() in _FILTERED for word in words)


def _failure(http_status: int, document: Mapping[str, Any]) -> Status:
    if 400 <= http_status < 500 and _is_filter(document):
        return Status.FILTERED
    if http_status in _NO_ACCESS:
        return Status.UNAUTHORIZED
    if http_status == 404:
        return Status.UNKNOWN_MODEL
    if http_status == 429:
        return Status.RATE_LIMITED
    # 408 and 409 are about the moment, as OpenAI's own SDK takes them.
    if http_status >= 500 or http_status in (408, 409):
        return Status.SERVER_ERROR
    # A redirect is not followed: what was asked for is not there.
    return Status.REJECTED if http_status >= 400 else Status.UNREACHABLE
