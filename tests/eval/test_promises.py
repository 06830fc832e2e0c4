"""Promises in a report: certified on one half, checked on the other, and a finished model's held against what happened."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.bounds import groups_needed
from eval.certify import certify
from eval.outcomes import Outcomes
from eval.promises import Promised, half_promises, model_promises
from router.promise import READABLE, certified
from router.tiers import Ladder, Tier

N_BOOT = 60
USD = (0.001, 0.004, 0.02)


def toy(
    n: int = 1200, seed: int = 0, rates: tuple[float, ...] = (0.5, 0.7, 0.9), group: int = 1
) -> tuple[Outcomes, NDArray[np.float64]]:
    """Prompts whose pass probabilities are known, a group of some after another, and these probabilities."""
    rng = np.random.default_rng(seed)
    k = len(rates)
    ease = rng.normal(0, 2, (n, 1))
    p = 1 / (1 + np.exp(-(np.log(np.divide(rates, np.subtract(1, rates))) * 1.6 + ease)))
    passed = (rng.random((n, k)) < p).astype(np.float32)
    tiers = Ladder(tuple(Tier(f"t{i}", (f"m{i}",), 1.0 + i, 2.0 + i) for i in range(k)))
    outcomes = Outcomes(
        ladder=tiers,
        prompt_ids=np.array([f"p{i}" for i in range(n)], dtype=object),
        prompts=[f"prompt {i}" for i in range(n)],
        groups=np.array([f"g{i // group}" for i in range(n)], dtype=object),
        score=passed,
        passed=passed,
        cost_usd=np.tile(USD[:k], (n, 1)) * rng.uniform(0.5, 1.5, (n, 1)),
        cost_estimated=np.zeros((n, k), dtype=np.bool_),
        tags={"task": np.array([f"task {i % 2}" for i in range(n)], dtype=object)},
        timestamp=None,
        mean_output_tokens=(100.0,) * k,
        dropped={},
    )
    return outcomes, p


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The promises of a history; not to be changed."""
    return half_promises(*toy(), N_BOOT, 3)


def test_a_history_has_two_kinds_of_promises_and_all_is_json(document: dict[str, Any]) -> None:
    json.dumps(document, allow_nan=False)
    assert ["t0", "t1", "t2"] == document["tiers"]
    assert ("t2", False) == (document["reference"], document["dominated"])
    assert 600 == document["groups"] == document["judged"]["groups"] == document["judged"]["prompts"]
    for kind in ("regret", "quality"):
        rows = [row for row in document["rows"] if row["kind"] == kind]
        assert set() < {row["promise"] for row in rows} <= set(READABLE)
        line = document["lines"][kind]
        assert len(rows) < len(line)
        assert sorted(line, key=lambda row: row["promise"]) == line
        savings = [row["saving"] for row in line]
        assert sorted(savings) == savings
        for row in rows:
            assert row["saving"] == next(at["saving"] for at in line if at["promise"] == row["promise"])
            assert 1 == pytest.approx(sum(row["measured"]["share_per_tier"].values()))


def test_the_same_seed_gives_the_same_promises_and_another_one_others(document: dict[str, Any]) -> None:
    assert document == half_promises(*toy(), N_BOOT, 3)
    assert document["rows"] != half_promises(*toy(), N_BOOT, 4)["rows"]


def test_promises_hold_on_the_half_that_made_none_of_them() -> None:
    """Over many histories, a promise of regret is broken beyond chance in few: 5% each, and again 2.5% by chance."""
    broken = [
        [
            row["broken"]
            for row in half_promises(*toy(400, seed), N_BOOT, seed)["rows"]
            if row["promise"] == 0.05
        ]
        for seed in range(20)
    ]
    assert sum(len(flags) for flags in broken) >= 20
    assert sum(any(flags) for flags in broken) <= 4


def test_groups_are_never_torn_and_count_alike() -> None:
    outcomes, p = toy(900, 1, group=3)
    document = half_promises(outcomes, p, N_BOOT, 0)
    assert 150 == document["groups"] == document["judged"]["groups"]
    assert 450 == document["judged"]["prompts"]


def test_prompts_that_a_tier_did_not_answer_play_no_part() -> None:
    outcomes, p = toy(600, 2)
    holes = outcomes.passed.copy()
    holes[::3, 1] = np.nan
    document = half_promises(replace(outcomes, passed=holes, score=holes), p, N_BOOT, 0)
    assert 200 == document["groups"] == document["judged"]["prompts"]


def test_a_history_too_small_says_how_many_groups_are_needed() -> None:
    outcomes, p = toy(20)
    document = half_promises(outcomes, p, N_BOOT, 0)
    assert 10 == document["groups"]
    assert [] == [row for row in document["rows"] if row["kind"] == "regret"]
    expected = [{"promise": loss, "groups": groups_needed(loss, 0.05)} for loss in READABLE]
    assert expected == document["needed"]
    assert 14 == document["needed"][-1]["groups"]


def test_a_dominated_ladder_promises_against_the_better_tier() -> None:
    outcomes, p = toy(1200, 5, (0.5, 0.9, 0.7))
    document = half_promises(outcomes, p, N_BOOT, 0)
    assert ("t1", True) == (document["reference"], document["dominated"])


