"""The command grade: what goes in comes out with scores, what cannot be graded stays without, and mistakes are told."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.history import read_history
from eval.status import GRADABLE, Status
from training.__main__ import main
from training.grade import grading
from training.grade.grades import Row

SECRET = "XYZZY"  # noqa: S105 - stands in every response: no message may show it
NUMBER = '[[grader]]\nname = "number"\nkind = "number"\n'
LETTER = '[[grader]]\nname = "letter"\nkind = "choice"\n'
MATH = '[[rule]]\nwhen = { task = "math" }\ngraders = ["number"]\n'
TIERS = "".join(
    f'[[tier]]\nname = "{name}"\nmodel = "{name}"\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n'
    for name in ("small", "large")
)

Rows = Sequence[Mapping[str, Any]]
Said = tuple[int, dict[str, Any], str]


def answer(prompt_id: str, model: str, response: str | None, **cells: object) -> dict[str, Any]:
    row = {
        "prompt_id": prompt_id,
        "prompt": f"{SECRET} {prompt_id}",
        "model": model,
        "score": None,
        "response": response,
    }
    return row | {"status": "answered", "task": "math", "reference": "4"} | cells


ROWS = [
    answer("q1", "small", f"{SECRET} 5"),
    answer("q1", "large", f"{SECRET}: the answer is 4"),
    answer("q2", "small", f"{SECRET} B", task="quiz", reference="B"),
    answer("q2", "large", None, task="quiz", reference="B", status="refused"),
]


def write(path: Path, rows: Rows) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def grade(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Return a call of the command on rows and a graders file; `tmp_path`/out.jsonl is what it writes."""

    def call(rows: Rows, graders: str, *flags: str, out: str = "out.jsonl", history: str = "h.jsonl") -> Said:
        (tmp_path / "g.toml").write_text(graders, encoding="utf-8")
        (tmp_path / "t.toml").write_text(TIERS, encoding="utf-8")
        files = ["--history", str(write(tmp_path / history, rows)), "--graders", str(tmp_path / "g.toml")]
        code = main(["grade", *files, "--out", str(tmp_path / out), *flags])
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
        return code, json.loads(said.out.splitlines()[-1]) if said.out else {}, said.err

    return call


def test_rows_get_the_scores_of_their_rules(grade: Callable[..., Said], tmp_path: Path) -> None:
    code, summary, _ = grade(ROWS, NUMBER + LETTER + MATH + '[[rule]]\ngraders = ["letter"]\n')
    rows = read(tmp_path / "out.jsonl")
    assert (code, [row["score"] for row in rows]) == (0, [0.0, 1.0, 1.0, None])
    assert list(rows[0]) == [*ROWS[0], "grades", "label_error", "grading_usd"]
    assert [{**row, "score": None} for row in rows] == [
        {**before, **{name: after[name] for name in ("grades", "label_error", "grading_usd")}}
        for before, after in zip(ROWS, rows, strict=True)
    ]
    assert json.loads(rows[0]["grades"]) == {"number": {"score": 0.0, "why": None}}
    assert [row["label_error"] for row in rows] == [0.0, 0.0, 0.0, None]
    assert rows[3]["grades"] is None
    assert {key: summary[key] for key in ("rows", "graded", "passed", "kept", "ungraded")} == {
        "rows": 4, "graded": 3, "passed": 2, "kept": 0, "ungraded": {"status refused": 1},
    }  # fmt: skip
    assert summary["graders"]["number"] == {"applied": 2, "scored": 2, "passed": 1, "mean": 0.5, "null": {}}
    assert [rule["rows"] for rule in summary["rules"]] == [2, 1]


@pytest.mark.parametrize("status", sorted(set(Status) - GRADABLE))
def test_what_is_no_answer_is_never_graded_and_never_a_fail(
    grade: Callable[..., Said], tmp_path: Path, status: Status
) -> None:
    rows = [answer("q1", "small", "5", status=str(status)), answer("q1", "large", None, status=str(status))]
    code, summary, _ = grade(rows, NUMBER + MATH)
    assert (code, summary["graded"], summary["ungraded"]) == (0, 0, {f"status {status}": 2})
    assert [row["score"] for row in read(tmp_path / "out.jsonl")] == [None, None]


