"""From a table of TOML to a frozen dataclass, by its type hints.

The rule: a key that nobody reads, a key that is missing and a value of another type are refused before anything is
graded, by a sentence that names the table, the key and what was expected. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from router.errors import ConfigError
from training.pipeline.values import read_choice, reject_unknown, show

__all__ = ["build"]

T = TypeVar("T")


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Return a dataclass made of a table. Pure.

    Parameters
    ----------
    cls : type
        A frozen dataclass with fields of str, bool, int, float, Literal, tuple of str or float, dict, or one of
        these or None. Its `__post_init__` may raise ValueError to refuse values that do not go together.
    table : mapping
        Its keys are the names of fields.
    where : str
        How an error names the table, such as "graders g.toml: grader answer".

    Raises
    ------
    ConfigError
        A key is unknown or missing, or a value is wrong.
    """
    known = {item.name: item for item in fields(cls) if item.init}  # type: ignore[arg-type]
    reject_unknown(table, tuple(known), where)
    for name, item in known.items():
        if name not in table and _is_needed(item):
            raise ConfigError(f"{where}: {name} is missing; known keys: {', '.join(known)}")
    hints = get_type_hints(cls)
    values = {name: _read(value, hints[name], f"{where}: {name}") for name, value in table.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _is_needed(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _read(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401 - a value of TOML is of many types
    if get_origin(hint) is UnionType:  # TOML has no null: what is there is of the other type
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is Literal:
        return read_choice(value, where, get_args(hint))
    if get_origin(hint) is tuple:
        return _read_list(value, get_args(hint)[0], where)
    if get_origin(hint) is dict:
        return _of(value, dict, "a table", where)
    if hint is bool:
        return _of(value, bool, "true or false", where)
    if hint is str:
        return _of(value, str, "text", where)
    number = not isinstance(value, bool) and isinstance(value, int if hint is int else int | float)
    if not number or not isfinite(value):
        expected = "a whole number" if hint is int else "a number"
        raise ConfigError(f"{where} is {expected}; found {show(value)}")
    return hint(value)


def _read_list(value: Any, hint: Any, where: str) -> tuple[Any, ...]:  # noqa: ANN401
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where} is a list of at least one; found {show(value)}")
    return tuple(_read(each, hint, where) for each in value)


def _of(value: Any, cls: type[Any], expected: str, where: str) -> Any:  # noqa: ANN401
    if not isinstance(value, cls) or (cls is str and (not value.strip() or "\0" in value)):
        raise ConfigError(f"{where} is {expected}; found {show(value)}")
    return value
