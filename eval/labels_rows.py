"""The labels of a history, row by row and tier by tier, with all that grading wrote beside them.

Pure. The columns that grading adds pass through `eval.history` as they came, so they are checked here: the first fault stops
with one `ConfigError` that names row, prompt_id, model and column, what was found and what to do. All of them are optional:
a history that somebody else graded has labels, too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.history import History
from eval.outcomes import Outcomes, tabulate
from eval.table import bad, is_missing, shown
from router.errors import ConfigError
from router.tiers import Ladder

__all__ = ["Grades", "Labels", "read_labels"]

Floats = NDArray[np.float64]

_LONGEST_WHY = 40


@dataclass(frozen=True, eq=False)
class Grades:
    """What one grader said of each row.

    Attributes
    ----------
    score : float64 (R,)
        NaN where it gave none.
    asked : bool (R,)
        Whether the grader applied to the row.
    why : object (R,)
        A short reason where it was asked and gave no score, else None.
    """

    score: Floats
    asked: NDArray[np.bool_]
    why: NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Labels:
    """A graded history of R rows; n prompts and k tiers have labels.

    Attributes
    ----------
    history : History
        As read.
    ladder : Ladder
        The whole one; `outcomes.ladder` holds the tiers that have a label.
    outcomes : Outcomes
        Of the prompts with a label.
    weight : float64 (n,)
        Prompts of the log that each prompt of `outcomes` stands for; 1 where nobody sampled.
    groups : int (n,)
        The number of each prompt's group.
    chosen : int (n, k)
        The row that holds each tier's label, -1 where there is none.
    tier : int (R,)
        Each row's position in `outcomes.ladder`, -1 where its model is on none of these tiers.
    prompt : int (R,)
        Each row's prompt in `outcomes`, -1 where it is not among them.
    status : object (R,)
        What came of the call; None where nobody said.
    label_error, grading_usd : float64 (R,)
        NaN where unknown.
    graders : dict of Grades
        By name, in the order of names.
    """

    history: History
    ladder: Ladder
    outcomes: Outcomes
    weight: Floats
    groups: NDArray[np.intp]
    chosen: NDArray[np.intp]
    tier: NDArray[np.intp]
    prompt: NDArray[np.intp]
    status: NDArray[np.object_]
    label_error: Floats
    grading_usd: Floats
    graders: dict[str, Grades]

    @property
    def names(self) -> tuple[str, ...]:
        """The tiers that have a label, cheapest first."""
        return self.outcomes.ladder.names

    @property
    def pass_score(self) -> float:
        """The score from which an answer passes."""
        return self.ladder.pass_score

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether a row is a label: it has a score and its model is on a tier, (R,)."""
        return np.asarray(self.history.rows["score"].notna().to_numpy() & (self.tier >= 0))

    @property
    def weighted(self) -> bool:
        """Whether prompts stand for unequal numbers of others."""
        return bool(len(self.weight) and np.ptp(self.weight) > 1e-9 * self.weight.mean())

    @property
    def errors(self) -> Floats:
        """How probably each label is wrong, (n, k); NaN where unknown."""
        return np.where(self.chosen >= 0, self.label_error[self.chosen], np.nan)

    def prompt_ids(self, rows: NDArray[np.bool_]) -> list[str]:
        """Return the ids of the prompts (n,) that a mask names, in their own order and not that of the file."""
        return sorted(map(str, self.outcomes.prompt_ids[rows]))


def read_labels(history: History, ladder: Ladder) -> Labels:
    """Check what grading wrote and lay labels out by row and tier. Pure.

    Raises
    ------
    ConfigError
        No row has a score, no model is on a tier, or a column of grading holds what it must not.
    """
    rows = history.rows
    if not rows["score"].notna().any():
        raise ConfigError(
            f"history: expected rows with a score, found {len(rows):,} rows and none; grade them first: "
            "python -m training grade --history H --graders G.toml --out H2"
        )
    graded = replace(ladder, tiers=tuple(tier for tier in ladder.tiers if _has_score(rows, tier.models)))
    # With no tier left, tabulate says which models it found and which it expected.
    outcomes = tabulate(history, graded if graded.tiers else ladder)
    tier = np.full(len(rows), -1, np.intp)
    for k, each in enumerate(outcomes.ladder.tiers):
        tier[rows["model"].isin(each.models).to_numpy()] = k
    prompt = pd.Index(outcomes.prompt_ids).get_indexer(pd.Index(rows["prompt_id"].to_numpy(object)))
    prompts = history.prompts.set_index("prompt_id").loc[list(outcomes.prompt_ids)]
    return Labels(
        history=history,
        ladder=ladder,
        outcomes=outcomes,
        weight=np.nan_to_num(prompts["weight"].to_numpy(np.float64), nan=1.0),
        groups=np.unique(outcomes.groups.astype(str), return_inverse=True)[1].astype(np.intp),
        chosen=_choose(rows, outcomes, prompt),
        tier=tier,
        prompt=np.asarray(prompt, np.intp),
        status=_texts(history, "status"),
        label_error=_numbers(history, "label_error", 1.0, "a probability from 0 to 1, or nothing"),
        grading_usd=_numbers(history, "grading_usd", np.inf, "a number of USD, 0 or more, or nothing"),
        graders=_grades(history),
    )


