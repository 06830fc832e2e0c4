r"""The grader of numbers: the number that a response settles on, within a tolerance of the reference.

The rule, first that speaks: the last \boxed{}; the last statement such as "the answer is 5" or "#### 5"; the last number
of the text that does not number a line of a list. In a statement with an equals sign what follows the last one counts.
Units are ignored, unless one is asked for. Nothing is converted. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from training.grade.answer_text import after_marker, last_boxed, plain, stated
from training.grade.grades import FAILED, PASSED, Grade, Row, Why
from training.grade.number_text import Decimal, Found, find_numbers
from training.grade.references import references

__all__ = ["Number", "find_number"]

_LIST_MARK = re.compile(
    r"^[ \t]*(?:[-#>]*[ \t]*)?(?:step[ \t]+)?(\d+)[.):](?=[ \t]+\S)", re.MULTILINE | re.IGNORECASE
)
_NEGATED = re.compile(r"\W*(?:not|never)\b", re.IGNORECASE)


def find_number(response: str, decimal: Decimal = "auto", unit: str | None = None) -> Found | None:
    """Return the number that a response settles on, or None. Pure."""
    boxed = last_boxed(response)
    if boxed is not None and (found := _settled(plain(boxed), decimal, unit)):
        return found
    text = plain(response)
    for statement in reversed(stated(text)):
        line = statement.lstrip("\n").split("\n")[0]
        if not _NEGATED.match(line) and (found := _settled(line, decimal, unit)):
            return found
    marks = {match.start(1) for match in _LIST_MARK.finditer(text)}
    numbers = [each for each in find_numbers(text, decimal) if _has_unit(each, text, unit)]
    unmarked = [each for each in numbers if each.start not in marks]
    return next(chain(reversed(unmarked), reversed(numbers)), None)


def _settled(line: str, decimal: Decimal, unit: str | None) -> Found | None:
    """Return the first number after the last equals sign of a statement that has a number after it."""
    sides = re.split(r"=|\u2248|\\approx", line)
    for side in reversed(sides):
        for found in find_numbers(side, decimal):
            if _has_unit(found, side, unit):
                return found
    return None


def _has_unit(found: Found, text: str, unit: str | None) -> bool:
    if unit is None:
        return True
    after = text[found.end : found.end + len(unit) + 2].lstrip(" \u00a0\u202f-")
    follows = after.startswith(unit) and not after[len(unit) : len(unit) + 1].isalpha()
    return follows or found.sign == unit or (unit == "%" and found.percent)


@dataclass(frozen=True)
class Number:
    """The response settles on a number within a tolerance of the reference.

    Attributes
    ----------
    reference : str
        The column of the reference.
    relative, absolute : float
        The number may be off by the larger of `relative` times the reference and `absolute`.
    decimal : {"auto", "point", "comma"}
        What parts the decimals of the response and of a reference that is text.
    percent : {"either", "strict"}
        Whether 12 % may stand for 12 and for 0.12, or only for 12 %.
    unit : str or None
        Count only numbers with this unit, such as "km" behind or "$" before.
    after : str or None
        Read only what follows the last of this marker.
    off_format : {"fail", "null"}
        What a response without a number is.
    """

    name: str
    reference: str = "reference"
    relative: float = 1e-6
    absolute: float = 1e-9
    decimal: Decimal = "auto"
    percent: Literal["either", "strict"] = "either"
    unit: str | None = None
    after: str | None = None
    off_format: Literal["fail", "null"] = "fail"

    def __post_init__(self) -> None:
        if self.relative < 0 or self.absolute < 0:
            raise ValueError(
                f"relative and absolute are 0 or more; found {min(self.relative, self.absolute)}"
            )

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return (self.reference,)

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        texts = references(row, self.reference)
        if not texts:
            return Grade(None, Why.NO_REFERENCE)
        wanted = [found for text in texts if (found := find_number(text, self.decimal))]
        if not wanted:
            return Grade(None, Why.BAD_REFERENCE)
        response = after_marker(row.response, self.after)
        found = None if response is None else find_number(response, self.decimal, self.unit)
        if found is None:
            return FAILED if self.off_format == "fail" else Grade(None, Why.OFF_FORMAT)
        return PASSED if any(self.is_same(found, each) for each in wanted) else FAILED

    def is_same(self, found: Found, wanted: Found) -> bool:
        """Tell whether a number is within tolerance of another. Pure."""
        if found.percent == wanted.percent:
            return self._is_near(found.value, wanted.value)
        values = (
            found.value / 100 if found.percent else found.value,
            wanted.value / 100 if wanted.percent else wanted.value,
        )
        return self._is_near(*values) or (
            self.percent == "either" and self._is_near(found.value, wanted.value)
        )

    def _is_near(self, value: float, wanted: float) -> bool:
        return abs(value - wanted) <= max(self.relative * abs(wanted), self.absolute)
