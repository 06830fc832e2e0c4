"""One call as a log tells it, whatever tool wrote the log, and what is wrong with a record that tells none.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eval.status import Status

__all__ = ["BadRecord", "LeftOut", "LoggedCall", "Record"]


class BadRecord(Exception):  # noqa: N818 - a finding about a record, not a failure of the command
    """A record that cannot be read; the reason is one of our own sentences and never holds what was in it."""


class LeftOut(Exception):  # noqa: N818
    """A record that can be read and holds nothing for a history, such as an embedding."""


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object or row of a file, and where it stands."""

    place: str
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call of one model.

    Attributes
    ----------
    place : str
        File and line, row or record.
    messages : list of dict
        What was sent, as OpenAI-style chat messages.
    model : str
        Who answered.
    status : Status or None
        What became of it; None where the log holds the request alone.
    response : str or None
        The text of the answer, or its calls of tools as JSON.
    finish_reason : str or None
        The provider's own word.
    input_tokens, output_tokens, cached_input_tokens : int or None
        As billed; cached ones are among the input's.
    cost_usd : float or None
        Only where the log says it.
    latency_ms : float or None
        From the request to the end of the answer.
    timestamp : datetime or None
        When it was sent; with its zone.
    session, user, task : str or None
        Whatever the log calls them.
    propensity : float or None
        The probability with which this model was chosen, in (0, 1].
    score : float or None
        A grade that the log holds itself, from 0 to 1.
    """

    place: str
    messages: list[dict[str, Any]]
    model: str
    status: Status | None
    response: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    timestamp: datetime | None = None
    session: str | None = None
    user: str | None = None
    task: str | None = None
    propensity: float | None = None
    score: float | None = None