def _has_score(rows: pd.DataFrame, models: tuple[str, ...]) -> bool:
    return bool((rows["model"].isin(models) & rows["score"].notna()).any())


def _choose(rows: pd.DataFrame, outcomes: Outcomes, prompt: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the row of each label, as `eval.outcomes.tabulate` chooses it: of the first model listed that has a score."""
    chosen = np.full(outcomes.passed.shape, -1, np.intp)
    scored = rows["score"].notna().to_numpy() & (prompt >= 0)
    for k, tier in enumerate(outcomes.ladder.tiers):
        for model in reversed(tier.models):
            found = np.flatnonzero((rows["model"] == model).to_numpy() & scored)
            chosen[prompt[found], k] = found
    return chosen


def _place(history: History, row: int, column: str) -> str:
    rows = history.rows
    source = rows["source"].iat[row]
    number = int((rows["source"].to_numpy()[: row + 1] == source).sum())
    who = f"prompt_id {rows['prompt_id'].iat[row]:.80}, model {rows['model'].iat[row]:.80}"
    return f"{source}, row {number} ({who}), column {column}"


def _texts(history: History, column: str) -> NDArray[np.object_]:
    cells = np.full(len(history.rows), None, dtype=object)
    if column in history.rows:
        for i, cell in enumerate(history.rows[column].tolist()):
            if is_missing(cell):
                continue
            if not isinstance(cell, str) or len(cell.strip()) > _LONGEST_WHY:
                raise bad(
                    _place(history, i, column),
                    "one word, or nothing",
                    shown(cell),
                    "correct it or drop the column",
                )
            cells[i] = cell.strip()
    return cells


def _numbers(history: History, column: str, most: float, expected: str) -> Floats:
    found = np.full(len(history.rows), np.nan)
    if column in history.rows:
        for i, cell in enumerate(history.rows[column].tolist()):
            if is_missing(cell):
                continue
            try:
                found[i] = float(cell)
                if isinstance(cell, bool) or not 0.0 <= found[i] <= most or np.isinf(found[i]):
                    raise ValueError
            except (ValueError, TypeError):
                raise bad(
                    _place(history, i, column), expected, shown(cell), "correct it or drop the column"
                ) from None
    return found


def _grades(history: History) -> dict[str, Grades]:
    rows = history.rows
    n, found = len(rows), dict[str, Grades]()
    if "grades" not in rows:
        return found
    seen: dict[str, dict[str, tuple[float, str | None]]] = {}  # many rows say the same
    for i, cell in enumerate(rows["grades"].tolist()):
        if is_missing(cell):
            continue
        try:
            if isinstance(cell, str):
                said = seen[cell] if cell in seen else seen.setdefault(cell, _parse(json.loads(cell)))
            else:
                said = _parse(cell)
        except (ValueError, TypeError, RecursionError):
            expected = 'JSON such as {"answer": {"score": 1.0}} with scores from 0 to 1 or null'
            todo = "grade the history again, or drop the column"
            raise bad(_place(history, i, "grades"), expected, shown(cell), todo) from None
        for name, (score, why) in said.items():
            if name not in found:
                found[name] = Grades(
                    np.full(n, np.nan), np.zeros(n, np.bool_), np.full(n, None, dtype=object)
                )
            grades = found[name]
            grades.asked[i], grades.score[i], grades.why[i] = True, score, why
    return dict(sorted(found.items()))


def _parse(value: Any) -> dict[str, tuple[float, str | None]]:  # noqa: ANN401 - JSON
    if not isinstance(value, dict):
        raise TypeError
    said: dict[str, tuple[float, str | None]] = {}
    for name, grade in value.items():
        if grade is None and name:  # a table of one column per grader, as Parquet makes of objects
            continue
        if not isinstance(grade, dict):
            raise TypeError
        score, why = grade.get("score"), grade.get("why")
        if score is not None and (isinstance(score, bool) or not 0.0 <= float(score) <= 1.0):
            raise ValueError
        if score is None and why is not None and (not isinstance(why, str) or len(why) > _LONGEST_WHY):
            why = "another reason"  # reasons are of a closed set of words; whatever else stands here may quote an answer
        said[str(name)] = (np.nan, why or "no reason given") if score is None else (float(score), None)
    return said
