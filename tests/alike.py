"""Decisions that are the same but for rounding: ONNX Runtime adds up one row in another order than many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, combinations
from typing import Any

import numpy as np

from router import Decision, Policy, Router
from router.prompt import read_prompt
from router.rule import expected_loss

TOLERANCE = 2e-5  # a lexicon adds up two thousand tokens in float32; without one, a tenth of this would do


def is_on_the_border(router: Router, prompt: Any, decision: Decision, policy: Policy | None = None) -> bool:
    """Whether rounding can move a decision: two tiers are as good, or novelty is as good as its threshold."""
    model, defaults, n = router.model, router.manifest.defaults, len(router.tiers)
    if abs(decision.novelty - defaults.novelty_threshold) < TOLERANCE:
        return True
    resolved = model.resolve(policy)
    spread = model.read_one(read_prompt(prompt))[n : 2 * n]
    losses = expected_loss(decision.p_pass, spread, defaults.reference, resolved.loss)
    usd = accumulate(decision.tier_cost_usd, max)
    values = [loss + resolved.price * cost for loss, cost in zip(losses, usd, strict=True)]
    return any(abs(a - b) < TOLERANCE * max(1.0, abs(a)) for a, b in combinations(values, 2))


def assert_alike(
    router: Router, prompt: Any, expected: Decision, found: Decision, policy: Policy | None = None
) -> None:
    """Scores are the same to `TOLERANCE`, and everything else is the same unless it stands on the border."""
    np.testing.assert_allclose(expected.p_pass, found.p_pass, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(expected.novelty, found.novelty, rtol=0, atol=TOLERANCE)
    if is_on_the_border(router, prompt, expected, policy):
        return
    chosen = [(d.tier, d.index, d.model, d.predicted, d.reason, d.model_id) for d in (expected, found)]
    assert chosen[0] == chosen[1]
    np.testing.assert_allclose(expected.expected_cost_usd, found.expected_cost_usd, rtol=1e-4)
    np.testing.assert_allclose(expected.tier_cost_usd, found.tier_cost_usd, rtol=1e-4)


def assert_all_alike(
    router: Router,
    prompts: Sequence[Any],
    expected: list[Decision],
    found: list[Decision],
    policy: Policy | None = None,
) -> None:
    """The same of many, of which at most one in fifty may stand on the border."""
    for prompt, one, other in zip(prompts, expected, found, strict=True):
        assert_alike(router, prompt, one, other, policy)
    border = sum(is_on_the_border(router, p, d, policy) for p, d in zip(prompts, expected, strict=True))
    assert border <= len(expected) // 50
