"""What decisions come to by the truth, week by week and over the year. Pure.

Given P(pass), tiers pass independently, so a prompt's true regret is P(reference passes) x (1 - P(chosen passes)), and
nothing where the reference tier itself was chosen. Costs are expected ones, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import beta

from bench.year_history import EVENTS
from router.tiers import Ladder
from training.pipeline.settings import Promotion
from training.synthetic_model import LADDER, true_cost_usd

__all__ = ["PROMISE", "compare", "honoured", "judge", "proportion", "summarise", "summarise_year"]

MODELS = ("champion", "newest", "never")
"""Who serves: the pipeline's champion; the newest registered model, whatever the gate said; one that is never replaced."""
QUARTER = 13
PROMISE = Promotion().max_regret
"""The regret promised of every week."""
MARGIN = Promotion().margin_saving
"""A difference that the gate calls a tie."""


def judge(truth: pd.DataFrame, ladder: Ladder, chosen: NDArray[np.intp], reference: int) -> dict[str, Any]:
    """Return what a week's decisions come to.

    Parameters
    ----------
    truth : DataFrame
        One row per prompt, as `training.synthetic.generate_with_truth` returns it.
    ladder : Ladder
        With the week's prices.
    chosen : int (n,)
        Positions of tiers.
    reference : int
        Position of the tier that regret and saving are against.
    """
    rows = np.arange(len(truth))
    p = truth[[f"p_{name}" for name in LADDER.names]].to_numpy()
    usd = true_cost_usd(truth["family"].tolist(), truth["characters"].to_numpy(), ladder)
    regret = np.where(chosen == reference, 0.0, p[:, reference] * (1.0 - p[rows, chosen]))
    return {
        "prompts": len(truth),
        "reference": LADDER.names[reference],
        "regret": round(float(regret.mean()), 5),
        "quality": round(float(p[rows, chosen].mean()), 5),
        "kept": round(float(p[rows, chosen].mean() / p[:, reference].mean()), 5),
        "saving": round(1.0 - float(usd[rows, chosen].sum() / usd[:, reference].sum()), 5),
        "pass_rates": [round(rate, 4) for rate in p.mean(axis=0).tolist()],
        "always_top": bool((chosen == reference).all()),
    }


def honoured(served: dict[str, Any], promise: float = PROMISE) -> bool:
    """Return whether a week's true regret is within the promise."""
    return bool(served["regret"] <= promise)


def compare(new: dict[str, Any], old: dict[str, Any], promise: float = PROMISE) -> dict[str, Any]:
    """Return how a promoted model compares with the one it replaced, on the same prompts.

    It is worse if it breaks the promise and the old one keeps it, if both break it and it does by more, or if it saves
    less, or keeps less quality, by more than a tie, and makes up for it by nothing. (An old one that broke the promise
    did not save at the promised quality.)
    """
    saved, kept = new["saving"] - old["saving"], new["kept"] - old["kept"]
    if not honoured(new, promise):
        worse = honoured(old, promise) or new["regret"] > old["regret"]
    else:
        behind = (saved < -MARGIN and kept <= 0.0) or (kept < -MARGIN and saved <= 0.0)
        worse = honoured(old, promise) and behind
    return {
        "saved_more": round(saved, 5),
        "kept_more": round(kept, 5),
        "regret_more": round(new["regret"] - old["regret"], 5),
        "worse": bool(worse),
    }


def proportion(count: int, n: int, confidence: float = 0.95) -> dict[str, Any]:
    """Return a share with its exact interval (Clopper and Pearson, 1934)."""
    tail = (1.0 - confidence) / 2.0
    low = float(beta.ppf(tail, count, n - count + 1)) if count else 0.0
    high = float(beta.isf(tail, count + 1, n - count)) if count < n else 1.0
    return {
        "count": count,
        "of": n,
        "share": round(count / n, 4) if n else None,
        "low": round(low, 4) if n else None,
        "high": round(high, 4) if n else None,
    }


