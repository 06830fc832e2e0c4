"""Lines: what a contender attains at each cost, in every resample at once, without flattery.

Pure. A curve's hull takes the best of a hundred noisy settings on the very prompts that it is then judged on:
on 200 prompts, scores that know nothing close about 5 % of the gap, and on 1,500 still 2 %. So each prompt is
served here by the hull of the other prompts (cross-fitting): four fifths of the groups choose the settings and
how to mix them, the last fifth judges. What comes out is one mixed setting per budget, a line with nothing
left to choose.

A line is for as many prompts as there are: choosing settings well takes prompts, and on a few hundred a
contender does not get all that its scores would give with unlimited ones. Resamples keep the settings that
the sample chose, so intervals are a little narrow: where scores know nothing, they leave out 0 on the upper
side in 3 to 4 % of samples rather than 2.5 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.curve import SAME_QUALITY, Curve
from eval.resample import Draws

__all__ = [
    "Line",
    "area",
    "cost_reaching",
    "cross_fit",
    "deal_folds",
    "draw_line",
    "draw_oracle",
    "hull_corners",
    "quality_at",
    "upgrades",
]

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]

FOLDS, DEALS = 5, 3
"""Fifths of the groups, dealt three times over and averaged: a single deal is a matter of luck."""

BUDGETS = 41  # closer where money is scarce and curves are steep; the corners are added
_SAME_COST = 1e-9  # relative, as in eval.curve


@dataclass(frozen=True, eq=False)
class Line:
    """What settings attain in each draw, ascending in cost.

    Attributes
    ----------
    cost_usd, quality : float64 (draws, m)
        Mean USD and mean quality per prompt.
    end_quality : float64 (draws,)
        Quality where cost is no object: what counts if all tiers cost the same.
    """

    cost_usd: Floats
    quality: Floats
    end_quality: Floats


def draw_line(draws: Draws, cost_usd: Floats, quality: Floats) -> Line:
    """Return what settings (n, m) attain in each draw, as a line; the last is the one of best quality. Pure."""
    cost, mean = draws.means(cost_usd), draws.means(quality)
    order = np.argsort(cost, axis=1, kind="stable")
    return Line(np.take_along_axis(cost, order, axis=1), np.take_along_axis(mean, order, axis=1), mean[:, -1])


def hull_corners(cost_usd: Floats, quality: Floats) -> NDArray[np.intp]:
    """Return which points (m,) are the corners of their hull (`eval.curve.Curve.hull`), cheapest first. Pure."""
    hull = Curve(cost_usd, quality).hull()
    order = np.lexsort((-quality, cost_usd))
    return order[np.searchsorted(cost_usd[order], hull.cost_usd)]


def deal_folds(group: NDArray[np.intp], seed: int = 0) -> NDArray[np.intp]:
    """Deal groups into `FOLDS` folds, `DEALS` times over; return each row's fold, (n, DEALS). Pure."""
    total = int(group.max()) + 1
    generator = np.random.default_rng(seed)
    dealt = np.stack([generator.permutation(total) % FOLDS for _ in range(DEALS)], axis=1)
    return dealt[group]


