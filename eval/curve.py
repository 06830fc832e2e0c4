"""Cost-quality curves: what a router buys for its money, between random mixing and hindsight.

Pure. A curve is a set of policies, each a point (mean USD per prompt, mean quality per prompt). Its hull is
what mixing those policies at random attains, and every number here is read off a hull. Tiers are columns,
cheapest first; the top tier is the last. Quality is the realised score in [0, 1], known for every tier: leave
out prompts that a tier did not answer. Computed in float64. Bad shapes and NaN raise ValueError.
Source: RouterBench (arXiv 2403.12031) for the hull and AIQ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Curve", "aiq", "choose_by_price", "gap_closed", "oracle_curve", "over_routing_rate", "random_curve",
    "regret_rate", "require_finite", "router_curve", "savings_at", "sweep_prices",
]  # fmt: skip

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]

_SAME_COST = 1e-9  # relative; sums in another order differ by less
SAME_QUALITY = 1e-12  # absolute
_NO_GAP = 1e-6  # an oracle's lead below one prompt in a million is rounding


@dataclass(frozen=True, eq=False)
class Curve:
    """Policies by what they cost and what they attain; sorted by cost, then quality, on construction.

    Attributes
    ----------
    cost_usd : float64 (m,)
        Mean USD per prompt, ascending.
    quality : float64 (m,)
        Mean quality per prompt, in [0, 1].
    """

    cost_usd: Floats
    quality: Floats

    def __post_init__(self) -> None:
        cost, quality = (
            require_finite(self.cost_usd, "cost_usd", 1),
            require_finite(self.quality, "quality", 1),
        )
        if cost.shape != quality.shape or not len(cost):
            raise ValueError(
                f"a curve has one quality per cost and a point or more; found {cost.shape}, {quality.shape}"
            )
        order = np.lexsort((quality, cost))
        object.__setattr__(self, "cost_usd", cost[order])
        object.__setattr__(self, "quality", quality[order])

    def hull(self) -> Curve:
        """Return the upper concave hull, rising in cost and quality, from the cheapest to the best point."""
        return self._hull

    @cached_property
    def _hull(self) -> Curve:
        order = np.lexsort((-self.quality, self.cost_usd))
        cost, quality = self.cost_usd[order], self.quality[order]
        keep = np.append(True, quality[1:] > np.maximum.accumulate(quality)[:-1])
        while True:
            cost, quality = cost[keep], quality[keep]
            across, up = np.diff(cost), np.diff(quality)
            keep = np.full(
                len(cost), True
            )  # on or under its neighbours' chord is no corner; corners always stay
            keep[1:-1] = up[:-1] * across[1:] > up[1:] * across[:-1]
            if keep.all():
                return Curve(cost, quality)

    def quality_at(self, cost_usd: float) -> float:
        """Return the hull's quality for a mean USD per prompt; flat beyond its end, nan before its start."""
        hull = self._hull
        if cost_usd < hull.cost_usd[0] * (1 - _SAME_COST):
            return float("nan")
        return float(np.interp(cost_usd, hull.cost_usd, hull.quality))

    def cost_at(self, quality: float) -> float | None:
        """Return the least mean USD per prompt at which the hull has this quality; None if it never has."""
        hull = self._hull
        if not quality <= hull.quality[-1] + SAME_QUALITY:
            return None
        return float(np.interp(quality, hull.quality, hull.cost_usd))


def choose_by_price(p: ArrayLike, cost_usd: ArrayLike, price: float) -> Choice:
    """Return, per prompt, the tier of greatest `p_k - price * cost_k`, the cheaper of two equal ones.

    `p` is (n, k), `cost_usd` (n, k) or (k,), `price` in quality per USD, finite, 0 or more. Lagrangian rule.
    """
    scores = require_finite(p, "p", 2)
    cost = require_finite(np.broadcast_to(np.asarray(cost_usd), scores.shape), "cost_usd", 2)
    if not 0 <= price < np.inf:
        raise ValueError(f"price is finite and 0 or more; found {price}")
    value = scores - price * cost
    best = value == value.max(axis=1, keepdims=True)
    choice: Choice = np.where(best, cost, np.inf).argmin(axis=1)
    return choice


def random_curve(quality: ArrayLike, cost_usd: ArrayLike) -> Curve:
    """Return the single tiers as a curve (k points); its hull is random mixing. Arguments are (n, k)."""
    return Curve(*_singles(*_outcomes(quality, cost_usd)))


