"""A collected history, as grade reads it: every column as it came, and which rows hold an answer to grade.

The rule: a history is right or it is refused, by a sentence that names file, row and column and never shows a text.
Reads files; changes nothing. Parquet's cells keep their types, integers with nulls among them, so that what comes out is
what went in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eval.history import COLUMNS
from eval.status import GRADABLE, Status
from eval.table import Table, bad, is_missing, read_table, shown
from router.errors import ConfigError
from router.tiers import Ladder
from training.collect.sinks import type_of
from training.grade.grades import Row
from training.grade.references import cell_text

__all__ = ["ADDED", "Answers", "gradable_rows", "read_answers"]

ADDED = ("grades", "label_error", "grading_usd")
"""The columns that grading adds."""
_STATUSES = frozenset(map(str, Status))
_KNOWN_TEXTS = ("prompt_id", "model")


@dataclass(frozen=True, eq=False)
class Answers:
    """A history's columns, and what is already known of each row.

    Attributes
    ----------
    places : list of str
        How an error names each row.
    columns : dict
        Cells by column, in order, as they were read.
    types : dict
        What each column is in Parquet.
    keys : list of (prompt_id, model)
        Unique.
    scores : list of float or None
        The score that a row came with.
    ungraded : list of str or None
        Why a row cannot be graded, such as "status refused"; None where it can.
    """

    places: list[str]
    columns: dict[str, list[Any]]
    types: dict[str, pa.DataType]
    keys: list[tuple[str, str]]
    scores: list[float | None]
    ungraded: list[str | None]


def read_answers(paths: Sequence[Path]) -> Answers:
    """Read and check history files; several are read as one history.

    Raises
    ------
    ConfigError
        A file cannot be read, has no responses, or is graded already; or a cell is wrong. The message says where.
    """
    parts = [_read(path) for path in paths]
    names = list(dict.fromkeys(name for _, columns, _ in parts for name in columns))
    places = [place for table, _, _ in parts for place in table.places]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    types: dict[str, pa.DataType] = {}
    for table, cells, _ in parts:
        for name in names:
            columns[name] += cells.get(name) or [None] * len(table.places)
    for name in names:
        kinds = {found[name] for _, cells, found in parts if name in cells and name in found}
        whole = len(kinds) == 1 and all(name in found for _, cells, found in parts if name in cells)
        types[name] = kinds.pop() if whole else type_of(columns[name])
    if any(not is_missing(cell) for cell in columns.get("grades", ())):
        raise bad(
            paths[0],
            "a history that is not graded yet",
            "the column grades",
            "grade the history that was collected",
        )
    for name in ADDED:
        columns.pop(name, None)
    return Answers(
        places, columns, types, _keys(places, columns), _scores(places, columns), _ungraded(places, columns)
    )


def _read(path: Path) -> tuple[Table, dict[str, list[Any]], dict[str, pa.DataType]]:
    """Return a file's table, its cells by column, and the types that Parquet gave them."""
    table = read_table(path)
    for name in (*_KNOWN_TEXTS, "response"):
        if name not in table.columns:
            todo = "grade what collect or import wrote, or rename the column that holds it"
            raise bad(path, f"a column {name}", f"the columns {table.names()}", todo)
    if path.suffix.lower() == ".parquet":
        read = pq.ParquetFile(path).read()  # a second time, because numpy makes floats of integers with nulls
        types = dict(zip(read.schema.names, read.schema.types, strict=True))
        return table, {name: read[name].to_pylist() for name in types}, types
    # CSV has no null but the empty cell; to the others empty text is text.
    empty = "" if ".csv" in path.suffixes else None
    return (
        table,
        {name: [None if cell == empty else cell for cell in table.cells(name)] for name in table.columns},
        {},
    )


def _keys(places: Sequence[str], columns: dict[str, list[Any]]) -> list[tuple[str, str]]:
    keys: list[tuple[str, str]] = []
    seen: dict[tuple[str, str], str] = {}
    for place, *pair in zip(places, *(columns[name] for name in _KNOWN_TEXTS), strict=True):
        for name, cell in zip(_KNOWN_TEXTS, pair, strict=True):
            if is_missing(cell):
                raise bad(f"{place}, column {name}", "text", "nothing", "correct it or drop the row")
        key = (cell_text(pair[0]), cell_text(pair[1]))
        if key in seen:
            found = f"{key[0]:.80} with {key[1]:.80} already in {seen[key]}"
            raise bad(f"{place}, columns prompt_id and model", "each pair once", found, "drop one of them")
        seen[key] = place
        keys.append(key)
    return keys


def _scores(places: Sequence[str], columns: dict[str, list[Any]]) -> list[float | None]:
    found: list[float | None] = [None] * len(places)
    for name in ("passed", "score"):  # score goes before passed, as in eval.history
        parse, expected, _ = COLUMNS[name]
        for i, cell in enumerate(columns.get(name, ())):
            try:
                score = parse(cell)
            except (ValueError, TypeError, OverflowError, LookupError):
                raise bad(
                    f"{places[i]}, column {name}", expected, shown(cell), "correct it or drop the row"
                ) from None
            found[i] = found[i] if score != score else score
    return found


def _ungraded(places: Sequence[str], columns: dict[str, list[Any]]) -> list[str | None]:
    statuses = columns.get("status") or [None] * len(places)
    reasons: list[str | None] = []
    for place, status, response in zip(places, statuses, columns["response"], strict=True):
        if not is_missing(status) and status not in _STATUSES:
            expected = f"one of {', '.join(Status)}"
            raise bad(f"{place}, column status", expected, shown(status), "correct it or drop the row")
        if not is_missing(status) and Status(status) not in GRADABLE:
            reasons.append(f"status {status}")
        elif response is None or response != response:
            reasons.append("no response")
        elif not isinstance(response, str):
            raise bad(f"{place}, column response", "text", f"a {type(response).__name__}", "write it as text")
        else:
            reasons.append(None)
    return reasons


def gradable_rows(answers: Answers, ladder: Ladder | None) -> list[Row | None]:
    """Return each row that holds an answer, with that of the top tier to the same prompt. Pure.

    Raises
    ------
    ConfigError
        No row is of a model of the top tier.
    """
    responses, names = answers.columns["response"], list(answers.columns)
    order = () if ladder is None else ladder.tiers[-1].models
    if order and not any(model in order for _, model in answers.keys):
        raise ConfigError(
            f"--tiers: expected rows of the top tier, {', '.join(order)}; found none; check the names of its models"
        )
    tops: dict[str, int] = {}
    place_of = {model: i for i, model in enumerate(order)}
    for i, (prompt, model) in enumerate(answers.keys):
        if model in place_of and answers.ungraded[i] is None:
            best = tops.get(prompt)
            if best is None or place_of[model] < place_of[answers.keys[best][1]]:
                tops[prompt] = i
    rows: list[Row | None] = []
    for i, cells in enumerate(zip(*answers.columns.values(), strict=True)):
        if answers.ungraded[i] is not None:
            rows.append(None)
            continue
        top = tops.get(answers.keys[i][0])
        rows.append(
            Row(
                i,
                answers.places[i],
                dict(zip(names, cells, strict=True)),
                responses[i],
                None if top is None else responses[top],
                top == i,
            )
        )
    return rows
