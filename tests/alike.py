"""Decisions that are the same but for rounding: ONNX Runtime adds up one row in another order than many."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from router import Decision, Policy, Router

TOLERANCE = 2e-5  # a lexicon adds up two thousand tokens in float32; without one, a tenth of this would do


def is_on_the_border(router: Router, decision: Decision, policy: Policy | None = None) -> bool:
    """Whether rounding can move a decision: a loss is as good as epsilon, or novelty as good as its threshold."""
    epsilon = router.model.resolve(policy).epsilon
    losses = [best - p - epsilon for best, p in permutations(decision.p_pass, 2)]
    return min(map(abs, [*losses, decision.novelty - router.manifest.novelty_threshold])) < TOLERANCE


def assert_alike(router: Router, expected: Decision, found: Decision, policy: Policy | None = None) -> None:
    """Scores are the same to `TOLERANCE`, and everything else is the same unless it stands on the border."""
    np.testing.assert_allclose(expected.p_pass, found.p_pass, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(expected.novelty, found.novelty, rtol=0, atol=TOLERANCE)
    if is_on_the_border(router, expected, policy):
        return
    chosen = [(d.tier, d.index, d.model, d.predicted, d.reason, d.model_id) for d in (expected, found)]
    assert chosen[0] == chosen[1]
    np.testing.assert_allclose(expected.expected_cost_usd, found.expected_cost_usd, rtol=1e-4)
    np.testing.assert_allclose(expected.tier_cost_usd, found.tier_cost_usd, rtol=1e-4)


def assert_all_alike(
    router: Router, expected: list[Decision], found: list[Decision], policy: Policy | None = None
) -> None:
    """The same of many, of which at most one in fifty may stand on the border."""
    for one, other in zip(expected, found, strict=True):
        assert_alike(router, one, other, policy)
    assert sum(is_on_the_border(router, d, policy) for d in expected) <= len(expected) // 50
