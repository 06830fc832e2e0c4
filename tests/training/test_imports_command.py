"""The command: from a log to a history, and every way in which a user or a log can go wrong, said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import ROOT

from eval.history import read_history
from training.__main__ import main
from training.imports import command, gathering

LOGS = ROOT / "examples" / "logs"
SECRET = "confidential"  # noqa: S105 - a word of a prompt
Import = Callable[..., int]


def record(prompt: str, model: str = "m", answer: str | None = "yes", **beside: Any) -> dict[str, Any]:
    request = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    return {"request": request, "response": answer, **beside} if answer else {"request": request, **beside}


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    def run(
        rows: list[dict[str, Any]] | bytes, *flags: str, form: str = "openai", out: str = "p.jsonl"
    ) -> int:
        log = tmp_path / "log.jsonl"
        text = rows if isinstance(rows, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        log.write_bytes(text)
        return main(["import", "--format", form, "--logs", str(log), "--out", str(tmp_path / out), *flags])

    return run


def rows_of(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]


def groups_of(tmp_path: Path) -> list[int]:
    names = [row["group"] for row in rows_of(tmp_path)]
    return [names.index(name) for name in names]


def summary_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_line_ends_of_every_kind_survive_a_csv(imported: Import, tmp_path: Path) -> None:
    assert 0 == imported([record("a\rb", answer="c\r\nd\ne\r")], out="p.csv")
    history = read_history(tmp_path / "p.csv")
    assert ["a\rb"] == history.prompts["prompt"].tolist()
    assert ["c\r\nd\ne\r"] == history.rows["response"].tolist()


def test_repeats_are_dropped_by_prompt_and_model(imported: Import, tmp_path: Path) -> None:
    imported([record("a"), record("a", answer="no"), record("a", "n"), record("b"), record("a")])
    assert [("a", "m", "yes", 2), ("a", "n", "yes", 0), ("b", "m", "yes", 0)] == [
        (row["prompt"], row["model"], row["response"], row["repeats"]) for row in rows_of(tmp_path)
    ]
    first, second, third = (row["prompt_id"] for row in rows_of(tmp_path))
    assert first == second != third
    assert len(read_history(tmp_path / "p.jsonl").prompts) == 2


def test_without_dedup_each_call_is_a_row_of_its_own_and_repeats_share_a_group(
    imported: Import, tmp_path: Path
) -> None:
    imported([record("a"), record("a", answer="no"), record("a", "n"), record("a")], "--dedup", "none")
    found = rows_of(tmp_path)
    assert ["yes", "no", "yes", "yes"] == [row["response"] for row in found]
    assert ["", "-2", "", "-3"] == [row["prompt_id"][20:] for row in found]
    assert len({row["group"] for row in found}) == 1
    assert len(read_history(tmp_path / "p.jsonl").rows) == 4


def test_of_repeats_the_first_that_can_be_graded_is_kept(imported: Import, tmp_path: Path) -> None:
    failed = {"response": {"error": {"code": "rate_limit_exceeded"}}}
    imported([{**record("a"), **failed}, record("b"), record("a", answer="one"), record("a", answer="two")])
    assert [("b", "yes", 0), ("a", "one", 2)] == [
        (row["prompt"], row["response"], row["repeats"]) for row in rows_of(tmp_path)
    ]


def test_the_same_prompt_in_another_form_is_the_same_prompt(imported: Import, tmp_path: Path) -> None:
    parts = record("")
    parts["request"]["messages"] = [
        {"role": "user", "content": [{"type": "text", "text": "a"}], "name": None}
    ]
    imported([record("a"), parts])
    assert [1] == [row["repeats"] for row in rows_of(tmp_path)]


LONG = "please write a friendly reminder to the customer about the invoice that is due next week"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), [0, 0, 2, 2, 4]),
        (("--group", "session"), [0, 0, 2, 3, 4]),
        (("--group", "user"), [0, 1, 0, 3, 3]),
        (("--group", "near-duplicate"), [0, 1, 2, 2, 4]),
        (("--group", "session", "user", "near-duplicate"), [0, 0, 0, 0, 0]),
        (("--near-duplicates", "off"), [0, 0, 2, 3, 4]),
        (("--near-duplicates", "1"), [0, 0, 2, 3, 4]),
    ],
)
def test_groups_are_united(
    flags: tuple[str, ...], expected: list[int], imported: Import, tmp_path: Path
) -> None:
    imported(
        [
            record("alpha", session_id="s1", user_id="u1"),
            record("beta", session_id="s1", user_id="u2"),
            record(LONG, session_id="s2", user_id="u1"),
            record(f"{LONG}, thanks", session_id="s3", user_id="u3"),
            record("gamma", session_id="s4", user_id="u3"),
        ],
        *flags,
    )
    assert expected == groups_of(tmp_path)


def test_auto_takes_users_where_no_session_holds_two_prompts(
    imported: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported([record(text, session_id=text, user_id="u") for text in ("alpha", "beta")])
    assert groups_of(tmp_path) == [0, 0]
    assert summary_of(capsys)["grouping"]["by"] == ["user", "near-duplicate"]


def test_no_groups_leave_the_column_out(imported: Import, tmp_path: Path) -> None:
    imported([record("alpha", session_id="s"), record("beta", session_id="s")], "--group", "none")
    assert "group" not in rows_of(tmp_path)[0]
    assert read_history(tmp_path / "p.jsonl").prompts["group"].nunique() == 2


def test_a_group_keeps_its_name_and_its_prompts_whatever_the_order(imported: Import, tmp_path: Path) -> None:
    log = [record(f"{LONG} {i % 7}", session_id=f"s{i % 5}") for i in range(30)]
    imported(log)
    expected = {row["prompt_id"]: row["group"] for row in rows_of(tmp_path)}
    imported(log[::-1])
    assert expected == {row["prompt_id"]: row["group"] for row in rows_of(tmp_path)}


def test_a_large_group_is_warned_of(imported: Import, capsys: pytest.CaptureFixture[str]) -> None:
    imported([record(f"prompt {i} {i}", session_id="one" if i < 10 else f"s{i}") for i in range(150)])
    assert (
        "warning: one group holds 7% of the prompts (by session, near-duplicate)" in capsys.readouterr().err
    )


def test_users_and_sessions_are_hashed_unless_kept(imported: Import, tmp_path: Path) -> None:
    log = [record("a", session_id="ann-1", user_id="ann@x.example"), record("b", user_id="ann@x.example")]
    imported(log)
    text = (tmp_path / "p.jsonl").read_text(encoding="utf-8")
    assert "ann" not in text
    assert len({row["user"] for row in rows_of(tmp_path)}) == 1
    imported(log, "--keep-users")
    assert [("ann-1", "ann@x.example"), (None, "ann@x.example")] == [
        (row["session"], row["user"]) for row in rows_of(tmp_path)
    ]
    assert gathering.pseudonym("u", "a") != gathering.pseudonym("s", "a")


def test_nothing_of_what_was_redacted_is_left_in_any_file(
    imported: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    close = gathering.Gathered.close

    def look(self: gathering.Gathered) -> None:
        seen.extend(
            path.read_text(encoding="utf-8") for path in tmp_path.iterdir() if path.name != "log.jsonl"
        )
        close(self)

    monkeypatch.setattr(gathering.Gathered, "close", look)
    imported([record("write to ann@x.example", answer="to ann@x.example")], "--redact", "builtin")
    assert len(seen) == 2  # the rows on their way, and the history
    assert not any("ann@x" in text for text in seen)
    assert all("write to <EMAIL>" in text for text in seen)


def test_requests_alone_are_prompts(
    imported: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported([record("a", answer=None), record("b", answer=None)])
    assert [(None, None), (None, None)] == [(row["status"], row["response"]) for row in rows_of(tmp_path)]
    assert summary_of(capsys)["by_status"] == {"no answer logged": 2}


def test_some_damage_is_counted_and_too_much_is_refused(
    imported: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = b"".join(json.dumps(record(f"p {i}")).encode() + b"\n" for i in range(30))
    bad = (
        b'{"request": "'
        + SECRET.encode()
        + b'\n{"request": {"model": "m", "messages": 5}, "response": "x"}\n'
    )
    assert imported(good + bad[: bad.index(b"\n") + 1] + good) == 0
    told = capsys.readouterr()
    assert {"broken JSON": {"count": 1, "first": f"{tmp_path / 'log.jsonl'}, line 31"}} == json.loads(
        told.out
    )["bad"]
    (tmp_path / "p.jsonl").unlink()
    assert imported(good + bad * 2) == 3
    told = capsys.readouterr()
    assert "expected at most 5% of the records to be damaged, found 4 of 34" in told.err
    assert SECRET not in told.err
    assert imported(good + bad * 2, "--max-bad", "0.5") == 0
    assert imported(bad, "--max-bad", "1") == 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--out", "p.txt"), "expected .parquet, .jsonl, .csv, found .txt"),
        (("--out", "log.jsonl"), "expected another file than the logs"),
        (("--group", "none", "session"), "expected none alone or other kinds"),
        (("--group", "near-duplicate", "--near-duplicates", "off"), "needs --near-duplicates, found off"),
        (("--redact", "nothing"), "expected builtin or module:function"),
        (("--score", "helpful"), "expected --format langfuse"),
        (("--format", "litellm"), "found what looks like openai; pass --format openai"),
    ],
)
def test_a_flag_that_is_wrong_is_refused(
    flags: tuple[str, ...], said: str, imported: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placed = [str(tmp_path / flag) if flag in ("p.txt", "log.jsonl") else flag for flag in flags]
    assert imported([record(SECRET)], *placed) == 3
    told = capsys.readouterr().err
    assert said in told
    assert SECRET not in told
    assert told.splitlines()[-1].startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize(
    "flags", [("--near-duplicates", "1.5"), ("--near-duplicates", "0.1"), ("--max-bad", "x")]
)
def test_numbers_out_of_range_are_a_matter_of_usage(
    flags: tuple[str, ...], imported: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        imported([record("a")], *flags)
    assert "from 0" in capsys.readouterr().err


NAMES = {
    "openai": "openai.jsonl",
    "anthropic": "anthropic.jsonl",
    "litellm": "litellm.csv",
    "langfuse": "langfuse-observations.jsonl",
    "otel": "otel.jsonl",
}


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_a_log_of_another_format_is_known_as_such(
    form: str, other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["import", "--format", form, "--logs", str(LOGS / NAMES[other]), "--out", str(tmp_path / "p.csv")]
    )
    assert (0 if form == other else 3) == code
    assert (
        form == other
    ) or f"expected the format {form}, found what looks like {other}" in capsys.readouterr().err


def test_a_full_disk_is_said_and_leaves_what_was_there(
    imported: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported([record("a")])
    before = (tmp_path / "p.jsonl").read_bytes()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.imports.writing._jsonl", full)
    assert imported([record("b")]) == 1
    assert "No space left on device; make room" in capsys.readouterr().err
    assert before == (tmp_path / "p.jsonl").read_bytes()
    assert {"log.jsonl", "p.jsonl"} == {path.name for path in tmp_path.iterdir()}


def test_hostile_texts_come_through(imported: Import, tmp_path: Path) -> None:
    texts = ["\ud800 half", "nul \x00 in it", "line\u2028end", '=cmd|"!A1"', "日本" * 50, '{"a": [1]}', "[]"]
    for out in ("p.parquet", "p.csv", "p.jsonl"):
        assert imported([record(text, answer=text) for text in texts], out=out) == 0
        found = read_history(tmp_path / out)
        assert [text.replace("\ud800", "\ufffd") for text in texts] == list(found.prompts["prompt"])


def test_every_option_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    told = capsys.readouterr().out
    assert all(
        flag in told for flag in ("--redact", "--near-duplicates", "--keep-users", "--max-bad", "--score")
    )
    assert command.__doc__
