"""Which attempts are worth another, after how long and under which key. Pure, but for chance."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from eval.status import AGAIN, Status
from training.calls.answer import Answer

__all__ = [
    "LONGEST_WAIT_S",
    "OUT_OF_CREDIT",
    "backoff_s",
    "idempotency_key",
    "may_be_billed",
    "retry_after_s",
    "worth_another",
]

LONGEST_WAIT_S = 300.0
"""However long a provider asks to wait."""
OUT_OF_CREDIT = "insufficient_quota"
"""OpenAI's code of a 429 that no waiting mends."""

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 60.0

_ANOTHER = frozenset(
    {Status.RATE_LIMITED, Status.SERVER_ERROR, Status.UNREACHABLE, Status.TIMEOUT, Status.CUT_OFF}
)


def worth_another(answer: Answer) -> bool:
    """Return whether the same request may fare better later."""
    return answer.status in _ANOTHER and answer.code != OUT_OF_CREDIT


def may_be_billed(answer: Answer) -> bool:
    """Return whether an attempt without an answer may have been billed: the request had left."""
    return answer.status in (Status.TIMEOUT, Status.CUT_OFF)


def idempotency_key(key: str, status: Status | None, place: int | None) -> str:
    """Return the key that all requests of a call carry, given its last answer's status and place in the journal.

    Another one than the call's own only where a complete answer is asked for again: under the old key a provider would
    repeat it.
    """
    if status is None or status in AGAIN or may_be_billed(Answer(status)):
        return key
    return f"{key}-{place:x}"


def backoff_s(attempt: int) -> float:
    """Return how long to wait after an attempt, the first being 1.

    Exponential with full jitter, so that those who failed together do not come back together (Brooker 2015, "Exponential
    Backoff and Jitter").
    """
    longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt - 1, 30))
    return random.uniform(0.0, longest)  # noqa: S311 - spreads load, hides nothing


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return how long a provider asks to wait, within bounds; None where it does not say.

    Parameters
    ----------
    headers : mapping
        Of its answer: `retry-after-ms`, or `retry-after` as seconds or an HTTP date (RFC 9110, 10.2.3).
    now : datetime or None
        What a date is counted from; None is the clock.
    """
    wait = _number(headers.get("retry-after-ms"), 1e-3)
    if wait is None:
        wait = _number(text := headers.get("retry-after"), 1.0)
        if wait is None and text is not None:
            try:
                until = parsedate_to_datetime(text)
            except ValueError:
                return None
            until = until if until.tzinfo else until.replace(tzinfo=UTC)
            wait = (until - (now or datetime.now(UTC))).total_seconds()
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT_S)


def _number(text: str | None, unit: float) -> float | None:
    try:
        value = float(text) * unit if text is not None else None
    except ValueError:
        return None
    return None if value is None or value != value else value
