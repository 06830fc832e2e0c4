"""The duel: paired on the same prompts, harmless where two are alike, and not blind to a slice that is worse."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from eval.duel import Contender, calibration_beyond_chance, duel, keeps, regret_bounds
from eval.outcomes import Outcomes
from router.tiers import Ladder, Tier

N_BOOT = 100
USD = (0.001, 0.004, 0.02)
TOP = 2


def toy(n: int = 600, seed: int = 0, tasks: int = 3) -> tuple[Outcomes, NDArray[np.float64]]:
    """Prompts on three tiers whose pass probabilities are known, in groups of two, and these probabilities."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(0.0, 2.0, (n, 1))
    p = 1.0 / (1.0 + np.exp(-(np.array([0.0, 1.2, 3.0]) + ease)))
    passed = (rng.random((n, 3)) < p).astype(np.float32)
    ladder = Ladder(tuple(Tier(f"t{i}", (f"m{i}",), 1.0 + i, 2.0 + i) for i in range(3)))
    outcomes = Outcomes(
        ladder=ladder,
        prompt_ids=np.array([f"p{i}" for i in range(n)], dtype=object),
        prompts=[f"prompt {i}" for i in range(n)],
        groups=np.array([f"g{i // 2}" for i in range(n)], dtype=object),
        score=passed,
        passed=passed,
        cost_usd=np.tile(USD, (n, 1)) * rng.uniform(0.5, 1.5, (n, 1)),
        cost_estimated=np.zeros((n, 3), dtype=np.bool_),
        tags={"task": np.array([f"task {i % tasks}" for i in range(n)], dtype=object)},
        timestamp=None,
        mean_output_tokens=(100.0,) * 3,
        dropped={},
    )
    return outcomes, p


def routed(p: NDArray[np.float64], loss: float) -> Contender:
    """Send each prompt to the cheapest tier that is at most a loss behind the top one."""
    chosen = (p[:, TOP, None] - p <= loss).argmax(axis=1)
    return Contender(chosen, p, np.tile(USD, (len(p), 1)))


def held(
    outcomes: Outcomes, ours: Contender, theirs: Contender | None, promise: float = 0.1
) -> dict[str, Any]:
    return duel(outcomes, ours, theirs, reference=TOP, max_regret=promise, n_boot=N_BOOT, seed=1)


def near(interval: dict[str, float]) -> Any:
    return pytest.approx(interval, abs=1e-12)


def test_two_that_are_alike_differ_in_nothing() -> None:
    outcomes, p = toy()
    found = held(outcomes, routed(p, 0.1), routed(p, 0.1))
    none = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (none, none, none) == (found["saving_lead"], found["quality_lead"], found["same_cost_lead"])
    assert found["challenger"] == found["champion"]
    assert ["task=task 0", "task=task 1", "task=task 2"] == [part["name"] for part in found["slices"]]
    assert all(none == part["quality_lead"] for part in found["slices"])
    json.dumps(found, allow_nan=False)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_who_is_called_what_only_turns_the_signs(seed: int, one: float, other: float) -> None:
    outcomes, p = toy(200, seed)
    ours, theirs = routed(p, one), routed(p, other)
    there, back = held(outcomes, ours, theirs, 1.0), held(outcomes, theirs, ours, 1.0)
    for name in ("saving_lead", "quality_lead"):
        assert there[name]["value"] == pytest.approx(-back[name]["value"])
        assert there[name]["low"] == pytest.approx(-back[name]["high"])
    assert there["challenger"] == back["champion"]


def test_savings_are_those_of_the_costs() -> None:
    outcomes, p = toy()
    ours = routed(p, 0.1)
    found = held(outcomes, ours, None)
    rows = np.arange(len(p))
    paid, top = outcomes.cost_usd[rows, ours.chosen].mean(), outcomes.cost_usd[:, TOP].mean()
    assert found["challenger"]["saving"]["value"] == pytest.approx(1.0 - paid / top)
    assert found["champion"]["saving"]["value"] == pytest.approx(0.0)
    assert near(found["challenger"]["saving"]) == found["saving_lead"]
    assert {"t0": 0.0, "t1": 0.0, "t2": 1.0} == found["champion"]["share_per_tier"]


