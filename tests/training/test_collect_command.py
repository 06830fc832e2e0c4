"""The command collect against the stand-in: a history, a journal, nothing twice, and refusals before any call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from collecting import LARGE, MEDIUM, OUTCOMES, SMALL, Collect, letters_of, rows_of, simple_prompts
from standin import MODELS, TIERS, Standin, standin

from eval.history import read_history
from eval.outcomes import tabulate
from router.tiers import read_tiers

URL = "http://127.0.0.1:1/v1"
"""No one answers there."""


@pytest.fixture(scope="module")
def server() -> Iterator[Standin]:
    with standin() as running:
        yield running


@pytest.fixture
def quiet(server: Standin) -> Standin:
    """The stand-in, with a clean bill and no faults."""
    server.fail()
    server.reset()
    return server


@pytest.fixture
def collect(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Collect:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return Collect(tmp_path, capsys)


def test_prompts_become_a_history(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(4, task="sum", reference="r", group="g"))
    ended = collect(prompts, "--base-url", quiet.url)
    assert 0 == ended.code, ended.err
    rows = rows_of(collect.out)
    assert ["prompt_id", "prompt", *OUTCOMES, "task", "reference", "group"] == list(rows[0])
    assert [(f"q{i:03d}", model) for i in range(4) for model in MODELS] == [
        (row["prompt_id"], row["model"]) for row in rows
    ]
    assert {None} == {row["score"] for row in rows}
    assert {("answered", "stop", False)} == {
        (row["status"], row["finish_reason"], row["usage_is_estimate"]) for row in rows
    }
    assert all(row["response"] and row["output_tokens"] > 0 and row["latency_ms"] > 0 for row in rows)
    bill = quiet.bill()
    assert (12, 0) == (bill["calls"], bill["billed_twice"])
    assert bill["usd"] == pytest.approx(sum(row["cost_usd"] for row in rows), rel=1e-9)
    result = ended.result
    assert bill["usd"] == pytest.approx(result["spent_usd"], rel=1e-9)
    assert (4, 12, 0, None, None, 0) == tuple(
        result[name] for name in ("prompts", "rows", "resumed", "stopped", "sampling", "dead_letters")
    )
    assert {"small": SMALL, "medium": MEDIUM, "large": LARGE} == {
        name: tier["model"] for name, tier in result["tiers"].items()
    }
    assert {"answered": 4} == result["tiers"]["small"]["by_status"]
    assert {collect.out.name, collect.journal.name, prompts.name} == {
        path.name for path in collect.folder.iterdir()
    }


def test_the_history_is_one_for_eval(quiet: Standin, collect: Collect) -> None:
    collect(collect.write(simple_prompts(4)), "--base-url", quiet.url)
    history = read_history(collect.out)
    assert (12, 4) == (len(history.rows), len(history.prompts))
    assert history.rows["score"].isna().all()


def test_the_same_again_calls_nothing_and_writes_the_same(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(5))
    collect(prompts, "--base-url", quiet.url)
    before = collect.out.read_bytes()
    again = collect(prompts, "--base-url", URL)
    assert (0, 15, 0) == (again.code, again.result["resumed"], again.result["calls"]["made"])
    assert before == collect.out.read_bytes()
    collect.out.unlink()
    assert 0 == collect(prompts, "--base-url", URL).code
    assert before == collect.out.read_bytes(), "made anew from the journal"


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_any_format_in_and_out(quiet: Standin, collect: Collect, suffix: str) -> None:
    rows = simple_prompts(3, task="sum", level=2, tests='["a, b", "c"]')
    prompts = collect.folder / f"prompts{suffix}"
    frame = pd.DataFrame(rows)
    if suffix == ".jsonl":
        frame.to_json(prompts, orient="records", lines=True)
    elif suffix == ".csv":
        frame.to_csv(prompts, index=False)
    else:
        frame.to_parquet(prompts, index=False)
    histories = []
    for out in (".jsonl", ".csv", ".parquet"):
        path = collect.folder / f"out{out}"
        assert 0 == collect(prompts, "--base-url", quiet.url, out=path).code
        read = read_history(path)
        histories.append(read.rows.drop(columns=["latency_ms", "source", "finish_reason"]))
        histories[-1]["level"] = histories[-1]["level"].astype(int)
        histories[-1]["cached_input_tokens"] = pd.to_numeric(histories[-1]["cached_input_tokens"])
        assert ["sum"] * 3 == read.prompts["task"].tolist()
        again = collect(prompts, "--base-url", URL, out=path)
        assert (0, 9) == (again.code, again.result["resumed"])
    for other in histories[1:]:
        pd.testing.assert_frame_equal(histories[0], other, check_dtype=False)


def test_messages_are_sent_as_they_are(quiet: Standin, collect: Collect) -> None:
    chat = [
        {"role": "system", "content": "Answer with a number."},
        {"role": "user", "content": "What is 2 plus 3?"},
    ]
    prompts = collect.write(
        [
            {"prompt_id": "a", "messages": chat},
            {"prompt_id": "b", "prompt": "What is 4 plus 5?", "messages": None},
        ]
    )
    assert 0 == collect(prompts, "--base-url", quiet.url).code
    rows = rows_of(collect.out)
    assert ["prompt_id", "prompt", "messages", *OUTCOMES] == list(rows[0])
    assert chat == json.loads(rows[0]["messages"])
    assert [chat, "What is 4 plus 5?"] == read_history(collect.out).prompts["prompt"].tolist()
    assert (
        quiet.ask("/v1/chat/completions", {"model": LARGE, "messages": chat})["choices"][0]["message"][
            "content"
        ]
        == rows[2]["response"]
    )


# Into a history that is there


def test_other_prompts_are_appended(quiet: Standin, collect: Collect) -> None:
    collect(collect.write(simple_prompts(3, task="old")), "--base-url", quiet.url)
    before = rows_of(collect.out)
    ended = collect(
        collect.write(simple_prompts(4, start=10, level=1), "more.jsonl"), "--base-url", quiet.url
    )
    assert (0, 9, 21) == (ended.code, ended.result["kept_rows"], ended.result["rows"])
    after = rows_of(collect.out)
    assert before == [{name: row[name] for name in before[0]} for row in after[:9]]
    assert [None] * 9 + [1] * 12 == [row["level"] for row in after]
    assert [f"q{i:03d}" for i in range(10, 14)] == list(dict.fromkeys(row["prompt_id"] for row in after[9:]))
    assert 21 == quiet.bill()["calls"]
    assert 7 == len(read_history(collect.out).prompts)


def test_what_was_spent_beside_is_said(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(3))
    assert "beside these" not in collect(prompts, "--base-url", quiet.url).err
    again = collect(prompts, "--base-url", quiet.url, "--max-output-tokens", 99)
    assert (0, 18) == (again.code, quiet.bill()["calls"])
    assert re.search(
        r"the journal has calls for \$0\.\d+ beside these, of other prompts, tiers or parameters", again.err
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_other_prompts_are_appended_in_any_format(quiet: Standin, collect: Collect, suffix: str) -> None:
    out = collect.folder / f"history{suffix}"
    collect(collect.write(simple_prompts(2, task="old", size=1)), "--base-url", quiet.url, out=out)
    before = rows_of(out)
    more = collect.write(simple_prompts(2, start=5, size=2.5), "more.jsonl")
    assert 0 == collect(more, "--base-url", quiet.url, out=out).code
    after = rows_of(out)
    assert before == [{name: row[name] for name in before[0]} for row in after[:6]]
    assert ["1"] * 6 + ["2.5"] * 6 == [f"{float(row['size']):g}" for row in after]


def test_another_tier_keeps_the_rows_of_the_others(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(3))
    ladder = TIERS.read_text(encoding="utf-8").split("[[tier]]")
    two, one = collect.folder / "two.toml", collect.folder / "one.toml"
    two.write_text("[[tier]]".join(ladder[:3]), encoding="utf-8")
    one.write_text(ladder[0] + "[[tier]]" + ladder[3], encoding="utf-8")
    assert 0 == collect(prompts, "--base-url", quiet.url, tiers=two).code
    ended = collect(prompts, "--base-url", quiet.url, tiers=one)
    assert (0, 6, 9) == (ended.code, ended.result["kept_rows"], ended.result["rows"])
    assert 3 == len(read_history(collect.out).prompts)


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_graded_history_is_refused(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(2))
    collect(prompts, "--base-url", quiet.url)
    edit(collect.out, lambda row: row.update(score=1.0))
    before = collect.out.read_bytes()
    ended = collect(prompts, "--base-url", quiet.url)
    assert 3 == ended.code
    assert (
        f"error: history {collect.out}, line 1, column score: expected no grades on what is to be collected, found 1.0"
        in ended.err
    )
    assert before == collect.out.read_bytes()
    assert 0 == collect(collect.write(simple_prompts(2, start=7)), "--base-url", quiet.url).code


def test_a_history_without_its_journal_is_not_paid_for_again(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(2))
    collect(prompts, "--base-url", quiet.url)
    collect.journal.rename(collect.folder / "elsewhere")
    ended = collect(prompts, "--base-url", quiet.url)
    assert (3, 6) == (ended.code, quiet.bill()["calls"])
    assert (
        "expected its journal beside it, found answers of this plan and no journal; put the journal back"
        in ended.err
    )


def test_one_id_for_two_prompts_is_refused(quiet: Standin, collect: Collect) -> None:
    collect(collect.write(simple_prompts(2)), "--base-url", quiet.url)
    edit(collect.out, lambda row: row.update(model="another"))
    other = [{"prompt_id": "q001", "prompt": "something else"}]
    ended = collect(collect.write(other), "--base-url", quiet.url)
    assert (3, 6) == (ended.code, quiet.bill()["calls"])
    assert "expected the same prompt under the same id, found another for q001" in ended.err


def test_the_prompts_are_never_overwritten(collect: Collect) -> None:
    prompts = collect.write(simple_prompts(2))
    ended = collect(prompts, "--base-url", URL, out=prompts)
    assert (3, 2) == (ended.code, len(rows_of(prompts)))
    assert "expected a file of its own, found the prompts" in ended.err


# Refused before any call


def test_a_typo_is_told_before_anything_is_called(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(2))
    gone = collect.folder / "gone"
    for flags, options, said in (
        ((), {"prompts": gone.with_suffix(".csv")}, "prompts .*gone.csv: expected a file to read"),
        ((), {"tiers": gone}, "tiers file .*gone: cannot be read"),
        (("--endpoints", gone), {}, "gone"),
        ((), {"out": gone.with_suffix(".txt")}, "--out .*gone.txt: expected a name that ends in"),
        ((), {"out": collect.folder}, "--out .*: expected a name that ends in"),
    ):
        ended = collect(options.pop("prompts", prompts), "--base-url", quiet.url, *flags, **options)
        assert (3, 0) == (ended.code, quiet.bill()["calls"])
        assert re.search(said, ended.err), ended.err
        assert {prompts.name} == {path.name for path in collect.folder.iterdir()}


def test_a_wrong_column_is_told_before_anything_is_called(quiet: Standin, collect: Collect) -> None:
    ended = collect(collect.write([{"id": "a", "text": "the vault is green"}]), "--base-url", quiet.url)
    assert (3, 0, False) == (ended.code, quiet.bill()["calls"], collect.journal.exists())
    assert "expected a column prompt_id, found the columns id, text; add it, or rename" in ended.err
    assert "vault" not in ended.err


def test_a_missing_key_is_told_before_anything_is_called(collect: Collect) -> None:
    ended = collect(collect.write(simple_prompts(1)), "--base-url", "https://models.invalid/v1")
    assert (3, False) == (ended.code, collect.journal.exists())
    assert "OPENAI_API_KEY" in ended.err
    assert "endpoint small" in ended.err


@pytest.mark.parametrize(
    "flags",
    [
        ("--budget-usd", "0"),
        ("--budget-usd", "nan"),
        ("--budget-usd", "1e999"),
        ("--sample", "0"),
        ("--seed", "-1"),
        ("--sample", "2.5"),
        ("--concurrency", "x"),
    ],
)
def test_a_flag_that_is_no_number_is_refused(
    collect: Collect, flags: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        collect(collect.write(simple_prompts(1)), "--base-url", URL, *flags)
    assert 2 == stopped.value.code
    assert f"argument {flags[0]}: expected a" in (said := capsys.readouterr().err)
    assert f"found '{flags[1]}'" in said


def test_repeats_and_blanks_are_said(quiet: Standin, collect: Collect) -> None:
    rows = [*simple_prompts(3), {"prompt_id": "x", "prompt": " "}, {**simple_prompts(1)[0], "prompt_id": "y"}]
    ended = collect(collect.write(rows), "--base-url", quiet.url)
    assert "1 prompts are left out: blank" in ended.err
    assert (
        "1 of 4 prompts are exact repeats of others and cost as much; `python -m training import` groups or drops them"
        in ended.err
    )
    assert ({"blank": 1}, 1) == (ended.result["left_out"], ended.result["repeats"])


# Dry run


def test_a_dry_run_needs_no_server_and_no_keys_and_leaves_nothing(collect: Collect) -> None:
    prompts = collect.write(simple_prompts(10))
    ended = collect(prompts, "--dry-run", "--base-url", "https://models.invalid/v1")
    assert 0 == ended.code, ended.err
    assert {prompts.name} == {path.name for path in collect.folder.iterdir()}
    result = ended.result
    assert (True, 30, 0, 10) == tuple(result[name] for name in ("dry_run", "calls", "settled", "prompts"))
    ladder = read_tiers(TIERS)
    characters = sum(len(row["prompt"]) for row in simple_prompts(10))
    for tier in ladder.tiers:
        told = result["tiers"][tier.name]
        assert tier.cost_usd(characters / 4, 10 * 256) == pytest.approx(told["expected_usd"])
        assert told["expected_usd"] < told["at_most_usd"]
    assert result["expected_usd"] == pytest.approx(
        sum(tier["expected_usd"] for tier in result["tiers"].values())
    )
    assert "standin-large" in ended.err
    assert "256 tokens each are assumed" in ended.err


def test_a_dry_run_learns_from_the_answers_so_far(quiet: Standin, collect: Collect) -> None:
    collect(collect.write(simple_prompts(30), "some.jsonl"), "--base-url", quiet.url)
    before = collect.out.read_bytes()
    all_of_them = collect.write(simple_prompts(50))
    ended = collect(all_of_them, "--dry-run")
    result = ended.result
    assert (150, 90, 0) == (result["calls"], result["settled"], result["spent_usd"] < result["paid_usd"])
    assert all(tier["output_tokens_measured"] for tier in result["tiers"].values())
    done = collect(all_of_them, "--base-url", quiet.url).result
    new = done["spent_usd"] - result["spent_usd"]
    assert result["expected_usd"] == pytest.approx(new, rel=0.25)
    assert result["at_most_usd"] >= new
    assert before != collect.out.read_bytes()


def test_a_dry_run_says_how_many_prompts_the_budget_covers(collect: Collect) -> None:
    prompts = collect.write(simple_prompts(100))
    whole = collect(prompts, "--dry-run").result["expected_usd"]
    ended = collect(prompts, "--dry-run", "--budget-usd", f"{whole / 2:.8f}")
    sampling = ended.result["sampling"]
    assert ("stratified", 100, 100) == (sampling["method"], sampling["wanted"], sampling["of"])
    assert sampling["taken"] == pytest.approx(48, abs=2), "the most that one more may cost is kept back"
    assert f"about {sampling['taken']} of them are asked (stratified)" in ended.err
    half = collect(prompts, "--dry-run", "--batch").result["expected_usd"]
    assert whole / 2 == pytest.approx(half)


# Letters


def test_dead_letters_name_what_has_no_answer(quiet: Standin, collect: Collect) -> None:
    quiet.fail(
        {"kind": "refused", "rate": 1.0, "models": [SMALL]},
        {"kind": "filtered_400", "rate": 1.0, "models": [MEDIUM]},
    )
    prompts = collect.write(simple_prompts(3))
    ended = collect(prompts, "--base-url", quiet.url)
    assert (0, 6) == (ended.code, ended.result["dead_letters"])
    letters = letters_of(collect.out)
    assert [(f"q{i:03d}", tier) for i in range(3) for tier in ("small", "medium")] == [
        (letter["prompt_id"], letter["tier"]) for letter in letters
    ]
    assert {"prompt_id", "tier", "model", "status", "http_status", "code", "attempts"} == set(letters[0])
    assert [("refused", 200), ("filtered", 400)] * 3 == [
        (letter["status"], letter["http_status"]) for letter in letters
    ]
    quiet.fail()
    again = collect(prompts, "--base-url", quiet.url, "--retry", "refused", "filtered")
    assert (0, 6, 0) == (again.code, again.result["calls"]["made"], again.result["dead_letters"])
    assert [] == letters_of(collect.out)
    assert {"answered"} == {row["status"] for row in rows_of(collect.out)}


def test_outcomes_of_a_collected_history_are_unobserved(quiet: Standin, collect: Collect) -> None:
    collect(collect.write(simple_prompts(3)), "--base-url", quiet.url)
    edit(collect.out, lambda row: row.update(score=1.0 if row["prompt_id"] == "q000" else None))
    outcomes = tabulate(read_history(collect.out), read_tiers(TIERS))
    assert ["q000"] == read_history(collect.out).prompts["prompt_id"][:1].tolist()
    assert [[False] * 3] == np.isnan(outcomes.passed).tolist(), "a prompt without an outcome is left out"
