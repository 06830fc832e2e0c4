"""How far two samples differ, and how far chance alone would set them apart.

Pure, given a generator. Prompts of one group are alike, so that n of them are worth fewer: every share here comes with
the number of independent prompts that would be as sure of it (Kish, "Survey Sampling", 1965; Rao and Scott, JASA 76,
1981). What chance does is drawn, and not looked up: both samples from what the two hold together, which is exact enough
where bins are rare and windows small, as no table of chi squared is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from eval.bounds import rate_bounds

__all__ = [
    "Binned", "Null", "bin_numbers", "bin_shares", "edges_of", "group_numbers", "mean_by_chance", "mean_error", "psi", "psi_of",
    "rate_interval", "widest_cut",
]  # fmt: skip

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_DECILES = np.linspace(0.0, 1.0, 11)
_SAME = 1e-5  # about a value that many prompts share: the last bits of a logarithm differ between machines
_HALF = (
    0.5  # of a prompt, for each bin: Krichevsky and Trofimov, "The performance of universal encoding" (1981)
)


@dataclass(frozen=True, eq=False)
class Binned:
    """A distribution in bins: up to and with each edge, and beyond the last.

    Attributes
    ----------
    edges : float64 (b - 1,)
        Ascending.
    shares : float64 (b,)
        They sum to 1.
    effective : float
        Independent prompts that the shares are worth, 1 or more.
    """

    edges: Floats
    shares: Floats
    effective: float

    @classmethod
    def of(cls, values: ArrayLike, groups: Indices, edges: ArrayLike | None = None) -> Binned:
        """Return the distribution of values (n,), n of 1 or more, in bins at their own deciles unless told others."""
        held = np.asarray(values, np.float64)
        at = edges_of(held) if edges is None else np.asarray(edges, np.float64)
        shares, effective = bin_shares(bin_numbers(held, at), len(at) + 1, groups)
        return cls(at, shares, effective)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Binned:
        """Return what `to_dict` wrote."""
        return cls(
            np.asarray(document["edges"], np.float64),
            np.asarray(document["shares"], np.float64),
            max(float(document["effective"]), 1.0),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the same for JSON."""
        return {
            "edges": [float(edge) for edge in self.edges],
            "shares": [round(float(share), 7) for share in self.shares],
            "effective": round(self.effective, 1),
        }


def group_numbers(groups: ArrayLike) -> Indices:
    """Return each row's group as a number, 0 to G - 1, labels compared as text. Pure."""
    return np.asarray(np.unique(np.asarray(groups).astype(str), return_inverse=True)[1], np.intp)


def edges_of(values: ArrayLike) -> Floats:
    """Return the edges of at most ten bins of like mass, and more about values that a tenth of all share. Pure.

    Most shape features are 0 for most prompts. Such a value gets a bin of its own, so that what is new below it or
    above it is seen, were it one prompt in a thousand.
    """
    deciles = np.quantile(np.asarray(values, np.float64), _DECILES)
    shared = np.unique(deciles[1:][np.diff(deciles) <= _SAME])
    alone = np.setdiff1d(deciles[1:-1], shared)
    # Deciles closer to a shared value than this are that value.
    alone = alone[[not np.any(np.abs(shared - edge) <= 2 * _SAME) for edge in alone]] if len(alone) else alone
    return np.unique(np.concatenate([alone, shared - _SAME, shared + _SAME]))


def bin_numbers(values: ArrayLike, edges: Floats) -> Indices:
    """Return each value's bin, 0 to the number of edges. Pure."""
    return np.asarray(np.searchsorted(edges, np.asarray(values, np.float64), side="left"), np.intp)


def bin_shares(bins: Indices, n_bins: int, groups: Indices) -> tuple[Floats, float]:
    """Return each bin's share of rows, and the number of independent rows that they are worth. Pure."""
    n, total = len(bins), int(groups.max()) + 1
    table = np.bincount(groups * n_bins + bins, minlength=total * n_bins).reshape(total, n_bins).astype(float)
    sizes = table.sum(axis=1)
    shares = table.sum(axis=0) / n
    apart = float((shares * (1.0 - shares)).sum())
    if total == n:
        return shares, float(n)
    if total < 2 or apart == 0.0:
        return shares, float(n * n / np.square(sizes).sum())
    off = table - sizes[:, None] * shares
    variance = float(np.square(off).sum()) * total / (total - 1) / (n * n)
    return shares, min(float(n), max(1.0, apart / variance)) if variance > 0.0 else float(n)


