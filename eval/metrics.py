"""What a router achieved on rows that it did not learn from.

Pure. Each figure that a decision rests on carries a bootstrap interval over groups.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.bootstrap import Interval, bootstrap
from eval.calibration import auc, ece, log_loss
from eval.curve import (
    Curve,
    choose,
    gap_closed,
    oracle_curve,
    random_curve,
    regret_rate,
    savings_at,
    sweep_prices,
)
from eval.outcomes import Outcomes

__all__ = ["QUALITY_SHARES", "measure", "render_metrics"]

QUALITY_SHARES = (1.0, 0.99, 0.97, 0.95)
"""Shares of the top tier's quality at which savings are stated."""

TERMINAL_COLUMNS = 100

Floats = NDArray[np.float64]


def measure(
    p_pass: NDArray[Any], outcomes: Outcomes, epsilon: float, n_boot: int = 200, seed: int = 0
) -> dict[str, Any]:
    """Measure scores on rows where every tier was observed.

    Parameters
    ----------
    p_pass : (n, k)
        Out-of-sample pass probabilities.
    epsilon : float
        Expected loss allowed at the operating point that is reported.

    Returns
    -------
    dict
        JSON-ready. Intervals are {"value", "low", "high"} at 95 %. With no complete row, only `prompts`: 0
        and the calibration.
    """
    rows = np.flatnonzero(outcomes.complete)
    result: dict[str, Any] = {
        "prompts": len(rows),
        "groups": len(np.unique(outcomes.groups[rows].astype(str))) if len(rows) else 0,
        "calibration": _calibration(p_pass, outcomes),
    }
    if not len(rows):
        return result
    p = p_pass[rows].astype(np.float64)
    quality, cost = outcomes.score[rows].astype(np.float64), outcomes.cost_usd[rows]
    passed, chosen = outcomes.passed[rows] == 1.0, choose(p_pass[rows].astype(np.float64), epsilon)
    each = np.arange(len(rows))
    routed_quality, routed_cost = quality[each, chosen], cost[each, chosen]
    groups = outcomes.groups[rows]

    def interval(statistic: Any) -> dict[str, float | None]:  # noqa: ANN401 - a callable from rows to a number
        return _plain(bootstrap(groups, statistic, n_boot=n_boot, seed=seed))

    def saving(r: NDArray[np.intp]) -> float:
        top = cost[r, -1].sum()
        return float(1.0 - routed_cost[r].sum() / top) if top > 0 else 0.0

    def relative_quality(r: NDArray[np.intp]) -> float:
        top = quality[r, -1].sum()
        return float(routed_quality[r].sum() / top) if top > 0 else 1.0

    # The choices are swept once; each resample only averages what they attained.
    sweep = sweep_prices(p, cost.mean(axis=0), max_points=100)
    ends = np.tile([int(cost.mean(axis=0).argmin()), cost.shape[1] - 1], (len(rows), 1))
    sweep = np.hstack([sweep, ends])
    swept_quality = np.take_along_axis(quality, sweep, axis=1)
    swept_cost = np.take_along_axis(cost, sweep, axis=1)

    def curve(r: NDArray[np.intp]) -> Curve:
        return Curve(swept_cost[r].mean(axis=0), swept_quality[r].mean(axis=0))

    result["tiers"] = [
        {"name": name, "quality": float(quality[:, k].mean()), "cost_usd": float(cost[:, k].mean())}
        for k, name in enumerate(outcomes.ladder.names)
    ]
    result["gap_closed"] = interval(
        lambda r: gap_closed(
            curve(r),
            random_curve(quality[r], cost[r]),
            oracle_curve(quality[r], cost[r]),
        )
    )
    result["saving_at_quality"] = {
        f"{share:g}": savings_at(curve(each), share, float(quality[:, -1].mean()), float(cost[:, -1].mean()))
        for share in QUALITY_SHARES
    }
    result["operating_point"] = {
        "epsilon": epsilon,
        "saving": interval(saving),
        "quality_relative_to_top": interval(relative_quality),
        "regret": interval(lambda r: regret_rate(passed[r], chosen[r])),
        "share_per_tier": {name: float((chosen == k).mean()) for k, name in enumerate(outcomes.ladder.names)},
    }
    return result


def _calibration(p_pass: NDArray[Any], outcomes: Outcomes) -> dict[str, dict[str, float | int | None]]:
    table: dict[str, dict[str, float | int | None]] = {}
    for k, name in enumerate(outcomes.ladder.names):
        p, y = p_pass[:, k].astype(np.float64), outcomes.passed[:, k].astype(np.float64)
        values = {"ece": ece(p, y), "log_loss": log_loss(p, y), "auc": auc(p, y)}
        table[name] = {
            "observed": int((~np.isnan(y)).sum()),
            **{key: None if np.isnan(value) else float(value) for key, value in values.items()},
        }
    return table


def _plain(interval: Interval) -> dict[str, float | None]:
    bounds = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: None if np.isnan(bound) else float(bound) for name, bound in bounds.items()}


def render_metrics(metrics: dict[str, Any]) -> str:
    """Return what was measured as text for a terminal: the cost-quality summary. Pure.

    Parameters
    ----------
    metrics : dict
        "router" and "length", each as `measure` gives it; optionally "by_source".
    """
    router = metrics["router"]
    if not router["prompts"]:
        return "test part: no prompt was tried on every tier, so cost and quality cannot be measured"
    point = router["operating_point"]
    top_cost = router["tiers"][-1]["cost_usd"]
    lines = [
        f"Held-out test part: {router['prompts']:,} prompts in {router['groups']:,} groups; 95 % intervals in brackets",
        f"  {'':<22}{'quality':>9}{'USD / 1,000 prompts':>22}{'saving':>9}",
    ]
    for tier in router["tiers"]:
        saving = 1 - tier["cost_usd"] / top_cost if top_cost else 0.0
        lines.append(
            f"  {'always ' + tier['name']:<22}{tier['quality']:>9.3f}{1000 * tier['cost_usd']:>22.4f}{saving:>9.1%}"
        )
    quality = point["quality_relative_to_top"]["value"] * router["tiers"][-1]["quality"]
    saving = point["saving"]["value"]
    lines += [
        f"  {'tierwise':<22}{quality:>9.3f}{1000 * top_cost * (1 - saving):>22.4f}{saving:>9.1%}",
        f"  saving against always top     {_percent(point['saving'])}",
        f"  quality relative to top       {_percent(point['quality_relative_to_top'])}",
        f"  regret (top passes, choice fails)  {_percent(point['regret'])}",
        *wrap(
            ", ".join(f"{name} {share:.0%}" for name, share in point["share_per_tier"].items()),
            TERMINAL_COLUMNS,
            initial_indent="  share per tier                ",
            subsequent_indent=" " * 32,
        ),
        "  gap from random mixing to oracle closed",
        f"    by tierwise                 {_percent(router['gap_closed'])}",
        f"    by length alone             {_percent(metrics['length']['gap_closed'])}",
    ]
    return "\n".join(lines)


def _percent(interval: dict[str, float | None]) -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    text = "unknown" if value is None else f"{value:.1%}"
    return text if low is None or high is None else f"{text} [{low:.1%}, {high:.1%}]"
