"""Calls from what people write down of OpenAI's API, and from the files of its Batch API.

Read are objects with a request and a response under the usual names, or with the request's fields beside the response;
a batch's input and output files, joined by `custom_id`; and stored chat completions as the API lists them, joined with
their messages by the completion's id. Bodies are of chat completions, responses or old completions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from training.imports.answered import Answered, read_answer
from training.imports.asked import chat_from_openai
from training.imports.chat import as_messages
from training.imports.held import Held
from training.imports.logged import BadRecord, LeftOut, LoggedCall, Record
from training.imports.outcome import status_of_error
from training.imports.pairing import Pairs, Parts, batch_key, call_of, each_call, parts_of
from training.imports.records import read_records
from training.imports.tally import Tally
from training.imports.values import first, mapping

__all__ = ["looks_like", "read_calls"]

_NOT_CHAT = ("embeddings", "moderations", "images")  # ends of the addresses that a batch may call
_NEVER_RAN = ("batch_cancelled", "batch_canceled")


def looks_like(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is of this format. Pure."""
    if {"trace_id", "traceId", "attributes", "resourceSpans", "spend", "call_type"} & record.keys():
        return False
    if "custom_id" in record:
        return "body" in record or "response" in record
    if record.get("object") in ("chat.completion", "response"):
        return True
    parts = parts_of(record)
    inner = mapping(parts.answer)
    inner = mapping(inner.get("body")) or inner
    asked = bool({"messages", "input", "prompt"} & parts.body.keys()) and "system" not in parts.body
    if inner.get("type") in ("message", "error"):  # Anthropic's
        return False
    return asked and (not inner or bool({"choices", "output", "error", "role"} & inner.keys()))


def read_calls(paths: Sequence[Path], tally: Tally) -> Iterator[LoggedCall]:
    """Yield the calls of these logs; what `tally` counts is written into it."""
    with closing(Pairs()) as pairs, closing(Held()) as stored:

        def read(record: Record) -> LoggedCall | None:
            if "custom_id" in record.value:
                return _of_batch(record, pairs)
            if record.value.get("object") == "chat.completion" and "request" not in record.value:
                return _stored(record, stored)
            if _is_stored_message(record.value):
                _keep_message(record, stored)
                return None
            return _logged(record)

        for path in paths:
            yield from each_call(read_records(path, tally), tally, read)
        yield from each_call(pairs.unanswered(tally), tally, lambda asked: _joined(asked, None))
        waiting = (Record(kept["place"], kept["value"]) for _, kept in stored.items() if "place" in kept)
        yield from each_call(waiting, tally, lambda record: _completed(record, stored))


def _logged(record: Record) -> LoggedCall:
    parts = parts_of(record.value)
    if mapping(parts.answer).get("object") == "list":  # of embeddings
        raise LeftOut("a call that is no chat")
    return call_of(record.place, chat_from_openai(parts.body), parts.body, parts.answered(), parts.beside)


# Batches.


def _of_batch(record: Record, pairs: Pairs) -> LoggedCall | None:
    value = record.value
    key = batch_key(value)
    if "response" in value or ("error" in value and "body" not in value):
        pair = pairs.answer(key, record)
    elif "body" in value:
        pair = pairs.request(key, record)
    else:
        raise BadRecord("a line of a batch without body and response")
    return None if pair is None else _joined(*pair)


def _joined(asked: Record, told: Record | None) -> LoggedCall:
    if any(f"/{kind}" in str(asked.value.get("url")) for kind in _NOT_CHAT):
        raise LeftOut("a call that is no chat")
    body = mapping(asked.value.get("body"))
    messages = chat_from_openai(body)
    if told is None:
        return call_of(asked.place, messages, body, Answered(), {})
    error = mapping(told.value.get("error"))
    if error.get("code") in _NEVER_RAN:
        raise LeftOut("a request of a batch that was cancelled before it ran")
    if error:
        return call_of(told.place, messages, body, Answered(status_of_error(None, error.get("code"))), {})
    return call_of(told.place, messages, body, Parts(body, told.value.get("response"), {}).answered(), {})


# Stored chat completions: the API lists them without their messages, which it lists for each.


def _is_stored_message(value: Mapping[str, Any]) -> bool:
    identity = value.get("id")
    return (
        isinstance(identity, str)
        and identity.startswith("chatcmpl-")
        and "role" in value
        and "content" in value
    )


def _keep_message(record: Record, stored: Held) -> None:
    identity, _, number = str(record.value["id"]).rpartition("-")
    kept = stored.get(identity) or {}
    message = {"role": record.value["role"], "content": first(record.value, "content_parts", "content")}
    kept.setdefault("messages", {})[number] = message
    stored.put(identity, kept)


def _stored(record: Record, stored: Held) -> LoggedCall | None:
    value = record.value
    if "messages" in value or "input" in value:
        asked = as_messages(first(value, "messages", "input"))
        return call_of(record.place, asked, value, read_answer(value), value)
    identity = str(value.get("id"))
    stored.put(identity, {**(stored.get(identity) or {}), "place": record.place, "value": value})
    return None


def _completed(record: Record, stored: Held) -> LoggedCall:
    kept = stored.get(str(record.value.get("id"))) or {}
    told = kept.get("messages")
    if not told:
        raise LeftOut("a stored completion whose messages are in none of the logs")
    numbered = sorted(told.items(), key=lambda item: (len(item[0]), item[0]))
    messages = as_messages([message for _, message in numbered])
    return call_of(record.place, messages, record.value, read_answer(record.value), record.value)