def cross_fit(cost_usd: Floats, quality: Floats, folds: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return what each prompt costs and scores in expectation, budget by budget, served by the others' hull. Pure.

    Parameters
    ----------
    cost_usd, quality : (n, m)
        Of each prompt under each setting.
    folds : int (n, r)
        Each prompt's fold in each of r deals; the answer is the mean over deals. A deal of one fold has no
        others: there the hull is that of the prompts themselves.

    Returns
    -------
    cost_usd, quality : float64 (n, t)
        A budget is a share of the way from the cheapest to the best corner of a hull.
    """
    corners = hull_corners(cost_usd.mean(axis=0), quality.mean(axis=0))
    at = cost_usd[:, corners].mean(axis=0)
    shares = np.unique(np.append(np.linspace(0, 1, BUDGETS) ** 2, _share_of_range(at)))
    spent, attained = np.zeros((len(cost_usd), len(shares))), np.zeros((len(cost_usd), len(shares)))
    for fold in folds.T:
        for number in np.unique(fold):
            judged = fold == number
            chooses = ~judged if not judged.all() else judged
            mean_cost, mean_quality = cost_usd[chooses].mean(axis=0), quality[chooses].mean(axis=0)
            corners = hull_corners(mean_cost, mean_quality)
            mix = _mixes(_share_of_range(mean_cost[corners]), shares)
            spent[judged] += cost_usd[np.ix_(judged, corners)] @ mix
            attained[judged] += quality[np.ix_(judged, corners)] @ mix
    return spent / folds.shape[1], attained / folds.shape[1]


def _share_of_range(cost: Floats) -> Floats:
    """Return how far along their range ascending costs are, 0 to 1."""
    return (cost - cost[0]) / (cost[-1] - cost[0]) if len(cost) > 1 else np.zeros(1)


def _mixes(corners: Floats, shares: Floats) -> Floats:
    """Return how much of each corner (v,) each share (t,) mixes, (v, t); columns sum to 1."""
    return np.stack([np.interp(shares, corners, unit) for unit in np.eye(len(corners))])


def area(line: Line, lowest: Floats, highest: Floats) -> Floats:
    """Return the mean quality of a line over mean costs from lowest to highest, per draw. Pure.

    The AIQ of `eval.curve.aiq`, read off the line. A range of no width gives the line's end.
    """
    cost, quality = line.cost_usd, line.quality
    low, high = lowest[:, None], highest[:, None]
    clipped = np.clip(cost, low, high)
    across = np.diff(cost, axis=1)
    slope = np.divide(np.diff(quality, axis=1), across, out=np.zeros_like(across), where=across > 0)
    width = np.diff(clipped, axis=1)
    middle = (clipped[:, 1:] + clipped[:, :-1]) / 2
    total = (width * (quality[:, :-1] + slope * (middle - cost[:, :-1]))).sum(axis=1)
    total += (clipped[:, 0] - lowest) * quality[:, 0] + (highest - clipped[:, -1]) * quality[:, -1]
    span = highest - lowest
    wide = span > _SAME_COST * highest
    return np.where(wide, total / np.where(wide, span, 1.0), line.end_quality)


def cost_reaching(line: Line, quality: Floats) -> Floats:
    """Return the least mean USD at which a line first has a quality, per draw; nan where it never has. Pure."""
    reached = line.quality >= quality[:, None] - SAME_QUALITY
    at, draw = reached.argmax(axis=1), np.arange(len(quality))
    before = np.maximum(at - 1, 0)
    below, up = line.quality[draw, before], line.quality[draw, at] - line.quality[draw, before]
    part = np.clip(np.divide(quality - below, up, out=np.ones_like(up), where=up > 0), 0.0, 1.0)
    from_cost, to_cost = line.cost_usd[draw, before], line.cost_usd[draw, at]
    return np.where(reached.any(axis=1), from_cost + part * (to_cost - from_cost), np.nan)


def quality_at(line: Line, cost_usd: Floats) -> Floats:
    """Return the quality that a line has at a mean cost, per draw; that of its nearer end beyond its ends. Pure."""
    pairs = zip(cost_usd, line.cost_usd, line.quality, strict=True)
    return np.array([np.interp(at, cost, quality) for at, cost, quality in pairs])


# The oracle: its settings are as many as there are upgrades, so it is walked block by block.


def upgrades(quality: Floats, cost_usd: Floats) -> tuple[Choice, NDArray[np.intp], Floats, Floats]:
    """Cut each prompt's own hull of tiers into upgrades, best quality per USD first. Pure.

    Arguments are (n, k). The parts of `eval.curve.oracle_curve`, by prompt, so that prompts can be weighted.

    Returns
    -------
    start : intp (n,)
        The tier that each prompt starts with: its cheapest.
    row : intp (e,)
        The prompt of each upgrade.
    across, up : float64 (e,)
        What each upgrade costs in USD and adds in quality; both above 0.
    """
    rows = np.arange(len(quality))
    start = np.where(cost_usd == cost_usd.min(axis=1, keepdims=True), quality, -np.inf).argmax(axis=1)
    at, steps = start, [(np.empty(0, np.intp), np.empty(0), np.empty(0))]
    while True:
        up, across = quality - quality[rows, at][:, None], cost_usd - cost_usd[rows, at][:, None]
        better = (up > 0) & (across > 0)
        moved = better.any(axis=1)
        if not moved.any():
            break
        slope = np.divide(up, across, out=np.full(up.shape, -np.inf), where=better)
        steepest = better & (slope == slope.max(axis=1, keepdims=True))
        to = np.where(moved, np.where(steepest, up, -np.inf).argmax(axis=1), at)
        steps.append((rows[moved], across[rows, to][moved], up[rows, to][moved]))
        at = to
    row, across, up = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    order = np.argsort(-(up / across), kind="stable")
    return start, row[order], across[order], up[order]


def draw_oracle(
    draws: Draws, quality: Floats, cost_usd: Floats, lowest: Floats, highest: Floats, targets: Floats
) -> tuple[Floats, Floats]:
    """Return the oracle's area in each draw, and its least cost at each of some qualities. Pure.

    Parameters
    ----------
    quality, cost_usd : (n, k)
        Of every prompt on every tier.
    lowest, highest : (draws,)
        The range of the area, in USD.
    targets : (draws, t)
        Qualities.

    Returns
    -------
    area : float64 (draws,)
    cost : float64 (draws, t)
        nan where the oracle never has that quality.
    """
    start, row, across, up = upgrades(quality, cost_usd)
    rows = np.arange(len(quality))
    begins = draws.means(np.stack([cost_usd[rows, start], quality[rows, start]], axis=1))
    areas, costs = np.empty(len(draws)), np.empty(targets.shape)
    for block, weight in draws.weights(len(row)):
        share = weight[:, row] / weight.sum(axis=1, keepdims=True)
        path = (
            np.cumsum(np.concatenate([begin[:, None], share * step], axis=1), axis=1)
            for begin, step in zip(begins[block].T, (across, up), strict=True)
        )
        cost, reached = path
        line = Line(cost, reached, reached[:, -1])
        areas[block] = area(line, lowest[block], highest[block])
        for t in range(targets.shape[1]):
            costs[block, t] = cost_reaching(line, targets[block, t])
    return areas, costs
