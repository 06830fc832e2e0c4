"""Two-tier metrics: how much of the strong tier's lead a share of strong calls recovers.

Pure. For ladders of two, and for comparison with published routers; costs play no part. Source: RouteLLM
(arXiv 2406.18665), exact rather than over ten quantiles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eval.curve import SAME_QUALITY, Floats, require_finite

__all__ = ["apgr", "cpt", "pgr", "share_curve"]


def pgr(quality: float, weak: float, strong: float) -> float:
    """Return (quality - weak) / (strong - weak), RouteLLM's performance gap recovered; nan unless strong > weak."""
    return (quality - weak) / (strong - weak) if strong - weak > SAME_QUALITY else float("nan")


def share_curve(gain: ArrayLike, quality: ArrayLike) -> tuple[Floats, Floats]:
    """Return the share of strong calls and the PGR there, for two tiers, share ascending from 0 to 1.

    Prompts go to the strong tier by descending `gain` (n,), such as p_strong - p_weak. Prompts of equal gain
    are taken at random, so the curve is straight across them. `quality` is (n, 2): weak, strong.
    """
    quality, gain = require_finite(quality, "quality", 2), require_finite(gain, "gain", 1)
    if not len(gain) or quality.shape != (len(gain), 2):
        raise ValueError(
            f"expected gain (n,), quality (n, 2), n 1 or more; found {gain.shape}, {quality.shape}"
        )
    _, group = np.unique(-gain, return_inverse=True)
    share = np.append(0.0, np.cumsum(np.bincount(group)) / len(gain))
    rise = np.bincount(group, weights=quality[:, 1] - quality[:, 0])
    weak, strong = quality.mean(axis=0)
    return share, np.array(
        [pgr(weak + part, weak, strong) for part in np.append(0.0, np.cumsum(rise) / len(gain))]
    )


def apgr(gain: ArrayLike, quality: ArrayLike) -> float:
    """Return the area under PGR over the share of strong calls; arguments as for `share_curve`.

    Random order has 0.5. Nan unless the strong tier is better.
    """
    share, recovered = share_curve(gain, quality)
    return float(np.trapezoid(recovered, share))


def cpt(gain: ArrayLike, quality: ArrayLike, x: float) -> float | None:
    """Return the least share of strong calls with PGR of x or more, such as 0.8 for RouteLLM's CPT(80 %).

    Arguments as for `share_curve`. None where PGR never is, or the strong tier is not better.
    """
    share, recovered = share_curve(gain, quality)
    reached = np.flatnonzero(recovered >= x - SAME_QUALITY)
    if not len(reached):
        return None
    i = int(reached[0])
    return float(np.interp(x, recovered[i - 1 : i + 1], share[i - 1 : i + 1])) if i else 0.0
