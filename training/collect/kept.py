"""Answers that the prompts' own files hold: kept as they are, and not asked again. Pure.

The rule: only what a grader may read is an answer. What it scored is left behind: `grade` grades all of a history by the
same rules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from eval.history import COLUMNS
from eval.status import GRADABLE, Status
from eval.table import Table, bad, is_missing, shown

__all__ = ["SCORED", "TWICE", "UNANSWERED", "Kept", "keep_answers"]

Kept = dict[tuple[int, str], dict[str, Any]]
"""By prompt and tier: the columns of the row that tell of the answer."""

SCORED = "kept answers have scores, which are left out: `python -m training grade` grades all anew"
UNANSWERED = "rows of the ladder's models hold no answer that can be graded, and count as not asked"
TWICE = "rows answer for a tier that an earlier row has answered for, and are left out"

_COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens")
_AMOUNTS = ("cost_usd", "latency_ms", "propensity")
_FIX = "correct it or drop the row"


def keep_answers(
    kept: Kept, said: Counter[str], table: Table, owners: Sequence[int | None], models: Mapping[str, str]
) -> None:
    """Add the answers of a table to those that are kept, and count in `said` what is told of them.

    Parameters
    ----------
    owners : sequence of int or None
        By row, the position of its prompt; None is left out.
    models : mapping of str to str
        The tier of each model.

    Raises
    ------
    ConfigError
        A cell is wrong; the message says where.
    """
    names, scores, passed = (table.cells(name) for name in ("model", "score", "passed"))
    for row, owner in enumerate(owners):
        tier = models.get(names[row]) if isinstance(names[row], str) else None
        if owner is None or tier is None:
            continue
        outcome = _read(table, row, names[row])
        if outcome is None:
            said[UNANSWERED] += 1
        elif (owner, tier) in kept:
            said[TWICE] += 1
        else:
            kept[owner, tier] = outcome
            said[SCORED] += not (is_missing(scores[row]) and is_missing(passed[row]))


def _read(table: Table, row: int, model: str) -> dict[str, Any] | None:
    """Return what a row says of its answer; None where there is none that can be graded."""
    place, cells = table.places[row], {name: column[row] for name, column in table.columns.items()}
    status, response = cells.get("status"), cells.get("response")
    if not is_missing(status) and status not in tuple(Status):
        raise bad(f"{place}, column status", f"one of {', '.join(Status)}, or nothing", shown(status), _FIX)
    if is_missing(response) or not (is_missing(status) or status in GRADABLE):
        return None
    if not isinstance(response, str):
        raise bad(f"{place}, column response", "text", shown(response), _FIX)
    reason = cells.get("finish_reason")
    return {
        "model": model,
        "score": None,
        "response": response,
        "status": Status.ANSWERED.value if is_missing(status) else str(status),
        "finish_reason": None if is_missing(reason) else str(reason),
        **{name: _number(place, name, cells.get(name)) for name in (*_COUNTS, *_AMOUNTS)},
        "usage_is_estimate": bool(_parse(place, "usage_is_estimate", cells.get("usage_is_estimate")) == 1.0),
    }


def _number(place: str, name: str, cell: object) -> float | None:
    number = _parse(place, name, cell)
    if math.isnan(number):
        return None
    return round(number) if name in _COUNTS else number


def _parse(place: str, name: str, cell: object) -> float:
    parse, expected, _ = COLUMNS["input_tokens" if name in _COUNTS else name]
    try:
        return float(parse(cell))
    except (ValueError, TypeError, OverflowError, LookupError):
        raise bad(f"{place}, column {name}", expected, shown(cell), _FIX) from None
