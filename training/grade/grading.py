"""Rows to grades: which rule has a row, what its graders say, and what that makes of the row.

The rule: the first rule that matches has the row. Graders by rule come first; a judge is asked only where they do not
settle the score. The same history and graders give the same grades, however many workers there are. Pure, but for what
graders themselves do: code runs in processes, judges are asked through the function that is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol

from eval.progress import Progress
from eval.table import is_missing, shown
from router.errors import ConfigError
from training.grade.combine import Given, Label, combine, decides
from training.grade.config import Grading, Rule, is_judge
from training.grade.grades import Grade, Row, Why
from training.grade.references import cell_text

__all__ = [
    "Graded",
    "JudgedLike",
    "add_judged",
    "assign",
    "check_columns",
    "grade_rows",
    "label_row",
    "to_judge",
]

_MOST_TIME_LIMITS = 10


class JudgedLike(Protocol):
    """What judges say of a row (training.grade.judges)."""

    @property
    def grade(self) -> Grade:
        """The grade."""

    @property
    def label_error(self) -> float | None:
        """P(its label is wrong); None where nobody knows."""

    @property
    def grading_usd(self) -> float:
        """What it cost."""


@dataclass
class Graded:
    """One gradable row: its rule, and what each grader said so far."""

    row: Row
    rule: Rule
    given: dict[str, Given] = field(default_factory=dict)
    grading_usd: float = 0.0


def check_columns(grading: Grading, columns: Sequence[str]) -> None:
    """Refuse a graders file that names columns which the history does not have. Pure.

    Raises
    ------
    ConfigError
        It does; the message says where, and the nearest column that there is.
    """
    asked = [
        (f"{grading.source}: rule {i}: when", tuple(rule.when)) for i, rule in enumerate(grading.rules, 1)
    ]
    asked += [(grading.where(name), grader.columns()) for name, grader in grading.graders.items()]
    for where, names in asked:
        for name in names:
            if name not in columns:
                close = get_close_matches(name, columns, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                raise ConfigError(
                    f"{where}: expected a column {name!r} in the history{hint}; found {', '.join(map(shown, columns))}; name another "
                    "column, or collect with prompts that have it"
                )


def assign(rules: Sequence[Rule], row: Row) -> Rule | None:
    """Return the first rule that matches a row, or None. Pure."""
    return next((rule for rule in rules if _matches(rule, row.cells)), None)


def _matches(rule: Rule, cells: Mapping[str, Any]) -> bool:
    return all(
        not is_missing(cells[name]) and cell_text(cells[name]).strip() in values
        for name, values in rule.when.items()
    )


def grade_rows(rows: Iterable[Graded], grading: Grading, workers: int, progress: Progress) -> None:
    """Have the graders by rule grade rows; fills in what they say.

    Raises
    ------
    ConfigError
        A pattern ran out of time again and again.
    """
    late: Counter[str] = Counter()
    tasks = [
        (each, name) for each in rows for name in each.rule.graders if not is_judge(grading.graders[name])
    ]
    slow = [task for task in tasks if getattr(grading.graders[task[1]], "runs_code", False)]
    fast = [task for task in tasks if not getattr(grading.graders[task[1]], "runs_code", False)]

    def grade(task: tuple[Graded, str]) -> Grade:
        grade: Grade = grading.graders[task[1]].grade(task[0].row)
        return grade

    with progress.bar(len(tasks), "grade") as bar:
        for (each, name), said in _in_turn(grade, fast, slow, workers):
            each.given[name] = Given(said)
            late[name] += said.why is Why.TIME_LIMIT
            if late[name] == _MOST_TIME_LIMITS:
                raise ConfigError(
                    f"{grading.where(name)}: its pattern ran out of time on {_MOST_TIME_LIMITS} responses; write it without "
                    "repeats within repeats, such as (a+)+, or set a longer timeout_s"
                )
            bar.update()


def _in_turn(
    grade: Callable[[tuple[Graded, str]], Grade],
    fast: Sequence[tuple[Graded, str]],
    slow: Sequence[tuple[Graded, str]],
    workers: int,
) -> Iterator[tuple[tuple[Graded, str], Grade]]:
    for task in fast:
        yield task, grade(task)
    if not slow:
        return
    pool = ThreadPoolExecutor(workers)  # threads, because each only waits for a process
    try:
        yield from zip(slow, pool.map(grade, slow), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def to_judge(rows: Iterable[Graded], name: str) -> list[Graded]:
    """Return the rows that a judge is asked about: those that graders by rule do not settle. Pure."""
    return [each for each in rows if name in each.rule.graders and not _is_settled(each, name)]


def _is_settled(each: Graded, judge: str) -> bool:
    names = each.rule.graders
    before = names[: names.index(judge)] if each.rule.combine == "first" else names
    return decides(each.rule.combine, [each.given[name].grade.score for name in before if name in each.given])


def add_judged(rows: Sequence[Graded], name: str, judged: Sequence[JudgedLike]) -> None:
    """Fill in what a judge says of its rows."""
    for each, said in zip(rows, judged, strict=True):
        each.given[name] = Given(said.grade, said.label_error)
        each.grading_usd += said.grading_usd


def label_row(each: Graded, pass_score: float) -> Label:
    """Return the label of a row once all its graders have spoken. Pure."""
    rule = each.rule
    names = [name for name in rule.graders if name in each.given]
    weights = dict(zip(rule.graders, rule.weights, strict=True)) if rule.weights else {}
    given = [each.given[name] for name in names]
    return combine(rule.combine, given, [weights[name] for name in names] if weights else None, pass_score)
