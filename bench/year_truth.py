"""What decisions come to by the truth, week by week and over the year. Pure.

Given P(pass), tiers pass independently, so a prompt's true regret is P(reference passes) x (1 - P(chosen passes)), and
nothing where the reference tier itself was chosen. Costs are expected ones, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.year_history import EVENTS
from eval.bounds import rate_bounds
from eval.curve import router_curve
from eval.scene import MAX_SETTINGS
from router.tiers import Ladder
from training.pipeline.settings import Promotion
from training.synthetic_model import LADDER, true_cost_usd

__all__ = [
    "MARGIN_QUALITY", "MARGIN_SAVING", "PROMISE", "Said", "compare", "honoured", "judge", "lead_at_same_cost", "proportion",
    "summarise", "summarise_year",
]  # fmt: skip

Floats = NDArray[np.float64]

MODELS = ("champion", "newest", "never")
"""Who serves: the pipeline's champion; the newest registered model, whatever the gate said; one that is never replaced."""
QUARTER = 13
PROMISE = Promotion().max_regret
"""The regret promised of every week."""
MARGIN_SAVING, MARGIN_QUALITY = Promotion().margin_saving, Promotion().margin_quality
"""Differences that the gate calls a tie, in saving and in quality at the same cost."""


class Said(NamedTuple):
    """What a model says of n prompts.

    Attributes
    ----------
    scores, usd : float64 (n, k)
        Its pass probabilities and expected costs.
    """

    scores: Floats
    usd: Floats


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
    p, usd = _true_of(truth, ladder)
    regret = np.where(chosen == reference, 0.0, p[:, reference] * (1.0 - p[rows, chosen]))
    return {
        "prompts": len(truth),
        "reference": LADDER.names[reference],
        "regret": round(float(regret.mean()), 5),
        "quality": round(float(p[rows, chosen].mean()), 5),
        "kept": round(float(p[rows, chosen].mean() / p[:, reference].mean()), 5),
        "saving": round(1.0 - float(usd[rows, chosen].sum() / usd[:, reference].sum()), 5),
        "usd": float(f"{usd[rows, chosen].mean():.6g}"),
        "pass_rates": [round(rate, 4) for rate in p.mean(axis=0).tolist()],
        "always_top": bool((chosen == reference).all()),
    }


def lead_at_same_cost(truth: pd.DataFrame, ladder: Ladder, new: Said, old: Said, spent_usd: float) -> float:
    """Return how much better a true quality the new model's scores buy than the old one's, at the same cost.

    The gate's second measure, by the truth. Read off hulls of all prices: P(pass) is known and prompts are many, so choosing
    prices on the prompts that are judged flatters neither side, and the gate's cross-fitted lines give the same within .1 points.

    Parameters
    ----------
    truth, ladder
        As for `judge`.
    spent_usd : float
        True mean USD per prompt of what the new model decided.
    """
    p, usd = _true_of(truth, ladder)
    reached = [
        router_curve(said.scores, p, usd, expected_cost_usd=said.usd, max_points=MAX_SETTINGS).quality_at(
            spent_usd
        )
        for said in (new, old)
    ]
    return reached[0] - reached[1]


def _true_of(truth: pd.DataFrame, ladder: Ladder) -> tuple[Floats, Floats]:
    """Return P(pass) and expected USD, each (n, k)."""
    p = truth[[f"p_{name}" for name in LADDER.names]].to_numpy(dtype=np.float64)
    return p, true_cost_usd(truth["family"].tolist(), truth["characters"].to_numpy(), ladder)


def honoured(served: dict[str, Any], promise: float = PROMISE) -> bool:
    """Return whether a week's true regret is within the promise."""
    return bool(served["regret"] <= promise)


def compare(
    new: dict[str, Any], old: dict[str, Any], same_cost: float | None, promise: float = PROMISE
) -> dict[str, Any]:
    """Return how a champion compares with the one that it replaced, on the same prompts, by the gate's own two measures.

    It is worse if it breaks the promise and the old one keeps it; if both break it and it does by more; or if both keep it
    and in one measure, saving or quality at the same cost, it is behind by more than the gate's margin, and in the other not
    ahead by more than its. (An old one that broke the promise did not save at the promised quality.)

    Parameters
    ----------
    new, old : dict
        As `judge` gives them.
    same_cost : float or None
        As `lead_at_same_cost` gives it; None where one of the two has no scores, and then only saving counts.
    """
    saved, quality = new["saving"] - old["saving"], 0.0 if same_cost is None else same_cost
    if not honoured(new, promise):
        worse = honoured(old, promise) or new["regret"] > old["regret"]
    else:
        saves_less = saved < -MARGIN_SAVING and quality <= MARGIN_QUALITY
        knows_less = quality < -MARGIN_QUALITY and saved <= MARGIN_SAVING
        worse = honoured(old, promise) and (saves_less or knows_less)
    return {
        "saved_more": round(saved, 5),
        "kept_more": round(new["kept"] - old["kept"], 5),
        "same_cost": None if same_cost is None else round(same_cost, 5),
        "saved_less": bool(saved < -MARGIN_SAVING and honoured(old, promise)),
        "worse": bool(worse),
    }


def proportion(count: int, n: int) -> dict[str, Any]:
    """Return a share with its exact interval at 95 % (Clopper and Pearson, 1934)."""
    if not n:
        return {"count": count, "of": n, "share": None, "low": None, "high": None}
    low, high = (round(bound, 4) for bound in rate_bounds(count, n))
    return {"count": count, "of": n, "share": round(count / n, 4), "low": low, "high": high}


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
    """Return what a year comes to, given the record of each week's run, in order."""
    same = [week for week in weeks if week["never"]]
    changes = [
        {
            "week": week["week"],
            "how": told["how"],
            "said": week["retrain"].get("headline"),
            "new": told["new"],
            "old": told["old"],
            **compare(told["new"], told["old"], told["same_cost"], promise),
        }
        for week in weeks
        if (told := week["change"])
    ]
    quarters = [weeks[start : start + QUARTER] for start in range(0, len(weeks), QUARTER)]
    return {
        "commits": list(dict.fromkeys(week["commit"] for week in weeks)),
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
        "changes": changes,
        "worse": sum(each["worse"] for each in changes),
        "saved_less": sum(each["saved_less"] for each in changes),
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
    return {
        "runs": len(said),
        "promoted": sum(bool(each.get("promoted")) for each in said),
        "kept": sum(each.get("verdict") == "KEEP" for each in said),
        "do_not_route": sum(each.get("verdict") == "DO NOT ROUTE" for each in said),
        "void": sum(bool(each.get("void")) for each in said),
        "demoted": sum(bool(week["change"]) and week["change"]["how"] == "demoted" for week in weeks),
        "refused": sum(each["exit_code"] == 3 for each in said),
        "gate_could_not_run": sum(each["exit_code"] == 4 for each in said),
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
        "longest": round(max(wall), 1),
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
