"""Human grades: what measures a judge is read, and what cannot is refused before a call is paid for."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from router.errors import ConfigError
from training.grade.judges.human import HumanGrades, read_human

KNOWN = {(f"q{i}", "m") for i in range(60)}


def rows_of(scores: list[Any], column: str = "score") -> list[dict[str, Any]]:
    return [{"prompt_id": f"q{i}", "model": "m", column: score} for i, score in enumerate(scores)]


def read(path: Path, rows: list[dict[str, Any]], pass_at: int | None = 4) -> HumanGrades:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_human(path, KNOWN, where="grader g", pass_at=pass_at, pass_score=0.5)


def test_stars_pass_from_the_grade_of_the_judge(tmp_path: Path) -> None:
    found = read(tmp_path / "h.jsonl", rows_of([5, 4, 3, 1] * 8))
    assert 32 == len(found.passed)
    assert [True, True, False, False] == [found.passed[f"q{i}", "m"] for i in range(4)]
    assert found.stars is not None
    assert [5.0, 4.0, 3.0, 1.0] == [found.stars[f"q{i}", "m"] for i in range(4)]


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("score", 1, 0),
        ("score", 0.5, 0.49),
        ("passed", True, False),
        ("passed", "True", "0"),
        ("passed", 1, 0),
    ],
)
def test_scores_from_0_to_1_and_flags(tmp_path: Path, column: str, good: Any, bad: Any) -> None:
    found = read(tmp_path / "h.jsonl", rows_of([good, bad] * 15, column))
    assert (True, False, None) == (found.passed["q0", "m"], found.passed["q1", "m"], found.stars)


def test_errors_name_the_human_grades(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    with pytest.raises(ConfigError, match=r"^human grades .*broken\.jsonl"):
        read_human(broken, KNOWN, where="grader g", pass_at=4, pass_score=0.5)
    with pytest.raises(ConfigError, match=r"^human grades .*grader g.* starts where the command is run$"):
        read_human(tmp_path / "none.jsonl", KNOWN, where="grader g", pass_at=4, pass_score=0.5)


def test_a_table_of_any_format_with_gaps_and_strangers(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt_id", "model", "passed", "note"])
        writer.writerows([f"q{i}", "m", "true" if i % 2 else "false", "x"] for i in range(40))
        writer.writerows([["q41", "m", "", ""], ["q1", "other", "true", ""], ["z", "m", "false", ""]])
    found = read_human(path, KNOWN, where="grader g", pass_at=None, pass_score=0.5)
    assert (40, 2) == (len(found.passed), found.strangers)


@pytest.mark.parametrize(
    ("rows", "pass_at", "message"),
    [
        (rows_of([1, 0] * 14), 4, "needs 30 human-graded answers of this history or more, found 28 "),
        (rows_of([1] * 40), 4, "all 40 answers pass"),
        (rows_of([3] * 40), 4, "all 40 answers fail"),
        (rows_of([5, 1] * 20), None, "has no scale of 1 to 5"),
        (rows_of([5, 0] * 20), 4, "found both"),
        (rows_of([5, 6] * 20), 4, r"line 2, column score: expected a number from 0 to 1, or from 1 to 5"),
        (rows_of([1, -1] * 20), 4, "line 2, column score"),
        (rows_of([1, True] * 20), 4, "line 2, column score"),
        (rows_of(["good", 1] * 20), 4, "found 'good'"),
        (rows_of(["all of this is quite good, I think", 1] * 20), 4, "found text of 34 characters"),
        (rows_of(["maybe", True] * 20, "passed"), 4, "column passed: expected true or false"),
        (rows_of([1, 0] * 20) + rows_of([1]), 4, "line 41: q0 with m is graded twice"),
        (
            [{"prompt_id": None, "model": "m", "score": 1}],
            4,
            "line 1, column prompt_id: expected text, found nothing",
        ),
        ([{"prompt_id": "q1", "score": 1}], 4, "expected a column model"),
        ([{"prompt_id": "q1", "model": "m", "grade": 1}], 4, "expected a column passed or score"),
    ],
)
def test_what_cannot_measure_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], pass_at: int | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / "h.jsonl", rows, pass_at)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl"):
        read_human(tmp_path / "none.jsonl", KNOWN, where="grader g", pass_at=4, pass_score=0.5)