def router_curve(
    p: ArrayLike,
    quality: ArrayLike,
    cost_usd: ArrayLike,
    *,
    expected_cost_usd: ArrayLike | None = None,
    max_points: int = 200,
) -> Curve:
    """Return what scores `p` attain by `choose_by_price` over all prices, with the cheapest and the top tier's points.

    Parameters
    ----------
    p, quality, cost_usd : (n, k)
        Scores, realised quality, realised USD.
    expected_cost_usd : (n, k) or (k,), optional
        What a call is taken to cost; by default each tier's mean, so that it knows no outcome.
    max_points : int
        Prices tried, 2 or more: all that matter, or quantiles of them, the extremes included.
    """
    quality, cost = _outcomes(quality, cost_usd)
    p = require_finite(p, "p", 2)
    if p.shape != quality.shape:
        raise ValueError(f"p and quality are both (prompts, tiers); found {p.shape} and {quality.shape}")
    single_cost, single_quality = _singles(quality, cost)
    expected = single_cost if expected_cost_usd is None else np.asarray(expected_cost_usd, dtype=np.float64)
    chosen = sweep_prices(p, np.broadcast_to(expected, p.shape), max_points)
    costs = np.take_along_axis(cost, chosen, axis=1).mean(axis=0)
    qualities = np.take_along_axis(quality, chosen, axis=1).mean(axis=0)
    ends = [*np.flatnonzero(single_cost <= single_cost.min() * (1 + _SAME_COST)), -1]
    return Curve(np.append(costs, single_cost[ends]), np.append(qualities, single_quality[ends]))


def sweep_prices(p: ArrayLike, cost_usd: ArrayLike, max_points: int = 200) -> Choice:
    """Return the choices of `choose_by_price` over all prices that matter, or quantiles of them: int (n, m).

    What a bootstrap resamples: the choices depend on scores and expected costs alone, not on outcomes.
    """
    p = require_finite(p, "p", 2)
    cost = np.broadcast_to(np.asarray(cost_usd, dtype=np.float64), p.shape)
    return np.stack([choose_by_price(p, cost, price) for price in _prices(p, cost, max_points)], axis=1)


def oracle_curve(quality: ArrayLike, cost_usd: ArrayLike) -> Curve:
    """Return the exact frontier of a router that knows every outcome; arguments are (n, k).

    What `choose_by_price(quality, cost_usd, price)` traces over all prices: each prompt's own hull of tiers is
    cut into upgrades, and upgrades are bought by quality per USD. It starts at every prompt's cheapest tier
    and ends at the cheapest tier of best quality for each prompt. It may hold n * (k - 1) + 1 points.
    """
    quality, cost = _outcomes(quality, cost_usd)
    rows = np.arange(len(quality))
    at = np.where(cost == cost.min(axis=1, keepdims=True), quality, -np.inf).argmax(axis=1)
    start_cost, start_quality = cost[rows, at].mean(), quality[rows, at].mean()
    steps: list[tuple[Floats, Floats]] = []
    while True:
        up, across = quality - quality[rows, at][:, None], cost - cost[rows, at][:, None]
        better = (up > 0) & (across > 0)
        if not better.any():
            break
        slope = np.divide(up, across, out=np.full(up.shape, -np.inf), where=better)
        steepest = better & (slope == slope.max(axis=1, keepdims=True))
        to = np.where(steepest.any(axis=1), np.where(steepest, up, -np.inf).argmax(axis=1), at)
        moved = to != at
        steps.append((across[rows, to][moved], up[rows, to][moved]))
        at = to
    across, up = (
        np.concatenate([np.empty(0), *parts]) for parts in (zip(*steps, strict=True) if steps else ((), ()))
    )
    order = np.argsort(-(up / across), kind="stable")
    cost_path = start_cost + np.append(0.0, np.cumsum(across[order])) / len(rows)
    return Curve(cost_path, start_quality + np.append(0.0, np.cumsum(up[order])) / len(rows))


def aiq(curve: Curve, lowest: float, highest: float) -> float:
    """Return the mean quality of the hull over mean costs from lowest to highest, in USD (RouterBench's AIQ).

    A range of no width gives the best quality at that cost. ValueError where the curve starts above lowest.
    """
    if highest - lowest <= _SAME_COST * highest:
        return curve.quality_at(highest * (1 + _SAME_COST))
    hull = curve.hull()
    if hull.cost_usd[0] > lowest + _SAME_COST * highest:
        raise ValueError(
            f"the curve starts at {hull.cost_usd[0]} USD, above {lowest}; add the cheapest tier's point"
        )
    inside = hull.cost_usd[(hull.cost_usd > lowest) & (hull.cost_usd < highest)]
    cost = np.concatenate([[lowest], inside, [highest]])
    return float(np.trapezoid(np.interp(cost, hull.cost_usd, hull.quality), cost) / (highest - lowest))


