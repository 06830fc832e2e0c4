"""The reference tier: the best one of a ladder, which promises are against; and groups, which promises are counted in.

Pure, given a generator. A ladder is dominated where a cheaper tier is better than the dearest; then "as good as the
dearest" would be a promise of less than the history shows to be had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eval.outcomes import Outcomes

__all__ = ["best_tier", "draw_rows", "group_means", "mean_call_usd"]

Floats = NDArray[np.float64]

_STANDARD_ERRORS = 2.0
_LEAST_GROUPS = 30  # what a standard error takes to mean something


def best_tier(outcomes: Outcomes) -> int:
    """Return the position of the dearest tier, or of a cheaper one that is better beyond chance. Pure.

    Better beyond chance: on prompts that every tier was tried on, its mean score, group by group, is higher than the
    dearest tier's by more than two standard errors of the difference. Of several such tiers, the best.
    """
    complete = outcomes.take(outcomes.complete)
    scores = group_means(complete.score.astype(np.float64), complete.groups)
    top = len(outcomes.ladder) - 1
    if len(scores) < _LEAST_GROUPS:
        return top
    lead = scores - scores[:, top, None]
    mean, error = lead.mean(axis=0), lead.std(axis=0, ddof=1) / np.sqrt(len(lead))
    better = [k for k in range(top) if mean[k] > _STANDARD_ERRORS * error[k]]
    return max(better, key=lambda k: mean[k], default=top)


def mean_call_usd(usd: Floats) -> float:
    """Return what calls of a tier, (n,), cost in the mean, which epsilon is a loss per. Pure.

    1 where calls are free: then no price of them matters.
    """
    mean = float(usd.mean()) if len(usd) else 0.0
    return mean if mean > 0.0 else 1.0


def group_means(values: Floats, groups: NDArray[np.object_]) -> Floats:
    """Return the mean of each group's rows, float64 (G, m), in the order of the groups' names. Pure."""
    names, of = np.unique(groups.astype(str), return_inverse=True)
    if len(names) == len(values):
        return values[np.argsort(of)]
    order = np.argsort(of, kind="stable")
    sizes = np.bincount(of, minlength=len(names))
    sums = np.add.reduceat(values[order], np.cumsum(sizes) - sizes, axis=0)
    return np.asarray(sums / sizes[:, None])


def draw_rows(groups: NDArray[np.object_], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return one row of each group, at random, (G,), in the order of the groups' names."""
    rows = rng.permutation(len(groups))
    _, first = np.unique(groups[rows].astype(str), return_index=True)
    return np.asarray(rows[first], dtype=np.intp)
