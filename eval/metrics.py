"""What a router achieved on rows that it did not learn from: the short form, for a fit's manifest and terminal.

Pure. Each figure that a decision rests on carries a bootstrap interval over groups. A report says more
(`eval.comparison`), by the same means.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.calibration import auc, ece, log_loss
from eval.outcomes import Outcomes
from eval.scene import QUALITY_SHARES, Scene, measure_choice, price_settings, serve

__all__ = ["measure", "measure_parts", "render_metrics"]

TERMINAL_COLUMNS = 100

Floats = NDArray[np.float64]


def measure(
    p_pass: NDArray[Any],
    outcomes: Outcomes,
    chosen: NDArray[np.intp],
    epsilon: float,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure scores on rows where every tier was observed.

    Parameters
    ----------
    p_pass : (n, k)
        Out-of-sample pass probabilities.
    chosen : int (n,)
        The tier decided on for each row: the operating point that is reported.
    epsilon : float
        What it is called.

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
    complete = outcomes.take(rows)
    scene = Scene.of(complete, n_boot, seed)
    cost, quality = scene.tier_cost[0], scene.tier_quality[0]
    line = scene.line(*serve(scene, price_settings(p, complete)))
    tiers = chosen[rows]
    names = outcomes.ladder.names
    result["tiers"] = [
        {"name": name, "quality": float(quality[k]), "cost_usd": float(cost[k])}
        for k, name in enumerate(names)
    ]
    result["gap_closed"] = scene.bounds(scene.closed(scene.area(line)))
    result["saving_at_quality"] = {
        f"{share:g}": scene.bounds(scene.saving_at(line, share)) for share in QUALITY_SHARES
    }
    result["operating_point"] = {
        "epsilon": epsilon,
        **measure_choice(scene, tiers),
        "share_per_tier": {name: float((tiers == k).mean()) for k, name in enumerate(names)},
    }
    return result


def measure_parts(
    test: Outcomes,
    reference: int,
    contenders: dict[str, tuple[NDArray[Any], NDArray[np.intp]]],
    epsilon: float,
    seed: int,
) -> dict[str, Any]:
    """Measure contenders in all, and by source where there are two or more. Pure.

    Parameters
    ----------
    reference : int
        Position of the tier that savings, quality and regret are against; dearer ones, which are worse, are left out.
    contenders : dict of ((n, k), int (n,))
        Pass probabilities, and the tier decided on for each row, by name.
    epsilon : float
        What that operating point is called.

    Returns
    -------
    dict
        JSON-ready: what `measure` gives, by name, and the same for each source under "by_source".
    """
    kept = range(reference + 1)
    test = test.on(kept)
    contenders = {name: (p[:, : len(kept)], chosen) for name, (p, chosen) in contenders.items()}
    metrics: dict[str, Any] = {
        name: measure(p, test, chosen, epsilon, seed=seed) for name, (p, chosen) in contenders.items()
    }
    sources = np.unique(test.tags["source"].astype(str))
    if len(sources) > 1:
        metrics["by_source"] = {}
        for source in sources:
            rows = test.tags["source"] == source
            metrics["by_source"][str(source)] = {
                name: measure(p[rows], test.take(rows), chosen[rows], epsilon, seed=seed)
                for name, (p, chosen) in contenders.items()
            }
    return metrics


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
    best, top_cost = router["tiers"][-1]["name"], router["tiers"][-1]["cost_usd"]
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
        f"  against always {best}",
        f"    saving                      {_percent(point['saving'])}",
        f"    quality kept                {_percent(point['quality_relative_to_top'])}",
        f"    regret (it passes, choice fails)  {_percent(point['regret'])}",
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
