"""The rule: from probabilities and expected costs to a tier.

Pure. One sentence: of the tiers permitted and able, the one of least expected loss plus price times expected cost,
the cheaper of two equal ones. Each half is here twice, for one prompt in plain Python, where a decision's microseconds
are counted, and for many at all prices at once, where certificates are made; a property test holds the two together.
Laws, held by property tests: a higher price never picks a dearer tier, and no choice leaves what is permitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.decision import Reason
from router.policy import Bounds

__all__ = ["Loss", "choose", "choose_many", "expected_loss", "expected_losses"]


class Loss(StrEnum):
    """What is lost on a tier, against the reference tier: the best one of the history."""

    REGRET = "regret"
    """The reference tier passes and this one fails. What the two share is not known prompt by prompt: halfway between
    outcomes that are nested and ones that are independent, which is as good as learning it (docs/LOG.md)."""
    QUALITY = "quality"
    """Pass probability, net: where this tier passes and the reference fails, that is won. On a tier dearer than the
    reference nothing is won, so that what is certain never goes above where what is uncertain goes."""


def expected_loss(
    p_pass: Sequence[float], spread: Sequence[float], reference: int, loss: Loss
) -> list[float]:
    """Return the expected loss of a prompt on each tier, 0 on the reference tier. Pure.

    Parameters
    ----------
    p_pass, spread : sequence of float
        Per tier: pass probability, and how uncertain its difference from the reference tier's is. What is
        uncertain counts as lost.
    reference : int
        Position of the reference tier.
    """
    best = p_pass[reference]
    pairs = zip(p_pass, spread)  # noqa: B905 - every decision passes here, and `strict` would be a quarter of this
    if loss is Loss.REGRET:
        losses = [0.5 * (best * (1.0 - p) + (best - p if best > p else 0.0)) + u for p, u in pairs]
    else:
        losses = [best - p + u for p, u in pairs]
        for k in range(reference + 1, len(losses)):  # of a dominated ladder
            losses[k] = max(losses[k], 0.0)
    losses[reference] = 0.0 if best == best else best  # a NaN is no certainty
    return losses


def expected_losses(
    p_pass: ArrayLike, spread: ArrayLike | None, reference: int, loss: Loss
) -> NDArray[np.float64]:
    """Return the same for n prompts, float64 (n, k); arguments are (n, k), and a spread of None is 0. Pure."""
    p = np.asarray(p_pass, dtype=np.float64)
    uncertain = np.zeros_like(p) if spread is None else np.asarray(spread, dtype=np.float64)
    best = p[:, reference, None]
    if loss is Loss.REGRET:
        losses = 0.5 * (best * (1.0 - p) + np.maximum(best - p, 0.0)) + uncertain
    else:
        losses = best - p + uncertain
        losses[:, reference + 1 :] = np.maximum(losses[:, reference + 1 :], 0.0)
    losses[:, reference] = np.where(np.isnan(p[:, reference]), np.nan, 0.0)
    return losses


def choose(
    losses: Sequence[float],
    usd: Sequence[float],
    price: float,
    bounds: Bounds,
    reference: int,
    obstacles: Sequence[Reason | None] = (),
    escalate: Reason | None = None,
) -> tuple[int, int, Reason]:
    """Choose a tier. Pure.

    Parameters
    ----------
    losses : sequence of float
        Expected loss per tier, cheapest first.
    usd : sequence of float
        Expected cost per tier. A tier is taken to cost no less than those before it, so that a higher price always
        leads down the ladder, whatever the answers to one prompt would cost.
    price : float
        Loss accepted per USD saved, 0 or more.
    bounds : Bounds
        What the policy permits.
    reference : int
        Position of the reference tier, which what is not certain goes to.
    obstacles : sequence of (Reason or None)
        Per tier, why it cannot serve this prompt; empty where all can. If no permitted tier can, the one of least
        expected cost of those that merely cost too much is chosen, else the dearest permitted one, with its obstacle
        as the reason.
    escalate : Reason or None
        Why the router is not entitled to be sure. Sends the prompt to the reference tier, or to the dearest one
        permitted and able where that is neither.

    Returns
    -------
    index, predicted, reason : int, int, Reason
        The choice, the choice that would be made if every tier were permitted and able, and what decided.
    """
    # Upwards, and such that a NaN never wins: what cannot be compared is left to the top.
    predicted = top = len(usd) - 1
    least, dearest, values = inf, 0.0, []
    for k, cost in enumerate(usd):
        if cost > dearest:
            dearest = cost
        value = losses[k] + price * dearest
        values.append(value)
        if value < least:
            least, predicted = value, k
    permitted = bounds.permitted
    if escalate is None and not obstacles and len(permitted) > top:  # the ordinary case, told apart for speed
        return predicted, predicted, Reason.SUFFICIENT if predicted < reference else Reason.NEEDED
    able = [k for k in permitted if not obstacles[k]] if obstacles else permitted
    if not able:
        too_dear = [k for k in permitted if obstacles[k] is Reason.COST]
        index = min(too_dear, key=usd.__getitem__, default=permitted[-1])
        return index, predicted, obstacles[index] or Reason.CAPABILITY
    if escalate is not None:
        return reference if reference in able else able[-1], predicted, escalate
    least, index = inf, able[-1]
    for k in able:
        if values[k] < least:
            least, index = values[k], k
    if index == predicted:
        return index, predicted, Reason.SUFFICIENT if index < reference else Reason.NEEDED
    if predicted < bounds.floor:
        return index, predicted, Reason.FLOOR
    if predicted > bounds.ceiling:
        return index, predicted, Reason.CEILING
    if predicted not in permitted:
        return index, predicted, Reason.ALLOW
    return index, predicted, obstacles[predicted] or Reason.CAPABILITY


def choose_many(losses: ArrayLike, usd: ArrayLike, prices: ArrayLike) -> NDArray[np.intp]:
    """Return what `choose` predicts for n prompts at each of m prices, int (n, m). Pure.

    Parameters
    ----------
    losses, usd : (n, k)
        Expected loss and expected cost per tier.
    prices : (m,)
        Loss accepted per USD saved.
    """
    loss = np.asarray(losses, dtype=np.float64)
    cost = np.maximum.accumulate(np.asarray(usd, dtype=np.float64), axis=1)
    at = np.asarray(prices, dtype=np.float64)
    least = loss[:, :1] + at * cost[:, :1]
    choices = np.zeros(least.shape, np.intp)
    for k in range(1, loss.shape[1]):  # tiers are few, and a minimum along a short axis is slow
        value = loss[:, k, None] + at * cost[:, k, None]
        choices[value < least] = k
        np.minimum(least, value, out=least)
    return choices
