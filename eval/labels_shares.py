"""Shares with intervals that hold for what labels are: few, weighted, and drawn in groups.

Pure. A share of unweighted rows, each its own group, has the exact interval of Clopper and Pearson. Where rows share groups
or count unequally, the share is the weighted mean (Hájek 1971), its variance is that of the linearised group totals, and
the exact interval is taken at as many independent rows as that variance is worth, less what estimating a variance from few
groups costs (Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts
estimated from survey data", Survey Methodology 24, 1998). Where all rows say the same no variance can be seen, and rows of
one group are taken to be one row.
Scores between 0 and 1 are taken on the scale of the least and the greatest that was seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from eval.bounds import rate_bounds
from eval.censored import effective_size

__all__ = ["FEW", "LEVEL", "share"]

Floats = NDArray[np.float64]

LEVEL = 0.95
FEW = 20
"""Groups below which a share is given with its interval, and called too few to conclude from."""


def share(values: ArrayLike, weight: ArrayLike, groups: ArrayLike) -> dict[str, Any]:
    """Return the weighted mean of values, and the interval that holds it at `LEVEL`. Pure.

    Parameters
    ----------
    values : (m,)
        Each within [0, 1]; passes and failures, or scores.
    weight : (m,)
        How many rows of the population each stands for, above 0; only their proportions count.
    groups : int (m,)
        Rows of one number were drawn together.

    Returns
    -------
    dict
        JSON-ready: `value`, `low`, `high` (None where they cannot be known), `rows`, `groups`, `effective` (independent rows
        that the interval is taken at), `method` ("exact", "effective", "none") and `few`.
    """
    v, w = np.asarray(values, np.float64), np.asarray(weight, np.float64)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    rows, n_groups = len(v), int(group.max()) + 1 if len(v) else 0
    found: dict[str, Any] = {
        "value": None,
        "low": None,
        "high": None,
        "rows": rows,
        "groups": n_groups,
        "effective": None,
        "method": "none",
        "few": n_groups < FEW,
    }
    if not rows:
        return found
    even = float(np.ptp(w)) <= 1e-9 * float(w.mean())
    w = np.ones(rows) if even else w / w.mean()
    mean = float(np.clip(w @ v / w.sum(), 0.0, 1.0))
    found["value"] = mean
    if n_groups < 2:  # one group says nothing of others
        return found
    # Scores of a judge take two values, which are passes and failures on a scale of their own.
    least, most = (float(v.min()), float(v.max())) if np.ptp(v) > 0.0 else (0.0, 1.0)
    u, at = (v - least) / (most - least), min(1.0, max(0.0, (mean - least) / (most - least)))
    binary = bool(np.all((u == 0.0) | (u == 1.0)))
    alike = even and n_groups == rows
    effective = float(rows) if binary and alike else _effective(u, w, group, at, binary=binary)
    low, high = (least + (most - least) * bound for bound in rate_bounds(at * effective, effective, LEVEL))
    method = "exact" if binary and alike else "effective"
    return found | {"low": min(low, mean), "high": max(high, mean), "effective": effective, "method": method}


def _effective(v: Floats, w: Floats, group: NDArray[np.intp], mean: float, *, binary: bool) -> float:
    """Return how many independent rows an estimate is worth."""
    totals = np.bincount(group, w).astype(np.float64)
    n_groups, seen = len(totals), effective_size(totals)
    off = np.bincount(group, w * (v - mean)) / w.sum()
    variance = float(np.square(off).sum()) * n_groups / (n_groups - 1)
    spread = mean * (1.0 - mean)
    if variance <= 1e-15 or spread <= 1e-15:
        return seen
    tail = (1.0 + LEVEL) / 2.0
    # With few groups the variance itself is uncertain: a t quantile for the normal one, as a share of rows.
    uncertain = (student.ppf(tail, len(v) - 1) / student.ppf(tail, n_groups - 1)) ** 2
    worth = spread / variance * float(uncertain)
    # Passes and failures that happen to vary less between groups than independent rows would are worth no more than those.
    return max(1.0, min(worth, effective_size(w)) if binary else worth)
