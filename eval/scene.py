"""The scene: what contenders are held against, in every resample, and what a set of settings attains there.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.curve import Curve, oracle_curve, random_curve, sweep_prices
from eval.lines import Line, area, cost_reaching, cross_fit, deal_folds, draw_line, draw_oracle, hull_corners
from eval.outcomes import Outcomes
from eval.resample import Bounds, Draws, draw_groups, interval

__all__ = [
    "AT_SHARE", "MAX_SETTINGS", "NO_GAP", "QUALITY_SHARES", "Scene", "measure_choice", "price_settings", "serve", "settings_of",
]  # fmt: skip

QUALITY_SHARES = (1.0, 0.99, 0.97, 0.95)
"""Shares of the top tier's quality at which savings are stated."""

AT_SHARE = 0.97
"""Share of the top tier's quality that the pure setting under `at_97` keeps."""

MAX_SETTINGS = 97
"""Prices swept, or one more; with the two ends a contender has at most 100 settings."""

NO_GAP = 1e-6
"""An oracle's lead over random mixing, in quality, below which there is nothing to close; as `gap_closed`."""

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Scene:
    """What contenders are held against, in each draw: the ends of the range, random mixing and the oracle.

    `quality` and `cost_usd` are (n, k), without NaN; the rest is per draw. `tier_quality` and `tier_cost` are
    (draws, k), `folds` (n, r), `oracle_cost` (draws, t) at each of `QUALITY_SHARES`.
    `random` and `oracle` are the sample's own curves, for the published figure.
    """

    quality: Floats
    cost_usd: Floats
    passed: NDArray[np.bool_]
    draws: Draws
    folds: NDArray[np.intp]
    tier_quality: Floats
    tier_cost: Floats
    mixing: Line
    random_area: Floats
    oracle_area: Floats
    oracle_cost: Floats
    random: Curve
    oracle: Curve

    @classmethod
    def of(cls, outcomes: Outcomes, n_boot: int, seed: int) -> Scene:
        """Set the scene on rows where every tier was observed."""
        quality, cost = outcomes.score.astype(np.float64), outcomes.cost_usd.astype(np.float64)
        draws = draw_groups(outcomes.groups, n_boot, seed)
        k = quality.shape[1]
        tier_cost, tier_quality = np.split(draws.means(np.hstack([cost, quality])), [k], axis=1)
        mixed = hull_corners(tier_cost[0], tier_quality[0])
        mixing = draw_line(draws, cost[:, mixed], quality[:, mixed])
        lowest, highest = tier_cost.min(axis=1), tier_cost.max(axis=1)
        targets = np.stack([share * tier_quality[:, -1] for share in QUALITY_SHARES], axis=1)
        oracle_area, oracle_cost = draw_oracle(draws, quality, cost, lowest, highest, targets)
        return cls(
            quality=quality,
            cost_usd=cost,
            passed=outcomes.passed == 1,
            draws=draws,
            folds=deal_folds(draws.group, seed),
            tier_quality=tier_quality,
            tier_cost=tier_cost,
            mixing=mixing,
            random_area=area(mixing, lowest, highest),
            oracle_area=oracle_area,
            oracle_cost=oracle_cost,
            random=random_curve(quality, cost),
            oracle=oracle_curve(quality, cost),
        )

    @property
    def gap(self) -> Floats:
        """The oracle's lead over random mixing in each draw."""
        return self.oracle_area - self.random_area

    def line(self, cost_usd: Floats, quality: Floats) -> Line:
        """Return what settings (n, m) attain, as a line; the last is the best."""
        return draw_line(self.draws, cost_usd, quality)

    def area(self, line: Line) -> Floats:
        """Return a line's mean quality from the cheapest to the dearest tier, per draw."""
        return area(line, self.tier_cost.min(axis=1), self.tier_cost.max(axis=1))

    def closed(self, areas: Floats) -> Floats:
        """Return the share of the gap closed, per draw; 0 where there is none."""
        return np.divide(
            areas - self.random_area, self.gap, out=np.zeros_like(areas), where=self.gap > NO_GAP
        )

    def saved(self, cost_usd: Floats, best: int = -1) -> Floats:
        """Return the part of a tier's cost saved, per draw, by default the top tier's; 0 where that tier is free."""
        top = self.tier_cost[:, best]
        spent = np.divide(cost_usd, top, out=np.ones_like(top), where=top > 0)
        return np.where(np.isnan(cost_usd), np.nan, 1.0 - spent)

    def saving_at(self, line: Line, share: float) -> Floats:
        """Return the saving at a share of the top tier's quality, per draw; 0 where only always-top has it."""
        return self.saved(
            np.fmin(cost_reaching(line, share * self.tier_quality[:, -1]), self.tier_cost[:, -1])
        )

    def bounds(self, values: Floats) -> Bounds:
        """Return a statistic with its interval."""
        return interval(self.draws, values)


def price_settings(p: Floats, outcomes: Outcomes) -> Choice:
    """Return the tiers (n, m) that scores (n, k) choose over all prices, at expected costs, with the ends. Pure.

    Prompts that a tier did not answer are given tiers too, and play no part in what a tier costs in the mean.
    """
    cost = outcomes.expected_cost_usd
    if cost is None:
        cost = outcomes.cost_usd[outcomes.complete].mean(axis=0)
    return settings_of(sweep_prices(p, cost, MAX_SETTINGS), outcomes.cost_usd)


def settings_of(choices: Choice, cost_usd: Floats) -> Choice:
    """Return settings (n, m) with always-cheapest and, last, always-top beside them: (n, m + 2). Pure."""
    n, k = cost_usd.shape
    ends = np.tile(np.array([int(cost_usd.mean(axis=0).argmin()), k - 1], dtype=np.intp), (n, 1))
    return np.hstack([choices, ends])


def serve(scene: Scene, settings: Choice) -> tuple[Floats, Floats]:
    """Return what settings (n, m) cost and score when cross-fitted, each (n, budgets). Pure."""
    return cross_fit(
        np.take_along_axis(scene.cost_usd, settings, axis=1),
        np.take_along_axis(scene.quality, settings, axis=1),
        scene.folds,
    )


def measure_choice(scene: Scene, chosen: Choice, best: int = -1) -> dict[str, Bounds]:
    """Return what a tier per prompt (n,) attains, with intervals. Pure.

    Saving, quality, quality_relative_to_top (1 where that tier scores nothing), regret and over_routing.

    Parameters
    ----------
    best : int
        Position of the tier that these are against: the top tier, or a better one that is cheaper.
    """
    rows = np.arange(len(chosen))
    passed, cheaper = scene.passed, np.arange(scene.passed.shape[1]) < chosen[:, None]
    columns = np.stack(
        [
            scene.cost_usd[rows, chosen],
            scene.quality[rows, chosen],
            passed[:, best] & ~passed[rows, chosen],
            np.any(cheaper & passed, axis=1),
        ],
        axis=1,
    )
    cost, quality, regret, over = scene.draws.means(columns).T
    top = scene.tier_quality[:, best]
    relative = np.divide(quality, top, out=np.ones_like(top), where=top > 0)
    return {
        "saving": scene.bounds(scene.saved(cost, best)),
        "quality": scene.bounds(quality),
        "quality_relative_to_top": scene.bounds(relative),
        "regret": scene.bounds(regret),
        "over_routing": scene.bounds(over),
    }