def test_expected_costs_are_those_of_the_outcomes_where_they_say() -> None:
    outcomes, p = toy(800, 6)
    mean = outcomes.cost_usd.mean(axis=0)
    same = replace(outcomes, expected_cost_usd=np.tile(mean, (800, 1)))
    assert half_promises(outcomes, p, N_BOOT, 0) == half_promises(same, p, N_BOOT, 0)
    upside_down = replace(outcomes, expected_cost_usd=np.tile(mean[::-1], (800, 1)))
    assert half_promises(outcomes, p, N_BOOT, 0) != half_promises(upside_down, p, N_BOOT, 0)


def test_free_tiers_promise_without_a_saving() -> None:
    outcomes, p = toy(400, 7)
    free = replace(outcomes, cost_usd=np.zeros_like(outcomes.cost_usd))
    document = half_promises(free, p, N_BOOT, 0)
    assert {0.0} == {row["saving"] for row in document["rows"]}
    json.dumps(document, allow_nan=False)


def kept_of(outcomes: Outcomes, p: NDArray[np.float64], choice: NDArray[np.intp] | None = None) -> Promised:
    """A model's promises, and a choice that it makes under each of them: by default the dearest tier."""
    usd = np.tile(outcomes.cost_usd.mean(axis=0), (len(outcomes), 1))
    certificate = certify(outcomes, p, usd, reference=2, unit_usd=0.02)
    chosen = np.full(len(outcomes), 2) if choice is None else choice
    rows = [*certified(certificate, "regret"), *certified(certificate, "quality")]
    decision = {"reference": "t2", "dominated": False}
    return Promised(certificate, decision, {(row.kind, row.loss): chosen for row in rows})


def test_a_model_is_held_to_its_own_certificate() -> None:
    outcomes, p = toy(500, 8)
    document = model_promises(outcomes, kept_of(outcomes, p), N_BOOT)
    json.dumps(document, allow_nan=False)
    assert set(half_promises(outcomes, p, N_BOOT)) == set(document)
    for row in document["rows"]:
        assert 0.0 == row["measured"]["saving"]["value"]
        assert (0.0 if row["kind"] == "regret" else 1.0) == row["measured"]["came_to"]["value"]
        assert not row["broken"]
        assert {"t0": 0.0, "t1": 0.0, "t2": 1.0} == row["measured"]["share_per_tier"]


def test_a_model_that_breaks_its_promises_is_told_so() -> None:
    outcomes, p = toy(500, 8)
    document = model_promises(outcomes, kept_of(outcomes, p, np.zeros(500, dtype=np.intp)), N_BOOT)
    rows = {(row["kind"], row["promise"]): row for row in document["rows"]}
    score = outcomes.score.astype(np.float64)
    regret = float(((score[:, 2] == 1) & (score[:, 0] == 0)).mean())
    measured = rows["regret", 0.05]["measured"]
    assert regret == pytest.approx(measured["came_to"]["value"])
    assert score[:, 0].mean() / score[:, 2].mean() == pytest.approx(
        rows["quality", 0.05]["measured"]["came_to"]["value"]
    )
    assert 1 - USD[0] / USD[2] == pytest.approx(measured["saving"]["value"])
    assert rows["regret", 0.05]["broken"]
    assert rows["quality", 0.05]["broken"]


def test_only_judged_rows_are_read() -> None:
    outcomes, p = toy(500, 9)
    kept = kept_of(outcomes, p)
    rows = np.arange(100, 300)
    document = model_promises(outcomes.take(rows), kept.take(rows), N_BOOT)
    assert {"prompts": 200, "groups": 200} == document["judged"]
    assert document["groups"] == 500


def test_less_saved_by_net_quality_is_explained_from_counts() -> None:
    """Where nothing that the best tier fails passes below, net quality has nothing to win, and a mean is coarser."""
    outcomes, p = toy(600, 10)
    nested = np.minimum.accumulate(outcomes.passed[:, ::-1], axis=1)[:, ::-1].copy()
    found = half_promises(replace(outcomes, passed=nested, score=nested), p, N_BOOT, 0)
    why = found["why"]
    assert why is not None
    assert "no more than 0.0% of the prompts can win any back" in why
    assert "with 300 groups" in why
    assert f"mean score of {nested[:, 2].mean():.3f}" in why
    quality = {row["promise"]: row["saving"] for row in found["rows"] if row["kind"] == "quality"}
    regret = {row["promise"]: row["saving"] for row in found["rows"] if row["kind"] == "regret"}
    loss = next(loss for loss in regret if why.startswith(f"At {100 * loss:g}%"))
    assert quality.get(loss, 0.0) < regret[loss]


def test_more_saved_by_net_quality_needs_no_reason() -> None:
    outcomes, p = toy(3000, 11, (0.68, 0.7, 0.72))
    rng = np.random.default_rng(0)
    apart = (rng.random(p.shape) < 0.7).astype(np.float32)
    found = half_promises(replace(outcomes, passed=apart, score=apart), np.full_like(p, 0.7), N_BOOT, 0)
    assert found["why"] is None
