"""How often labels are wrong, and what a promise about labels is then worth about the truth.

Pure. A router loses, in truth, where the reference tier passes and the chosen one fails. That is either so by the labels, too,
or the reference's failure is a wrong label, or the chosen tier's pass is one. So a promise of alpha about labels is one of at
most alpha + e about the truth, with e the share of prompts whose reference failed by a wrong label, and of those where a
cheaper tier passed by one: a union bound, which asks nothing of how errors fall together or of what the router chooses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.labels_rows import Labels

__all__ = ["measure_noise"]

Floats = NDArray[np.float64]


def measure_noise(labels: Labels, reference: int) -> dict[str, Any] | None:
    """Return how often labels are wrong, by tier, and what that adds to a promise. Pure.

    Parameters
    ----------
    reference : int
        Position of the tier that promises are against.

    Returns
    -------
    dict or None
        JSON-ready; None where no label says how probably it is wrong. `known` (labels), `known_share`, `mean` (of what is known),
        `tiers` (`tier`, `known`, `mean`, and the shares of its labels that are `false_passes` and `false_failures`), `added`: e, None
        unless it is known for all tiers; and `reference`.
    """
    errors, passed = labels.errors, labels.outcomes.passed.astype(np.float64)
    known = ~np.isnan(errors)
    if not known.any():
        return None
    weight = np.repeat(labels.weight[:, None], len(labels.names), axis=1)
    tiers = [_tier(labels, errors[:, k], passed[:, k], k) for k in range(len(labels.names))]
    parts = [tier["false_failures" if k == reference else "false_passes"] for k, tier in enumerate(tiers)]
    return {
        "known": int(known.sum()),
        "known_share": float(known.sum() / (~np.isnan(passed)).sum()),
        "mean": float(np.average(errors[known], weights=weight[known])),
        "tiers": tiers,
        "reference": labels.names[reference],
        "added": None if any(part is None for part in parts) else float(min(1.0, sum(parts))),
    }


def _tier(labels: Labels, error: Floats, passed: Floats, k: int) -> dict[str, Any]:
    known = ~np.isnan(error)
    found: dict[str, Any] = {"tier": labels.names[k], "known": int(known.sum())}
    if not known.any():
        return found | {"mean": None, "false_passes": None, "false_failures": None}
    wrong, passes, weight = error[known], passed[known] == 1.0, labels.weight[known]
    return found | {
        "mean": float(np.average(wrong, weights=weight)),
        "false_passes": float(np.average(wrong * passes, weights=weight)),
        "false_failures": float(np.average(wrong * ~passes, weights=weight)),
    }
