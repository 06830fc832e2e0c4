"""What a log says about a call beside the call: its session, user, task, time and the chance of its model.

Pure. Nobody prescribes these names; the ones looked for are listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from training.imports.values import amount, first, instant, milliseconds, word

__all__ = ["Context", "context_of", "latency_of", "timestamp_of"]

_SESSION = ("session_id", "session", "sessionId", "conversation_id", "conversationId", "thread_id", "chat_id")
_USER = ("user_id", "user", "userId", "end_user", "safety_identifier", "customer_id")
_TASK = ("task", "task_name", "tierwise.task")
_PROPENSITY = ("propensity", "tierwise.propensity")
_START = ("timestamp", "start_time", "startTime", "started_at", "time", "ts", "created_at", "datetime")
_END = ("end_time", "endTime", "ended_at", "finished_at", "completed_at")
_MILLISECONDS = ("latency_ms", "duration_ms", "elapsed_ms", "response_time_ms")
_Found = TypeVar("_Found")
_SECONDS = ("latency_s", "duration_s", "elapsed_s", "latency_seconds", "duration_seconds")


class Context(NamedTuple):
    """What stands beside a call."""

    session: str | None = None
    user: str | None = None
    task: str | None = None
    propensity: float | None = None


def context_of(*sources: Mapping[str, Any]) -> Context:
    """Return what is named in any of these objects, the first that names it."""
    propensity = _find(sources, _PROPENSITY, amount)
    return Context(
        _find(sources, _SESSION, word),
        _find(sources, _USER, word),
        _find(sources, _TASK, word),
        propensity if propensity is not None and 0 < propensity <= 1 else None,
    )


def timestamp_of(source: Mapping[str, Any]) -> datetime | None:
    """Return when a call was sent, by any of the usual names."""
    return _find((source,), _START, instant)


def latency_of(source: Mapping[str, Any]) -> float | None:
    """Return how long a call took; a field that does not name its unit is not read."""
    if (found := amount(first(source, *_MILLISECONDS))) is not None:
        return found
    if (found := amount(first(source, *_SECONDS))) is not None:
        return 1000.0 * found
    return milliseconds(timestamp_of(source), _find((source,), _END, instant))


def _find(
    sources: tuple[Mapping[str, Any], ...], names: tuple[str, ...], read: Callable[[object], _Found | None]
) -> _Found | None:
    for source in sources:
        for name in names:
            if (found := read(source.get(name))) is not None:
                return found
    return None
