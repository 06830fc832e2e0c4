"""From verdicts to grades: what each row of a judge gets, and what there is to say of the judge.

Reads the journal through an `Asker`; calls nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.grade.grades import Grade, Row
from training.grade.judges.asking import Asker
from training.grade.judges.config import Judge, Pairwise
from training.grade.judges.human import HumanGrades
from training.grade.judges.measuring import Measured, position_bias
from training.grade.judges.noise import Belief, believe
from training.grade.judges.questions import Said, Task, name_of, unasked

__all__ = ["Case", "Judged", "conclude"]

_MUCH_BIAS = 0.1  # share of pairs that change with the order, from which on it is worth a warning


@dataclass(frozen=True, slots=True)
class Judged:
    """A row's grade by one judge.

    Attributes
    ----------
    grade : Grade
        P(human passes | verdict); 1 or 0 where a human graded the row, or where the judge was not measured.
    label_error : float or None
        P(a human would have it otherwise than pass or fail as the score says); None where unknown.
    grading_usd : float
        What was paid for it. What a row shares with an earlier one is paid for there.
    """

    grade: Grade
    label_error: float | None
    grading_usd: float


@dataclass(frozen=True)
class Case:
    """One judge with its rows, and what it is tried on first.

    Attributes
    ----------
    human : HumanGrades or None
        None where the judge goes unmeasured.
    trial : list of Task
        The human-graded rows, or the first few.
    """

    judge: Judge | Pairwise
    rows: Sequence[Row]
    human: HumanGrades | None
    trial: list[Task]

    @property
    def tasks(self) -> list[Task]:
        """Rows that the judge has to be asked about."""
        return [Task(self.judge, row) for row in self.rows if unasked(self.judge, row) is None]


class _Ledger:
    """What calls cost, each counted for the first row that needed it."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.usd = 0.0
        self.off_format = 0

    def enter(self, usd: Mapping[str, float], off_format: int) -> float:
        new = sum(cost for key, cost in usd.items() if key not in self.seen)
        if usd.keys() - self.seen:
            self.off_format += off_format
        self.seen.update(usd)
        self.usd += new
        return new


def conclude(
    case: Case, measured: Measured | None, asker: Asker, pass_score: float
) -> tuple[list[Judged], dict[str, Any]]:
    """Return a grade for each row of a judge, and its summary."""
    judge, ledger = case.judge, _Ledger()
    verdicts: list[Said] = []
    paid: list[float] = []
    for row in case.rows:
        said, usd = _hear(judge, row, asker, ledger)
        verdicts.append(said)
        paid.append(usd)
    counts = _count(judge, case.rows, verdicts)
    beliefs = {} if measured is None else believe(measured.confusion, counts)
    judged = [
        Judged(*_grade(case, row, said, beliefs, pass_score), usd)
        for row, said, usd in zip(case.rows, verdicts, paid, strict=True)
    ]
    for_rows = ledger.usd
    for task in case.trial:  # some of these are rows of no rule
        _hear(judge, task.row, asker, ledger)
    scores = [each.grade.score for each in judged if each.grade.score is not None]
    human = case.human.passed if case.human else {}
    bias = position_bias(verdicts) if isinstance(judge, Pairwise) else None
    return judged, {
        "kind": judge.kind,
        "model": judge.model,
        "rows": len(judged),
        "graded": len(scores),
        "graded_by_human": sum(name_of(row) in human for row in case.rows),
        "mean_score": sum(scores) / len(scores) if scores else None,
        "null": dict(Counter(str(each.grade.why) for each in judged if each.grade.why is not None)),
        "agreement": None if measured is None else measured.to_dict(),
        "floor": None if measured is None else judge.floor,
        "strangers": case.human.strangers if case.human else 0,
        "passed_by_model": {model: {"passed": k, "of": n} for model, (k, n) in counts.items()},
        "human_passes": {
            model: {"if_passed": each.if_passed, "if_failed": each.if_failed}
            for model, each in beliefs.items()
        },
        "position_bias": bias,
        "calls": len(ledger.seen),
        "off_format": ledger.off_format,
        "usd": ledger.usd,
        "measuring_usd": ledger.usd - for_rows,
        "warnings": _warnings(judge, measured, beliefs, bias, pass_score),
    }


def _hear(judge: Judge | Pairwise, row: Row, asker: Asker, ledger: _Ledger) -> tuple[Said, float]:
    known = unasked(judge, row)
    if known is not None:
        return Said(known.score, known.why), 0.0
    heard = asker.hear(Task(judge, row))
    return heard.said, ledger.enter(heard.usd, heard.off_format)


def _count(
    judge: Judge | Pairwise, rows: Sequence[Row], verdicts: Sequence[Said]
) -> dict[str, tuple[int, int]]:
    """Return by model how many rows the judge passed, of how many."""
    counts: dict[str, tuple[int, int]] = {}
    for row, said in zip(rows, verdicts, strict=True):
        if said.worth is not None and not _is_yardstick(judge, row):
            passed, n = counts.get(name_of(row)[1], (0, 0))
            counts[name_of(row)[1]] = passed + (said.worth >= judge.pass_at), n + 1
    return counts


def _grade(
    case: Case, row: Row, said: Said, beliefs: Mapping[str, Belief], pass_score: float
) -> tuple[Grade, float | None]:
    pair = name_of(row)
    if case.human is not None and pair in case.human.passed:
        return Grade(float(case.human.passed[pair])), 0.0
    if said.worth is None:
        return Grade(None, said.why), None
    if _is_yardstick(case.judge, row):
        return Grade(1.0), 0.0
    passed = said.worth >= case.judge.pass_at
    if case.human is None:
        return Grade(float(passed)), None
    chance = beliefs[pair[1]].after(passed)
    return Grade(chance), 1.0 - chance if chance >= pass_score else chance


def _is_yardstick(judge: Judge | Pairwise, row: Row) -> bool:
    return isinstance(judge, Pairwise) and row.is_top


def _warnings(
    judge: Judge | Pairwise,
    measured: Measured | None,
    beliefs: Mapping[str, Belief],
    bias: Mapping[str, Any] | None,
    pass_score: float,
) -> list[str]:
    found = []
    if measured is not None and (low := measured.passes.kappa_low) is not None and low < judge.floor:
        found.append(
            f"kappa may be as low as {low:.2f}, below the floor of {judge.floor:g}; grade more answers by hand to know better"
        )
    for model, belief in beliefs.items():
        if belief.if_failed >= pass_score or belief.if_passed < pass_score:
            which = "pass" if belief.if_failed >= pass_score else "fail"
            found.append(
                f"a human would {which} answers of {model} whatever this judge says (P(human passes) is {belief.if_passed:.2f} "
                f"after its pass and {belief.if_failed:.2f} after its fail), so that all of them get one label; use a better judge"
            )
    if bias is not None and (low := bias["share_low"]) is not None and low > _MUCH_BIAS:
        found.append(
            f"the order of the responses changed the verdict on {bias['inconsistent']:,} of {bias['pairs']:,} pairs, "
            f"{bias['first']:,} times for the first"
        )
    return found
