"""A budget is a hard stop, by the bill of who is paid; and what it covers is a sample with weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collecting import Collect, rows_of, simple_prompts
from standin import Standin, standin


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


def long_prompts(n: int) -> list[dict[str, Any]]:
    """Prompts of two tasks and many lengths, whose answers are short: the budget is for what they may cost."""
    return [
        {
            "prompt_id": f"q{i:03d}",
            "prompt": f"What is {i} plus {i}? Answer with the number. {'word ' * (i % 37)}",
            "task": "sum" if i % 4 else "other",
        }
        for i in range(n)
    ]


def weights_of(history: Path) -> dict[str, float]:
    weights: dict[str, set[float]] = {}
    for row in rows_of(history):
        weights.setdefault(row["prompt_id"], set()).add(float(row["weight"]))
    assert all(1 == len(each) for each in weights.values())
    return {name: each.pop() for name, each in weights.items()}


@pytest.fixture
def tight(quiet: Standin, collect: Collect) -> tuple[Path, float]:
    """Prompts, and a budget for what the dearest may cost at most and about ten as they are: it ends among the sample."""
    prompts = collect.write(simple_prompts(40))
    flags = ("--base-url", quiet.url, "--max-output-tokens", 4000)
    most = collect(prompts, "--dry-run", *flags).result["at_most_usd"] / 40
    paid = collect(prompts, *flags, out=collect.folder / "whole.jsonl").result["spent_usd"] / 40
    quiet.reset()
    return prompts, most + 10 * paid


def test_a_budget_is_a_hard_stop(quiet: Standin, collect: Collect, tight: tuple[Path, float]) -> None:
    prompts, budget = tight
    flags = ("--base-url", quiet.url, "--max-output-tokens", 4000)
    ended = collect(prompts, *flags, "--budget-usd", budget)
    result, bill = ended.result, quiet.bill()
    assert (0, "budget") == (ended.code, result["stopped"]), ended.err
    assert (
        f"asked {result['prompts']} of 40 prompts, a stratified sample, until the budget was spent: $"
        in ended.err
    )
    assert 0.0 < bill["usd"] <= budget
    assert bill["usd"] == pytest.approx(result["spent_usd"], rel=1e-9)
    assert 0 < result["prompts"] < 15
    assert 3 * result["prompts"] == bill["calls"] == result["rows"]
    assert result["prompts"] == result["sampling"]["taken"]
    assert 40 == pytest.approx(sum(weights_of(collect.out).values()))
    again = collect(prompts, *flags, "--budget-usd", budget)
    assert (0, bill["calls"]) == (again.code, quiet.bill()["calls"])

    whole = collect(prompts, *flags, "--budget-usd", 5)
    bill = quiet.bill()
    assert (0, None, 40, 3 * result["prompts"]) == (
        whole.code, whole.result["stopped"], whole.result["prompts"], whole.result["resumed"],
    )  # fmt: skip
    assert (120, 0, 0) == (bill["calls"], bill["billed_twice"], bill["given_again"])
    assert "weight" not in rows_of(collect.out)[0]


@pytest.mark.parametrize("concurrency", [1, 16])
def test_what_a_budget_admits_does_not_depend_on_concurrency(
    quiet: Standin, collect: Collect, tight: tuple[Path, float], concurrency: int
) -> None:
    prompts, budget = tight
    flags = ("--base-url", quiet.url, "--max-output-tokens", 4000, "--budget-usd", budget)
    first = collect(prompts, *flags, "--concurrency", 4)
    second = collect(prompts, *flags, "--concurrency", concurrency, out=collect.folder / "other.jsonl")
    assert ("budget", "budget") == (first.result["stopped"], second.result["stopped"])
    assert rows_of(collect.out, "latency_ms") == rows_of(collect.folder / "other.jsonl", "latency_ms")


def test_a_log_larger_than_the_budget_is_sampled(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(long_prompts(200))
    flags = ("--max-output-tokens", 64)
    usd = collect(prompts, *flags, "--base-url", quiet.url, out=collect.folder / "whole.jsonl").result[
        "spent_usd"
    ]
    quiet.reset()
    flags = (*flags, "--base-url", quiet.url, "--budget-usd", f"{usd / 2:.8f}")
    ended = collect(prompts, *flags)
    result = ended.result
    assert (0, "budget", "stratified", 200, 200) == (
        ended.code, result["stopped"], *(result["sampling"][name] for name in ("method", "wanted", "of")),
    )  # fmt: skip
    assert 0.8 * usd / 2 <= quiet.bill()["usd"] <= usd / 2, "what the budget covers is used"
    weights = weights_of(collect.out)
    assert result["prompts"] == len(weights) == result["sampling"]["taken"]
    assert 200 == pytest.approx(sum(weights.values()))
    ids = [row["prompt_id"] for row in rows_of(collect.out)]
    assert sorted(ids) == ids, "in the order of the file"

    calls = quiet.bill()["calls"]
    before = collect.out.read_bytes()
    again = collect(prompts, *flags)
    assert (0, calls, before) == (again.code, quiet.bill()["calls"], collect.out.read_bytes())

    more = collect(prompts, *flags[:-1], f"{usd * 3:.8f}")
    assert (0, 200, calls) == (more.code, more.result["prompts"], more.result["resumed"])
    assert (600, 0) == (quiet.bill()["calls"], quiet.bill()["billed_twice"])
    assert more.result["sampling"] is None


@pytest.mark.parametrize("method", ["stratified", "novelty"])
def test_a_larger_sample_contains_the_smaller(quiet: Standin, collect: Collect, method: str) -> None:
    prompts = collect.write(long_prompts(60))
    flags = ("--base-url", quiet.url, "--sampling", method, "--sample")
    first = collect(prompts, *flags, 20)
    few = weights_of(collect.out)
    second = collect(prompts, *flags, 30)
    many = weights_of(collect.out)
    assert (20, 30, 60) == (first.result["prompts"], second.result["prompts"], second.result["resumed"])
    assert set(few) < set(many)
    assert all(weight >= 1.0 for weight in few.values())
    other = collect(prompts, *flags, 20, "--seed", 1, out=collect.folder / "other.jsonl")
    assert (0, 1) == (other.code, other.result["sampling"]["seed"])
    assert set(few) != set(weights_of(collect.folder / "other.jsonl"))


def test_first_takes_the_first_and_gives_no_weights(quiet: Standin, collect: Collect) -> None:
    ended = collect(
        collect.write(simple_prompts(9)), "--base-url", quiet.url, "--sampling", "first", "--sample", 4
    )
    rows = rows_of(collect.out)
    assert (0, [f"q{i:03d}" for i in range(4)]) == (
        ended.code,
        [*dict.fromkeys(row["prompt_id"] for row in rows)],
    )
    assert "weight" not in rows[0]


def test_weights_of_the_prompts_are_multiplied_in(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(30, weight=2.0))
    collect(prompts, "--base-url", quiet.url, "--sample", 10)
    assert 60 == pytest.approx(sum(weights_of(collect.out).values()))
    collect(prompts, "--base-url", quiet.url)
    assert {2.0} == set(weights_of(collect.out).values())


def test_a_sample_beside_rows_that_are_whole_has_weights_on_all(quiet: Standin, collect: Collect) -> None:
    collect(collect.write(simple_prompts(3), "old.jsonl"), "--base-url", quiet.url)
    collect(collect.write(simple_prompts(20, start=50)), "--base-url", quiet.url, "--sample", 8)
    weights = weights_of(collect.out)
    assert [1.0] * 3 == [weights[f"q{i:03d}"] for i in range(3)]
    assert 23 == pytest.approx(sum(weights.values()))


def test_the_weighted_mean_is_the_population_s_on_average(quiet: Standin, collect: Collect) -> None:
    """From the command's own histories: the mean length of all prompts, estimated from samples of them."""
    rows = long_prompts(60)
    prompts = collect.write(rows)
    collect(prompts, "--base-url", quiet.url)
    truth = float(np.mean([len(row["prompt"]) for row in rows]))
    estimates = []
    for seed in range(12):
        collect(prompts, "--base-url", quiet.url, "--sample", 20, "--seed", seed)
        found = {row["prompt_id"]: (float(row["weight"]), len(row["prompt"])) for row in rows_of(collect.out)}
        weights, lengths = np.array([*found.values()]).T
        estimates.append(float(weights @ lengths / weights.sum()))
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert truth == pytest.approx(np.mean(estimates), abs=4 * error + 1.0)
    assert 180 == quiet.bill()["calls"], "all from the journal"


