"""Answers that a log holds are kept and not paid for: a censored log and some calls become one history."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from collecting import (
    LARGE,
    MEDIUM,
    SMALL,
    TIERS,
    Collect,
    finish,
    letters_of,
    rows_of,
    simple_prompts,
    start,
)
from served import MOST_SECONDS, wait_until
from standin import MODELS, Standin, standin

from eval.censored import describe
from eval.history import read_history
from eval.outcomes import tabulate
from router.tiers import read_tiers


@pytest.fixture(scope="module")
def server() -> Iterator[Standin]:
    with standin() as running:
        yield running


@pytest.fixture
def quiet(server: Standin) -> Standin:
    server.reset()
    return server


@pytest.fixture
def collect(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Collect:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return Collect(tmp_path, capsys)


def censored_log(n: int, **more: Any) -> list[dict[str, Any]]:
    """A log of which each prompt was served by one tier, in turn."""
    served = {
        "status": "answered",
        "input_tokens": 12,
        "output_tokens": 3,
        "cost_usd": 0.5,
        "latency_ms": 7.5,
    }
    return [
        {**row, "model": MODELS[i % 3], "response": f"as logged: {i}", **served, "propensity": 0.25, **more}
        for i, row in enumerate(simple_prompts(n, task="sum"))
    ]


def test_only_the_missing_tiers_of_the_sample_are_asked(quiet: Standin, collect: Collect) -> None:
    log = censored_log(30)
    prompts = collect.write(log)
    flags = ("--base-url", quiet.url, "--keep-answers", "--sample", 9)
    dry = collect(prompts, *flags, "--dry-run").result
    assert (18, 30) == (dry["calls"], dry["kept_answers"])
    ended = collect(prompts, *flags)
    result = ended.result
    assert (0, 18, 9, 30, 48) == (
        ended.code, quiet.bill()["calls"], result["prompts"], result["kept_answers"], result["rows"],
    )  # fmt: skip
    assert "30 answers are kept and not asked again" in ended.err
    assert quiet.bill()["usd"] == pytest.approx(result["spent_usd"], rel=1e-9), "what was logged is not ours"
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(collect.out):
        by_prompt.setdefault(row["prompt_id"], []).append(row)
    assert [row["prompt_id"] for row in log] == list(by_prompt), "in the order of the file"
    for said in log:
        rows = by_prompt[said["prompt_id"]]
        kept = next(row for row in rows if row["model"] == said["model"])
        assert said == {name: kept[name] for name in said}
        assert (None, False) == (kept["score"], kept["usage_is_estimate"])
        if len(rows) == 1:
            assert kept["weight"] is None
        else:
            assert list(MODELS) == [row["model"] for row in rows]
            assert 1 == len({row["weight"] for row in rows})
            assert {None} == {row["propensity"] for row in rows if row is not kept}
    assert 30 == pytest.approx(
        sum(rows[0]["weight"] for rows in by_prompt.values() if len(rows) == 3), rel=1e-9
    )
    before = collect.out.read_bytes()
    again = collect(prompts, *flags)
    assert (0, 18, before) == (again.code, quiet.bill()["calls"], collect.out.read_bytes())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_history_of_a_log_and_calls_is_one_for_eval(
    quiet: Standin, collect: Collect, suffix: str
) -> None:
    prompts, out = collect.folder / f"log{suffix}", collect.folder / f"history{suffix}"
    frame = pd.DataFrame(censored_log(30))
    frame.to_csv(prompts, index=False) if suffix == ".csv" else frame.to_parquet(prompts, index=False)
    ended = collect(prompts, "--base-url", quiet.url, "--keep-answers", "--sample", 6, out=out)
    assert 0 == ended.code, ended.err
    history = read_history(out)
    assert (42, 30, 6) == (len(history.rows), len(history.prompts), history.prompts["weight"].notna().sum())
    history.rows["score"] = 1.0
    outcomes = tabulate(history, read_tiers(TIERS))
    assert 6 == outcomes.complete.sum()
    said = describe(outcomes)
    assert said is not None
    assert (6, "all") == (said["complete"], said["propensity"])


def test_only_what_a_grader_may_read_is_an_answer(quiet: Standin, collect: Collect) -> None:
    log = censored_log(6)
    log[0]["status"] = "length"
    log[1]["response"] = " "
    log[2]["status"] = None
    log[3]["model"] = "of no tier"
    log[4]["score"] = 1.0
    log.append({**log[4], "response": "another"})
    ended = collect(collect.write(log), "--base-url", quiet.url, "--keep-answers")
    assert (0, 15, 3) == (ended.code, quiet.bill()["calls"], ended.result["kept_answers"])
    for sentence in (
        "2 rows of the ladder's models hold no answer that can be graded, and count as not asked",
        "1 kept answers have scores, which are left out: `python -m training grade` grades all anew",
        "1 rows answer for a tier that an earlier row has answered for, and are left out",
    ):
        assert sentence in ended.err
    rows = rows_of(collect.out)
    assert 18 == len(rows)
    assert {"answered"} == {row["status"] for row in rows}
    assert {None} == {row["score"] for row in rows}
    assert ["as logged: 2", "as logged: 4", "as logged: 5"] == [
        row["response"] for row in rows if row["response"].startswith("as logged")
    ]


def test_a_log_of_which_all_is_answered_calls_nothing(quiet: Standin, collect: Collect) -> None:
    log = [row | {"model": model} for model in MODELS for row in censored_log(3)]
    ended = collect(collect.write(log), "--base-url", quiet.url, "--keep-answers", "--budget-usd", 0.01)
    assert (0, None, 0) == (ended.code, ended.result["stopped"], quiet.bill()["calls"])
    rows = rows_of(collect.out)
    assert [(f"q{i:03d}", model) for i in range(3) for model in MODELS] == [
        (row["prompt_id"], row["model"]) for row in rows
    ]
    assert "weight" not in rows[0]
    assert [] == letters_of(collect.out)


def test_answers_of_a_tier_s_other_models_are_its_answers(quiet: Standin, collect: Collect) -> None:
    tiers = collect.folder / "tiers.toml"
    text = TIERS.read_text(encoding="utf-8")
    one = f'model = "{LARGE}"'
    assert one in text
    tiers.write_text(text.replace(one, f'models = ["{LARGE}", "large-of-last-year"]'), encoding="utf-8")
    log = [row | {"model": "large-of-last-year"} for row in censored_log(3)]
    for _ in range(2):  # what is there is written anew, and not kept beside
        ended = collect(collect.write(log), "--base-url", quiet.url, "--keep-answers", tiers=tiers)
        assert (0, 6) == (ended.code, quiet.bill()["calls"])
        assert [SMALL, MEDIUM, "large-of-last-year"] * 3 == [row["model"] for row in rows_of(collect.out)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "nobody"}, f"--keep-answers: expected answers of the ladder's models ({SMALL}, "),
        ({"status": "perhaps"}, "line 1, column status: expected one of answered, tool_call"),
        ({"response": {"text": "the vault"}}, "line 1, column response: expected text, found a dict"),
        ({"cost_usd": -1}, "line 1, column cost_usd: expected a finite number of 0 or more"),
        ({"propensity": 0}, "line 1, column propensity: expected a probability above 0"),
    ],
)
def test_a_wrong_answer_is_told_before_anything_is_called(
    quiet: Standin, collect: Collect, change: dict[str, Any], said: str
) -> None:
    ended = collect(collect.write(censored_log(2, **change)), "--base-url", quiet.url, "--keep-answers")
    assert (3, 0, False) == (ended.code, quiet.bill()["calls"], collect.journal.exists())
    assert said in ended.err
    assert "vault" not in ended.err


@pytest.mark.pipeline
def test_killed_and_started_again_it_is_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in censored_log(60)), encoding="utf-8")
    flags = ("--keep-answers", "--sample", 30, "--concurrency", 4)
    with standin() as server:
        assert 0 == finish(start(log, tmp_path / "whole.jsonl", server.url, *flags)).code
    out = tmp_path / "killed.jsonl"
    with standin("--latency-ms", "20") as server:
        for kill in range(4):
            process = start(log, out, server.url, *flags)
            wait_until(lambda kill=kill: server.bill()["calls"] >= 12 * (kill + 1), "no calls", MOST_SECONDS)
            process.send_signal(signal.SIGKILL)
            assert -signal.SIGKILL == finish(process).code
        assert 0 == finish(start(log, out, server.url, *flags)).code
        bill = server.bill()
    assert (60, 0) == (bill["calls"], bill["billed_twice"])
    assert rows_of(tmp_path / "whole.jsonl", "latency_ms") == rows_of(out, "latency_ms")
