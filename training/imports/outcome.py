"""What became of a logged call: one word from what the provider answered.

Pure. Providers and loggers name the same ends differently; the words that they use are listed here and nowhere else.
A word that nobody listed leaves it to the answer itself: text is an answer, none is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.status import Status
from training.imports.values import count, mapping

__all__ = ["error_of", "status_of_answer", "status_of_error"]

_LENGTH = {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
_FILTERED = {
    "content_filter",
    "content_policy_violation",
    "safety",
    "recitation",
    "guardrail_intervened",
    "blocklist",
}
_REFUSED = {"refusal"}
_CUT_OFF = {"pause_turn", "cancelled", "canceled", "error"}

_BY_CODE = {
    401: Status.UNAUTHORIZED,
    403: Status.UNAUTHORIZED,
    404: Status.UNKNOWN_MODEL,
    408: Status.TIMEOUT,
}
# In this order: "invalid_request_error" with the code "content_filter" is the filter's.
_BY_WORD: tuple[tuple[tuple[str, ...], Status], ...] = (
    (("content_filter", "content_policy", "contentpolicy", "moderation"), Status.FILTERED),
    (("rate_limit", "ratelimit", "quota", "too_many"), Status.RATE_LIMITED),
    (("timeout", "timed_out", "deadline", "expired"), Status.TIMEOUT),
    (("authentication", "permission", "invalid_api_key", "unauthorized", "forbidden"), Status.UNAUTHORIZED),
    (("model_not_found", "not_found", "notfound"), Status.UNKNOWN_MODEL),
    (("connection", "connect", "unreachable", "dns", "unknownhost"), Status.UNREACHABLE),
    (
        ("overloaded", "server_error", "internalserver", "api_error", "unavailable", "badgateway"),
        Status.SERVER_ERROR,
    ),
    (("invalid_request", "badrequest", "bad_request", "context_length", "unprocessable"), Status.REJECTED),
)


def status_of_answer(
    *, text: str | None, tool_calls: bool, finish_reason: str | None, refused: bool = False
) -> Status:
    """Return what became of a call that was answered."""
    ended = (finish_reason or "").lower()
    if refused or ended in _REFUSED:
        return Status.REFUSED
    if ended in _FILTERED:
        return Status.FILTERED
    if ended in _LENGTH:
        return Status.LENGTH
    if ended in _CUT_OFF:
        return Status.CUT_OFF
    if text and text.strip():
        return Status.ANSWERED
    return Status.TOOL_CALL if tool_calls else Status.EMPTY


def status_of_error(code: int | None, *words: object) -> Status:
    """Return what became of a call that failed, by its HTTP status and the words that came with it."""
    said = " ".join(str(each).lower() for each in words if isinstance(each, str) and len(each) < 200)
    said = said.replace("-", "_").replace(" ", "_")
    if any(each in said for each in _BY_WORD[0][0]):
        return Status.FILTERED
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code == 429:
        return Status.RATE_LIMITED
    if code is not None and code >= 500:
        return Status.TIMEOUT if code == 504 else Status.SERVER_ERROR
    for names, status in _BY_WORD[1:]:
        if any(each in said for each in names):
            return status
    return Status.REJECTED if code is not None and code >= 400 else Status.SERVER_ERROR


def error_of(answer: Mapping[str, Any], code: int | None) -> Status | None:
    """Return what became of a call whose answer is an error, None where it is none."""
    error: object = answer.get("error")
    if not error and answer.get("type") != "error" and (code is None or code < 400):
        return None
    found = mapping(error)
    while isinstance(found.get("error"), dict):  # Anthropic puts the error within an error
        found = found["error"]
    said = (found.get("type"), found.get("code"), error if isinstance(error, str) else None)
    return status_of_error(code if code is not None else count(found.get("code")), *said)