def test_a_sample_that_the_budget_does_not_reach_is_no_success(
    quiet: Standin, collect: Collect, tight: tuple[Path, float]
) -> None:
    prompts, budget = tight
    flags = ("--base-url", quiet.url, "--max-output-tokens", 4000, "--budget-usd", budget, "--sample")
    ended = collect(prompts, *flags, 20)
    asked = ended.result["prompts"]
    assert (4, "budget", True) == (ended.code, ended.result["stopped"], 1 < asked < 20)
    assert f"asked {asked} of 20 prompts, a stratified sample, until the budget was spent" in ended.err
    assert 40 == pytest.approx(sum(weights_of(collect.out).values()))
    assert (0, None) == ((reached := collect(prompts, *flags, asked)).code, reached.result["stopped"])


def test_a_prompt_too_dear_for_the_budget_is_told(quiet: Standin, collect: Collect) -> None:
    rows = [
        *simple_prompts(4),
        {"prompt_id": "huge", "prompt": "word " * 400_000},
        *simple_prompts(4, start=9),
    ]
    flags = ("--base-url", quiet.url, "--budget-usd", 2, "--sampling", "first")
    ended = collect(collect.write(rows), *flags)
    assert (0, "budget", 4) == (ended.code, ended.result["stopped"], ended.result["prompts"])
    assert re.search(
        r"asked 4 of 9 prompts, the first ones, until the budget was spent: \$0\.\d+ of \$2\.00, and the next one may cost "
        r"\$[5-9]\.",
        ended.err,
    )


def test_a_budget_that_is_spent_bills_nothing_more(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(simple_prompts(5))
    collect(prompts, "--base-url", quiet.url)
    ended = collect(prompts, "--dry-run", "--budget-usd", 1e-6)
    assert (0, 15, 15, None) == (
        ended.code, *(ended.result[name] for name in ("calls", "settled", "sampling")),
    )  # fmt: skip
    assert "?" not in ended.err, "nothing is left to guess"


def test_a_budget_spent_on_dead_letters_is_no_success(
    quiet: Standin, collect: Collect, tight: tuple[Path, float]
) -> None:
    prompts, budget = tight
    quiet.fail({"kind": "empty", "rate": 1.0})
    ended = collect(prompts, "--base-url", quiet.url, "--max-output-tokens", 4000, "--budget-usd", budget)
    quiet.fail()
    assert (1, "no answers") == (ended.code, ended.result["stopped"])


def test_a_budget_for_nothing_is_refused_before_any_call(quiet: Standin, collect: Collect) -> None:
    ended = collect(collect.write(simple_prompts(3)), "--base-url", quiet.url, "--budget-usd", 1e-7)
    assert (3, 0) == (ended.code, quiet.bill()["calls"])
    assert "expected enough for one prompt on every tier, which may cost $0.0" in ended.err
    assert "spent" not in ended.err
