"""Calibration: whether a predicted pass probability means what it says.

Pure, for one tier at a time: `p` (n,) predictions, `y` (n,) outcomes, where NaN is unobserved and left out.
Outcomes are 0 or 1; every function but `auc` also takes scores between. Computed in float64. Where no outcome
is observed the answer is nan, or a table of no rows. Bad shapes and values raise ValueError.
Source of the binning: equal-mass ECE, Nguyen and O'Connor (EMNLP 2015), also Roelofs et al. (2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

__all__ = ["Reliability", "auc", "brier", "ece", "log_loss", "reliability"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """A reliability table: one row per bin that holds predictions, by ascending prediction.

    Attributes
    ----------
    low, high : float64 (b,)
        Least and greatest prediction in the bin.
    mean_p, mean_y : float64 (b,)
        Mean prediction and mean outcome; equal where calibrated.
    count : int (b,)
        Observed outcomes in the bin.
    """

    low: Floats
    high: Floats
    mean_p: Floats
    mean_y: Floats
    count: NDArray[np.intp]


def reliability(p: ArrayLike, y: ArrayLike, bins: int = 15) -> Reliability:
    """Return predictions against outcomes in at most `bins` bins of equal mass.

    Equal predictions share a bin, so that the order of rows never matters; ties make masses unequal.
    """
    if bins < 1:
        raise ValueError(f"bins is 1 or more; found {bins}")
    p, y = _observed(p, y)
    order = np.argsort(p, kind="stable")
    p, y = p[order], y[order]
    rank = np.searchsorted(p, p, side="left")
    starts = np.flatnonzero(np.diff(rank * bins // max(len(p), 1), prepend=-1))
    if not len(starts):
        none = np.empty(0)
        return Reliability(none, none, none, none, np.empty(0, dtype=np.intp))
    ends = np.append(starts[1:], len(p))
    count = ends - starts
    mean_p, mean_y = np.add.reduceat(p, starts) / count, np.add.reduceat(y, starts) / count
    return Reliability(p[starts], p[ends - 1], mean_p, mean_y, count)


def ece(p: ArrayLike, y: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error: mean over rows of |mean prediction - mean outcome| in their bin."""
    table = reliability(p, y, bins)
    if not len(table.count):
        return float("nan")
    return float(np.average(np.abs(table.mean_p - table.mean_y), weights=table.count))


def log_loss(p: ArrayLike, y: ArrayLike) -> float:
    """Return the mean negative log likelihood in nats.

    Predictions are kept 2.2e-16 from 0 and 1, as in scikit-learn: a sure and wrong one costs 36, not infinity.
    """
    p, y = _observed(p, y)
    tiny = np.finfo(np.float64).eps
    p = np.clip(p, tiny, 1 - tiny)
    return _mean(-(y * np.log(p) + (1 - y) * np.log1p(-p)))


def brier(p: ArrayLike, y: ArrayLike) -> float:
    """Return the mean squared difference of prediction and outcome."""
    p, y = _observed(p, y)
    return _mean((p - y) ** 2)


def auc(p: ArrayLike, y: ArrayLike) -> float:
    """Return the chance that a passing row has a greater `p` than a failing one, ties counted half.

    Rank-based (Mann-Whitney), so `p` may be any finite score. Nan where only one class is observed.
    """
    p, y = _observed(p, y, probability=False)
    passing = y == 1
    if not np.all(passing | (y == 0)):
        raise ValueError("auc takes outcomes 0 and 1; compare scores with the pass score first")
    n_pass, n_fail = int(passing.sum()), int((~passing).sum())
    if not n_pass or not n_fail:
        return float("nan")
    return float((rankdata(p)[passing].sum() - n_pass * (n_pass + 1) / 2) / (n_pass * n_fail))


def _observed(p: ArrayLike, y: ArrayLike, *, probability: bool = True) -> tuple[Floats, Floats]:
    predicted, outcome = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if predicted.ndim != 1 or predicted.shape != outcome.shape:
        raise ValueError(
            f"p and y are both (n,), one tier at a time; found {predicted.shape}, {outcome.shape}"
        )
    seen = ~np.isnan(outcome)
    predicted, outcome = predicted[seen], outcome[seen]
    if not np.isfinite(predicted).all() or (probability and np.any((predicted < 0) | (predicted > 1))):
        raise ValueError(
            "p is finite where y is observed, and a probability unless it is only ranked; found other"
        )
    if np.any((outcome < 0) | (outcome > 1)):
        raise ValueError("y is in [0, 1], or NaN where unobserved; found a value outside")
    return predicted, outcome


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
