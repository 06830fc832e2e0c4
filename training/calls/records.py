"""The lines of a journal: what each says, to JSON and back. Pure.

An intent is written before a request leaves. What follows it closes it: an answer, or a void where it is sure that
nothing was billed. An intent that nothing closes counts as money spent, at the most that it can be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.calls.answer import Answer

__all__ = ["Answered", "Intent", "Own", "Record", "Void", "read_record", "write_record"]


@dataclass(frozen=True, slots=True)
class Intent:
    """A call is about to be sent.

    Attributes
    ----------
    key, endpoint : str
        As its `Call` has them.
    most_usd : float
        The most that one request of it can cost.
    via : str or None
        What carries it if it is not sent by itself: the tag of a batch.
    again : bool
        It takes the place of the intent before it: its most is for both.
    """

    key: str
    endpoint: str
    most_usd: float
    via: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a call."""

    key: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Void:
    """A call's intent is withdrawn: nothing was billed, and it may be sent again."""

    key: str


@dataclass(frozen=True, slots=True)
class Own:
    """A record of another module's own kind, such as "batch"; read back by `Journal.own`."""

    kind: str
    content: Mapping[str, Any]


Record = Intent | Answered | Void | Own


def write_record(record: Record, at: str) -> bytes:
    """Return a record as one line.

    Parameters
    ----------
    record : Record
        What to write.
    at : str
        When: ISO 8601.
    """
    found: dict[str, Any]
    if isinstance(record, Intent):
        found = {
            "type": "intent",
            "key": record.key,
            "endpoint": record.endpoint,
            "most_usd": record.most_usd,
        }
        if record.via is not None:
            found["via"] = record.via
        if record.again:
            found["again"] = True
    elif isinstance(record, Answered):
        found = {"type": "answer", "key": record.key, **record.answer.to_dict()}
    elif isinstance(record, Void):
        found = {"type": "void", "key": record.key}
    else:
        found = {"type": "own", "kind": record.kind, "content": record.content}
    found["at"] = at
    # Escaped to ASCII, because a text may hold lone surrogates, which have no UTF-8.
    return json.dumps(found, separators=(",", ":")).encode("ascii") + b"\n"


def read_record(line: bytes) -> Record:
    """Return the record of one line.

    Raises
    ------
    ValueError
        The line is none.
    """
    try:
        found = json.loads(line)
        kind = found["type"]
        if kind == "answer":
            return Answered(_text(found["key"]), Answer.from_dict(found))
        if kind == "intent":
            via = found.get("via")
            return Intent(
                _text(found["key"]),
                _text(found["endpoint"]),
                float(found["most_usd"]),
                None if via is None else _text(via),
                found.get("again") is True,
            )
        if kind == "void":
            return Void(_text(found["key"]))
        if kind == "own" and isinstance(found["content"], dict):
            return Own(_text(found["kind"]), found["content"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError("no record")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value
