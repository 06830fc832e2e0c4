"""Calls from OpenTelemetry: spans with the attributes of the GenAI semantic conventions, in OTLP's JSON.

Read are what the collector's file exporter writes (`resourceSpans`, `resourceLogs`) and the spans that the Python SDK
prints. What was asked and answered stands in attributes (`gen_ai.input.messages`, and before that `gen_ai.prompt.0.content`
of OpenLLMetry), in events of the span, or in log records that name the span; training.imports.otel_messages reads each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.imports.answered import Answered, served_model
from training.imports.context import context_of
from training.imports.held import Held
from training.imports.logged import BadRecord, LeftOut, LoggedCall, Record
from training.imports.otel_messages import messages_of
from training.imports.outcome import status_of_answer, status_of_error
from training.imports.pairing import each_call
from training.imports.records import read_records
from training.imports.tally import Tally
from training.imports.values import amount, count, first, instant, mapping, milliseconds, opened, word

__all__ = ["looks_like", "read_calls"]

_CHATS = ("chat", "text_completion", "generate_content", "completion", "message")
_TOLD = "gen_ai.client.inference.operation.details"
_SESSION = (
    "gen_ai.conversation.id",
    "session.id",
    "traceloop.association.properties.session_id",
    "langfuse.session.id",
)
_USER = (
    "user.id",
    "enduser.id",
    "traceloop.association.properties.user_id",
    "langfuse.user.id",
    "gen_ai.user.id",
)


@dataclass(frozen=True, slots=True)
class _Span:
    place: str
    span_id: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Name and attributes; of a log record, its body among them."""
    start: object = None
    end: object = None
    failed: bool = False


def looks_like(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is of this format. Pure."""
    wrapped = {"resourceSpans", "resource_spans", "resourceLogs", "resource_logs"} & record.keys()
    return bool(wrapped) or (
        "attributes" in record and bool({"context", "spanId", "span_id"} & record.keys())
    )


def read_calls(paths: Sequence[Path], tally: Tally) -> Iterator[LoggedCall]:
    """Yield the calls of these traces; what `tally` counts is written into it."""
    with closing(Held()) as logs:
        first_look = Tally()  # the second counts
        for path in paths:
            for record in read_records(path, first_look):
                for span_id, name, told in _log_events(record.value):
                    logs.put(span_id, [*(logs.get(span_id) or []), [name, told]])
        for path in paths:
            yield from each_call(
                _spans(read_records(path, tally), tally),
                tally,
                lambda record: _logged(_opened_span(record), logs),
            )


# OTLP's JSON: lists within lists, and values that say their type.


def _spans(records: Iterator[Record], tally: Tally) -> Iterator[Record]:
    for record in records:
        value = record.value
        resources = first(value, "resourceSpans", "resource_spans")
        if resources is None:
            if "attributes" in value:
                yield record
            elif not {"resourceLogs", "resource_logs", "resourceMetrics"} & value.keys():
                tally.refuse("a record that is no span", record.place)
            continue
        spans = _within(resources, ("scopeSpans", "scope_spans", "instrumentationLibrarySpans"), "spans")
        for number, span in enumerate(spans, start=1):
            yield Record(f"{record.place}, span {number}", span)


def _within(resources: object, scopes: Sequence[str], name: str) -> Iterator[dict[str, Any]]:
    for resource in _list(resources):
        for scope in _list(first(resource, *scopes)):
            yield from _list(scope.get(name))


def _list(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _log_events(value: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    resources = first(value, "resourceLogs", "resource_logs")
    for log in _within(resources, ("scopeLogs", "scope_logs"), "logRecords"):
        told = _attributes(log.get("attributes"))
        name = first(log, "eventName", "event_name") or told.get("event.name")
        span_id = first(log, "spanId", "span_id")
        if isinstance(name, str) and name.startswith("gen_ai.") and span_id:
            body = _value(log.get("body"))
            yield str(span_id), name, {**told, **(body if isinstance(body, dict) else {})}


def _attributes(value: object) -> dict[str, Any]:
    if isinstance(value, dict):  # as the SDKs print them
        return value
    return {str(item.get("key")): _value(item.get("value")) for item in _list(value)}


def _value(value: object) -> Any:  # noqa: ANN401 - an attribute holds anything
    if not isinstance(value, dict):
        return value
    for name, item in value.items():
        if name in ("intValue", "int_value"):
            return count(item)
        if name in ("arrayValue", "array_value"):
            return [_value(each) for each in _list(mapping(item).get("values"))]
        if name in ("kvlistValue", "kvlist_value"):
            return _attributes(mapping(item).get("values"))
        return item
    return None


def _opened_span(record: Record) -> _Span:
    value = record.value
    status = mapping(value.get("status"))
    code = str(first(status, "code", "status_code") or "")
    context = mapping(value.get("context"))
    return _Span(
        record.place,
        str(first(value, "spanId", "span_id") or context.get("span_id")),
        _attributes(value.get("attributes")),
        [
            (str(event.get("name")), _attributes(event.get("attributes")))
            for event in _list(value.get("events"))
        ],
        first(value, "startTimeUnixNano", "start_time_unix_nano", "start_time"),
        first(value, "endTimeUnixNano", "end_time_unix_nano", "end_time"),
        code in ("2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR"),
    )


def _logged(span: _Span, logs: Held) -> LoggedCall:
    told = span.attributes
    operation = str(first(told, "gen_ai.operation.name", "llm.request.type") or "")
    requested = word(told.get("gen_ai.request.model"))
    if (operation and operation not in _CHATS) or not (
        requested or operation or "gen_ai.response.model" in told
    ):
        raise LeftOut("a span that is no chat")
    events = [*span.events, *((name, attributes) for name, attributes in logs.get(span.span_id) or ())]
    for name, attributes in events:
        if name == _TOLD:
            told = {**attributes, **told}
    model = served_model(requested, told.get("gen_ai.response.model"))
    if model is None:
        raise BadRecord("a call that names no model")
    asked, response = messages_of(told, events)
    if not asked:
        raise LeftOut("a span without its prompt, which instrumentations record where content capture is on")
    reasons = opened(told.get("gen_ai.response.finish_reasons"))
    ended = word(reasons[0] if isinstance(reasons, list) and reasons else reasons) or response.finish_reason
    answered = Answered()
    if span.failed or "error.type" in told:
        kind = told.get("error.type") or _exception(events)
        answered = Answered(status_of_error(count(kind), kind))
    elif response.text is not None or response.calls is not None or ended is not None:
        status = status_of_answer(text=response.text, tool_calls=bool(response.calls), finish_reason=ended)
        answered = Answered(status, response.text or response.calls, ended)
    start = instant(span.start)
    beside = {"session": first(told, *_SESSION), "user": first(told, *_USER)}
    return LoggedCall(
        span.place,
        asked,
        model,
        answered.status,
        answered.response,
        answered.finish_reason,
        count(first(told, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")),
        count(first(told, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")),
        count(first(told, "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")),
        amount(told.get("gen_ai.usage.cost")),
        milliseconds(start, instant(span.end)),
        start,
        **context_of(
            beside,
            {key: told.get(key) for key in ("task", "propensity", "tierwise.task", "tierwise.propensity")},
        )._asdict(),
    )


def _exception(events: Sequence[tuple[str, Mapping[str, Any]]]) -> object:
    for name, attributes in events:
        if name == "exception":
            return attributes.get("exception.type")
    return None
