"""What one value of a configuration may be: each function reads one kind, or says what was expected.

Pure. A reader takes a value and how an error names it, such as "configuration weekly.toml: window".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from router.errors import ConfigError

__all__ = [
    "read_choice",
    "read_folder",
    "read_instant",
    "read_length",
    "read_model_name",
    "read_number",
    "read_path",
    "read_seed",
    "read_table",
    "read_text",
    "read_uri",
    "reject_unknown",
    "show",
]

_LONGEST_DAYS = 36_500  # a hundred years: arithmetic with dates cannot overflow
_LENGTH = re.compile(r"([0-9]{1,5})\s*([wd]?)")
_LONGEST_SHOWN = 60
# What MLflow takes that keeps versions and aliases: a server, or one of its four kinds of databases.
_TRACKING = re.compile(r"(?:https?|(?:sqlite|postgresql|mysql|mssql)(?:\+\w+)?)://.+")
# Quotes would end the name in a filter of MLflow's; a name that begins with dots is a path to it.
_MODEL_NAME = re.compile(r"""(?!\.\.|\.\Z)[^\s/:@'"`\\](?:[^/:@'"`\\\0\n]*[^\s/:@'"`\\])?""")


def reject_unknown(keys: Iterable[str], known: Sequence[str], where: str) -> None:
    """Refuse a key that nobody reads, and name the nearest that somebody does."""
    for key in keys:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise ConfigError(f"{where}: unknown key {show(key)}{hint}; known keys: {', '.join(known)}")


def read_text(value: object, where: str) -> str:
    """Return text that is not blank."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ConfigError(f"{where} is text; found {show(value)}")
    return value


def read_table(value: object, where: str) -> dict[str, Any]:
    """Return a table."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is a table; found {show(value)}")
    return value


def read_path(value: object, where: str) -> Path:
    """Return a path, `~` expanded; relative to the working directory, as every command's."""
    try:
        return Path(read_text(value, where)).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{where}: no home folder is known for {show(value)}; write the whole path"
        ) from None


def read_folder(value: object, where: str) -> Path:
    """Return a path that stays the same when the working directory changes."""
    path = read_path(value, where)
    if "://" in str(value):  # not shown: it may hold a password
        raise ConfigError(
            f"{where} is a folder of this machine; found a URL; to keep MLflow's files in an object store, set "
            "tracking_uri to an MLflow server that keeps them there"
        )
    return path.absolute()


def read_number(value: object, where: str, *, most: float | None = None, unit: str = "") -> float:
    """Return a finite number: from 0 to `most`, or above 0 where there is no such bound."""
    expected = f"a finite number{unit} above 0" if most is None else f"a number from 0 to {most:g}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (value > 0 if most is None else 0 <= value <= most) or value > 1e12:  # type: ignore[operator]
        raise ConfigError(f"{where} is {expected}; found {show(value)}")
    return float(value)  # type: ignore[arg-type]


def read_seed(value: object, where: str) -> int:
    """Return a seed."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise ConfigError(f"{where} is a whole number from 0 to {2**32 - 1}; found {show(value)}")
    return value


def read_choice(value: object, where: str, choices: Sequence[str]) -> str:
    """Return one of some names."""
    if not isinstance(value, str) or value not in choices:
        close = get_close_matches(value, choices, n=1) if isinstance(value, str) else ()
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ConfigError(f"{where} is one of {', '.join(choices)}; found {show(value)}{hint}")
    return value


def read_length(value: object, where: str) -> timedelta:
    """Return a length of time: whole weeks as a number, or weeks or days as text, such as "12w" or "90d"."""
    days = None
    if isinstance(value, int) and not isinstance(value, bool):
        days = 7 * value
    elif isinstance(value, str) and (found := _LENGTH.fullmatch(value.strip().lower())):
        days = int(found[1]) * (1 if found[2] == "d" else 7)
    if days is None or not 1 <= days <= _LONGEST_DAYS:
        raise ConfigError(
            f'{where} is a number of weeks, or text such as "12w" or "90d", from a day to a hundred years; found {show(value)}'
        )
    return timedelta(days=days)


def read_instant(value: object, where: str) -> datetime:
    """Return a point in time, in UTC; what names no zone is taken as UTC, and a day as its beginning."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise ConfigError(f"{where} is a date such as 2026-01-31 or 2026-01-31T12:00:00Z; found {show(value)}")


def read_model_name(value: object, where: str) -> str:
    """Return a name that can stand in models:/NAME@ALIAS and in a filter."""
    if not isinstance(value, str) or not _MODEL_NAME.fullmatch(value):
        raise ConfigError(
            f"{where} is a name without / : @ \\ and quotes, which does not begin with two dots; found {show(value)}"
        )
    return value


def read_uri(value: object, where: str) -> str:
    """Return a tracking URI. One that is wrong is not shown: it may hold a password."""
    if not isinstance(value, str) or not _TRACKING.fullmatch(value):
        raise ConfigError(
            f"{where} is a URI such as sqlite:////srv/tierwise/mlflow.db or http://127.0.0.1:5000, and begins with http, "
            "https, sqlite, postgresql, mysql or mssql (a database may name its +driver); found something else"
        )
    return value


def show(value: object) -> str:
    """Return a value as far as a sentence has room for it."""
    if isinstance(value, date):
        return value.isoformat()
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number out of range"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
