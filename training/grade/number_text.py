r"""Numbers as people and models write them: 1,234.5 and 1.234,5, 3/4 and \frac{3}{4}, 12 %, 1.2 x 10^5, -5.

The rule for a comma or point that might be either: the last of two kinds is the decimal mark; one kind that stands
twice parts thousands; one comma before exactly three digits parts thousands, unless a lone 0 is before it; one point is
a decimal point. `decimal` overrides it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from typing import Literal, NamedTuple

__all__ = ["Decimal", "Found", "find_numbers", "parse_digits"]

Decimal = Literal["auto", "point", "comma"]

_SPACE = "[ \u00a0\u2009\u202f]"
_DIGITS = rf"(?:\d{{1,3}}(?:{_SPACE}\d{{3}})+(?!\d)|\d{{1,3}}(?:['’]\d{{3}})+(?!\d)|\d+)(?:[.,]\d+)*|[.,]\d+"
_LATEX = r"\\[dt]?frac\s*\{\s*(?P<top>-?[\d.,]+)\s*\}\s*\{\s*(?P<bottom>-?[\d.,]+)\s*\}"
_SCALES = {
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
    "k": 1e3,
    "m": 1e6,
    "b": 1e9,
    "bn": 1e9,
}
_NUMBER = re.compile(
    rf"(?P<before>[$€£¥]\s?)?(?P<sign>(?<![\w)\]}}.])(?:[-+](?!(?<=^.)\s)\s?|negative\s|(?<![\d)]\s)minus\s))?(?P<money>[$€£¥]\s?)?"
    rf"(?:(?P<whole>\d+\s?)?{_LATEX}"
    rf"|(?<![\w/.,])(?:(?P<mixed>\d+)\s)?(?P<over>\d+)\s?[/⁄]\s?(?P<under>\d+)(?![\d/]|\.\d)"
    rf"|(?<![A-Za-z_\d.])(?P<digits>{_DIGITS})"
    rf"(?:(?:\^|\*\*)\{{?(?P<exponent>-?\d{{1,4}})\}}?|(?:[eE]|\s?(?:x|×|\*|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{{?\s?)(?P<power>[-+]?\d{{1,4}})\s?\}}?)?)"
    rf"(?P<scale>\s?(?:thousand|million|billion|trillion)\b|(?(before)|(?(money)|(?!)))(?:k|(?-i:[KMB])|bn)\b(?!\s?\$))?(?P<percent>\s?(?:%|percent\b|per cent\b|pct\b))?",
    re.IGNORECASE | re.MULTILINE,
)
# An exponent or the number under a root is no value of its own; nor is the factor of a root or of pi.
_NO_VALUE_BEFORE = re.compile(r"(?:\^|√|\\sqrt)\s?[{(]?$")
_NO_VALUE_AFTER = re.compile(r"\s?(?:π|√|pi\b|\\(?:pi|sqrt|log|ln|sin|cos|tan)\b)")
_GROUPED = re.compile(r"\d*|\d+(?:[.,]\d{2,3})*[.,]\d{3}")


class Found(NamedTuple):
    """A number in a text: its value, whether a percent sign follows, its span, and the money sign before it."""

    value: float
    percent: bool
    start: int
    end: int
    sign: str


def find_numbers(text: str, decimal: Decimal = "auto") -> Iterator[Found]:
    """Yield the finite numbers of a text in order, the text as `answer_text.plain` returns it. Pure."""
    for match in _NUMBER.finditer(text):
        value = _value(match, decimal)
        if value is None or not isfinite(value):
            continue
        start, end = match.span()
        if _NO_VALUE_BEFORE.search(text[max(0, start - 7) : start]) or _NO_VALUE_AFTER.match(text, end):
            continue
        money = (match["before"] or match["money"] or "").strip()
        yield Found(value, match["percent"] is not None, start, end, money)


def parse_digits(digits: str, decimal: Decimal = "auto") -> float | None:
    """Return the value of digits with points, commas, spaces and apostrophes in them, or None. Pure."""
    digits = re.sub(r"[\s'’]", "", digits)
    mark = {"point": ".", "comma": ","}.get(decimal) or _decimal_mark(digits)
    parts = digits.split(mark)
    # The decimal mark twice is a version or a date; groups that are not of three (in India of two and three) are a list.
    if len(parts) > 2 or not _GROUPED.fullmatch(parts[0]):
        return None
    parts[0] = re.sub("[.,]", "", parts[0])
    try:
        return float(".".join(parts))
    except ValueError:
        return None


def _decimal_mark(digits: str) -> str:
    point, comma = digits.rfind("."), digits.rfind(",")
    if point >= 0 and comma >= 0:
        return "." if point > comma else ","
    if digits.count(".") > 1:  # 1.234.567, but not 1.2.3
        return "," if all(len(part) == 3 for part in digits.split(".")[1:]) else "."
    if digits.count(",") == 1 and (len(digits) - comma != 4 or digits[:comma] in ("", "0")):
        return ","
    return "."


def _value(match: re.Match[str], decimal: Decimal) -> float | None:
    value = _unsigned(match, decimal)
    if value is None:
        return None
    value *= _SCALES.get((match["scale"] or "").strip().lower(), 1.0)
    return value if (match["sign"] or "+").startswith("+") else -value


def _unsigned(match: re.Match[str], decimal: Decimal) -> float | None:
    if match["digits"] is not None:
        value = parse_digits(match["digits"], decimal)
        if value is None or not (match["power"] or match["exponent"]):
            return value
        return (
            _scaled(value, int(match["power"])) if match["power"] else _raised(value, int(match["exponent"]))
        )
    above = parse_digits((match["top"] or match["over"]).lstrip("-"), decimal)
    below = parse_digits((match["bottom"] or match["under"]).lstrip("-"), decimal)
    if above is None or not below:
        return None
    minus = f"{match['top']} {match['bottom']}".count("-") % 2
    return float((match["whole"] or match["mixed"] or "0").strip()) + (-above if minus else above) / below


def _scaled(value: float, power: int) -> float | None:
    # By way of text, because 3.4 * 10.0**-1 is not .34; what no float holds comes back as infinity or 0.
    return float(f"{value!r}e{power}") if "e" not in repr(value) else None


def _raised(value: float, power: int) -> float | None:
    try:
        return value**power
    except (OverflowError, ZeroDivisionError):
        return None
