"""Calls from Langfuse: observations as its blob storage, its API and its pages export them.

Read are generations, in JSON, JSON lines, CSV or Parquet, with the field names of all its exports (`traceId` or `trace_id`,
`usageDetails` or `usage`); traces, for their session and user; traces with their observations within; and scores, of which
one by name becomes the score. Traces and scores may stand in files of their own, in any order: all files are read twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from eval.status import Status
from training.imports.answered import Answered, read_answer
from training.imports.chat import as_messages, as_text
from training.imports.context import context_of
from training.imports.held import Held
from training.imports.logged import BadRecord, LeftOut, LoggedCall, Record
from training.imports.outcome import status_of_answer, status_of_error
from training.imports.pairing import each_call
from training.imports.records import read_records
from training.imports.tally import Tally
from training.imports.values import (
    amount,
    clean,
    count,
    first,
    instant,
    mapping,
    milliseconds,
    opened,
    share,
    snake,
    word,
)

__all__ = ["looks_like", "read_calls"]

_TYPES = {"SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"}


def looks_like(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is of this format. Pure."""
    names = {snake(name) for name in record}
    observed = "type" in names and ("trace_id" in names or "start_time" in names)
    scored = "trace_id" in names and "value" in names
    return (observed or scored or "observations" in names) and "attributes" not in names


def read_calls(paths: Sequence[Path], tally: Tally, score: str | None = None) -> Iterator[LoggedCall]:
    """Yield the generations of these exports; what `tally` counts is written into it.

    Parameters
    ----------
    score : str or None
        Name of a score from 0 to 1, or of true and false, that becomes the row's. One of a trace counts where the trace
        has one generation alone; else nobody knows whose it is.
    """
    with closing(Held()) as traces, closing(Held()) as scores:
        first_look = Tally()  # the second counts
        for path in paths:
            for record in _flat(read_records(path, first_look)):
                _keep(record.value, traces, scores, score)
        for path in paths:
            yield from each_call(
                _flat(read_records(path, tally)),
                tally,
                lambda record: _logged(record.value, record.place, traces, scores),
            )


def _flat(records: Iterator[Record]) -> Iterator[Record]:
    """Yield traces, observations and scores one by one, their fields in the names of the blob storage."""
    for record in records:
        value = {snake(name): item for name, item in record.value.items()}
        for name in ("observations", "scores"):
            for number, item in enumerate(_objects(value.pop(name, None)), start=1):
                inner = {"trace_id": value.get("id"), **{snake(key): cell for key, cell in item.items()}}
                yield Record(f"{record.place}, {name} {number}", inner)
        yield Record(record.place, value)


def _objects(value: object) -> list[Mapping[str, Any]]:
    value = opened(value)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _is_score(value: Mapping[str, Any]) -> bool:
    return (
        "value" in value
        and "name" in value
        and bool({"trace_id", "observation_id", "data_type"} & value.keys())
    )


def _is_trace(value: Mapping[str, Any]) -> bool:
    return "type" not in value and "start_time" not in value and not _is_score(value) and "id" in value


def _keep(value: Mapping[str, Any], traces: Held, scores: Held, score: str | None) -> None:
    """Keep what a generation may have to be joined with."""
    if _is_score(value):
        if value.get("name") == score and (found := share(value.get("value"))) is not None:
            owner = first(value, "observation_id", "trace_id")
            scores.put(f"{'o' if value.get('observation_id') else 't'}{owner}", found)
    elif _is_trace(value):
        key = str(value["id"])
        context = context_of(value, mapping(value.get("metadata")))
        traces.put(key, {**(traces.get(key) or {}), **context._asdict()})
    elif value.get("type") == "GENERATION" and score is not None:
        key = str(value.get("trace_id"))
        kept = traces.get(key) or {}
        traces.put(key, {**kept, "generations": kept.get("generations", 0) + 1})


def _logged(value: Mapping[str, Any], place: str, traces: Held, scores: Held) -> LoggedCall | None:
    if _is_score(value) or _is_trace(value):
        return None
    kind = word(value.get("type"))
    if kind in _TYPES:
        raise LeftOut("an observation that is no generation")
    if kind != "GENERATION":
        raise BadRecord("a record that is no observation, trace or score")
    if not value.get("input"):
        raise LeftOut("a generation without its input")
    model = word(first(value, "provided_model_name", "model"))
    if model is None:
        raise BadRecord("a call that names no model")
    messages = as_messages(value["input"])
    answered = _answered(value)
    start = instant(value.get("start_time"))
    trace_id = str(value.get("trace_id"))
    trace = traces.get(trace_id) or {}
    context = context_of(value, mapping(value.get("metadata")), trace)
    score = scores.get(f"o{value.get('id')}")
    if score is None and trace.get("generations") == 1:
        score = scores.get(f"t{trace_id}")
    usage = mapping(first(value, "usage_details", "usage"))
    costs = mapping(value.get("cost_details"))
    cost_usd = amount(first(value, "total_cost", "calculated_total_cost"))
    return LoggedCall(
        place,
        messages,
        model,
        answered.status,
        answered.response,
        answered.finish_reason,
        _tokens(usage, value, ("input", "prompt")),
        _tokens(usage, value, ("output", "completion")),
        _cached(usage),
        amount(costs.get("total")) if costs.get("total") is not None else cost_usd,
        milliseconds(
            start, instant(value.get("end_time"))
        ),  # the field latency has another unit in older exports
        start,
        **context._asdict(),
        score=score,
    )


def _answered(value: Mapping[str, Any]) -> Answered:
    told = opened(value.get("output"))
    if value.get("level") == "ERROR" and not told:
        return Answered(status_of_error(None, value.get("status_message")))
    if isinstance(told, list) and len(told) == 1:
        told = told[0]
    made = opened(value.get("tool_calls"))
    calls = [opened(call) for call in made] if isinstance(made, list) else []
    if told is None or told == "":
        return read_answer({"choices": [{"message": {"tool_calls": calls}}]}) if calls else Answered()
    if isinstance(told, str):
        return Answered(status_of_answer(text=told, tool_calls=False, finish_reason=None), clean(told))
    found = mapping(told)
    if {"choices", "error", "stop_reason"} & found.keys() or found.get("object") == "response":
        return read_answer(found)
    if "role" in found or "tool_calls" in found or as_text(found.get("content")) is not None:
        ended = first(found, "finish_reason", "stop_reason")
        return read_answer({"choices": [{"message": found, "finish_reason": ended}]})
    return Answered(Status.ANSWERED, clean(json.dumps(told, ensure_ascii=False)))


def _tokens(usage: Mapping[str, Any], value: Mapping[str, Any], names: tuple[str, str]) -> int | None:
    """Return the tokens of one side: Langfuse takes cached and reasoning ones out of it and counts them beside."""
    if str(usage.get("unit") or "TOKENS").upper() != "TOKENS":
        return None
    sides = {snake(key): item for key, item in usage.items() if "cost" not in key.lower()}
    found = [count(item) for key, item in sides.items() if any(name in key for name in names)]
    known = [number for number in found if number is not None]
    if not known:
        return count(value.get(f"{names[1]}_tokens"))
    return sum(known)


def _cached(usage: Mapping[str, Any]) -> int | None:
    for name, item in usage.items():
        said = snake(name)
        if "cache" in said and "creation" not in said and "write" not in said:
            return count(item)
    return None
