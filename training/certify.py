"""The certificate: a finite-sample promise about regret.

Pure. On calibration rows that neither fitting nor selection saw, the exact binomial (Clopper and Pearson,
1934) upper bound on `P(top tier passes and chosen tier fails)` is tested along a fixed sequence of epsilons,
from conservative to permissive, and stops at the first that fails; fixed-sequence testing spends no
confidence on multiplicity (Angelopoulos et al., "Learn then Test", arXiv 2110.01052). One row per group is
drawn, because groups, not rows, are exchangeable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from eval.curve import choose

__all__ = ["ALPHAS", "DELTA", "EPSILONS", "certify", "upper_bound"]

ALPHAS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.10, 0.15, 0.20)
DELTA = 0.05
# Fixed before any data is seen, as the test requires. A tier that loses more than half is never sought.
EPSILONS = tuple(float(e) for e in np.round(np.linspace(0.0, 0.5, 201), 4))


def upper_bound(failures: ArrayLike, n: int, delta: float) -> NDArray[np.float64]:
    """Return the exact upper confidence bound, at 1 - delta, on a rate seen as failures out of n. Pure."""
    k = np.asarray(failures, np.float64)
    if n == 0:
        return np.ones_like(k)
    return np.where(k >= n, 1.0, beta.ppf(1.0 - delta, np.minimum(k, n - 1) + 1.0, np.maximum(n - k, 1.0)))


def certify(
    p_pass: NDArray[np.float32],
    passed: NDArray[np.float32],
    cost_usd: NDArray[np.float64],
    groups: NDArray[np.object_],
    seed: int,
    delta: float = DELTA,
) -> dict[str, Any]:
    """Certify an epsilon for each regret of `ALPHAS` that the data supports.

    Parameters
    ----------
    p_pass : (n, k)
        What serving would score.
    passed, cost_usd : (n, k)
        Outcomes of the calibration part; rows with an unobserved tier are left out, so the promise is about
        prompts like those that every tier was tried on.
    groups : (n,)
        Exchangeable units.

    Returns
    -------
    dict
        `kind`, `delta`, `n` (groups), and `table`: per certified alpha its epsilon, the regret observed, its
        upper bound, and the saving against always choosing the top tier.
    """
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(~np.isnan(passed).any(axis=1)))
    _, first = np.unique(groups[rows].astype(str), return_index=True)
    rows = rows[first]
    p, y, cost = p_pass[rows].astype(np.float64), passed[rows] == 1.0, cost_usd[rows]
    n = len(rows)
    regrets, costs = np.zeros(len(EPSILONS), np.int64), np.zeros(len(EPSILONS))
    each = np.arange(n)
    for i, epsilon in enumerate(EPSILONS):
        chosen = choose(p, epsilon)
        regrets[i] = int((y[:, -1] & ~y[each, chosen]).sum())
        costs[i] = cost[each, chosen].sum()
    bounds = upper_bound(regrets, n, delta)
    table = []
    for alpha in ALPHAS:
        holds = bounds <= alpha
        certified = len(EPSILONS) if holds.all() else int(np.argmin(holds))
        if certified:
            i = certified - 1
            table.append(
                {
                    "alpha": alpha,
                    "epsilon": EPSILONS[i],
                    "observed": regrets[i] / n,
                    "bound": float(bounds[i]),
                    "saving": float(1.0 - costs[i] / cost[:, -1].sum()) if cost[:, -1].sum() > 0 else 0.0,
                }
            )
    return {"kind": "regret", "delta": delta, "n": n, "table": table}