def test_one_that_breaks_the_promise_saves_nothing_at_the_promised_quality() -> None:
    outcomes, p = toy()
    cheapest = Contender(np.zeros(len(p), np.intp))
    found = held(outcomes, cheapest, None)
    assert not found["challenger"]["keeps"]
    assert found["challenger"]["saving"]["value"] > 0.9
    assert near({"value": 0.0, "low": 0.0, "high": 0.0}) == found["saving_lead"]
    kept = held(outcomes, routed(p, 0.02), cheapest)
    assert kept["champion"]["keeps"] is False
    assert near(kept["challenger"]["saving"]) == kept["saving_lead"]


def test_without_scores_of_both_there_is_no_comparison_at_the_same_cost() -> None:
    outcomes, p = toy()
    assert held(outcomes, routed(p, 0.1), Contender(routed(p, 0.2).chosen))["same_cost_lead"] is None
    assert held(outcomes, routed(p, 0.1), None)["same_cost_lead"] is None


def test_better_scores_answer_better_at_the_same_cost() -> None:
    outcomes, p = toy(2000)
    blunt = np.clip(p + np.random.default_rng(5).normal(0.0, 0.4, p.shape), 0.0, 1.0)
    found = held(outcomes, routed(p, 0.1), routed(blunt, 0.1), 1.0)
    assert found["same_cost_lead"]["low"] > 0.0
    back = held(outcomes, routed(blunt, 0.1), routed(p, 0.1), 1.0)
    assert back["same_cost_lead"]["high"] < 0.0


def test_prompts_that_a_tier_did_not_answer_are_left_out() -> None:
    outcomes, p = toy()
    gaps = outcomes.passed.copy()
    gaps[::3, 1] = np.nan
    ours, theirs = routed(p, 0.1), routed(p, 0.3)
    rows = np.flatnonzero(~np.isnan(gaps).any(axis=1))
    found = held(replace(outcomes, passed=gaps, score=gaps), ours, theirs)
    assert found == held(outcomes.take(rows), ours.take(rows), theirs.take(rows))
    with pytest.raises(ValueError, match="no prompt was answered by every tier"):
        held(replace(outcomes, passed=np.full_like(gaps, np.nan)), ours, theirs)


def test_a_slice_that_is_worse_is_seen_though_the_whole_is_not() -> None:
    outcomes, p = toy(3000, tasks=6)
    ours, hit = routed(p, 0.1), outcomes.tags["task"] == "task 4"
    worse = replace(ours, chosen=np.where(hit, 0, ours.chosen))
    found = {part["name"]: part["quality_lead"] for part in held(outcomes, worse, ours)["slices"]}
    assert found.pop("task=task 4")["high"] < -0.1
    assert all({"value": 0.0, "low": 0.0, "high": 0.0} == lead for lead in found.values())


