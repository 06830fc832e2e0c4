"""Populations of prompts whose outcomes are all known, so that a certificate can be held against the truth. Pure.

A calibration part is drawn from a population with replacement: what is true of the population is then exactly what the
promise is about. Scores are off on purpose, for no promise may rest on their being calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.certify import EPSILONS, certify
from eval.ladder import group_means
from eval.outcomes import Outcomes
from router.rule import Loss, choose_many, expected_losses
from router.tiers import Ladder, Tier

__all__ = ["USD", "Population", "outcomes_of", "populate"]

Floats = NDArray[np.float64]

USD = (1.0, 3.0, 10.0)
"""What a call costs on each tier."""


@dataclass(frozen=True, eq=False)
class Population:
    """Prompts in the order of their groups.

    Attributes
    ----------
    p, score : float64 (n, 3)
        What a router would score, and what tiers score.
    groups : int (n,)
        0 to G - 1, ascending.
    regret, kept : float64 (len(EPSILONS),)
        True regret and true relative quality of routing at each epsilon.
    """

    p: Floats
    score: Floats
    groups: NDArray[np.intp]
    regret: Floats
    kept: Floats

    def draw(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows of n groups drawn, and for each row which draw it belongs to."""
        drawn = rng.integers(self.groups[-1] + 1, size=n)
        start, end = (np.searchsorted(self.groups, drawn, side) for side in ("left", "right"))
        rows = np.concatenate([np.arange(a, b) for a, b in zip(start, end, strict=True)])
        return rows, np.repeat(np.arange(n), end - start)

    def judge(
        self, rows: NDArray[np.intp], names: NDArray[np.intp], alphas: Sequence[float], seed: int
    ) -> dict[str, bool]:
        """Certify on some rows; return, promise by promise that is made, whether it is broken."""
        usd = np.tile(USD, (len(rows), 1))
        certificate = certify(
            outcomes_of(self.score[rows], usd, names), self.p[rows], usd, reference=2, unit_usd=USD[-1], seed=seed, alphas=alphas
        )  # fmt: skip
        regret = {
            f"regret {row['alpha']:g}": bool(self._at(self.regret, row) > row["alpha"] + 1e-12)
            for row in certificate["table"]
        }
        return regret | {
            f"quality {1 - row['min_quality']:g}": bool(self._at(self.kept, row) < row["min_quality"] - 1e-12)
            for row in certificate["quality"]
        }

    @staticmethod
    def _at(truth: Floats, row: dict[str, Any]) -> float:
        return float(truth[EPSILONS.index(row["epsilon"])])


def outcomes_of(
    score: Floats, cost_usd: Floats, groups: NDArray[Any], task: NDArray[np.object_] | None = None
) -> Outcomes:
    """Return scores (n, k) as the outcomes of n prompts."""
    n, k = score.shape
    names = np.array([f"g{group}" for group in groups], dtype=object)
    return Outcomes(
        ladder=Ladder(tuple(Tier(f"tier {i}", (f"model {i}",), USD[i], USD[i]) for i in range(k))),
        prompt_ids=names,
        prompts=["?"] * n,
        groups=names,
        score=score.astype(np.float32),
        passed=(score >= 0.5).astype(np.float32),
        cost_usd=cost_usd,
        cost_estimated=np.zeros((n, k), np.bool_),
        tags={} if task is None else {"task": task},
        timestamp=None,
        mean_output_tokens=(1.0,) * k,
        dropped={},
    )


def populate(gap: float, graded: bool = False, per_group: int = 1, prompts: int = 20_000) -> Population:
    """Return a population in which the dearest tier passes nine in ten, the cheapest about `gap` fewer.

    With several prompts per group, groups are of 1 to `per_group`, and all prompts of a group share their outcomes.
    """
    rng = np.random.default_rng(round(1000 * gap) + per_group)
    size = 2 * prompts // (1 + per_group)
    groups = np.repeat(np.arange(size), rng.integers(1, per_group, endpoint=True, size=size))
    rates = np.clip(np.array([0.9 - gap, 0.9 - gap / 2, 0.9]), 0.01, 0.99)
    ease = rng.normal(size=(size, 1))
    true = 1 / (1 + np.exp(-(1.6 * np.log(rates / (1 - rates)) + 1.5 * ease)))
    score = (rng.random((size, 3)) < true).astype(np.float64)
    if graded:
        score = rng.beta(4 * true + 0.1, 4 * (1 - true) + 0.1)
    score = score[groups]
    p = np.clip(true[groups] ** 1.5 + rng.normal(0.0, 0.1, (len(groups), 3)), 0.0, 1.0)
    usd, prices = np.tile(USD, (len(p), 1)), np.array(EPSILONS) / USD[-1]
    names, passed = groups.astype(str).astype(object), score >= 0.5
    chosen = choose_many(expected_losses(p, None, 2, Loss.REGRET), usd, prices)
    failed = passed[:, 2:] & ~np.take_along_axis(passed, chosen, axis=1)
    chosen = choose_many(expected_losses(p, None, 2, Loss.QUALITY), usd, prices)
    kept = group_means(np.take_along_axis(score, chosen, axis=1), names).mean(axis=0)
    regret = group_means(failed.astype(np.float64), names).mean(axis=0)
    return Population(p, score, groups, regret, kept / group_means(score[:, 2:], names).mean())