def gap_closed(router: Curve, random: Curve, oracle: Curve) -> float:
    """Return (AIQ router - AIQ random) / (AIQ oracle - AIQ random), from the cheapest to the dearest tier.

    1 is hindsight, 0 is random mixing, below 0 is worse; 0.0 where the oracle leads random by under 1e-6.
    """
    lowest, highest = float(random.cost_usd[0]), float(random.cost_usd[-1])
    base = aiq(random, lowest, highest)
    gap = aiq(oracle, lowest, highest) - base
    return (aiq(router, lowest, highest) - base) / gap if gap > _NO_GAP else 0.0


def savings_at(curve: Curve, share: float, top_quality: float, top_cost: float) -> float | None:
    """Return the part of the top tier's cost saved while keeping `share` of its quality; None if never kept.

    Negative where keeping it costs more than the top tier; 0.0 where the top tier is free.
    """
    cost = curve.cost_at(share * top_quality)
    return None if cost is None else 1.0 - cost / top_cost if top_cost > 0 else 0.0


def regret_rate(passed: ArrayLike, choice: ArrayLike, reference: int = -1) -> float:
    """Return the share of prompts where a tier, by default the top one, passes and the chosen one fails.

    `passed` is bool (n, k), `choice` int (n,); nan without prompts.
    """
    passed, choice = _passed(passed, choice)
    return _mean(passed[:, reference] & ~passed[np.arange(len(choice)), choice])


def over_routing_rate(passed: ArrayLike, choice: ArrayLike) -> float:
    """Return the share of prompts where a tier cheaper than the chosen one passes; nan without prompts.

    `passed` is bool (n, k), `choice` int (n,).
    """
    passed, choice = _passed(passed, choice)
    cheaper = np.arange(passed.shape[1]) < choice[:, None]
    return _mean(np.any(cheaper & passed, axis=1))


def require_finite(values: ArrayLike, name: str, dimensions: int) -> Floats:
    """Return values as float64, or raise ValueError where their shape is another or one is not finite. Pure."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or (dimensions == 2 and not array.shape[1]):
        raise ValueError(
            f"{name} has {dimensions} dimension(s), tiers in the second; found shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; leave out prompts that a tier did not answer")
    return array


def _outcomes(quality: ArrayLike, cost_usd: ArrayLike) -> tuple[Floats, Floats]:
    quality, cost = require_finite(quality, "quality", 2), require_finite(cost_usd, "cost_usd", 2)
    if quality.shape != cost.shape or not len(quality):
        raise ValueError(
            f"quality and cost_usd are both (prompts, tiers), a prompt or more; found {quality.shape}, {cost.shape}"
        )
    return quality, cost


def _passed(passed: ArrayLike, choice: ArrayLike) -> tuple[NDArray[np.bool_], Choice]:
    passed, choice = np.asarray(passed), np.asarray(choice)
    if passed.dtype != np.bool_ or passed.ndim != 2 or choice.shape != passed.shape[:1]:
        raise ValueError(
            f"expected bool (n, k) and int (n,); found {passed.dtype} {passed.shape}, {choice.shape}"
        )
    return passed, choice.astype(np.intp)


def _mean(flags: NDArray[np.bool_]) -> float:
    return float(np.mean(flags)) if len(flags) else float("nan")


def _spread(values: Floats, max_points: int) -> Floats:
    """Return the distinct values, or that many: the least, which may be most of them, and quantiles above it."""
    distinct = np.unique(values)
    if len(distinct) <= max_points:
        return distinct
    above = values[values > distinct[0]]
    quantiles = np.quantile(above, np.linspace(0, 1, max_points - 1), method="nearest")
    return np.unique(np.append(distinct[0], quantiles))


def _prices(p: Floats, cost: Floats, max_points: int) -> list[float]:
    """Return prices between those at which some prompt's choice changes, 0 and one above them all."""
    low, high = np.triu_indices(p.shape[1], 1)
    up, across = p[:, high] - p[:, low], cost[:, high] - cost[:, low]
    turns = up[across != 0] / across[across != 0]
    turns = _spread(turns[turns > 0], max_points)
    return [0.0, *((turns[:-1] + turns[1:]) / 2), 2 * turns[-1]] if len(turns) else [0.0]


def _singles(quality: Floats, cost_usd: Floats) -> tuple[Floats, Floats]:
    """Return each tier's mean cost and mean quality, both (k,)."""
    return cost_usd.mean(axis=0), quality.mean(axis=0)
