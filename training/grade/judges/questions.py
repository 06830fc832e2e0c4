"""From a judge and a row to questions, and from their answers to a verdict.

Pure. A question has one key wherever it comes from, so that the same response to the same prompt is judged, and paid for,
once, whichever tiers gave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eval.status import Status
from eval.table import is_missing
from training.calls.answer import Answer
from training.calls.call import Call, call_key
from training.grade.grades import PASSED, Grade, Row, Why
from training.grade.judges.config import Asking, Judge, Pairwise
from training.grade.judges.prompt import Asked, ask_absolute, ask_pairwise, question_text, reference_text
from training.grade.judges.verdict import read_score, read_winner

__all__ = [
    "AGAIN",
    "Reply",
    "Said",
    "Task",
    "call_of",
    "name_of",
    "questions",
    "read_reply",
    "said",
    "unasked",
]

AGAIN = frozenset({Status.ANSWERED, Status.TOOL_CALL, Status.LENGTH, Status.EMPTY, Status.MALFORMED})
"""What a judge may have come to with no verdict in it: off format, and worth one more try."""

_REFUSED = frozenset({Status.REFUSED, Status.FILTERED})
_WORTH = {"A": 1.0, "tie": 0.5, "B": 0.0}


class Task(NamedTuple):
    """One row for one judge."""

    judge: Judge | Pairwise
    row: Row


class Reply(NamedTuple):
    """What came of one question: a grade of 1 to 5 or the worth of response A, or the reason that there is none."""

    value: float | None
    why: Why | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a judge said of a row.

    Attributes
    ----------
    worth : float or None
        A grade from 1 to 5; or pairwise from 0 to 1, the mean of both orders.
    why : Why or None
        Why there is none.
    replies : tuple of floats
        Pairwise: what the row's response was worth as A, and what it was worth as B; empty where nothing was asked.
    """

    worth: float | None
    why: Why | None = None
    replies: tuple[float, ...] = ()


def name_of(row: Row) -> tuple[str, str]:
    """Return prompt_id and model of a row."""
    return str(row.cells["prompt_id"]), str(row.cells["model"])


def unasked(judge: Asking, row: Row) -> Grade | None:
    """Return the grade of a row that a judge need not be asked about, or None.

    The top tier's answer is what others are measured by; an answer equal to it ties with it.
    """
    if isinstance(judge, Pairwise):
        if row.is_top:
            return PASSED
        if row.top is None:
            return Grade(None, Why.NO_TOP_ANSWER)
    if judge.reference is not None and is_missing(row.cells.get(judge.reference)):
        return Grade(None, Why.NO_REFERENCE)
    if isinstance(judge, Pairwise) and row.response == row.top:
        return Grade(0.5)
    return None


def questions(task: Task, *, again: bool = False) -> tuple[Asked, ...]:
    """Return what a judge is asked about a row that `unasked` has no grade for: one question, or one per order."""
    judge, row = task
    reference = None if judge.reference is None else reference_text(row.cells[judge.reference])
    text = question_text(row.cells)
    if isinstance(judge, Judge):
        return (ask_absolute(judge.rubric, text, row.response, reference, again=again),)
    if row.top is None:
        raise ValueError(f"{row.place}: nothing to compare with")
    orders = (row.response, row.top), (row.top, row.response)
    return tuple(ask_pairwise(judge.rubric, text, a, b, reference, again=again) for a, b in orders)


def call_of(task: Task, asked: Asked) -> Call:
    """Return the call for one question."""
    judge, row = task
    key = call_key("judge", judge.model, asked.messages, judge.max_output_tokens, judge.params)
    prompt_id, model = name_of(row)
    return Call(key, judge.name, asked.messages, f"judge {judge.name}, prompt {prompt_id}, model {model}")


def read_reply(judge: Asking, asked: Asked, answer: Answer | None) -> Reply:
    """Read an answer out of the journal; none means that the budget ended before."""
    if answer is None:
        return Reply(None, Why.BUDGET)
    if answer.status in _REFUSED:
        return Reply(None, Why.REFUSED)
    if answer.status not in AGAIN:
        return Reply(None, Why.UNANSWERED)
    value: float | None = None
    if answer.status is Status.ANSWERED and answer.response is not None:
        if isinstance(judge, Judge):
            value = read_score(answer.response, asked.nonce)
        elif (winner := read_winner(answer.response, asked.nonce)) is not None:
            value = _WORTH[winner]
    return Reply(value, Why.OFF_FORMAT if value is None else None)


def said(replies: Sequence[Reply]) -> Said:
    """Put together what a judge said of a row. Where an order has no verdict, the row has none."""
    for reply in replies:
        if reply.value is None:
            return Said(None, reply.why)
    values = [reply.value for reply in replies if reply.value is not None]
    if len(values) == 1:
        return Said(values[0])
    own = (values[0], 1.0 - values[1])
    return Said(sum(own) / 2.0, None, own)
