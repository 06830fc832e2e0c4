"""Reference statistics: what the training data looked like, so that drift can be told later. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.drift_chance import Binned, bin_shares, group_numbers, mean_error
from eval.drift_outcomes import describe_calibration
from eval.outcomes import Outcomes
from router.features import FEATURE_NAMES
from router.scorer import Scores
from training.novelty import is_novel

__all__ = ["describe_held", "describe_reference"]

_QUANTILES = np.linspace(0.0, 1.0, 11)


def describe_reference(
    X: NDArray[np.float32],
    p_pass: NDArray[Any],
    novelty: NDArray[np.float32],
    tiers: tuple[str, ...],
    groups: NDArray[np.object_] | None = None,
) -> dict[str, Any]:
    """Return deciles of each shape feature, of each tier's p_pass and of novelty, and the mean embedding.

    Parameters
    ----------
    X : (n, width), p_pass : (n, k), novelty : (n,)
        Rows of the training part; p_pass out of fold.
    groups : object array (n,), optional
        str; given these, `groups` and, per feature, `bins` that drift is told by (`eval.drift_chance.Binned`) come with it.
    """
    dimension = X.shape[1] - len(FEATURE_NAMES)
    shapes = np.quantile(X[:, dimension:], _QUANTILES, axis=0).T
    grouped: dict[str, Any] = {}
    if groups is not None:
        of = group_numbers(groups)
        columns = zip(FEATURE_NAMES, X[:, dimension:].T, strict=True)
        bins = {name: Binned.of(column, of).to_dict() for name, column in columns}
        grouped = {"groups": int(of.max()) + 1, "bins": bins}
    return {
        "prompts": len(X),
        **grouped,
        "quantiles": [round(float(q), 2) for q in _QUANTILES],
        "features": {name: _rounded(row) for name, row in zip(FEATURE_NAMES, shapes, strict=True)},
        "p_pass": {name: _rounded(np.quantile(p_pass[:, k], _QUANTILES)) for k, name in enumerate(tiers)},
        "novelty": _rounded(np.quantile(novelty, _QUANTILES)),
        "mean_embedding": _rounded(X[:, :dimension].mean(axis=0, dtype=np.float64)),
    }


def describe_held(outcomes: Outcomes, scores: Scores, novel_above: float) -> dict[str, Any]:
    """Return what the finished model says of prompts that the fit did not learn from, and what came of them.

    On its own prompts a model is surer, and nothing is novel, so drift of scores is told from these: the calibration and
    test parts together.

    Parameters
    ----------
    outcomes : Outcomes
        Those prompts, none or more.
    scores : Scores
        What the graph makes of them.
    novel_above : float
        Novelty above which a prompt escalates.

    Returns
    -------
    dict
        JSON-ready: `prompts`, `groups`, `novel` (`share`, `effective`); by tier, and without those that have no outcome,
        `p_pass` (bins), `passed` (`share`, `effective`), `cost` (`mean_usd`, `error_usd`, `groups`) and `calibration` (`gap`: pass
        rate less mean p, `error`, `groups`, `bins`). `effective` counts independent prompts. Empty without prompts.
    """
    if not len(outcomes):
        return {}
    groups = group_numbers(outcomes.groups)
    novel, effective = bin_shares(is_novel(scores.novelty, novel_above).astype(np.intp), 2, groups)
    found: dict[str, Any] = {
        "prompts": len(outcomes),
        "groups": int(groups.max()) + 1,
        "novel": {"share": float(novel[1]), "effective": round(effective, 1)},
        "p_pass": {},
        "passed": {},
        "cost": {},
        "calibration": {},
    }
    for k, tier in enumerate(outcomes.ladder.names):
        whole = Binned.of(scores.p_pass[:, k], groups)
        found["p_pass"][tier] = whole.to_dict()
        seen = np.flatnonzero(~np.isnan(outcomes.passed[:, k]))
        if not len(seen):
            continue
        own = group_numbers(outcomes.groups[seen])
        p, passed = scores.p_pass[seen, k].astype(np.float64), outcomes.passed[seen, k].astype(np.float64)
        shares, effective = bin_shares(passed.astype(np.intp), 2, own)
        found["passed"][tier] = {"share": float(shares[1]), "effective": round(effective, 1)}
        if own.max() == 0:  # one group says nothing of how sure a mean is
            continue
        n_groups = int(own.max()) + 1
        usd, error_usd = mean_error(outcomes.cost_usd[seen, k], own)
        found["cost"][tier] = {"mean_usd": usd, "error_usd": error_usd, "groups": n_groups}
        gap, error = mean_error(passed - p, own)
        found["calibration"][tier] = {
            "gap": gap,
            "error": error,
            "groups": n_groups,
            "bins": describe_calibration(p, passed, own, whole.edges),
        }
    return found


def _rounded(values: NDArray[Any]) -> list[float]:
    return [round(float(value), 5) for value in values]
