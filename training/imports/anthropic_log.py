"""Calls from what people write down of Anthropic's messages API, and from the files of its Message Batches.

Read are objects with a request and a response under the usual names, or with the request's fields beside the response,
and a batch's requests and results, joined by `custom_id`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from eval.status import Status
from training.imports.answered import Answered, read_answer
from training.imports.asked import chat_from_anthropic
from training.imports.logged import BadRecord, LeftOut, LoggedCall, Record
from training.imports.pairing import Pairs, batch_key, call_of, each_call, parts_of
from training.imports.records import read_records
from training.imports.tally import Tally
from training.imports.values import mapping

__all__ = ["looks_like", "read_calls"]


def looks_like(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is of this format. Pure."""
    if "custom_id" in record:
        return "params" in record or "result" in record
    parts = parts_of(record)
    inner = mapping(parts.answer)
    inner = mapping(inner.get("body")) or inner
    if "messages" not in parts.body or {"trace_id", "traceId", "attributes"} & record.keys():
        return False
    return inner.get("type") in ("message", "error") if inner else "system" in parts.body


def read_calls(paths: Sequence[Path], tally: Tally) -> Iterator[LoggedCall]:
    """Yield the calls of these logs; what `tally` counts is written into it."""
    with closing(Pairs()) as pairs:

        def read(record: Record) -> LoggedCall | None:
            return _of_batch(record, pairs) if "custom_id" in record.value else _logged(record)

        for path in paths:
            yield from each_call(read_records(path, tally), tally, read)
        yield from each_call(pairs.unanswered(tally), tally, lambda asked: _joined(asked, None))


def _logged(record: Record) -> LoggedCall:
    parts = parts_of(record.value)
    return call_of(record.place, chat_from_anthropic(parts.body), parts.body, parts.answered(), parts.beside)


def _of_batch(record: Record, pairs: Pairs) -> LoggedCall | None:
    key = batch_key(record.value)
    if "result" in record.value:
        pair = pairs.answer(key, record)
    elif "params" in record.value:
        pair = pairs.request(key, record)
    else:
        raise BadRecord("a line of a batch without params and result")
    return None if pair is None else _joined(*pair)


def _joined(asked: Record, told: Record | None) -> LoggedCall:
    body = mapping(asked.value.get("params"))
    messages = chat_from_anthropic(body)
    if told is None:
        return call_of(asked.place, messages, body, Answered(), {})
    result = mapping(told.value.get("result"))
    kind = result.get("type")
    if kind == "canceled":
        raise LeftOut("a request of a batch that was cancelled before it ran")
    if kind == "expired":
        answered = Answered(Status.TIMEOUT)
    else:
        answered = read_answer(mapping(result.get("message")) if kind == "succeeded" else result)
    return call_of(told.place, messages, body, answered, {})
