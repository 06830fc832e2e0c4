"""The bootstrap written plainly, one statistic and one draw at a time: what `eval.resample` is held against.

Pure: the same seed gives the same interval. The percentile bootstrap (Efron, 1979) draws groups, not rows,
since the prompts of one user or session go together and row-wise intervals are then too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Interval", "Statistic", "bootstrap"]

Statistic = Callable[[NDArray[np.intp]], float]
"""Takes row numbers (m,), repeated where a group was drawn twice; returns a number, nan where undefined."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic of all rows, in its own unit, and the bounds of its interval; nan where undefined."""

    value: float
    low: float
    high: float


def bootstrap(
    groups: ArrayLike, statistic: Statistic, n_boot: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return a statistic with its percentile interval over groups drawn with replacement.

    Calls `statistic` once with all rows in order, then `n_boot` times.

    Parameters
    ----------
    groups : (n,)
        The label of each row's group, of one sortable type; as many labels as rows is the row-wise bootstrap.
    statistic : callable
        From row numbers to a number.
    level : float
        Coverage asked for, between 0 and 1. The percentile interval covers less where groups are few.

    Returns
    -------
    Interval
        Bounds are nan with one group, and where fewer than half of the draws give a number; single draws
        without one, such as an AUC of one class, are left out. With no rows all is nan and nothing is called.

    Raises
    ------
    ValueError
        An argument is out of range.
    """
    labels = np.asarray(groups)
    if labels.ndim != 1:
        raise ValueError(f"groups holds one label per row; found shape {labels.shape}")
    if n_boot < 1 or not 0 < level < 1:
        raise ValueError(f"n_boot is 1 or more and level between 0 and 1; found {n_boot} and {level}")
    if not len(labels):
        return Interval(float("nan"), float("nan"), float("nan"))
    value = float(statistic(np.arange(len(labels))))
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        return Interval(value, float("nan"), float("nan"))
    rows, starts = np.argsort(group, kind="stable"), np.cumsum(sizes) - sizes
    generator = np.random.default_rng(seed)
    draws = np.empty(n_boot)
    for i in range(n_boot):
        drawn = generator.integers(len(sizes), size=len(sizes))
        draws[i] = statistic(rows[_members(starts[drawn], sizes[drawn])])
    draws = draws[~np.isnan(draws)]
    if 2 * len(draws) < n_boot:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _members(starts: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the positions start, start + 1, ... of each run, one run after another."""
    shift = starts - (np.cumsum(sizes) - sizes)
    return np.repeat(shift, sizes) + np.arange(sizes.sum())
