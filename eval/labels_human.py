"""People's grades of some answers, to compare graders and labels with. Reads one file, by `eval.table`.

A human grade is one more grader's: it changes no label.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from eval.history import COLUMNS
from eval.labels_agreement import HUMAN
from eval.labels_rows import Grades, Labels
from eval.table import bad, read_table, shown
from router.errors import ConfigError

__all__ = ["with_human"]


def with_human(labels: Labels, path: Path) -> Labels:
    """Return labels with the grades of a file beside those of other graders.

    Parameters
    ----------
    path : Path
        Parquet, JSONL or CSV with the columns prompt_id, model, and passed or score.

    Raises
    ------
    ConfigError
        The file cannot be read, lacks a column, grades an answer twice, or grades none of this history.
    """
    table = read_table(path, texts=("prompt_id", "model"))
    column = "score" if "score" in table.columns else "passed"
    for name in ("prompt_id", "model", column):
        if name not in table.columns:
            todo = "name a file of people's grades: prompt_id, model, and passed or score"
            raise bad(
                path,
                f"a column {name if name != 'passed' else 'passed or score'}",
                f"the columns {table.names()}",
                todo,
            )
    rows = labels.history.rows
    at = {pair: i for i, pair in enumerate(zip(rows["prompt_id"], rows["model"], strict=True))}
    grades = Grades(
        np.full(len(rows), np.nan), np.zeros(len(rows), np.bool_), np.full(len(rows), None, dtype=object)
    )
    parse, expected, _ = COLUMNS[column]
    for place, prompt, model, cell in zip(
        table.places, *(table.cells(name) for name in ("prompt_id", "model", column)), strict=True
    ):
        try:
            score = parse(cell)
        except (ValueError, TypeError, OverflowError, LookupError):
            raise bad(
                f"{place}, column {column}", expected, shown(cell), "correct it or drop the row"
            ) from None
        row = at.get((str(prompt), str(model)))
        if row is None:  # answers of another collection
            continue
        if grades.asked[row]:
            raise bad(
                f"{place}, columns prompt_id and model",
                "each answer once",
                "one twice",
                "keep one grade for each",
            )
        grades.asked[row], grades.score[row] = True, score
        grades.why[row] = "no grade" if np.isnan(score) else None
    if not grades.asked.any():
        raise ConfigError(
            f"human grades {path}: expected grades of answers in this history, found none among {len(table.places):,} rows; "
            "prompt_id and model are to be those of the history"
        )
    return replace(labels, graders=dict(sorted({**labels.graders, HUMAN: grades}.items())))
