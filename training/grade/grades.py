"""What a grader sees and what it says: a row and a grade.

The rule: a response that is wrong scores 0; a response that cannot be judged has no score, and one of a closed set of
words says why. Nothing invents a label. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

__all__ = ["FAILED", "PASSED", "Grade", "Grader", "Row", "Why"]


class Why(StrEnum):
    """Why there is no score."""

    NO_REFERENCE = "no reference"  # the column of the reference, tests or schema is empty on this row
    BAD_REFERENCE = "bad reference"  # there is one, and the grader cannot read it
    NO_TOP_ANSWER = "no top answer"  # the top tier has no gradable answer to the same prompt
    NOT_APPLICABLE = "not applicable"  # none of this grader's business: combinations leave it out
    OFF_FORMAT = "off format"  # no answer of the asked form, where the operator would not have that a fail
    TIME_LIMIT = "time limit"  # a pattern of the operator ran out of time
    REFUSED = "refused"  # the judge refused
    UNANSWERED = "unanswered"  # the judge's call came to nothing
    BUDGET = "budget"  # the budget ended before this row was judged
    ERROR = "error"  # the grader failed, which is not the response's fault


@dataclass(frozen=True, slots=True)
class Grade:
    """A score from 0 to 1, or the reason that there is none; exactly one of the two is None."""

    score: float | None
    why: Why | None = None


PASSED = Grade(1.0)
FAILED = Grade(0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One gradable answer.

    Attributes
    ----------
    number : int
        Position in the history, from 0.
    place : str
        How an error names it.
    cells : mapping
        All columns of the row, as they were read.
    response : str
        The answer.
    top : str or None
        What the top tier answered to the same prompt; None if it has no gradable answer or no ladder was given.
    is_top : bool
        This is the top tier's answer.
    """

    number: int
    place: str
    cells: Mapping[str, Any]
    response: str
    top: str | None = None
    is_top: bool = False


class Grader(Protocol):
    """One named way to grade a row; a frozen dataclass whose fields are the keys of its table in TOML."""

    @property
    def name(self) -> str:
        """What rules and the column `grades` call it."""

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row. Pure, and raises nothing on any response."""

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads, beside the response."""
