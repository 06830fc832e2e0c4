"""Scores out of sample: every estimator, fitted on each fold's training rows, predicts the rows that judge it.

The rule: deterministic, whatever the number of processes. An estimator is never shown the outcomes of the rows
that it predicts, so it cannot lean on them by mistake.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from joblib import delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from eval.baselines import Estimator
from eval.design import Design
from eval.folds import Fold, Plan
from eval.parallel import run_calls

__all__ = ["score_out_of_sample"]

Floats = NDArray[np.float64]


def score_out_of_sample(
    design: Design,
    plan: Plan,
    estimators: dict[str, Estimator],
    seed: int = 0,
    tick: Callable[[str], None] = lambda _: None,
    workers: int = 1,
) -> dict[str, Floats]:
    """Fit each estimator on each fold and predict what was left out. Deterministic, given a seed.

    Parameters
    ----------
    estimators : dict of str to Estimator
        Called with train, test and seed; test has no outcomes: `passed` is NaN, `label` is UNKNOWN and there are no costs. With
        more than one worker, they are sent to other processes, so what they change there stays there.
    tick : callable
        Called in this process with the estimator's name, once per finished fold and estimator.
    workers : int
        Processes, 1 or more; 1 stays in this one. Each uses one thread.

    Returns
    -------
    dict of str to float64 (n, k)
        P(pass) per tier; rows in no test fold are NaN.

    Raises
    ------
    ValueError
        An estimator returns another shape, or a value that is no probability; the plan does not fit the
        design; `workers` is below 1. What an estimator itself raises passes through.
    """
    if workers < 1:
        raise ValueError(f"workers is 1 or more; found {workers}")
    tested = np.concatenate([np.empty(0, np.intp), *(fold.test for fold in plan.folds)])
    if len(np.unique(tested)) != len(tested) or tested.max(initial=-1) >= len(design):
        raise ValueError(
            f"a plan tests each of {len(design)} rows at most once; found {len(tested)} rows, or others"
        )
    scores = {name: np.full(design.passed.shape, np.nan) for name in estimators}
    # By estimator, so that the slow ones do not all come last.
    tasks = [(name, number) for name in estimators for number in range(len(plan.folds))]
    calls = (
        delayed(_score_fold)(name, number, estimators[name], design, plan.folds[number], seed)
        for name, number in tasks
    )
    for name, number, p in run_calls(calls, min(workers, len(tasks))):
        scores[name][plan.folds[number].test] = p
        tick(name)
    return scores


def _score_fold(
    name: str, number: int, estimator: Estimator, design: Design, fold: Fold, seed: int
) -> tuple[str, int, Floats]:
    """Fit and predict one fold; return it with what it belongs to."""
    test = design.take(fold.test)
    with threadpool_limits(1):
        p = np.asarray(estimator(design.take(fold.train), test.blind(), seed), dtype=np.float64)
    if p.shape != test.passed.shape:
        raise ValueError(f"estimator {name}: expected shape {test.passed.shape}, found {p.shape}")
    if not np.isfinite(p).all() or p.min(initial=0.0) < 0.0 or p.max(initial=0.0) > 1.0:
        raise ValueError(
            f"estimator {name}: expected probabilities, found NaN, infinity, or a value outside 0 to 1"
        )
    return name, number, p
