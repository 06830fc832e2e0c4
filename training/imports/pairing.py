"""Makes calls of records: a request, its answer and what stands beside them, one by one or joined by a key.

A record that gives no call is counted, by the reason that its reader raised, and the reading goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from training.imports.answered import Answered, read_answer, served_model
from training.imports.context import context_of, latency_of, timestamp_of
from training.imports.held import Held
from training.imports.logged import BadRecord, LeftOut, LoggedCall, Record
from training.imports.outcome import status_of_answer
from training.imports.tally import Tally
from training.imports.values import amount, clean, count, first, mapping, opened, word

__all__ = ["Pairs", "Parts", "batch_key", "call_of", "each_call", "parts_of"]

_REQUEST = ("request", "request_body", "requestBody", "kwargs", "params", "req")
_ANSWER = ("response", "response_body", "responseBody", "completion", "message", "res")

_SHARED = "a custom_id that other lines have, too: import the files of each batch by themselves"

Read = Callable[[Record], LoggedCall | None]


def each_call(records: Iterable[Record], tally: Tally, read: Read) -> Iterator[LoggedCall]:
    """Yield the calls that these records give, and count the records that give none."""
    for record in records:
        try:
            call = read(record)
        except BadRecord as fault:
            tally.refuse(str(fault), record.place)
        except LeftOut as reason:
            tally.leave_out(str(reason), record.place)
        except RecursionError:
            tally.refuse("JSON nested too deeply", record.place)
        else:
            if call is not None:
                tally.read += 1
                yield call


def call_of(
    place: str,
    messages: list[dict[str, Any]],
    request: Mapping[str, Any],
    answered: Answered,
    beside: Mapping[str, Any],
) -> LoggedCall:
    """Return a call, with what the record says beside request and answer. Pure.

    Raises
    ------
    BadRecord
        No model is named.
    """
    model = served_model(request.get("model") or beside.get("model"), answered.model)
    if model is None:
        raise BadRecord("a call that names no model")
    context = context_of(beside, mapping(beside.get("metadata")), mapping(request.get("metadata")), request)
    cost_usd = amount(beside.get("cost_usd"))
    return LoggedCall(
        place,
        messages,
        model,
        answered.status,
        answered.response,
        answered.finish_reason,
        answered.input_tokens,
        answered.output_tokens,
        answered.cached_input_tokens,
        answered.cost_usd if cost_usd is None else cost_usd,
        latency_of(beside),
        timestamp_of(beside) or answered.created,
        **context._asdict(),
    )


class Parts(NamedTuple):
    """What a record written down by hand consists of."""

    body: Mapping[str, Any]
    """Of the request."""
    answer: object
    """As it came: a body, text, or nothing."""
    beside: Mapping[str, Any]
    """The fields around them."""

    def answered(self) -> Answered:
        """Return what came back."""
        code = count(first(self.beside, "status_code", "http_status", "statusCode"))
        if isinstance(self.answer, str) and (code is None or code < 400):  # only the text was written down
            status = status_of_answer(text=self.answer, tool_calls=False, finish_reason=None)
            return Answered(status, clean(self.answer))
        found = mapping(self.answer)
        if not found:
            error = self.beside.get("error")
            return read_answer({"error": error}, code) if error or (code or 0) >= 400 else Answered()
        if "body" in found and not {"choices", "output", "content"} & found.keys():
            return read_answer(mapping(found["body"]), count(found.get("status_code")) or code)
        if "role" in found and found.get("type") != "message":  # only the message was
            found = {"choices": [{"message": found}]}
        return read_answer(found, code)


def parts_of(value: Mapping[str, Any]) -> Parts:
    """Return request, answer and the rest of a record, by the names that people give them. Pure."""
    request = mapping(first(value, *_REQUEST))
    body = mapping(request.get("body")) or request or value
    beside = {key: item for key, item in value.items() if key not in (*_REQUEST, *_ANSWER)}
    return Parts(body, opened(first(value, *_ANSWER)), beside)


def batch_key(value: Mapping[str, Any]) -> str:
    """Return what joins a request of a batch and its answer. Pure."""
    if (key := word(value["custom_id"])) is None:
        raise BadRecord("a line of a batch without its custom_id")
    return key


class Pairs:
    """Requests and answers that name each other by a key; whichever comes first waits on disk."""

    def __init__(self) -> None:
        self._held = Held()

    def request(self, key: str, record: Record) -> tuple[Record, Record] | None:
        """Add a request, and return it with its answer where that has come."""
        return self._join(key, record, mine="q", other="a")

    def answer(self, key: str, record: Record) -> tuple[Record, Record] | None:
        """Add an answer, and return it with its request where that has come."""
        found = self._join(key, record, mine="a", other="q")
        return None if found is None else (found[1], found[0])

    def _join(self, key: str, record: Record, *, mine: str, other: str) -> tuple[Record, Record] | None:
        waiting, earlier = (self._held.get(f"{side}{key}") for side in (other, mine))
        if waiting is not None and waiting[1] is not None:
            self._held.drop(f"{other}{key}")
            return record, Record(*waiting)
        if waiting is not None:
            raise BadRecord(_SHARED)
        if earlier is not None and earlier[1] != record.value:
            self._held.put(f"{mine}{key}", [earlier[0], None])  # it belongs to neither
            raise BadRecord(_SHARED)
        self._held.put(f"{mine}{key}", [record.place, record.value])
        return None

    def unanswered(self, tally: Tally) -> Iterator[Record]:
        """Yield the requests that no answer came for, and count the answers that no request came for."""
        for key, (place, value) in self._held.items():
            if value is None:
                tally.refuse(_SHARED, place)
            elif key.startswith("q"):
                yield Record(place, value)
            else:
                tally.refuse("an answer whose request is in none of the logs", place)

    def close(self) -> None:
        """Let go of what still waits."""
        self._held.close()