def summarise(weeks: Sequence[dict[str, Any]], model: str, promise: float = PROMISE) -> dict[str, Any] | None:
    """Return a year, or a part of it, of one model: how often it kept the promise, what it saved and kept.

    None where it never served. Means are over prompts, not over weeks.
    """
    served = [week[model]["served"] for week in weeks if week.get(model)]
    if not served:
        return None
    further = [week[model]["further"] for week in weeks if week.get(model)]
    prompts = np.array([each["prompts"] for each in served], dtype=np.float64)
    routed = [each for each in served if not each["always_top"]]

    def mean(name: str) -> float:
        return round(float(np.average([each[name] for each in served], weights=prompts)), 4)

    return {
        "weeks": len(served),
        "honoured": proportion(sum(honoured(each, promise) for each in served), len(served)),
        "honoured_routed": proportion(sum(honoured(each, promise) for each in routed), len(routed)),
        "honoured_further": proportion(sum(honoured(each, promise) for each in further), len(further)),
        "always_top": len(served) - len(routed),
        "regret": mean("regret"),
        "worst_regret": max(each["regret"] for each in served),
        "saving": mean("saving"),
        "kept": mean("kept"),
    }


def summarise_year(weeks: Sequence[dict[str, Any]], promise: float = PROMISE) -> dict[str, Any]:
    """Return the year's document, given the record of each week's run, in order."""
    same = [week for week in weeks if week["never"]]
    promotions = [
        {"week": week["week"], **told, **compare(told["new"], told["old"], promise)}
        for week in weeks
        if (told := week.get("promotion"))
    ]
    quarters = [weeks[start : start + QUARTER] for start in range(0, len(weeks), QUARTER)]
    return {
        "promise": promise,
        "weeks": len(weeks),
        "models": {model: summarise(weeks, model, promise) for model in MODELS},
        "models_since_never": {model: summarise(same, model, promise) for model in MODELS},
        "since_never": same[0]["served"] if same else None,
        "quarters": [
            {
                "from": some[0]["served"],
                "to": some[-1]["served"],
                "runs": _count_runs(some),
                **{model: summarise(some, model, promise) for model in MODELS},
            }
            for some in quarters
        ],
        "runs": _count_runs(weeks),
        "promotions": promotions,
        "worse": sum(each["worse"] for each in promotions),
        "broken": [
            {
                "served": week["served"],
                "prompts": week["champion"]["served"]["prompts"],
                "regret": week["champion"]["served"]["regret"],
                "further": week["champion"]["further"]["regret"],
            }
            for week in weeks
            if not honoured(week["champion"]["served"], promise)
        ],
        "events": _events(weeks),
        "seconds": _seconds(weeks),
        "by_week": [_brief(week) for week in weeks],
    }


def _count_runs(weeks: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return how often each thing was the outcome of a run."""
    said = [week["retrain"] for week in weeks]
    ids = [week["champion"]["served"].get("model_id") for week in weeks]
    return {
        "runs": len(said),
        "promoted": sum(bool(each.get("promoted")) for each in said),
        "kept": sum(each.get("verdict") == "KEEP" for each in said),
        "do_not_route": sum(each.get("verdict") == "DO NOT ROUTE" for each in said),
        "void": sum(bool(each.get("void")) for each in said),
        "demoted": sum(bool(each.get("demoted")) for each in said),
        "refused": sum(each["exit_code"] == 3 for each in said),
        "gate_could_not_run": sum(each["exit_code"] == 4 for each in said),
        "models_that_served": len({name for name in ids if name}),
    }


def _events(weeks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what happened, with each tier's pass rate in the week before and from then on."""
    rates = {week["served"]: week["champion"]["further"]["pass_rates"] for week in weeks}
    return [
        {
            "week": event.week,
            "name": event.name,
            "text": event.text,
            "before": rates.get(event.week - 1),
            "after": rates[event.week],
        }
        for event in EVENTS
        if event.week in rates
    ]


def _seconds(weeks: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what a run took: median and longest, and MLflow's part."""
    wall = [week["retrain"]["wall_s"] for week in weeks]
    tracking = [week["retrain"].get("tracking_s") or 0.0 for week in weeks]
    return {
        "median": round(float(np.median(wall)), 1),
        "longest": max(wall),
        "all": round(sum(wall), 1),
        "tracking_median": round(float(np.median(tracking)), 1),
        "tracking_longest": round(max(tracking), 1),
    }


def _brief(week: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure needs of a week."""
    said = week["retrain"]
    return {
        "served": week["served"],
        "events": week["events"],
        "verdict": said.get("verdict"),
        "exit_code": said["exit_code"],
        "promoted": bool(said.get("promoted")),
        "void": bool(said.get("void")),
        "prompts": week["champion"]["served"]["prompts"],
        **{
            model: {
                "regret": week[model]["served"]["regret"],
                "further": week[model]["further"]["regret"],
                "saving": week[model]["served"]["saving"],
                "kept": week[model]["served"]["kept"],
                "always_top": week[model]["served"]["always_top"],
            }
            for model in MODELS
            if week[model]
        },
    }
