"""Stacking: how much each member counts, learned from what they say about rows that they did not see.

Pure. A decision rests on the differences between tiers, and log loss mostly on what the tiers have in common;
members are therefore weighted by how well the differences between their pass probabilities for neighbouring
tiers predict the differences between outcomes: non-negative least squares, which leaves a member out by weight zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.linear_model import LogisticRegression

from training.logistic import Floats

__all__ = ["LEAST_WEIGHT", "SLOPE_RANGE", "calibrate", "match", "shrink", "sigmoid", "weigh"]

SLOPE_RANGE = (0.2, 5.0)
# Weights are drawn towards equal ones, and differences between tiers towards none, as if by this many prompts: a small
# history cannot tell members apart, nor prompts.
PRIOR_PROMPTS = 100
# A member below this share is left out: it costs every decision some microseconds, and moves few (docs/LOG.md).
LEAST_WEIGHT = 0.1


def sigmoid(z: Floats) -> Floats:
    """Return the logistic function, without overflow. Pure."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def calibrate(
    margin: Floats, passed: NDArray[np.float32], weight: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return slope and offset per tier that make a margin a calibrated log odds. Pure.

    One slope for all tiers (a temperature), because a slope of its own per tier fits noise into exactly what
    decisions rest on, the differences between tiers (docs/LOG.md); an offset per tier, at which its mean
    probability is its pass rate. The slope stays positive and moderate, so that calibration never reverses or
    explodes a ranking. A tier whose outcomes are all alike keeps its margin. `weight`, (n, k), says how much each outcome
    counts.
    """
    slope, offset = np.ones(margin.shape[1]), np.zeros(margin.shape[1])
    tiers = [k for k, y in enumerate(passed.T) if len(np.unique(y[~np.isnan(y)])) > 1]
    if not tiers:
        return slope, offset
    row, tier = np.nonzero(~np.isnan(passed[:, tiers]))
    y, z = passed[:, tiers][row, tier], margin[:, tiers][row, tier]
    indicators = np.eye(len(tiers))[tier]
    platt = LogisticRegression(C=100.0, fit_intercept=False, max_iter=1000)
    own = None if weight is None else weight[:, tiers][row, tier]
    slope[tiers] = np.clip(platt.fit(np.column_stack([z, indicators]), y, own).coef_[0, 0], *SLOPE_RANGE)
    for k in tiers:
        offset[k] = match(margin[:, k] * slope[k], passed[:, k], None if weight is None else weight[:, k])
    return slope, offset


def match(z: Floats, passed: NDArray[np.float32], weight: Floats | None = None) -> float:
    """Return the offset at which a tier's mean probability is its pass rate, by bisection. Pure.

    Arguments are (n,); rows that were not observed do not count, and outcomes that are all alike need no offset.
    """
    seen = ~np.isnan(passed)
    own = None if weight is None else weight[seen]
    z, rate = z[seen], _mean(passed[seen], own) if seen.any() else 0.0
    if not 0.0 < rate < 1.0:
        return 0.0
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean(sigmoid(z + middle), own) < rate else (low, middle)
    return (low + high) / 2


def _mean(values: NDArray[Any], weight: Floats | None) -> float:
    return float(values.mean() if weight is None else np.average(values, weights=weight))


def weigh(p: list[Floats], passed: NDArray[np.float32], cost_usd: Floats) -> Floats:
    """Return a weight per member, 0 or more, that sum to 1. Pure.

    Parameters
    ----------
    p : list of float64 (n, k)
        Out-of-fold, calibrated pass probabilities, one array per member.
    passed : (n, k)
        1, 0, or NaN where unobserved; a pair of neighbouring tiers counts where both were observed.
    cost_usd : float64 (k,)
        Mean cost per tier. A step of the ladder counts as much as it costs: budgets between its ends are where
        it is decided.
    """
    equal = np.full(len(p), 1.0 / len(p))
    gram, right, n = _moments(p, passed, cost_usd)
    ridge = PRIOR_PROMPTS / max(n, 1) * np.trace(gram) / len(p)
    if not ridge > 0.0:
        return equal
    root = np.linalg.cholesky(gram + ridge * np.eye(len(p))).T
    weights, _ = nnls(root, np.linalg.solve(root.T, right + ridge * equal))
    weights = np.where(weights < LEAST_WEIGHT * weights.sum(), 0.0, weights)
    return np.asarray(weights / weights.sum()) if weights.sum() > 0.0 else equal


def shrink(p: Floats, passed: NDArray[np.float32], cost_usd: Floats) -> float:
    """Return how much of the differences between tiers to believe, 0 to 1. Pure; arguments as `weigh`'s, p (n, k).

    The slope of outcomes on what was said, drawn to 0: a difference is weighed against a price, so it has to mean
    what it says, and what few prompts say of it is mostly noise. 1 where no two neighbours were observed together.
    """
    gram, right, n = _moments([p], passed, cost_usd)
    if not gram[0, 0] > 0.0:
        return 1.0
    return float(np.clip(right[0] / (gram[0, 0] * (1.0 + PRIOR_PROMPTS / n)), 0.0, 1.0))


def _moments(p: list[Floats], passed: NDArray[np.float32], cost_usd: Floats) -> tuple[Floats, Floats, int]:
    """Return sums over prompts and pairs of neighbouring tiers, and how many prompts had both of some pair.

    Of the differences that members state: their products with one another (m, m), and with those between outcomes (m,).
    """
    steps = np.abs(np.diff(cost_usd))
    steps = steps / steps.sum() if steps.sum() > 0.0 else np.ones_like(steps)
    gram, right, n = np.zeros((len(p), len(p))), np.zeros(len(p)), 0
    for low, step in enumerate(steps):
        gain = passed[:, low + 1].astype(np.float64) - passed[:, low]
        seen = ~np.isnan(gain)
        if not seen.any():
            continue
        said = np.stack([q[seen, low + 1] - q[seen, low] for q in p], axis=1)
        said -= said.mean(axis=0)  # the mean lead of a tier is the calibration's to say
        gram += step * said.T @ said
        right += step * said.T @ (gain[seen] - gain[seen].mean())
        n = max(n, int(seen.sum()))
    return gram, right, n
