"""Resamples: the draws of a group bootstrap, shared by everything that is compared on them.

Pure: the same seed gives the same draws. A statistic that is made of means over prompts is computed for all
draws at once, as a matrix product of how often each group was drawn and what each group sums to; two
contenders on the same draws are paired. The first row of every table of draws is the sample itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Bounds", "Draws", "draw_groups", "interval"]

Floats = NDArray[np.float64]
Bounds = dict[str, float | None]
"""`value`, `low`, `high`; None where undefined."""

_BLOCK = 4_000_000  # numbers held at once: 32 MB


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each group was drawn, the sample itself first.

    Attributes
    ----------
    counts : float32 (1 + n_boot, G)
        Whole numbers, G in each row; ones in the first.
    group : intp (n,)
        Each row's group, 0 to G - 1.
    sizes : float64 (G,)
        Rows of each group.
    """

    counts: NDArray[np.float32]
    group: NDArray[np.intp]
    sizes: Floats

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def n_groups(self) -> int:
        """Groups that were drawn from."""
        return len(self.sizes)

    def means(self, columns: ArrayLike) -> Floats:
        """Return the mean of each column in each draw, float64 (1 + n_boot, c), from (n, c). Pure."""
        values = np.asarray(columns, dtype=np.float64)
        if values.ndim != 2 or len(values) != len(self.group):
            raise ValueError(f"columns has a row per prompt, {len(self.group)}; found shape {values.shape}")
        order = np.argsort(self.group, kind="stable")
        starts = np.append(0, np.cumsum(self.sizes[:-1])).astype(np.intp)
        sums = np.add.reduceat(values[order], starts, axis=0)
        return np.concatenate(
            [(counts @ sums) / (counts @ self.sizes)[:, None] for counts in self._blocks(self.n_groups)]
        )

    def weights(self, width: int) -> Iterator[tuple[slice, Floats]]:
        """Yield which draws, and their float64 weight per row (b, n), in blocks that fit memory.

        `width` is how many numbers the caller makes per draw.
        """
        at = 0
        for counts in self._blocks(max(width, len(self.group))):
            yield slice(at, at + len(counts)), counts[:, self.group]
            at += len(counts)

    def _blocks(self, width: int) -> Iterator[Floats]:
        step = max(1, _BLOCK // max(width, 1))
        for start in range(0, len(self.counts), step):
            yield self.counts[start : start + step].astype(np.float64)


def draw_groups(groups: ArrayLike, n_boot: int = 1000, seed: int = 0) -> Draws:
    """Draw groups with replacement, as many as there are, n_boot times. Pure.

    Parameters
    ----------
    groups : (n,)
        The label of each row's group; compared as text.

    Raises
    ------
    ValueError
        No rows, another shape, or no draws.
    """
    labels = np.asarray(groups)
    if labels.ndim != 1 or not len(labels):
        raise ValueError(f"groups holds one label per row, a row or more; found shape {labels.shape}")
    if n_boot < 1:
        raise ValueError(f"n_boot is 1 or more; found {n_boot}")
    _, group, sizes = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    generator, total = np.random.default_rng(seed), len(sizes)
    counts = np.ones((1 + n_boot, total), dtype=np.float32)
    for draw in counts[1:]:
        draw[:] = np.bincount(generator.integers(total, size=total), minlength=total)
    return Draws(counts, group, sizes.astype(np.float64))


def interval(draws: Draws, values: ArrayLike, level: float = 0.95) -> Bounds:
    """Return a statistic and its percentile interval, from what it is in each draw. Pure.

    Parameters
    ----------
    values : (1 + n_boot,)
        The statistic of the sample, then of each draw; nan where undefined.

    Returns
    -------
    dict
        JSON-ready. No bounds with one group, or where fewer than half of the draws give a number
        (as `eval.bootstrap.bootstrap`).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(draws),):
        raise ValueError(f"expected a value per draw, {len(draws)}; found shape {values.shape}")
    value = None if np.isnan(values[0]) else float(values[0])
    drawn = values[1:][~np.isnan(values[1:])]
    if draws.n_groups < 2 or 2 * len(drawn) < len(values) - 1:
        return {"value": value, "low": None, "high": None}
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return {"value": value, "low": float(low), "high": float(high)}
