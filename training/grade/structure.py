"""Graders of structure: is it JSON, and does it fit a JSON Schema.

The rule: JSON is what RFC 8259 says, each key once: a duplicate key means another thing to another reader. No NaN, no
text around it. Schemas are read without the network: a reference to another address is refused. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import jsonschema_rs

from training.grade.grades import FAILED, PASSED, Grade, Row, Why

__all__ = ["Json", "JsonSchema", "parse_strictly"]

_BACKTRACKS = 100_000  # of a schema's pattern on one text: some milliseconds
_LONGEST_WHOLE = 4000  # digits; Python refuses integers from 4,300 on, JSON does not
_FENCED = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*\n(.*?)(?:\1\s*)?", re.DOTALL)
_TYPES = {"object": dict, "array": list}


def parse_strictly(text: str) -> Any:  # noqa: ANN401 - JSON of any type
    """Return the value of JSON text. Pure.

    Raises
    ------
    ValueError
        It is no JSON, has a key twice, or nests too deeply.
    """
    try:
        return _DECODER.decode(text.strip(" \t\n\r"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_WHOLE else float(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_whole)


def _document(text: str, *, fenced: bool) -> str:
    """Return the response, or what stands in a fence around all of it where that is allowed."""
    found = _FENCED.fullmatch(text) if fenced else None
    return found[2] if found else text


@dataclass(frozen=True)
class Json:
    """The response is JSON.

    Attributes
    ----------
    type : {"any", "object", "array"}
        What it has to be.
    fenced : bool
        One fenced code block around all of it is allowed.
    """

    name: str
    type: Literal["any", "object", "array"] = "any"
    fenced: bool = False

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return ()

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        try:
            value = parse_strictly(_document(row.response, fenced=self.fenced))
        except ValueError:
            return FAILED
        return PASSED if isinstance(value, _TYPES.get(self.type, object)) else FAILED


@dataclass(frozen=True)
class JsonSchema:
    """The response is JSON that fits a schema.

    Attributes
    ----------
    schema : dict or None
        The schema as a table of TOML; for all rows.
    column : str or None
        The column of the schema, JSON text; one of the two is given.
    fenced : bool
        As `Json`.
    """

    name: str
    schema: dict[str, Any] | None = None
    column: str | None = None
    fenced: bool = False
    validators: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if (self.schema is None) == (self.column is None):
            raise ValueError(
                f"expected one of schema and column; found {'none' if self.schema is None else 'both'}"
            )
        if self.schema is not None:
            try:
                self.validators[""] = _validator(json.loads(json.dumps(self.schema)))
            except (ValueError, TypeError) as error:
                reason = str(error).split("\n")[0]
                raise ValueError(f"schema cannot be used: {reason}; references stay within it") from None

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return () if self.column is None else (self.column,)

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        validator = (
            self.validators[""] if self.column is None else self._validator_of(row.cells.get(self.column))
        )
        if isinstance(validator, Grade):
            return validator
        try:
            value = parse_strictly(_document(row.response, fenced=self.fenced))
            return PASSED if validator.is_valid(value) else FAILED
        except ValueError:  # no JSON, or nested more deeply than a validator goes
            return FAILED

    def _validator_of(self, cell: Any) -> Any:  # noqa: ANN401 - a validator, or the grade that stands for it
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            return Grade(None, Why.NO_REFERENCE)
        key = cell if isinstance(cell, str) else json.dumps(cell, sort_keys=True, default=str)
        if key not in self.validators:  # prompts share their schemas
            try:
                self.validators[key] = _validator(json.loads(key))
            except (ValueError, RecursionError):
                self.validators[key] = Grade(None, Why.BAD_REFERENCE)
        return self.validators[key]


def _validator(schema: Any) -> Any:  # noqa: ANN401
    if not isinstance(schema, dict | bool):
        raise ValueError("a schema is an object")
    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS)
    return jsonschema_rs.validator_for(schema, retriever=_retrieve_nothing, pattern_options=options)


def _retrieve_nothing(_uri: str) -> NoReturn:
    raise ValueError("a schema is read without the network")
