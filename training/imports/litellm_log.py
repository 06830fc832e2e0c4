"""Calls from LiteLLM's spend logs: the rows of its table LiteLLM_SpendLogs, as JSON, JSON lines or CSV.

LiteLLM keeps prompts only where `store_prompts_in_spend_logs` is set, and then in the column `proxy_server_request`; its
column `messages` is empty but for realtime calls (litellm/proxy/spend_tracking/spend_tracking_utils.py). It cuts long
texts in the middle and leaves a mark: such a prompt is not the one that was sent, and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.status import Status
from training.imports.answered import Answered, read_answer
from training.imports.asked import read_request
from training.imports.chat import as_messages, canonical
from training.imports.context import context_of
from training.imports.logged import BadRecord, LeftOut, LoggedCall, Record
from training.imports.outcome import status_of_answer, status_of_error
from training.imports.pairing import each_call
from training.imports.records import read_records
from training.imports.tally import Tally
from training.imports.values import amount, clean, count, first, instant, mapping, milliseconds, opened, word

__all__ = ["looks_like", "read_calls"]

_MARK = re.compile(r"\(litellm_truncated(?: skipped)? \d+ chars\b|redacted-by-litellm")
"""What stands in place of a text: releases since March 2026 say more behind "chars"."""
_NOT_CHAT = (
    "embedding",
    "image",
    "speech",
    "transcription",
    "moderation",
    "rerank",
    "file",
    "batch",
    "mcp",
    "vector",
)


def looks_like(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is of this format. Pure."""
    return "request_id" in record and ("spend" in record or "call_type" in record)


def read_calls(paths: Sequence[Path], tally: Tally) -> Iterator[LoggedCall]:
    """Yield the calls of these logs; what `tally` counts is written into it."""
    for path in paths:
        yield from each_call(read_records(path, tally), tally, lambda record: _logged(record, tally))


def _logged(record: Record, tally: Tally) -> LoggedCall:
    row = record.value
    if not looks_like(row):
        raise BadRecord("a row without request_id and spend")
    kind = str(row.get("call_type") or "")
    if any(other in kind for other in _NOT_CHAT):
        raise LeftOut("a call that is no chat")
    request = mapping(row.get("proxy_server_request"))
    request = mapping(request.get("body")) or request
    messages = _asked(request, row)
    if _MARK.search(canonical(messages)):
        raise LeftOut("a prompt that LiteLLM cut or redacted")
    metadata = mapping(row.get("metadata"))
    answered = _answered(row, metadata, tally)
    model = word(row.get("model")) or word(row.get("model_group"))
    if model is None:
        raise BadRecord("a call that names no model")
    start = instant(row.get("startTime"))
    took = amount(row.get("request_duration_ms"))
    latency_ms = milliseconds(start, instant(row.get("endTime"))) if took is None else took
    # An answer out of LiteLLM's own cache says what the model said, and nothing of what it costs or takes.
    cached = str(row.get("cache_hit")).lower() == "true"
    failed = answered.status is not None and answered.finish_reason is None and answered.response is None
    usage = mapping(first(metadata, "usage_object", "additional_usage_values"))
    details = mapping(usage.get("prompt_tokens_details"))
    end_user = {"user": first(row, "end_user", "user"), "session_id": row.get("session_id")}
    extra = mapping(metadata.get("spend_logs_metadata")) or mapping(metadata.get("requester_metadata"))
    context = context_of(end_user, metadata, extra, mapping(request.get("metadata")))
    return LoggedCall(
        record.place,
        messages,
        model,
        answered.status,
        answered.response,
        answered.finish_reason,
        _tokens(row, "prompt_tokens", failed=failed),
        _tokens(row, "completion_tokens", failed=failed),
        count(first(details, "cached_tokens") or usage.get("cache_read_input_tokens")),
        None if cached or failed else amount(row.get("spend")),
        None if cached else latency_ms,
        start,
        **context._asdict(),
    )


def _asked(request: Mapping[str, Any], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    if {"messages", "input", "prompt"} & request.keys():
        return read_request(request)
    told = opened(row.get("messages"))
    if not told or told == "{}":
        raise LeftOut(
            "a row without its prompt, which LiteLLM keeps where store_prompts_in_spend_logs is true"
        )
    return as_messages(told)


def _answered(row: Mapping[str, Any], metadata: Mapping[str, Any], tally: Tally) -> Answered:
    if "failure" in (row.get("status"), metadata.get("status")):
        error = mapping(metadata.get("error_information"))
        return Answered(status_of_error(count(error.get("error_code")), error.get("error_class")))
    told = opened(row.get("response"))
    if not told or told == "{}":
        return Answered()
    if isinstance(told, str):
        status = status_of_answer(text=told, tool_calls=False, finish_reason=None)
        answered = Answered(status, clean(told))
    else:
        answered = read_answer(mapping(told))
    if answered.response and _MARK.search(answered.response):
        tally.cut_answers += 1
        return Answered(Status.CUT_OFF, finish_reason=answered.finish_reason)
    return answered


def _tokens(row: Mapping[str, Any], name: str, *, failed: bool) -> int | None:
    found = count(row.get(name))
    return None if failed and not found else found  # a failure has 0, which is not what it would have taken