def test_slices_that_only_chance_tells_apart_are_seldom_called_worse() -> None:
    """Of histories in which both are as good everywhere, one in twenty may have a slice called worse, or better."""
    false = 0
    for seed in range(120):
        outcomes, p = toy(600, seed, tasks=6)
        rng = np.random.default_rng(1000 + seed)
        one, other = (Contender(rng.integers(0, 2, len(p)).astype(np.intp)) for _ in range(2))
        parts = held(outcomes, one, other)["slices"]
        assert 6 == len(parts)
        false += any(part["quality_lead"]["high"] < 0 or part["quality_lead"]["low"] > 0 for part in parts)
    assert binomtest(false, 120, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize("groups", [2, 3, 5, 10])
def test_slices_of_few_groups_are_called_worse_no_more_often_than_said(groups: int) -> None:
    """Each group is better or worse as a whole, and none in truth: one slice of 400 may be called worse."""
    worse, parts, n = 0, 10, 600
    outcomes, _ = toy(n, tasks=parts)
    numbers = np.arange(n)
    names = np.array([f"{i % parts}-{i // parts % groups}" for i in numbers], dtype=object)
    ours, theirs = Contender(np.zeros(n, np.intp)), Contender(np.ones(n, np.intp))
    for seed in range(40):
        effects = np.random.default_rng([seed, groups]).normal(0.0, 0.1, (parts, groups))
        score = np.full((n, 3), 0.5, np.float32)
        score[:, 0] += effects[numbers % parts, numbers // parts % groups]
        found = held(replace(outcomes, groups=names, score=score), ours, theirs)["slices"]
        assert [groups] * parts == [part["groups"] for part in found]
        worse += sum(part["quality_lead"]["high"] < -0.02 for part in found)
    assert binomtest(worse, 40 * parts, 0.05 / 2 / parts, alternative="greater").pvalue > 0.01


def test_a_slice_of_one_group_tells_nothing() -> None:
    outcomes, p = toy(600)
    alone = np.where(outcomes.tags["task"] == "task 1", "one", outcomes.groups)
    found = held(replace(outcomes, groups=alone), routed(p, 0.9), routed(p, 0.0))["slices"][1]
    assert 1 == found["groups"]
    assert (-1.0, 1.0) == (found["quality_lead"]["low"], found["quality_lead"]["high"])


def test_a_promise_is_kept_where_it_is_proved_and_not_refuted() -> None:
    assert keeps({"proved": 0.05, "low": 0.05}, 0.05)
    assert not keeps({"proved": 0.051, "low": 0.01}, 0.05)
    assert not keeps({"proved": 0.04, "low": 0.051}, 0.05)


def test_regret_counts_a_group_once_and_is_bounded_exactly() -> None:
    outcomes, _ = toy(600)
    chosen = np.zeros(600, np.intp)
    found = regret_bounds(outcomes, Contender(chosen), TOP, seed=3)
    assert 300 == found["groups"]
    interval = binomtest(round(found["value"] * 300), 300).proportion_ci(0.90, "exact")
    assert (interval.low, interval.high) == pytest.approx((found["low"], found["high"]))
    assert found["high"] == found["proved"]  # without a certificate, by these alone
    none = regret_bounds(outcomes, Contender(np.full(600, TOP)), TOP, seed=3)
    assert (0.0, 0.0, 0.0) == (none["value"], none["low"], none["proved"])
    assert none["high"] == pytest.approx(1.0 - 0.05 ** (1 / 300))


def test_a_promise_is_proved_by_certificate_and_prompts_together() -> None:
    outcomes, p = toy(600)
    alone = routed(p, 0.1)
    seen = regret_bounds(outcomes, alone, TOP, seed=3)
    failures = round(seen["value"] * 300)
    for before, groups in ((0, 500), (40, 500)):
        found = regret_bounds(outcomes, replace(alone, certified=(before, groups)), TOP, seed=3)
        bound = binomtest(failures + before, 300 + groups).proportion_ci(0.90, "exact").high
        assert found["proved"] == pytest.approx(bound)
        assert {name: seen[name] for name in ("value", "low", "high", "groups")} == {
            name: found[name] for name in ("value", "low", "high", "groups")
        }
    # A certificate does not outweigh prompts that refute the promise.
    refuted = held(outcomes, replace(alone, certified=(0, 100_000)), None, 0.9 * seen["low"])["challenger"]
    assert refuted["regret"]["proved"] < 0.9 * seen["low"]
    assert not refuted["keeps"]
    # Neither proves it alone: the certificate was lucky, the prompts are few.
    promise = 0.9 * seen["high"]
    lucky = replace(alone, certified=(0, 400))
    assert held(outcomes, lucky, None, promise)["challenger"]["keeps"]
    assert not held(outcomes, alone, None, promise)["challenger"]["keeps"]


def test_a_calibrated_tier_is_off_by_chance_alone() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(400)
    calibrated = [
        calibration_beyond_chance(p, (rng.random(400) < p).astype(np.float32), seed) for seed in range(20)
    ]
    assert np.median(calibrated) < 0.01
    off = calibration_beyond_chance(p, (rng.random(400) < np.sqrt(p)).astype(np.float32), 0)
    assert off > 0.05
    assert 0.0 == calibration_beyond_chance(p, np.full(400, np.nan, np.float32), 0)
