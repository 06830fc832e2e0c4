"""Decisions of a router that is being fitted are those that it makes when it serves, and where it stands by default."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from toys import WORDS, reseal

from eval.certify import EPSILONS
from eval.outcomes import Outcomes
from router import Policy, Router
from router.prompt import read_prompt
from router.scorer import Scores
from router.tiers import Ladder, Tier
from training.decisions import DEFAULT_MAX_REGRET, DecisionPath, default_epsilon

Floats = NDArray[np.float64]
NO_PROMISE: dict[str, Any] = {"table": []}
USD = np.tile([0.001, 0.01, 0.1], (200, 1))


def outcomes_of(passed: Any) -> Outcomes:
    passed = np.asarray(passed, np.float32)
    n, k = passed.shape
    ids = np.array([f"p{i}" for i in range(n)], dtype=object)
    return Outcomes(
        ladder=Ladder(tuple(Tier(f"t{i}", (f"m{i}",), 1.0, 1.0) for i in range(k))),
        prompt_ids=ids,
        prompts=list(ids),
        groups=ids,
        score=passed,
        passed=passed,
        cost_usd=USD[:n],
        cost_estimated=np.zeros((n, k), dtype=bool),
        tags={"source": ids},
        timestamp=None,
        mean_output_tokens=(1.0,) * k,
        dropped={},
        expected_cost_usd=USD[:n],
    )


@pytest.mark.parametrize("reference", ["large", "medium"])
@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.1, 0.5, 10.0])
def test_many_rows_are_decided_as_a_router_decides_each(
    reference: str, epsilon: float, toy_artifact_copy: Path
) -> None:
    decision = json.loads((toy_artifact_copy / "manifest.json").read_bytes())["decision"]
    reseal(toy_artifact_copy, decision=decision | {"reference": reference})
    router = Router.load(toy_artifact_copy)
    # Short and without needs: nothing but the rule and the guard has a say.
    prompts = [" ".join(WORDS[i : i + n]) + "?" * (i % 3) for i in range(13) for n in (1, 2, 3)] + [
        "世界"
    ] * 3
    scores = router.model.score([read_prompt(prompt) for prompt in prompts])
    path = DecisionPath(("medium", "large").index(reference) + 1, 0.004, 0.8)
    found = path.decide(scores.p_pass, scores, router.expected_cost(prompts), epsilon)
    expected = [decision.index for decision in router.route_many(prompts, Policy(epsilon=epsilon))]
    assert expected == found.tolist()
    assert {path.reference} == {*found[-3:].tolist()}  # novel


def test_what_a_certificate_is_told_is_the_path() -> None:
    none = np.zeros((3, 3), np.float32)
    scores = Scores(none, none + 0.5, none, np.array([0.1, 0.3, np.nan], np.float32))
    told = DecisionPath(1, 0.25, 0.2).settings(scores)
    assert {"reference", "unit_usd", "spread", "escalated"} == set(told)
    assert (1, 0.25, [False, True, True]) == (told["reference"], told["unit_usd"], told["escalated"].tolist())
    assert scores.spread is told["spread"]


def test_a_unit_is_what_a_call_of_the_reference_tier_costs() -> None:
    assert DecisionPath(2, 2.0, 0.5) == DecisionPath.of(2, np.array([1.0, 3.0]), 0.5)
    assert 1.0 == DecisionPath.of(2, np.zeros(3), 0.5).unit_usd  # free calls: any will do


# The default


def test_what_is_certified_goes_first() -> None:
    table = [{"alpha": a, "epsilon": e} for a, e in ((0.01, 0.02), (0.05, 0.3), (0.06, 0.9))]
    found = default_epsilon(
        {"table": table}, np.full((1, 3), 0.5), outcomes_of([[1, 1, 1]]), DecisionPath(2, 0.1, 1.0)
    )
    assert {"default_epsilon": 0.3, "default_loss": "regret", "basis": "certificate"} == found


def drawn(seed: int) -> tuple[Floats, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    p = np.sort(rng.random((200, 3)), axis=1)
    return p, (rng.random(p.shape) < p).astype(np.float32)


def regret_of(p: Floats, passed: NDArray[np.float32], reference: int, epsilon: float) -> float:
    """Row by row: the reference tier passes and the chosen one fails."""
    lost = 0
    for row, outcome in zip(p.tolist(), passed.tolist(), strict=True):
        best = row[reference]
        losses = [(max(best - each, 0.0) + best * (1.0 - each)) / 2 for each in row]
        losses[reference] = 0.0
        values = [loss + epsilon * usd / 0.1 for loss, usd in zip(losses, (0.001, 0.01, 0.1), strict=True)]
        lost += outcome[reference] == 1.0 and outcome[values.index(min(values))] == 0.0
    return lost / len(p)


@pytest.mark.parametrize("reference", [2, 1])
@pytest.mark.parametrize("seed", range(3))
def test_without_a_promise_it_is_the_most_that_keeps_it_out_of_fold(seed: int, reference: int) -> None:
    """Regret is against the reference tier, which need not be the dearest."""
    p, passed = drawn(seed)
    path = DecisionPath(reference, 0.1, 1.0)
    found = default_epsilon(NO_PROMISE, p, outcomes_of(passed), path)
    within = [e for e in EPSILONS if regret_of(p, passed, reference, e) <= DEFAULT_MAX_REGRET]
    assert ("cross-validation", "regret") == (found["basis"], found["default_loss"])
    assert max(within) == found["default_epsilon"]
    assert 0.0 < found["default_epsilon"]


def test_rows_with_an_unobserved_tier_have_no_say() -> None:
    p, passed = drawn(0)
    gaps = passed.copy()
    gaps[100:, 1] = np.nan
    path = DecisionPath(2, 0.1, 1.0)
    found = default_epsilon(NO_PROMISE, p, outcomes_of(gaps), path)
    assert default_epsilon(NO_PROMISE, p[:100], outcomes_of(passed[:100]), path) == found
    gaps[:, 0] = np.nan
    assert 0.0 == default_epsilon(NO_PROMISE, p, outcomes_of(gaps), path)["default_epsilon"]


def test_a_fit_expects_costs() -> None:
    p, passed = drawn(0)
    with pytest.raises(AssertionError, match="a fit expects costs"):
        default_epsilon(
            NO_PROMISE, p, replace(outcomes_of(passed), expected_cost_usd=None), DecisionPath(2, 0.1, 1.0)
        )
