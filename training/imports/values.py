"""What one value of a log may be: each function reads one kind, and gives None for what is not of it.

Pure. A log is written by many hands: a number that is no number leaves its column empty, it does not spoil the row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

__all__ = [
    "amount",
    "clean",
    "count",
    "first",
    "instant",
    "mapping",
    "milliseconds",
    "opened",
    "share",
    "snake",
    "word",
]

_LONE = re.compile("[\ud800-\udfff]")
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_LONGEST_WORD = 512
_YEARS = (1970, 2200)  # outside, a number was no time at all
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clean(text: str) -> str:
    """Return text that UTF-8 can hold: halves of a surrogate pair become U+FFFD."""
    return _LONE.sub("\ufffd", text) if not text.isascii() else text


def first(source: Mapping[str, Any], *names: str) -> Any:  # noqa: ANN401 - a log holds anything
    """Return the first of these fields that holds something."""
    for name in names:
        if (value := source.get(name)) is not None and value != "":
            return value
    return None


def mapping(value: object) -> dict[str, Any]:
    """Return an object, read from its JSON text if need be, or an empty one."""
    value = opened(value)
    if (
        isinstance(value, list)
        and value
        and all(isinstance(item, tuple) and len(item) == 2 for item in value)
    ):
        return {str(key): item for key, item in value}  # Parquet's maps
    return value if isinstance(value, dict) else {}


def opened(value: object) -> Any:  # noqa: ANN401
    """Return what JSON text holds where text is that of an object or a list; all else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def word(value: object) -> str | None:
    """Return an identifier or a name; None for what is blank or too long to be one."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_WORD:
        return None
    return clean(value.strip())


def amount(value: object) -> float | None:
    """Return a finite number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) and number >= 0 else None


def count(value: object) -> int | None:
    """Return a whole number of 0 or more that an int64 holds."""
    number = amount(value)
    return int(number) if number is not None and number < 2**53 else None


def share(value: object) -> float | None:
    """Return a number from 0 to 1; true and false are 1 and 0."""
    number = float(value) if isinstance(value, bool) else amount(value)
    return number if number is not None and number <= 1 else None


def instant(value: object) -> datetime | None:
    """Return a time with its zone, UTC if it names none, from ISO 8601 or an epoch in s, ms, us or ns."""
    found: datetime | None = None
    try:
        if isinstance(value, datetime):
            found = value
        elif isinstance(value, str) and not value.strip().replace(".", "", 1).isdigit():
            found = datetime.fromisoformat(value.strip().removesuffix(" UTC"))
        elif (number := amount(value)) is not None:
            while number > 1e11:  # the year 5138 in seconds, and 1973 in milliseconds
                number /= 1000
            found = _EPOCH + timedelta(seconds=number)
    except (ValueError, OverflowError):
        return None
    if found is None or not _YEARS[0] <= found.year < _YEARS[1]:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def milliseconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return how long something took, where it did not end before it began."""
    if start is None or end is None or end < start:
        return None
    return (end - start) / timedelta(milliseconds=1)


def snake(name: str) -> str:
    """Return a field's name with its words parted by underscores: `traceId` is `trace_id`."""
    return _HUMP.sub(r"_\1", name).lower()
