"""Two-tier metrics in every resample at once: `eval.two_tiers`, weighted.

Pure. Published routers have two tiers and are measured by the share of strong calls, whatever they cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.curve import SAME_QUALITY
from eval.resample import Draws, interval

__all__ = ["CPT_LEVELS", "two_tier_bounds"]

Floats = NDArray[np.float64]

CPT_LEVELS = {"cpt50": 0.5, "cpt80": 0.8}
"""Levels of the performance gap recovered at which the share of strong calls is stated (RouteLLM)."""


def two_tier_bounds(draws: Draws, quality: Floats, p: Floats | None) -> dict[str, Any]:
    """Return APGR and CPT with intervals under "two_tier"; None for ladders of other than two tiers. Pure.

    Parameters
    ----------
    draws : Draws
        Over the n prompts.
    quality : (n, k)
        Realised scores.
    p : (n, k) or None
        What ranks the prompts, by p_strong - p_weak; None is random order.

    Returns
    -------
    dict
        JSON-ready. No value where the strong tier is not better, or the level is never reached.
    """
    if quality.shape[1] != 2:
        return {"two_tier": None}
    gain = np.zeros(len(quality)) if p is None else p[:, 1] - p[:, 0]
    order = np.argsort(-gain, kind="stable")
    lead = (quality[:, 1] - quality[:, 0])[order]
    ends = np.flatnonzero(np.append(np.diff(gain[order]) != 0, True))  # equal gains are taken at random
    values = {name: np.full(len(draws), np.nan) for name in ("apgr", *CPT_LEVELS)}
    for block, weight in draws.weights(len(gain)):
        share, recovered = _share_curves(weight[:, order], lead, ends)
        values["apgr"][block] = np.trapezoid(recovered, share, axis=1)
        for name, level in CPT_LEVELS.items():
            values[name][block] = _first_share(share, recovered, level)
    return {"two_tier": {name: interval(draws, drawn) for name, drawn in values.items()}}


def _share_curves(weight: Floats, lead: Floats, ends: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return share of strong calls and gap recovered, (b, 1 + groups of equal gain); nan unless strong leads."""
    total = weight.sum(axis=1, keepdims=True)
    none = np.zeros((len(weight), 1))
    share = np.hstack([none, np.cumsum(weight, axis=1)[:, ends] / total])
    rise = np.hstack([none, np.cumsum(weight * lead, axis=1)[:, ends] / total])
    whole = rise[:, -1:]
    return share, np.divide(rise, whole, out=np.full_like(rise, np.nan), where=whole > SAME_QUALITY)


def _first_share(share: Floats, recovered: Floats, level: float) -> Floats:
    """Return the least share of strong calls with a gap recovered of `level` or more; nan where there is none."""
    reached = recovered >= level - SAME_QUALITY
    at, draw = reached.argmax(axis=1), np.arange(len(share))
    before = np.maximum(at - 1, 0)
    low, up = recovered[draw, before], recovered[draw, at] - recovered[draw, before]
    part = np.clip(np.divide(level - low, up, out=np.ones_like(up), where=up > 0), 0.0, 1.0)
    found = share[draw, before] + part * (share[draw, at] - share[draw, before])
    return np.where(reached.any(axis=1), found, np.nan)
