"""How often each tier passes, over all and slice by slice, with intervals.

Pure. A rate is about the prompts that a tier has a label on. Prompts count by the weight that sampling gave them, and in a log
where tiers were chosen by a known chance, an outcome counts by the inverse of it (`eval.censored.outcome_weights`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.censored import outcome_weights
from eval.labels_rows import Labels
from eval.labels_shares import share
from eval.labels_slices import Slice

__all__ = ["label_weights", "measure_rates"]

Floats = NDArray[np.float64]


def label_weights(labels: Labels) -> Floats:
    """Return how many prompts each label stands for, (n, k). Pure."""
    by_chance = outcome_weights(labels.outcomes)
    weight = np.repeat(labels.weight[:, None], len(labels.names), axis=1)
    return weight if by_chance is None else weight * by_chance


def measure_rates(labels: Labels, slices: Sequence[Slice]) -> dict[str, Any]:
    """Return pass rates by tier and slice. Pure.

    Returns
    -------
    dict
        JSON-ready: `all`, an entry; `whole`, an entry on the prompts that every tier has a label on, None where those are all
        or none; `slices`, an entry each with `by` and `value`; `looked_at`, the number of intervals of slices. An entry holds `prompts`,
        `groups`, `share` (of the population) and, per tier under `tiers`: `tier`, `rate` (`eval.labels_shares.share`), `passed`
        and `mean_score`, None where scores are all 0 or 1.
    """
    weight, everyone = label_weights(labels), np.ones(len(labels.outcomes), np.bool_)
    observed = ~np.isnan(labels.outcomes.passed)
    whole = np.asarray(observed.all(axis=1))
    entries = [{"by": each.by, "value": each.value} | _entry(labels, weight, each.inside) for each in slices]
    return {
        "all": _entry(labels, weight, everyone),
        "whole": _entry(labels, weight, whole) if whole.any() and not whole.all() else None,
        "slices": entries,
        "looked_at": sum(tier["rate"]["low"] is not None for entry in entries for tier in entry["tiers"]),
    }


def _entry(labels: Labels, weight: Floats, inside: NDArray[np.bool_]) -> dict[str, Any]:
    tiers = []
    for k, name in enumerate(labels.names):
        passed = labels.outcomes.passed[:, k].astype(np.float64)
        rows = inside & ~np.isnan(passed)
        scores = labels.outcomes.score[rows, k].astype(np.float64)
        soft = bool(np.any((scores != 0.0) & (scores != 1.0)))
        tiers.append(
            {
                "tier": name,
                "passed": int(passed[rows].sum()),
                "rate": share(passed[rows], weight[rows, k], labels.groups[rows]),
                "mean_score": share(scores, weight[rows, k], labels.groups[rows]) if soft else None,
            }
        )
    return {
        "prompts": int(inside.sum()),
        "groups": len(np.unique(labels.groups[inside])),
        "share": float(labels.weight[inside].sum() / labels.weight.sum()),
        "tiers": tiers,
    }
