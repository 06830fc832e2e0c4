"""The command grade: from a collected history and a graders file to a graded history.

Reads the files, has every answer graded, and writes the history aside before it is renamed: what was there before is
replaced by all of it or stays.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.progress import Progress
from eval.table import shown
from router.errors import ConfigError
from router.tiers import Ladder, read_tiers
from training.collect.sinks import require_format, write_blocks
from training.grade.answers import Answers, gradable_rows, read_answers
from training.grade.combine import PASS_SCORE, Label
from training.grade.config import Grading, is_judge, read_grading
from training.grade.grades import Row
from training.grade.grading import Graded, add_judged, assign, check_columns, grade_rows, label_row, to_judge
from training.grade.summary import summarise

__all__ = ["add_arguments", "run"]

_BLOCK = 4096
_STOPPED = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m training grade`."""
    add = parser.add_argument
    add("--history", type=Path, nargs="+", required=True, metavar="FILE", help="what collect or import wrote")
    add(
        "--graders",
        type=Path,
        required=True,
        metavar="FILE",
        help="TOML: graders, and rules that say what they grade",
    )
    add(
        "--out", type=Path, required=True, metavar="FILE", help="the graded history: .parquet, .jsonl or .csv"
    )
    add("--allow-code", action="store_true", help="run the code of responses, in a sandbox")
    add(
        "--tiers",
        type=Path,
        metavar="FILE",
        help="TOML, cheapest tier first: for graders against the top tier",
    )
    add("--budget-usd", type=_positive, metavar="USD", help="the most that judges may cost")
    add("--concurrency", type=_count, default=16, metavar="N", help="calls of judges at a time (default: 16)")
    add("--base-url", metavar="URL", help="where judges are asked; goes before the base_url of their tables")
    add(
        "--workers",
        type=_count,
        default=os.cpu_count() or 1,
        metavar="N",
        help="runs of code at a time (default: cores)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Grade a history, write it, and return the summary."""
    started = time.monotonic()
    progress = Progress()
    _check_paths(options.history, options.out)
    grading = read_grading(options.graders)
    _check_needs(grading, options)
    ladder = read_tiers(options.tiers) if options.tiers else None
    progress.step("read the history")
    answers = read_answers(options.history)
    check_columns(grading, list(answers.columns))
    for name, grader in grading.graders.items():
        if getattr(grader, "runs_code", False):
            grader.prepare(grading.where(name))
    rows = gradable_rows(answers, ladder)
    graded = _assigned(answers, rows, grading)
    runs = sum(
        getattr(grading.graders[name], "runs_code", False)
        for each in graded.values()
        for name in each.rule.graders
    )
    progress.step(
        f"grade {len(graded):,} answers by rule"
        + (f", code of {runs:,} of them in a sandbox" if runs else "")
    )
    grade_rows(graded.values(), grading, options.workers, progress)
    judges, stopped = _judge(graded, rows, answers, grading, ladder, options, progress)
    pass_score = ladder.pass_score if ladder else PASS_SCORE
    labels = {i: label_row(each, pass_score) for i, each in graded.items()}
    progress.step("write")
    _write(options.out, answers, graded, labels)
    summary = summarise(answers, graded, labels, grading, pass_score)
    for warning in summary["warnings"]:
        progress.say(f"warning: {warning}")
    return {
        "history": [str(path) for path in options.history],
        "out": str(options.out),
        **summary,
        "judges": judges,
        "stopped": stopped,
        "seconds": round(time.monotonic() - started, 2),
        "exit_code": _STOPPED if stopped else 0,
    }


def _check_paths(histories: Sequence[Path], out: Path) -> None:
    require_format(out)
    if out.is_dir():
        raise ConfigError(f"--out {out}: expected a file, found a folder; name a file in it")
    for path in histories:
        if path.resolve() == out.resolve() or (path.exists() and out.exists() and path.samefile(out)):
            raise ConfigError(
                f"--out {out}: is the history itself, whose scores would be overwritten; name another file"
            )


def _check_needs(grading: Grading, options: argparse.Namespace) -> None:
    for name, grader in grading.graders.items():
        if getattr(grader, "runs_code", False) and not options.allow_code:
            raise ConfigError(
                f"{grading.where(name)}: runs code that models wrote, which is off; pass --allow-code to run it in a sandbox"
            )
        if getattr(grader, "needs_top", False) and options.tiers is None:
            raise ConfigError(
                f"{grading.where(name)}: compares with the top tier, and no ladder says which that is; pass --tiers"
            )


def _assigned(answers: Answers, rows: Sequence[Row | None], grading: Grading) -> dict[int, Graded]:
    """Return what is to be graded by row number: what came without a score, and has an answer and a rule."""
    graded = {}
    for i, row in enumerate(rows):
        if row is not None and answers.scores[i] is None and (rule := assign(grading.rules, row)):
            graded[i] = Graded(row, rule)
    return graded


def _judge(
    graded: dict[int, Graded],
    rows: Sequence[Row | None],
    answers: Answers,
    grading: Grading,
    ladder: Ladder | None,
    options: argparse.Namespace,
    progress: Progress,
) -> tuple[dict[str, Any], str | None]:
    """Ask the judges, fill in what they say, and return their summary and what stopped them."""
    names = [name for name, grader in grading.graders.items() if is_judge(grader)]
    asked = {name: to_judge(graded.values(), name) for name in names}
    if not any(asked.values()):
        return {}, None
    from training.grade.judges.judging import (
        judge_rows,
    )  # here: it imports the client, which rules have no use for

    judgement = judge_rows(
        {name: (grading.graders[name], [each.row for each in asked[name]]) for name in names},
        folder=options.out.with_name(f"{options.out.name}.grade"),
        history={answers.keys[row.number]: row for row in rows if row is not None},
        ladder=ladder,
        budget_usd=options.budget_usd,
        concurrency=options.concurrency,
        base_url=options.base_url,
        progress=progress,
    )
    for name in names:
        add_judged(asked[name], name, judgement.rows[name])
    return judgement.summary, judgement.stopped


def _write(out: Path, answers: Answers, graded: dict[int, Graded], labels: dict[int, Label]) -> None:
    n = len(answers.places)
    columns = dict(answers.columns)
    columns["score"] = [labels[i].score if i in labels else answers.scores[i] for i in range(n)]
    columns["grades"] = [_grades(graded[i]) if i in graded else None for i in range(n)]
    columns["label_error"] = [labels[i].error if i in labels else None for i in range(n)]
    columns["grading_usd"] = [graded[i].grading_usd if i in graded else 0.0 for i in range(n)]
    numbers = dict.fromkeys(("score", "label_error", "grading_usd"), pa.float64())
    types = {name: numbers.get(name) or answers.types.get(name) or pa.string() for name in columns}
    blocks = (
        {name: cells[at : at + _BLOCK] for name, cells in columns.items()} for at in range(0, n, _BLOCK)
    )
    write_blocks(out, types, blocks)


def _grades(each: Graded) -> str:
    """Return what each grader said, in the order of the rule, as JSON."""
    said = {name: each.given[name].grade for name in each.rule.graders if name in each.given}
    return json.dumps({name: {"score": grade.score, "why": grade.why} for name, grade in said.items()})


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"expected a number above 0, found {shown(text)}")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (value := int(text)) >= 1:
            return value
    raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {shown(text)}")