def psi(then: ArrayLike, n_then: int, now: ArrayLike, n_now: int) -> Floats:
    """Return the population stability index of shares (..., b), 0 for equal ones. Pure.

    It is Jeffreys' divergence. Each side is given half a prompt per bin, spread as the two together are, so that an empty
    bin is no infinite surprise. That .1 is some shift and .25 much is a rule of thumb of credit scoring (Siddiqi, "Credit
    Risk Scorecards", 2006), and takes no account of how few prompts there are: `Null.psi` does.
    """
    a, b = np.asarray(then, np.float64), np.asarray(now, np.float64)
    pooled = (n_then * a + n_now * b) / (n_then + n_now)
    extra = _HALF * a.shape[-1]
    a, b = ((n * share + extra * pooled) / (n + extra) for n, share in ((n_then, a), (n_now, b)))
    ratio = np.divide(b, a, out=np.ones_like(b), where=pooled > 0.0)
    return np.asarray(((b - a) * np.log(ratio)).sum(axis=-1))


def psi_of(then: Binned, now: Binned) -> float:
    """Return the index of two samples. Pure."""
    return float(psi(then.shares, _whole(then.effective), now.shares, _whole(now.effective)))


class Null(NamedTuple):
    """What chance alone does where nothing drifted: drawn, and exceeded with a chance of `level`.

    Attributes
    ----------
    level : float
        In (0, 1).
    draws : int
        1 or more; many more than 1 / level, or the answer is the largest draw.
    rng : Generator
        It moves on with every answer.
    """

    level: float
    draws: int
    rng: np.random.Generator

    def exceeded(self, drawn: Floats) -> float:
        """Return what so few of the draws (draws,) exceed."""
        return float(np.quantile(drawn, 1.0 - self.level, method="higher"))

    def psi(self, then: Binned, now: Binned) -> float:
        """Return the index that two samples of these sizes from one distribution exceed."""
        sizes = _whole(then.effective), _whole(now.effective)
        pooled = (sizes[0] * then.shares + sizes[1] * now.shares) / sum(sizes)
        pooled = pooled / pooled.sum()
        first, second = (self.rng.multinomial(size, pooled, size=self.draws) / size for size in sizes)
        return self.exceeded(psi(first, sizes[0], second, sizes[1]))

    def difference(self, then: float, n_then: float, now: float, n_now: float) -> float:
        """Return how far apart two rates of these sizes are, were they one rate."""
        sizes = _whole(n_then), _whole(n_now)
        pooled = min(1.0, max(0.0, (sizes[0] * then + sizes[1] * now) / sum(sizes)))
        first, second = (self.rng.binomial(size, pooled, size=self.draws) / size for size in sizes)
        return self.exceeded(np.abs(first - second))


def mean_error(values: ArrayLike, groups: Indices) -> tuple[float, float]:
    """Return the mean of rows (n,), n of 1 or more, and its standard error, rows of a group together. Pure.

    Infinite with one group.
    """
    held = np.asarray(values, np.float64)
    mean, total = float(held.mean()), int(groups.max()) + 1
    if total < 2:
        return mean, float("inf")
    off = np.bincount(groups, weights=held - mean, minlength=total)
    return mean, float(np.sqrt(np.square(off).sum() * total / (total - 1)) / len(held))


def mean_by_chance(errors: Sequence[float], groups: int, level: float) -> float:
    """Return how far apart two means with these errors are with a chance of `level`, were they one mean. Pure.

    By Student's t, at the fewer of both samples' groups.
    """
    return float(t.ppf(1.0 - level / 2.0, max(1, groups - 1)) * np.sqrt(np.square(errors).sum()))


def rate_interval(rate: float, effective: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a rate by Clopper and Pearson, at as many independent prompts as it is worth. Pure."""
    return rate_bounds(rate * effective, effective, level)


def widest_cut(then: Binned, now: Binned) -> int | None:
    """Return the edge beyond which the shares differ most; None without an edge. Pure."""
    if not len(then.edges):
        return None
    apart = np.abs(np.cumsum(then.shares - now.shares)[:-1])
    return int(apart.argmax())


def _whole(n: float) -> int:
    return max(1, round(n))
