"""Human grades: which answers a human has graded, and whether they pass.

Reads one file. A file that cannot measure a judge is refused before a call is paid for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from eval.table import Table, is_missing, read_table, shown
from router.errors import ConfigError

__all__ = ["LEAST_ROWS", "HumanGrades", "read_human"]

LEAST_ROWS = 30
"""Human-graded rows that a judge is measured on, at the least."""

_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_MOST_STARS = 5.0

Pair = tuple[str, str]


@dataclass(frozen=True)
class HumanGrades:
    """What a human says of some answers.

    Attributes
    ----------
    passed : dict
        By (prompt_id, model).
    stars : dict or None
        Grades from 1 to 5, by the same; None where the file has none of that scale.
    strangers : int
        Rows of the file that are left out: of no answer that was to be graded.
    """

    passed: dict[Pair, bool]
    stars: dict[Pair, float] | None
    strangers: int


def read_human(
    path: Path, known: Collection[Pair], *, where: str, pass_at: int | None, pass_score: float
) -> HumanGrades:
    """Read a human-graded file, for the answers that are known.

    Parameters
    ----------
    path : Path
        Any format of a history, with `prompt_id`, `model`, and `passed` or `score`; rows without a grade are left out.
        A score is from 0 to 1, or from 1 to 5 where one is above 1.
    known : collection of (prompt_id, model)
        Answers that the judge can be asked about.
    where : str
        How an error names the judge.
    pass_at : int or None
        The grade of 1 to 5 from which an answer passes; None where the judge has no such scale.
    pass_score : float
        The score of 0 to 1 from which it does.

    Raises
    ------
    ConfigError
        The file cannot be read, a cell is wrong, too few rows are known, or all pass, or all fail.
    """
    if not path.exists():
        raise ConfigError(
            f"human grades {path}: expected the file that {where} is measured by, found none; a relative path starts where "
            "the command is run"
        )
    try:
        table = read_table(path, texts=("prompt_id", "model"))
    except ConfigError as error:
        raise ConfigError(f"human grades {str(error).removeprefix('history ')}") from None
    scores = _scores(table)
    on_stars = "passed" not in table.columns and max(scores.values(), default=0.0) > 1.0
    if on_stars and pass_at is None:
        raise ConfigError(
            f"human grades {path}: {where} compares two answers and has no scale of 1 to 5; expected passed, or a score "
            "from 0 to 1"
        )
    if on_stars and min(scores.values()) < 1.0:
        raise ConfigError(
            f"human grades {path}, column score: expected all from 0 to 1 or all from 1 to 5, found both; use one scale"
        )
    least = float(pass_at or 0) if on_stars else pass_score
    kept = {pair: score for pair, score in scores.items() if pair in known}
    passed = {pair: score >= least for pair, score in kept.items()}
    if len(passed) < LEAST_ROWS:
        raise ConfigError(
            f"human grades {path}: {where} needs {LEAST_ROWS} human-graded answers of this history or more, found "
            f"{len(passed)} (and {len(scores) - len(passed)} of other answers); grade more by hand, or set "
            "unmeasured = true and drop human"
        )
    if len(set(passed.values())) == 1:
        which = "pass" if all(passed.values()) else "fail"
        raise ConfigError(
            f"human grades {path}: all {len(passed)} answers {which}, by which agreement cannot be told from chance; "
            "grade some by hand that do not"
        )
    return HumanGrades(passed, kept if on_stars else None, len(scores) - len(passed))


def _scores(table: Table) -> dict[Pair, float]:
    column = "passed" if "passed" in table.columns else "score"
    for name in ("prompt_id", "model", column):
        if name not in table.columns:
            name = "passed or score" if name == "score" else name
            raise ConfigError(
                f"human grades {table.path}: expected a column {name}, found {table.names()}; add it"
            )
    scores: dict[Pair, float] = {}
    rows = zip(table.places, *(table.cells(name) for name in ("prompt_id", "model", column)), strict=True)
    for place, prompt_id, model, cell in rows:
        if is_missing(cell):
            continue
        pair = _name(prompt_id, f"{place}, column prompt_id"), _name(model, f"{place}, column model")
        if pair in scores:
            raise ConfigError(
                f"human grades {place}: {pair[0]:.80} with {pair[1]:.80} is graded twice; keep one, or agree on one"
            )
        scores[pair] = _score(cell, column, place)
    return scores


def _score(cell: object, column: str, place: str) -> float:
    try:
        if column == "passed":
            return float(_FLAGS[str(cell).strip().lower()])
        if isinstance(cell, bool) or not 0.0 <= float(str(cell)) <= _MOST_STARS:
            raise ValueError
        return float(str(cell))
    except (ValueError, KeyError):
        expected = "true or false" if column == "passed" else "a number from 0 to 1, or from 1 to 5"
        raise ConfigError(
            f"human grades {place}, column {column}: expected {expected}, or nothing, found {shown(cell)}; correct it"
        ) from None


def _name(cell: object, where: str) -> str:
    if is_missing(cell) or isinstance(cell, bool) or not isinstance(cell, str | int):
        raise ConfigError(f"human grades {where}: expected text, found {shown(cell)}; correct it")
    return str(cell)
