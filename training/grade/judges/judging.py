"""Judges at work: measured on human-graded rows, then asked about the rest, then believed as far as they deserve.

The rule: no money is spent on rows that a human has not graded before the judge has shown that it agrees with the human.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval.progress import Progress
from router.errors import ConfigError
from router.tiers import Ladder
from training.calls.endpoints import read_keys
from training.calls.journal import Journal
from training.grade.combine import PASS_SCORE
from training.grade.grades import Row, Why
from training.grade.judges.asking import Asker
from training.grade.judges.concluding import Case, Judged, conclude
from training.grade.judges.config import Judge, Pairwise
from training.grade.judges.human import LEAST_ROWS, read_human
from training.grade.judges.measuring import Measured, interval_text, measure, refusal
from training.grade.judges.questions import Said, Task, name_of, unasked

__all__ = ["Judged", "Judgement", "judge_rows"]

Pair = tuple[str, str]


class Judgement(NamedTuple):
    """What all judges say.

    Attributes
    ----------
    rows : dict
        By grader name, one for each row given.
    summary : dict
        By grader name; JSON-ready.
    stopped : str or None
        "budget" where rows were left.
    """

    rows: dict[str, list[Judged]]
    summary: dict[str, Any]
    stopped: str | None


def judge_rows(
    judges: Mapping[str, tuple[Judge | Pairwise, Sequence[Row]]],
    *,
    folder: Path,
    history: Mapping[Pair, Row],
    ladder: Ladder | None,
    budget_usd: float | None,
    concurrency: int,
    base_url: str | None,
    progress: Progress,
) -> Judgement:
    """Have rows judged.

    Parameters
    ----------
    judges : mapping
        By grader name: the judge, and the rows that are for it; one that has none is not asked, nor measured.
    folder : Path
        Of the journal.
    history : mapping
        Every gradable row by (prompt_id, model): what a human graded need not be among the rows of its judge.
    ladder : Ladder or None
        Names the top tier, which pairwise judging needs.
    budget_usd : float or None
        For all judges and all runs with this journal.

    Raises
    ------
    ConfigError
        A judge agrees too little with the human, or cannot be measured.
    """
    unused = {name: list[Judged]() for name, (_, rows) in judges.items() if not rows}
    judges = {name: each for name, each in judges.items() if name not in unused}
    pass_score = PASS_SCORE if ladder is None else ladder.pass_score
    warnings = {name: _self_preference(judge, history, ladder) for name, (judge, _) in judges.items()}
    for name, found in warnings.items():
        for text in found:
            progress.say(f"warning: grader {name}: {text}")
    cases = {
        name: _open_case(judge, rows, history, ladder, pass_score) for name, (judge, rows) in judges.items()
    }
    endpoints = {case.judge.name: case.judge.endpoint(base_url) for case in cases.values()}
    read_keys(endpoints)
    with Journal.open(folder, flag="--out") as journal:
        asker = Asker(journal, endpoints, budget_usd=budget_usd, concurrency=concurrency, progress=progress)
        measured = _try_judges(cases, asker, progress)
        tasks = [task for case in cases.values() for task in case.tasks]
        progress.step("ask the judges")
        _say_bills(asker, tasks, progress)
        stopped = asker.ask(tasks)
        rows: dict[str, list[Judged]] = dict(unused)
        summary: dict[str, Any] = {}
        for name, case in cases.items():
            rows[name], summary[name] = conclude(case, measured[name], asker, pass_score)
            for text in summary[name]["warnings"]:
                progress.say(f"warning: grader {name}: {text}")
            summary[name]["warnings"] = warnings[name] + summary[name]["warnings"]
    return Judgement(rows, summary, stopped)


def _open_case(
    judge: Judge | Pairwise,
    rows: Sequence[Row],
    history: Mapping[Pair, Row],
    ladder: Ladder | None,
    pass_score: float,
) -> Case:
    if isinstance(judge, Pairwise) and ladder is None:
        raise ConfigError(
            f"grader {judge.name}: pairwise sets answers against the top tier's; name the ladder with --tiers"
        )
    if judge.human is None:
        return Case(
            judge, rows, None, [Task(judge, row) for row in rows if unasked(judge, row) is None][:LEAST_ROWS]
        )
    known = {name_of(row): row for row in history.values() if _measures(judge, row)}
    human = read_human(
        Path(judge.human).expanduser(),
        known,
        where=f"grader {judge.name}",
        pass_at=judge.pass_at if isinstance(judge, Judge) else None,
        pass_score=pass_score,
    )
    return Case(judge, rows, human, [Task(judge, known[pair]) for pair in human.passed])


def _measures(judge: Judge | Pairwise, row: Row) -> bool:
    """Tell whether a judge has a verdict of its own on a row: asked, or a tie of equal answers."""
    grade = unasked(judge, row)
    return grade is None or (grade.score is not None and not row.is_top)


def _try_judges(cases: Mapping[str, Case], asker: Asker, progress: Progress) -> dict[str, Measured | None]:
    """Ask about the human-graded rows, and refuse a judge that does not agree with the human."""
    progress.step("measure the judges on human-graded answers")
    trial = [task for case in cases.values() for task in case.trial if unasked(*task) is None]
    _say_bills(asker, trial + [task for case in cases.values() for task in case.tasks], progress)
    stopped = asker.ask(trial)
    measured: dict[str, Measured | None] = {}
    for name, case in cases.items():
        if stopped is not None and case.human is not None:
            raise ConfigError(
                f"grader {name}: the budget ends before the judge {case.judge.model} is measured on {len(case.trial):,} "
                "human-graded answers, and nothing is graded by a judge that is not; raise --budget-usd and run the same "
                "command: what was paid for is kept"
            )
        measured[name] = _try_judge(case, asker, progress)
    return measured


def _try_judge(case: Case, asker: Asker, progress: Progress) -> Measured | None:
    judge = case.judge
    verdicts = {name_of(task.row): _verdict(task, asker) for task in case.trial}
    if case.human is None:
        if verdicts and all(each.why is Why.OFF_FORMAT for each in verdicts.values()):
            raise ConfigError(
                f"grader {judge.name}: the judge {judge.model} answered off format on all of the first {len(verdicts)} answers, "
                "twice each; ask another model, or raise max_output_tokens"
            )
        return None
    measured = measure(judge, verdicts, case.human)
    if (error := refusal(judge, measured)) is not None:
        raise error
    found = measured.passes
    progress.say(
        f"judge {judge.name}: kappa {found.kappa:.2f} ({interval_text(found)}) with the human on {found.n} answers"
    )
    return measured


def _verdict(task: Task, asker: Asker) -> Said:
    grade = unasked(*task)
    return asker.hear(task).said if grade is None else Said(grade.score, grade.why)


def _say_bills(asker: Asker, tasks: Sequence[Task], progress: Progress) -> None:
    for name, bill in asker.bills(tasks).items():
        progress.say(bill.sentence(name, asker.left_usd))


def _self_preference(
    judge: Judge | Pairwise, history: Mapping[Pair, Row], ladder: Ladder | None
) -> list[str]:
    """Warn of a judge among the judged: models favour their own answers (Panickssery et al., arXiv 2404.13076, 2024)."""
    models = {model for _, model in history}
    models |= {model for tier in ladder.tiers for model in tier.models} if ladder else set()
    if judge.model not in models:
        return []
    return [f"{judge.model} is also one of the models that are judged, and models favour their own answers"]
