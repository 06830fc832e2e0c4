r"""The grader of numbers: the number that a response settles on, within a tolerance of the reference.

The rule, first that speaks: the last \boxed{}; the last statement such as "the answer is 5" or "#### 5"; the number that
the response opens with, if what follows explains it; the last number of the text that does not number a line of a list.
In a statement with an equals sign what follows the last one counts. A range, a sum without its result and "7 or 8" are
no number. Units are ignored, unless one is asked for. Nothing is converted. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
_RULED_OUT = re.compile(r"(?:\bnot|n't|\brather than|\binstead of)\s+\W?$", re.IGNORECASE)
_ROUNDING = re.compile(r"[-\s]*(?:decimals?\b|dp\b|d\.p\.|significant\b)", re.IGNORECASE)
# What makes of two numbers an expression, a range, a ratio, a date, or a choice that is not made.
_JOINT = re.compile(r"\s*(?:[-–—+*x×·/:]|\\times|\\cdot|to|or)\s*")
_BETWEEN = re.compile(r"\bbetween\s+$", re.IGNORECASE)
_OPENING = re.compile(r"[#>\s]*(?:it(?:['’]s|\s+is)\s)?", re.IGNORECASE)
_EXPLAINED = re.compile(
    r"[^\d\n]{0,20}?(?:\([^()\n]*\)\W*$|,?\s(?:because|since|as)\b|[ \t]*\n[ \t]*\n)", re.IGNORECASE
)
_WORD = re.compile(r"\W*([a-z]+)\W*(?:[a-z]+\W*)?", re.IGNORECASE)
_WORDS = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty",
)


def find_number(response: str, decimal: Decimal = "auto", unit: str | None = None) -> Found | None:
    """Return the number that a response settles on, or None. Pure."""
    boxed = last_boxed(response)
    if boxed is not None:
        found = _settled(plain(boxed), decimal, unit)
        if found or (unit is None and re.search(r"\d", boxed)):  # there is an answer, if not one number
            return found
    text = plain(response)
    for statement in reversed(stated(text)):
        line = statement.lstrip("\n").split("\n")[0]
        if _NEGATED.match(line):
            continue
        if _numbers(line, decimal, unit):
            return _settled(line, decimal, unit)
        if unit is None and (word := _in_words(line)):
            return word
    marks = {match.start(1) for match in _LIST_MARK.finditer(text)}
    numbers = _numbers(text, decimal, unit)
    if not numbers:
        return _in_words(text) if unit is None else None
    first = numbers[0]
    leads = first.start not in marks and _OPENING.fullmatch(text, 0, first.start)
    if leads and _EXPLAINED.match(text, first.end):
        return first
    last = next((each for each in reversed(numbers) if each.start not in marks), numbers[-1])
    if last in _single(text, numbers):
        return last
    start, end = text.rfind("\n", 0, last.start) + 1, text.find("\n", last.end)
    return _settled(text[start : end if end >= 0 else None], decimal, unit)


def _settled(line: str, decimal: Decimal, unit: str | None) -> Found | None:
    """Return the first number of its own after the last equals sign of a statement that has one after it."""
    for side in reversed(re.split(r"=|\u2248|\\approx", line)):
        if single := _single(side, _numbers(side, decimal, unit)):
            return single[0]
    return None


def _numbers(text: str, decimal: Decimal, unit: str | None) -> list[Found]:
    """Return the numbers that may be an answer: of the unit, not ruled out, and not a number of decimals."""
    return [
        found
        for found in find_numbers(text, decimal)
        if _has_unit(found, text, unit)
        and not _RULED_OUT.search(text[max(0, found.start - 14) : found.start])
        and not _ROUNDING.match(text, found.end)
    ]


def _single(text: str, numbers: Sequence[Found]) -> list[Found]:
    """Return the numbers that are not part of an expression, a range or an open choice."""
    joint: set[Found] = set()
    for one, other in pairwise(numbers):
        between = text[one.end : other.start]
        is_range = between.strip() == "and" and _BETWEEN.search(text[max(0, one.start - 9) : one.start])
        is_term = not between.strip() and text[other.start] in "+-"
        if (is_range or is_term or _JOINT.fullmatch(between)) and _share(one) != _share(
            other
        ):  # "1/4 or 25 %" is one number
            joint |= {one, other}
    return [each for each in numbers if each not in joint]


def _share(found: Found) -> float:
    return found.value / 100 if found.percent else found.value


def _in_words(text: str) -> Found | None:
    word = _WORD.fullmatch(text)
    if word is None or word[1].lower() not in _WORDS:
        return None
    return Found(float(_WORDS.index(word[1].lower())), False, 0, 0, "")


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
        return self._is_near(_share(found), _share(wanted)) or (
            self.percent == "either" and self._is_near(found.value, wanted.value)
        )

    def _is_near(self, value: float, wanted: float) -> bool:
        return abs(value - wanted) <= max(self.relative * abs(wanted), self.absolute)
