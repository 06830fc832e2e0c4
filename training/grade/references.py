"""The references of a row: a cell as the list of answers that are acceptable.

Pure. A cell is text, a number, a list, or JSON text of a list; nothing in it is no reference.
"""

from __future__ import annotations

import json
from typing import Any

from eval.table import is_missing
from training.grade.grades import Row

__all__ = ["cell_text", "references"]


def references(row: Row, column: str) -> list[str]:
    """Return the acceptable answers of a row as texts; none where the cell holds nothing."""
    cell = row.cells.get(column)
    if isinstance(cell, str) and cell.lstrip()[:1] == "[":
        try:
            parsed = json.loads(cell)
        except (ValueError, RecursionError):
            parsed = None
        # A list in a list is a value, such as a matrix, and no list of acceptable answers.
        if isinstance(parsed, list) and not any(isinstance(each, list | dict) for each in parsed):
            cell = parsed
    cells = cell if isinstance(cell, list | tuple) else [cell]
    return [cell_text(each) for each in cells if not is_missing(each)]


def cell_text(cell: Any) -> str:  # noqa: ANN401 - a cell holds anything
    """Return a cell as text: a whole number without its point, anything else than text as JSON."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        cell = int(cell)  # Parquet makes floats of integers in a column with nulls
    return json.dumps(cell, ensure_ascii=False, default=str)
