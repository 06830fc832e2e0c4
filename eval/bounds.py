"""Bounds that hold for any number of observations: the tests that certificates rest on.

Pure, and no assumption but that observations are drawn alike and apart. On a rate: the exact binomial bound (Clopper and
Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934). On the mean of bounded values: a bet against
it being negative (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024,
arXiv 2010.09686). Either serves as the p-value of "Learn then Test" (Angelopoulos et al., arXiv 2110.01052).
"""

from __future__ import annotations

from math import ceil, isclose, log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

__all__ = ["betting_holds", "groups_needed", "lower_bound", "rate_bounds", "upper_bound"]

Floats = NDArray[np.float64]

# A bet risks at most this share of the wealth on one observation: Waudby-Smith and Ramdas, section 4.1, c = 3/4.
_MOST_AT_STAKE = 0.75
_BLOCK = 512  # observations at a time, so that what is computed on stays in a core's cache


def upper_bound(failures: ArrayLike, n: float, delta: float) -> Floats:
    """Return the exact upper confidence bound, at 1 - delta, on a rate seen as failures out of n. Pure.

    Neither has to be whole: what is not drawn alike and apart is worth as many observations as it is worth.
    """
    k = np.asarray(failures, np.float64)
    return np.where(k >= n, 1.0, beta.ppf(1.0 - delta, k + 1.0, np.where(k >= n, 1.0, n - k)))


def lower_bound(failures: ArrayLike, n: float, delta: float) -> Floats:
    """Return the exact lower confidence bound, at 1 - delta, on a rate seen as failures out of n. Pure."""
    k = np.asarray(failures, np.float64)
    return np.where(k <= 0.0, 0.0, beta.ppf(delta, np.where(k <= 0.0, 1.0, k), n - k + 1.0))


def rate_bounds(failures: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval, which holds at `level` as a whole, of a rate seen as failures out of n. Pure."""
    tail = (1.0 - level) / 2.0
    return float(lower_bound(failures, n, tail)), float(upper_bound(failures, n, tail))


def groups_needed(alpha: float, delta: float) -> int:
    """Return the least n for which no failure out of n bounds the rate by alpha at 1 - delta. Pure."""
    exact = log(delta) / log(1.0 - alpha)
    return round(exact) if isclose(exact, round(exact), rel_tol=1e-12) else ceil(exact)


def betting_holds(values: ArrayLike, low: float, delta: float) -> NDArray[np.bool_]:
    """Return, setting by setting, whether it is shown at 1 - delta that the mean is not negative. Pure.

    A gambler starts with 1 and bets, before each value, on its being above 0. If the mean is negative or 0, the wealth
    is a supermartingale, and ever reaches 1 / delta with a chance of delta at most (Ville, 1939). Bets are the paper's
    predictable plug-in ones for a fixed number of observations, made from what was seen before.

    Parameters
    ----------
    values : (n, m)
        n observations in random order, each on m settings; all within [low, 1].
    low : float
        The lowest possible value, below 0.

    Returns
    -------
    bool (m,)
    """
    observed = np.asarray(values, dtype=np.float64)
    if observed.ndim != 2 or not low < 0.0:
        raise ValueError(f"expected values (n, m) and low below 0; found {observed.shape} and {low}")
    n, m = observed.shape
    holds = np.zeros(m, np.bool_)
    goal, zero = -log(delta), -low / (1.0 - low)  # zero: where 0 is, once [low, 1] is scaled to [0, 1]
    left = np.arange(m)  # settings that have not won yet; the others need not be played to the end
    total, squares, wealth = (np.zeros((m, 1)) for _ in range(3))
    for start in range(0, n, _BLOCK):
        # A setting a row: sums run along memory.
        x = (observed[start : start + _BLOCK, left].T - low) / (1.0 - low)
        count = np.arange(start + 1, start + x.shape[1] + 1, dtype=np.float64)
        sums = x.cumsum(axis=1)
        sums += total
        deviations = (0.5 + sums) / (count + 1.0)
        np.square(np.subtract(x, deviations, out=deviations), out=deviations)
        until = deviations.cumsum(axis=1)
        until += squares
        before = np.concatenate([squares, until[:, :-1]], axis=1)
        variance = (0.25 + before) / count
        bet = np.sqrt(2.0 * goal / (n * variance))
        np.minimum(bet, _MOST_AT_STAKE / zero, out=bet)
        bet *= x - zero
        log_wealth = np.log1p(bet, out=bet).cumsum(axis=1)
        log_wealth += wealth
        won = log_wealth.max(axis=1) >= goal
        holds[left[won]] = True
        left = left[~won]
        if not len(left):
            break
        total, squares, wealth = (each[~won, -1:] for each in (sums, until, log_wealth))
    return holds
