"""Agreement: how often two graders say the same, and how far beyond chance.

Pure: the same seed gives the same interval. Two shares are told apart. The plain share of equal labels flatters two graders
who both pass nearly everything; Cohen's kappa takes off what chance alone would give them ("A coefficient of agreement for
nominal scales", Educational and Psychological Measurement 20, 1960), and weighted kappa counts a near miss on a scale as
less than a far one ("Weighted kappa", Psychological Bulletin 70, 1968).

The interval of kappa is a Bayesian bootstrap over groups (Rubin, Annals of Statistics 9, 1981): each draw weighs every group
by an exponential number. A bootstrap alone calls 30 agreements out of 30 certain; so each draw also holds `_PRIOR` rows'
worth of labels spread over all cells, by which, where every row is its own group, the draws are those of a Dirichlet
posterior (for two by two labels with Jeffreys' half a row per cell).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.bounds import rate_bounds

__all__ = ["Agreement", "Scale", "agreement", "kappa"]

Floats = NDArray[np.float64]
Scale = Literal["nominal", "linear", "quadratic"]
"""How far apart two labels are: equal or not; by their difference; by its square. The last two need numbers."""

_PRIOR = 2.0  # rows' worth in all; a sample of 30 is moved by at most a fifteenth
_BLOCK = 4_000_000  # numbers held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two graders agree on the rows that both have labelled.

    Attributes
    ----------
    n, groups : int
        Rows that both labelled, and the independent groups that they fall into.
    share : float or None
        Rows with equal labels, by weight; None without rows.
    share_low, share_high : float or None
        Exact interval of the share (Clopper and Pearson), at as many independent rows as the groups and weights leave.
    kappa : float or None
        1 is full agreement, 0 what chance gives; None where it is undefined, as when both give one label throughout.
    kappa_low, kappa_high : float or None
        Interval of kappa; None where kappa is, or with fewer than two groups.
    level : float
        Of both intervals.
    """

    n: int
    groups: int
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    kappa: float | None = None
    kappa_low: float | None = None
    kappa_high: float | None = None
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def agreement(
    a: Sequence[Any] | NDArray[Any],
    b: Sequence[Any] | NDArray[Any],
    *,
    groups: Sequence[Hashable] | NDArray[Any] | None = None,
    weights: ArrayLike | None = None,
    scale: Scale = "nominal",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Agreement:
    """Measure how far two graders agree, with intervals. Pure.

    Parameters
    ----------
    a, b : (n,)
        Labels of the same rows, such as booleans or scores of 1 to 5; a row where either is None or NaN is left out.
    groups : (n,) or None
        Labels of what is drawn together, such as prompt_id; None means that each row stands for itself.
    weights : (n,) or None
        How many rows of the population each stands for, above 0.
    scale : Scale
        For kappa alone; the share counts equal labels.
    draws : int
        Of the interval of kappa.

    Raises
    ------
    ValueError
        The lengths differ, or a weight is not above 0.
    """
    n = len(a)
    weight = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    group = np.arange(n) if groups is None else _codes(groups)[0]
    if not len(b) == len(weight) == len(group) == n:
        raise ValueError(f"expected as many of each; found {n}, {len(b)}, {len(weight)} and {len(group)}")
    kept = np.array([not (_is_none(x) or _is_none(y)) for x, y in zip(a, b, strict=True)], np.bool_)
    if not np.all(weight[kept] > 0.0):
        raise ValueError("expected weights above 0")
    if not kept.any():
        return Agreement(0, 0, level=level)
    pairs = [(x, y) for x, y, keep in zip(a, b, kept, strict=True) if keep]
    codes, labels = _codes([x for pair in pairs for x in pair])
    first, second = codes[::2], codes[1::2]
    group, weight = np.unique(group[kept], return_inverse=True)[1], weight[kept]
    weight = weight * (len(weight) / weight.sum())  # so that the prior stays worth what it is worth
    n_groups, k = int(group.max()) + 1, len(labels)
    cells = np.zeros((n_groups, k * k))
    np.add.at(cells, (group, first * k + second), weight)
    share, low, high = _share(first == second, weight, group, n_groups, level)
    away = _distances(labels, scale)
    value = kappa(cells.sum(axis=0).reshape(k, k), away)
    least = most = None
    if value is not None and n_groups > 1:
        drawn = _kappas(_draw_tables(cells, draws, np.random.default_rng(seed)), away)
        tails = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
        # What was seen is always possible, though the prior draws away from the ends.
        least, most = min(float(tails[0]), value), max(float(tails[1]), value)
    return Agreement(len(pairs), n_groups, share, low, high, value, least, most, level)


def kappa(table: ArrayLike, distances: ArrayLike | None = None) -> float | None:
    """Return Cohen's kappa of a square table of counts. Pure.

    Parameters
    ----------
    table : (k, k)
        Rows are the first grader's labels, columns the second's.
    distances : (k, k) or None
        How far apart two labels are, 0 on the diagonal; None counts equal or not.

    Returns
    -------
    float or None
        1 less the distance seen over the distance that chance gives; None where chance gives none.
    """
    counts = np.asarray(table, np.float64)
    away = 1.0 - np.eye(len(counts)) if distances is None else np.asarray(distances, np.float64)
    found = float(_kappas(counts[None], away)[0])
    return None if np.isnan(found) else found


def _kappas(tables: Floats, away: Floats) -> Floats:
    total = tables.sum(axis=(1, 2))
    seen = np.einsum("dij,ij->d", tables, away)
    chance = np.einsum("di,dj,ij->d", tables.sum(axis=2), tables.sum(axis=1), away)
    out = np.full(len(tables), np.nan)
    defined = (chance > 0.0) & (total > 0.0)
    out[defined] = 1.0 - seen[defined] * total[defined] / chance[defined]
    return out


def _draw_tables(cells: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Return tables of labels (draws, k, k), each of which weighs the groups anew and holds the prior."""
    # Groups that hold the same are drawn at once: a sum of m exponential numbers is a gamma number of shape m.
    kinds, times = np.unique(cells, axis=0, return_counts=True)
    k = round(cells.shape[1] ** 0.5)
    step = max(1, _BLOCK // max(len(kinds), cells.shape[1]))
    parts = []
    for start in range(0, draws, step):
        size = min(step, draws - start)
        parts.append(rng.gamma(times, size=(size, len(kinds))) @ kinds)
        parts[-1] += rng.gamma(_PRIOR / cells.shape[1], size=(size, cells.shape[1]))
    return np.concatenate(parts).reshape(draws, k, k)


def _share(
    same: NDArray[np.bool_], weight: Floats, group: NDArray[np.intp], n_groups: int, level: float
) -> tuple[float, float, float]:
    """Return the share of equal labels with its exact interval, at what the rows are worth."""
    n = float(len(same))
    share = float(min(1.0, (weight * same).sum() / n))
    effective = n
    if n_groups < n or np.ptp(weight) > 0.0:
        # Kish, "Survey Sampling", 1965: what independent rows would have this variance. Where all agree there is none to
        # see, and rows of one group are taken to be one row.
        sizes = np.bincount(group, weight)
        effective = n * n / float(np.square(sizes).sum())
        if 0.0 < share < 1.0 and n_groups > 1:
            off = np.bincount(group, weight * (same - share))
            variance = float(np.square(off).sum()) * n_groups / (n_groups - 1) / (n * n)
            effective = share * (1.0 - share) / variance if variance > 0.0 else n
        effective = min(n, max(1.0, effective))
    return share, *rate_bounds(share * effective, effective, level)


def _distances(labels: list[Any], scale: Scale) -> Floats:
    if scale == "nominal":
        return 1.0 - np.eye(len(labels))
    values = np.array(labels, np.float64)
    apart = np.abs(values[:, None] - values[None, :])
    return np.square(apart) if scale == "quadratic" else apart


def _codes(labels: Sequence[Any] | NDArray[Any]) -> tuple[NDArray[np.intp], list[Any]]:
    """Return each label's number, and the labels in the order first seen."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], np.intp), list(seen)


def _is_none(label: object) -> bool:
    return label is None or label != label
