"""Learning curves: what a number of labelled prompts is worth.

Pure, given a seed. Groups are drawn until they hold as many prompts as asked for; all other groups judge. Each
size is drawn several times, since a few hundred prompts differ much from a few hundred others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from eval.baselines import Estimator
from eval.design import Design
from eval.expected import Answers, expect_costs
from eval.folds import Fold, Plan
from eval.outcomes import Outcomes
from eval.parallel import run_calls
from eval.scene import Scene, price_settings, serve
from eval.scoring import score_out_of_sample

__all__ = ["SIZES", "learning_curve"]

SIZES = {200: 12, 500: 8, 1500: 4, 5000: 4}
"""Labelled prompts, and how often they are drawn."""

LEAST_JUDGED = 200


def learning_curve(
    outcomes: Outcomes,
    design: Design,
    estimators: dict[str, Estimator],
    answers: Answers,
    seed: int = 0,
    workers: int = 1,
    tick: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return what estimators close of the gap when fitted on fewer prompts.

    Returns
    -------
    list of dict
        Per size that leaves 200 prompts to judge: prompts, how many judge, draws, and per estimator under "gap_closed"
        the mean and the standard deviation over draws.
    """
    plans = {
        (size, draw): Plan((_draw(outcomes, size, seed + draw),), "learning", "")
        for size, draws in SIZES.items()
        for draw in range(draws)
    }
    too_large = {size for (size, _), plan in plans.items() if len(plan.folds[0].test) < LEAST_JUDGED}
    calls = (
        delayed(_measure)(size, draw, outcomes, design, plan, estimators, answers, seed)
        for (size, draw), plan in plans.items()
        if size not in too_large
    )
    gaps: dict[int, dict[int, dict[str, float]]] = {size: {} for size in SIZES if size not in too_large}
    for size, draw, found in run_calls(calls, workers):
        gaps[size][draw] = found
        tick(f"{size} prompts")
    return [
        {
            "prompts": size,
            "judged": len(plans[size, 0].folds[0].test),
            "draws": len(draws),
            "gap_closed": {
                name: _spread([draws[draw][name] for draw in sorted(draws)]) for name in estimators
            },
        }
        for size, draws in gaps.items()
    ]


def _measure(
    size: int,
    draw: int,
    outcomes: Outcomes,
    design: Design,
    plan: Plan,
    estimators: dict[str, Estimator],
    answers: Answers,
    seed: int,
) -> tuple[int, int, dict[str, float]]:
    """Return the gap that each estimator closes on one draw, and which draw it is."""
    scores = score_out_of_sample(design, plan, estimators, seed + draw)
    test = plan.folds[0].test
    judged = expect_costs(outcomes, design, plan, answers).take(test)
    return size, draw, {name: _gap(judged, p[test], seed) for name, p in scores.items()}


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}


def _draw(outcomes: Outcomes, size: int, seed: int) -> Fold:
    """Draw whole groups, in random order, until they hold enough prompts; the complete rows of the others judge."""
    _, codes = np.unique(outcomes.groups.astype(str), return_inverse=True)
    order = np.random.default_rng(seed).permutation(codes.max() + 1)
    held = np.cumsum(np.bincount(codes)[order])
    learned = order[: int(np.searchsorted(held, size)) + 1]
    train = np.isin(codes, learned)
    return Fold(np.flatnonzero(train), np.flatnonzero(~train & outcomes.complete))


def _gap(outcomes: Outcomes, p: NDArray[np.float64], seed: int) -> float:
    scene = Scene.of(outcomes, 1, seed)
    return float(scene.closed(scene.area(scene.line(*serve(scene, price_settings(p, outcomes)))))[0])
