"""Decisions of a router that is being fitted: the path of `router.model`, and where on it the router stands by default.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.certify import EPSILONS
from eval.curve import regret_rate
from eval.ladder import mean_call_usd
from eval.outcomes import Outcomes
from router.policy import PRESETS
from router.promise import laxest
from router.rule import Loss, choose_many, expected_losses
from router.scorer import Scores
from training.novelty import is_novel

__all__ = ["DEFAULT_MAX_REGRET", "DecisionPath", "default_epsilon"]

DEFAULT_MAX_REGRET = PRESETS["balanced"]
"""The regret that a router aims at when its caller asks for nothing."""


@dataclass(frozen=True)
class DecisionPath:
    """How a router decides, for many rows at once.

    Attributes
    ----------
    reference : int
        Position of the reference tier.
    unit_usd : float
        What its calls are expected to cost in the mean.
    novel_above : float
        Novelty from which a prompt escalates.
    """

    reference: int
    unit_usd: float
    novel_above: float

    @classmethod
    def of(cls, reference: int, usd: NDArray[np.float64], novel_above: float) -> DecisionPath:
        """Return the path, given what calls of the reference tier are expected to cost, (n,)."""
        return cls(reference, mean_call_usd(usd), novel_above)

    def settings(self, scores: Scores) -> dict[str, Any]:
        """Return what a certificate has to know of the path."""
        return {
            "reference": self.reference,
            "unit_usd": self.unit_usd,
            "spread": scores.spread,
            "escalated": is_novel(scores.novelty, self.novel_above),
        }

    def decide(
        self, p_pass: NDArray[Any], scores: Scores | None, usd: NDArray[np.float64], epsilon: float
    ) -> NDArray[np.intp]:
        """Return the tier of each row, int (n,), by the loss of regret; without scores, by p_pass alone."""
        losses = expected_losses(
            p_pass, None if scores is None else scores.spread, self.reference, Loss.REGRET
        )
        chosen = choose_many(losses, usd, [epsilon / self.unit_usd])[:, 0]
        if scores is not None:
            chosen[is_novel(scores.novelty, self.novel_above)] = self.reference
        return chosen


def default_epsilon(
    certificate: dict[str, Any], out_of_fold: NDArray[np.float64], train: Outcomes, path: DecisionPath
) -> dict[str, Any]:
    """Return the epsilon that holds when the caller asks for nothing, by which loss, and what it rests on."""
    promise = laxest(certificate, DEFAULT_MAX_REGRET)
    if promise is not None:
        return {
            "default_epsilon": promise.epsilon,
            "default_loss": Loss.REGRET.value,
            "basis": "certificate",
        }
    complete = train.complete
    passed, usd = train.passed[complete] == 1.0, train.expected_cost_usd
    assert usd is not None, "a fit expects costs"  # noqa: S101
    p, usd = out_of_fold[complete], usd[complete]

    def keeps(epsilon: float) -> bool:
        regret = regret_rate(passed, path.decide(p, None, usd, epsilon), path.reference)
        return regret <= DEFAULT_MAX_REGRET

    within = list(takewhile(keeps, EPSILONS)) if complete.any() else []
    return {
        "default_epsilon": max(within, default=0.0),
        "default_loss": Loss.REGRET.value,
        "basis": "cross-validation",
    }