def test_why_rows_have_no_score(grade: Callable[..., Said]) -> None:
    rows = [
        answer("q1", "small", "4", reference=None),
        answer("q2", "small", "4", reference="several"),
        answer("q3", "small", "4", task="other"),
        answer("q4", "small", None),
        answer("q5", "small", "4", task=None),
        answer("q6", "small", "4", status=None),
        answer("q7", "small", None, status=None),
        answer("q8", "small", "5", score=1.0),
    ]
    _, summary, err = grade(rows, NUMBER + MATH)
    assert summary["ungraded"] == {"bad reference": 1, "no reference": 1, "no response": 2, "no rule": 2}
    assert (summary["graded"], summary["kept"]) == (1, 1)
    assert "2 of 8 rows match no rule" in err
    assert "1 of 8 rows came with a score and keep it" in err


@pytest.mark.parametrize("before", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("after", [".jsonl", ".csv", ".parquet"])
def test_any_format_becomes_any_other(
    grade: Callable[..., Said], tmp_path: Path, before: str, after: str
) -> None:
    rows = [{**row, "input_tokens": 10 if i else None, "score": None} for i, row in enumerate(ROWS[:3])]
    code, _, _ = grade(
        rows,
        NUMBER + LETTER + MATH + '[[rule]]\ngraders = ["letter"]\n',
        history=f"h{before}",
        out=f"o{after}",
    )
    assert code == 0
    history = read_history(tmp_path / f"o{after}").rows
    assert history["score"].tolist() == [0.0, 1.0, 1.0]
    assert history["input_tokens"].tolist()[1:] == [10.0, 10.0]


def test_parquet_keeps_its_types(grade: Callable[..., Said], tmp_path: Path) -> None:
    messages = [{"role": "user", "content": SECRET}]
    rows = [
        {**ROWS[0], "input_tokens": None, "messages": messages},
        {**ROWS[1], "input_tokens": 3, "messages": messages},
    ]
    grade(rows, NUMBER + MATH, history="h.parquet", out="o.parquet")
    before, after = (pq.read_table(tmp_path / name) for name in ("h.parquet", "o.parquet"))
    for name in before.column_names:
        if name != "score":
            assert before[name].combine_chunks().equals(after[name].combine_chunks()), name
    assert after.schema.field("score").type == pa.float64()


def test_several_files_are_one_history(tmp_path: Path) -> None:
    more = write(tmp_path / "more.csv", [answer("q9", "small", "4", level="3")])
    (tmp_path / "g.toml").write_text(NUMBER + '[[rule]]\ngraders = ["number"]\n', encoding="utf-8")
    first = write(tmp_path / "first.jsonl", ROWS[:2])
    code = main(
        [
            "grade",
            "--history",
            str(first),
            str(more),
            "--graders",
            str(tmp_path / "g.toml"),
            "--out",
            str(tmp_path / "out.jsonl"),
        ]
    )
    rows = read(tmp_path / "out.jsonl")
    assert code == 0
    assert [row["score"] for row in rows] == [0.0, 1.0, 1.0]
    assert [row["level"] for row in rows] == [None, None, "3"]


WRONG: list[tuple[list[dict[str, Any]], str, str]] = [
    (ROWS, NUMBER + 'reference = "refrence"\n' + MATH, "expected a column 'refrence' in the history (did you mean reference?)"),
    (ROWS, NUMBER + MATH.replace("task", "tsak"), "rule 1: when: expected a column 'tsak' in the history (did you mean task?)"),
    ([ROWS[0], ROWS[0]], NUMBER + MATH, "each pair once"),
    ([{**ROWS[0], "status": "answerd"}], NUMBER + MATH, "line 1, column status: expected one of answered"),
    ([{**ROWS[0], "score": 3}], NUMBER + MATH, "line 1, column score: expected a number from 0 to 1"),
    ([{**ROWS[0], "response": {"text": SECRET}}], NUMBER + MATH, "line 1, column response: expected text, found a dict"),
    ([{**ROWS[0], "model": None}], NUMBER + MATH, "line 1, column model: expected text, found nothing"),
    ([{"prompt_id": "a", "prompt": "b", "model": "c", "score": None}], NUMBER + MATH, "expected a column response"),
    ([{**ROWS[0], "grades": "{}"}], NUMBER + MATH, "found the column grades; grade the history that was collected"),
    (ROWS, '[[grader]]\nname = "code"\nkind = "code"\n[[rule]]\ngraders = ["code"]\n', "pass --allow-code"),
    (ROWS, '[[grader]]\nname = "same"\nkind = "same_as_top"\nby = "number"\n[[rule]]\ngraders = ["same"]\n', "pass --tiers"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "graders", "expected"), WRONG)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    grade: Callable[..., Said], tmp_path: Path, rows: Rows, graders: str, expected: str
) -> None:
    code, summary, err = grade(rows, graders)
    assert (code, summary) == (3, {})
    assert expected in err
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("flag", ["--budget-usd", "--workers"])
@pytest.mark.parametrize("value", ["x", "0", "-1"])
def test_a_flag_that_is_no_number_above_0(
    grade: Callable[..., Said], capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    with pytest.raises(SystemExit):
        grade(ROWS, NUMBER + MATH, f"{flag}={value}")
    assert "number above 0, found" in capsys.readouterr().err


def test_the_history_itself_is_never_written_over(grade: Callable[..., Said], tmp_path: Path) -> None:
    code, _, err = grade(ROWS, NUMBER + MATH, out="h.jsonl")
    assert code == 3
    assert "is the history itself" in err
    (tmp_path / "link.jsonl").hardlink_to(tmp_path / "h.jsonl")
    code, _, err = grade(ROWS, NUMBER + MATH, out="link.jsonl")
    assert code == 3
    assert "is the history itself" in err
    assert read(tmp_path / "h.jsonl") == ROWS
    code, _, err = grade(ROWS, NUMBER + MATH, out="out.xlsx")
    assert code == 3
    assert ".parquet, .jsonl, .csv" in err


def test_rules_and_graders_that_grade_nothing_are_told(grade: Callable[..., Said]) -> None:
    nothing = MATH.replace('"math"', '"maths"')
    code, summary, err = grade(ROWS, NUMBER + LETTER + nothing + MATH)
    assert code == 0
    assert "rule 1 matches no row" in err
    assert "grader letter is in no rule" in err
    assert len(summary["warnings"]) == 3


def test_a_grader_without_any_score_is_told(grade: Callable[..., Said]) -> None:
    _, _, err = grade([answer("q1", "small", "4", reference=None)], NUMBER + MATH)
    assert "grader number has no score for any of its 1 rows (no reference)" in err


def test_a_pattern_that_runs_out_of_time_again_and_again_is_refused(
    grade: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grading, "_MOST_TIME_LIMITS", 2)
    rows = [answer(f"q{i}", "small", "a" * 5000 + "b") for i in range(3)]
    slow = '[[grader]]\nname = "slow"\nkind = "regex"\npattern = "(a+)+$"\ntimeout_s = 0.01\n[[rule]]\ngraders = ["slow"]\n'
    code, _, err = grade(rows, slow)
    assert code == 3
    assert "grader slow: its pattern ran out of time on 2 responses" in err
    code, summary, _ = grade(rows[:1], slow)
    assert (code, summary["ungraded"]) == (0, {"time limit": 1})


def call_me(row: dict[str, Any]) -> float | bool | str | None:
    """Stand for a function of the operator's own."""
    kind = row["task"]
    row["task"] = "changed"  # what a function does to its row stays there
    said: dict[str, float | bool | str | None] = {
        "half": 0.5,
        "yes": True,
        "none": None,
        "two": 2.0,
        "text": SECRET,
    }
    if kind == "raises":
        raise ValueError(row["response"])
    return said[kind]


def test_a_function_of_the_operators_own(grade: Callable[..., Said], tmp_path: Path) -> None:
    tasks = ("half", "yes", "none", "two", "text", "raises")
    rows = [answer(f"q{i}", "small", SECRET, task=task) for i, task in enumerate(tasks)]
    own = f'[[grader]]\nname = "own"\nkind = "python"\nfunction = "{__name__}:call_me"\n[[rule]]\ngraders = ["own"]\n'
    code, summary, _ = grade(rows, own)
    out = read(tmp_path / "out.jsonl")
    assert code == 0
    assert [row["score"] for row in out] == [0.5, 1.0, None, None, None, None]
    assert [row["task"] for row in out] == list(tasks)
    assert summary["ungraded"] == {"error": 3, "not applicable": 1}


SAME = '[[grader]]\nname = "same"\nkind = "same_as_top"\nby = "{by}"\n[[rule]]\ngraders = ["same"]\n'


@pytest.mark.parametrize(
    ("by", "top", "same", "other"),
    [
        ("normalised", "The Paris!", "paris", "Rome"),
        ("number", "It is 1,000 in all.", "1000", "1001"),
        ("choice", "A is wrong, so B", "The answer is (B).", "C"),
        ("similarity", "the cat sat", "the cat sat", "dog"),
        ("normalised", '["a", "b"]', '["a", "b"]', "a"),
    ],
)
def test_agreement_with_the_top_tier(
    grade: Callable[..., Said], tmp_path: Path, by: str, top: str, same: str, other: str
) -> None:
    rows = [
        answer("q1", "small", same),
        answer("q1", "large", top),
        answer("q2", "small", other),
        answer("q2", "large", top),
        answer("q3", "small", same),
        answer("q3", "large", None, status="filtered"),
        answer("q4", "small", same),
    ]
    code, summary, _ = grade(rows, SAME.format(by=by), "--tiers", str(tmp_path / "t.toml"))
    assert code == 0
    assert [row["score"] for row in read(tmp_path / "out.jsonl")] == [1.0, 1.0, 0.0, 1.0, None, None, None]
    assert summary["ungraded"] == {"no top answer": 2, "status filtered": 1}


def test_a_ladder_whose_top_tier_is_not_in_the_history(grade: Callable[..., Said], tmp_path: Path) -> None:
    code, _, err = grade(ROWS[:1], SAME.format(by="number"), "--tiers", str(tmp_path / "t.toml"))
    assert code == 3
    assert "expected rows of the top tier, large; found none" in err


def test_several_graders_of_one_rule(grade: Callable[..., Said], tmp_path: Path) -> None:
    rules = '[[grader]]\nname = "short"\nkind = "length"\nmax_words = 2\n' + NUMBER
    for combine, expected in (("all", [0.0, 0.0]), ("any", [1.0, 1.0]), ("mean", [0.5, 0.5])):
        code, _, _ = grade(
            ROWS[:2], rules + f'[[rule]]\ngraders = ["short", "number"]\ncombine = "{combine}"\n'
        )
        rows = read(tmp_path / "out.jsonl")
        assert (code, [row["score"] for row in rows]) == (0, expected)
        assert list(json.loads(rows[0]["grades"])) == ["short", "number"]


def test_code_is_graded_alike_by_any_number_of_workers(grade: Callable[..., Said], tmp_path: Path) -> None:
    rows = [
        answer(
            f"q{i}", "small", f"```python\ndef f(x):\n    return {i % 3} * x\n```", tests="assert f(2) == 4"
        )
        for i in range(6)
    ]
    code_ = '[[grader]]\nname = "code"\nkind = "code"\nnetwork = "allowed"\n[[rule]]\ngraders = ["code"]\n'
    outs = []
    for workers in ("1", "3"):
        code, _, _ = grade(rows, code_, "--allow-code", "--workers", workers)
        assert code == 0
        outs.append((tmp_path / "out.jsonl").read_bytes())
    assert outs[0] == outs[1]
    assert [row["score"] for row in read(tmp_path / "out.jsonl")] == [0.0, 0.0, 1.0] * 2


def test_thirty_thousand_rows_twice_are_the_same(grade: Callable[..., Said], tmp_path: Path) -> None:
    rows = [answer(f"q{i // 2}", ("small", "large")[i % 2], f"It is {i % 7}.") for i in range(30_000)]
    outs = []
    for _ in range(2):
        code, summary, _ = grade(rows, NUMBER + MATH, out="out.parquet")
        assert (code, summary["graded"]) == (0, 30_000)
        outs.append((tmp_path / "out.parquet").read_bytes())
    assert outs[0] == outs[1]


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.parquet"])
def test_odd_characters_do_not_stop_it(grade: Callable[..., Said], tmp_path: Path, out: str) -> None:
    rows = [answer("q1", "small", "\ud800 4 \u2028"), answer("q2", "small", "")]
    code, _, _ = grade(rows, NUMBER + MATH, out=out)
    assert code == 0
    assert read_history(tmp_path / out).rows["score"].tolist() == [1.0, 0.0]


def test_a_grader_sees_the_row_as_it_was_read() -> None:
    row = Row(0, "h.jsonl, line 1", ROWS[0], "x")
    assert (row.top, row.is_top, row.cells["reference"]) == (None, False, "4")
