"""An evaluation, from outcomes to the document that reports are made of.

Pure, given a seed. Scores are out of sample, every contender is held against the same prompts and prices, and a
history that allows no judgement gets the verdict CANNOT TELL instead of figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval import censored
from eval.baselines import LABELS, Estimator, always_middle, hand_rule
from eval.comparison import compare, setting_at_share
from eval.design import Design
from eval.estimators import SUBJECT
from eval.expected import Answers, expect_costs
from eval.folds import Plan, require_no_leak
from eval.misroutes import worst_misroutes
from eval.outcomes import Outcomes
from eval.promises import Promised, half_promises, model_promises
from eval.scene import Scene, measure_choice
from eval.scoring import score_out_of_sample
from eval.slices import slices
from eval.summary import summarise
from eval.verdict import MIN_GROUPS, MIN_PROMPTS, cannot_tell, decide, why_not

__all__ = ["SCHEMA", "evaluate", "undecided"]

SCHEMA = 1
"""Version of the document's form."""

SLICE_DRAWS = 200
PROMISE_DRAWS = 500

Floats = NDArray[np.float64]


def evaluate(
    outcomes: Outcomes,
    design: Design,
    plan: Plan,
    estimators: dict[str, Estimator],
    answers: Answers | None = None,
    *,
    model_scores: Floats | None = None,
    model_costs: Floats | None = None,
    decisions: NDArray[np.intp] | None = None,
    epsilon: float | None = None,
    promised: Promised | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    workers: int = 1,
    with_prompts: bool = False,
    tick: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Judge a router on a history.

    Parameters
    ----------
    outcomes, design : Outcomes, Design
        The same n prompts.
    plan : Plan
        Who learns from what, and who judges.
    estimators : dict of str to Estimator
        Fitted fold by fold; with the subject among them unless `model_scores` are given.
    answers : Answers, optional
        Predicts the cost of answers, fold by fold, for all contenders alike; without it, and without
        `model_costs`, a call is taken to cost its tier's mean.
    model_scores : float64 (n, k), optional
        What a finished model says: then that is the subject.
    model_costs : float64 (n, k), optional
        What it expects a call to cost, USD: then all contenders are held to that.
    decisions : int (n,), optional
        What that model decides when its caller asks for nothing.
    epsilon : float, optional
        The expected loss that it accepts then for saving one average call of the reference tier.
    promised : Promised, optional
        What that model promises, and decides when it is asked to.
    with_prompts : bool
        Show the text of the worst misroutes.
    tick : callable
        Called with an estimator's name, once per finished fold.

    Returns
    -------
    dict
        JSON-ready: "sampling", "data", "comparison", "operating_point", "promises", "slices", "misroutes", "verdict".

    Raises
    ------
    ValueError
        The plan lets a fold learn from what judges it.
    """
    constant = bool((design.X[0] == design.X).all())
    require_no_leak(plan, outcomes)
    rows = _tested(plan)
    if model_costs is not None:
        outcomes = replace(outcomes, expected_cost_usd=model_costs)
    elif answers is not None:
        outcomes = expect_costs(outcomes, design, plan, answers)
    judged = outcomes.take(rows)
    why = why_not(judged, constant_prompts=constant) or _same_cost(judged)
    if why is not None:
        return undecided(outcomes, why, plan, seed)
    scores = score_out_of_sample(design, plan, estimators, seed, tick, workers)
    if model_scores is not None:
        scores = {SUBJECT: model_scores.astype(np.float64), **scores}
    scores = {name: p[rows] for name, p in scores.items()}
    k = len(outcomes.ladder)
    fixed = {"hand-rule": hand_rule(design.texts[rows], k), "always-middle": always_middle(len(rows), k)}
    comparison = compare(judged, scores, fixed, SUBJECT, LABELS, n_boot, seed)
    verdict = decide(comparison, constant_prompts=constant)
    if verdict["word"] == "CANNOT TELL":  # figures of nothing would only be misread
        return undecided(outcomes, verdict["reason"], plan, seed)
    chosen = setting_at_share(judged, scores[SUBJECT]) if decisions is None else decisions[rows]
    return {
        "sampling": _sampling(plan, seed),
        "data": summarise(outcomes),
        "comparison": comparison,
        "operating_point": None
        if decisions is None
        else _operating_point(judged, chosen, promised, epsilon, n_boot, seed),
        "promises": _promises(
            judged, scores[SUBJECT], None if promised is None else promised.take(rows), model_scores, seed
        ),
        "slices": slices(judged, scores[SUBJECT], scores["length"], chosen, SLICE_DRAWS, seed),
        "misroutes": worst_misroutes(judged, scores[SUBJECT], chosen, with_prompt=with_prompts),
        "verdict": verdict,
    }


def undecided(outcomes: Outcomes, why: str, plan: Plan | None = None, seed: int = 0) -> dict[str, Any]:
    """Return the document of a history that allows no judgement. Pure."""
    judged = outcomes if plan is None else outcomes.take(_tested(plan))
    return {
        "sampling": None if plan is None else _sampling(plan, seed),
        "data": summarise(outcomes),
        "comparison": None,
        "operating_point": None,
        "promises": None,
        "slices": [],
        "misroutes": [],
        "verdict": cannot_tell(why, _advice(judged)),
    }


def _tested(plan: Plan) -> NDArray[np.intp]:
    return np.sort(np.concatenate([fold.test for fold in plan.folds]))


def _same_cost(outcomes: Outcomes) -> str | None:
    """Return why no figure is possible where all tiers cost the same: a cost-quality curve has no width then."""
    cost = outcomes.cost_usd[outcomes.complete].mean(axis=0)
    if np.ptp(cost) > 1e-9 * cost.max():
        return None
    return (
        f"Every tier costs the same here, {cost[0]:.3g} USD per prompt, so there is no cost to weigh against quality. "
        "Check cost_usd in the history, or the prices in the tiers file."
    )


def _advice(outcomes: Outcomes) -> str:
    """Return what would allow a judgement of these outcomes; nothing where more of the same would not."""
    if len(outcomes.ladder) < 2:
        return "Name two tiers or more in the tiers file, cheapest first."
    complete = outcomes.complete
    if complete.sum() < MIN_PROMPTS:
        found = censored.describe(outcomes)
        if found is not None:
            return " ".join(found["sentences"])
        return (
            f"Try every tier on the same prompts and grade the answers: {MIN_PROMPTS} prompts of {MIN_GROUPS} groups at "
            "the least, hundreds to see small differences."
        )
    if len(np.unique(outcomes.groups[complete].astype(str))) < MIN_GROUPS:
        return (
            "The column group says which prompts belong together; without it, prompts of the same text do. Add prompts "
            "of other groups."
        )
    return ""


def _sampling(plan: Plan, seed: int) -> dict[str, Any]:
    return {"method": plan.method, "text": plan.text, "folds": len(plan.folds), "seed": seed}


def _promises(
    judged: Outcomes, scores: Floats, promised: Promised | None, model_scores: Floats | None, seed: int
) -> dict[str, Any] | None:
    """Return what the model promises, or what a fit could; None of a model that does not say."""
    if promised is not None:
        return model_promises(judged, promised, PROMISE_DRAWS, seed)
    return half_promises(judged, scores, PROMISE_DRAWS, seed) if model_scores is None else None


def _operating_point(
    outcomes: Outcomes,
    chosen: NDArray[np.intp],
    promised: Promised | None,
    epsilon: float | None,
    n_boot: int,
    seed: int,
) -> dict[str, Any]:
    """Return what a model's own decisions attain against its reference tier, on the prompts that every tier answered."""
    complete = outcomes.complete
    scene, tiers = Scene.of(outcomes.take(complete), n_boot, seed), chosen[complete]
    names = outcomes.ladder.names
    best = names[-1] if promised is None else promised.decision["reference"]
    return {
        "text": "The model's decisions when its caller asks for nothing.",
        "epsilon": epsilon,
        "reference": best,
        **measure_choice(scene, tiers, names.index(best)),
        "share_per_tier": {name: float((tiers == k).mean()) for k, name in enumerate(names)},
    }
