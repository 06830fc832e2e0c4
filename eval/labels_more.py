"""What more labels would buy: how far the certificate's bound on regret comes down, and what it costs.

Pure. The policy whose regret is bounded here is the plainest, one cheaper tier for all, against the reference tier: a router
fitted on the history does better, and its certificate rests on the same number of groups. Bounds are the exact ones that
`eval.certify` tests with, at the rate that is seen now; that rate has an interval of its own, which is said beside.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.bounds import groups_needed, upper_bound
from eval.certify import ALPHAS, DELTA
from eval.labels_rows import Labels
from eval.labels_shares import share
from eval.ladder import best_tier
from eval.split import CALIBRATION_SHARE, split_rows

__all__ = ["MULTIPLES", "groups_for", "price_more"]

MULTIPLES = (1, 2, 4, 10)
PROMISES = (0.2, 0.1, 0.05, 0.02, 0.01)
_POINTS = 25
_MOST = 10_000_000  # groups; what needs more is out of reach


def price_more(labels: Labels, usd_per_prompt: float, seed: int = 0) -> dict[str, Any]:
    """Return what bounds on regret become with more labels, and what these cost. Pure.

    Parameters
    ----------
    usd_per_prompt : float
        A call of each tier and its grading.

    Returns
    -------
    dict
        JSON-ready: `reference`; `groups`, calibration groups now (those of `eval.split.split_rows` that every tier has a label on);
        `prompts`, all of the history that count for promises; `delta`; `why`, a sentence where nothing can be said, else None;
        `tiers`, per cheaper tier `tier`, `regret` (`eval.labels_shares.share` over groups) and `needed` (groups by promise, None out of
        reach at the rate seen); `steps`, per multiple of the labels `multiple`, `groups`, `prompts` (asked on every tier), `more_prompts`, `usd`, `zero`
        (least promise with no failure at all), `bounds` (per tier: `tier`, `bound`, `promise`: the least of the certificate's grid at or
        above, None beyond it, and `low`, `high`, the bound at the ends of the rate's interval); `curve`, the same bounds at more points;
        `router`, per promise `alpha`, `groups_at_least` (where no calibration prompt goes wrong), `groups` (where half of the
        promise does), and `more_prompts` and `usd` to have these.
    """
    outcomes, names = labels.outcomes, labels.names
    reference = best_tier(outcomes)
    found: dict[str, Any] = {
        "reference": names[reference],
        "groups": 0,
        "prompts": int(outcomes.complete.sum()),
        "delta": DELTA,
        "why": None,
        "tiers": [],
        "steps": [],
        "curve": [],
        "router": [],
    }
    why = _why_not(labels, outcomes.complete)
    if why:
        return found | {"why": why}
    held = outcomes.complete & split_rows(outcomes, seed).calibration
    # A history of a few groups may have none in its calibration part; it counts as what it has on average.
    total = len(np.unique(labels.groups[outcomes.complete]))
    n = len(np.unique(labels.groups[held])) or max(1, round(CALIBRATION_SHARE * total))
    rates = {names[k]: _regret(labels, k, reference) for k in range(len(names)) if k != reference}
    asked = _asked(labels)
    steps = []
    for multiple in MULTIPLES:
        more = (multiple - 1) * asked
        steps.append(
            {
                "multiple": multiple,
                "groups": n * multiple,
                "prompts": asked * multiple,
                "more_prompts": more,
                "usd": more * usd_per_prompt,
                **_bounds(rates, n * multiple),
            }
        )
    points = np.unique(np.geomspace(n, MULTIPLES[-1] * n, _POINTS).round().astype(int)).tolist()
    return found | {
        "groups": n,
        "tiers": [
            {
                "tier": tier,
                "regret": rate,
                "needed": {f"{alpha:g}": groups_for(rate["value"], alpha, DELTA) for alpha in PROMISES},
            }
            for tier, rate in rates.items()
        ],
        "steps": steps,
        "curve": [{"groups": point, **_bounds(rates, point)} for point in points],
        "router": [_promise(alpha, n, asked, usd_per_prompt) for alpha in PROMISES],
    }


def _promise(alpha: float, n: int, asked: int, usd_per_prompt: float) -> dict[str, Any]:
    """Return what a router's promise takes: it chooses its price by the promise, so it regrets a part of that."""
    likely = groups_for(alpha / 2, alpha, DELTA)
    assert likely is not None, "half of a promise is within it"  # noqa: S101
    more = ceil(max(likely - n, 0) * asked / n)
    return {
        "alpha": alpha,
        "groups_at_least": groups_needed(alpha, DELTA),
        "groups": likely,
        "more_prompts": more,
        "usd": more * usd_per_prompt,
    }


def groups_for(rate: float, alpha: float, delta: float) -> int | None:
    """Return the least groups at which a rate that stays as seen is bounded by alpha; None where no number does. Pure."""
    if rate >= alpha:
        return None
    low = high = groups_needed(alpha, delta)
    while upper_bound(rate * high, high, delta) > alpha:
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while low < high:  # the bound falls as groups grow, the rate held
        middle = (low + high) // 2
        low, high = (
            (low, middle) if upper_bound(rate * middle, middle, delta) <= alpha else (middle + 1, high)
        )
    return high


def _asked(labels: Labels) -> int:
    """Return how many prompts every tier was asked: of as many more, as large a part will have a label on every tier."""
    pairs = pd.DataFrame({"prompt": labels.history.rows["prompt_id"].to_numpy(), "tier": labels.tier})
    tiers = pairs[pairs["tier"] >= 0].groupby("prompt")["tier"].nunique()
    return int((tiers == len(labels.names)).sum())


def _why_not(labels: Labels, complete: NDArray[np.bool_]) -> str | None:
    if len(labels.ladder) < 2:
        return "The ladder has one tier, so there is nothing to route between."
    missing = [name for name in labels.ladder.names if name not in labels.names]
    if missing:
        return f"No answer of {', '.join(missing)} has a label, and a promise takes labels of every tier on the same prompts."
    if not complete.any():
        return "No prompt has a label on every tier, and a promise takes labels of every tier on the same prompts."
    if len(np.unique(labels.groups[complete])) < 2:
        return "All prompts with a label on every tier are of one group, which counts once."
    return None


def _regret(labels: Labels, k: int, reference: int) -> dict[str, Any]:
    """Return how often a tier fails where the reference passes, of a prompt drawn from a group drawn."""
    passed = labels.outcomes.passed
    rows = ~np.isnan(passed).any(axis=1)
    regretted = (passed[rows, reference] == 1.0) & (passed[rows, k] == 0.0)
    groups, weight = labels.groups[rows], labels.weight[rows]
    sizes = np.bincount(groups)[groups]
    return share(regretted.astype(np.float64), weight / sizes, groups)


def _bounds(rates: dict[str, dict[str, Any]], n: int) -> dict[str, Any]:
    bounds = []
    for tier, rate in rates.items():
        ends = {key: float(upper_bound(rate[key] * n, n, DELTA)) for key in ("value", "low", "high")}
        bounds.append(
            {
                "tier": tier,
                "bound": ends["value"],
                "low": ends["low"],
                "high": ends["high"],
                "promise": next((alpha for alpha in ALPHAS if ends["value"] <= alpha), None),
            }
        )
    return {"zero": float(upper_bound(0.0, n, DELTA)), "bounds": bounds}
