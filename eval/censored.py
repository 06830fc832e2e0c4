"""Censored histories: logs in which only the tier that served was graded. What they teach, and what they cannot.

Pure. Where a log says with which probability each tier was chosen, an outcome counts by the inverse of it (Horvitz and
Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47, 1952), so that a tier is
learned on the traffic and not on the prompts that somebody thought fit for it. What no weight gives back is two tiers on
one prompt: a promise is about a cheap tier that fails where the reference passes, and takes both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.bounds import groups_needed, upper_bound
from eval.outcomes import Outcomes
from eval.split import CALIBRATION_SHARE, TEST_SHARE

__all__ = ["MOST_WEIGHT", "describe", "effective_size", "outcome_weights", "prompts_needed"]

Floats = NDArray[np.float64]

MOST_WEIGHT = 20.0
"""A propensity below 1 / 20 counts as that: one outcome must not stand for hundreds (truncated importance weights,
Ionides, JCGS 17, 2008); what is lost is said as the share of outcomes that were cut."""
CENSORED_BELOW = 0.5
"""Share of prompts with every tier observed below which a history is spoken of as censored."""
_PROMISE, _DELTA = (
    0.05,
    0.05,
)  # what exploration is counted for: the default promise, at the certificate's confidence


def outcome_weights(outcomes: Outcomes) -> Floats | None:
    """Return how much each outcome counts, float64 (n, k), 1 in the mean of each tier; None where no propensity is known.

    A prompt on which every tier was tried has weight 1 before scaling: nobody chose. An outcome without a propensity, in
    a history that has some, counts as if its tier had been chosen at the tier's overall rate.
    """
    if outcomes.propensity is None:
        return None
    observed = ~np.isnan(outcomes.passed)
    rate = observed.mean(axis=0)
    propensity = np.where(
        np.isnan(outcomes.propensity), np.maximum(rate, 1.0 / MOST_WEIGHT), outcomes.propensity
    )
    propensity[observed.all(axis=1)] = 1.0
    weight = np.where(observed, np.minimum(1.0 / propensity, MOST_WEIGHT), 0.0)
    count, total = observed.sum(axis=0), weight.sum(axis=0)
    return np.asarray(
        np.where(observed, weight * np.where(total > 0, count / np.maximum(total, 1e-300), 0.0), 1.0)
    )


def effective_size(weight: Floats) -> float:
    """Return how many equally weighted observations are worth as much as these (Kish 1965). Pure."""
    squares = float(np.square(weight).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def prompts_needed(alpha: float = _PROMISE, delta: float = _DELTA, observed: float = 0.0) -> int:
    """Return how many prompts, a group each, to grade on every tier so that a promise can be certified. Pure.

    Parameters
    ----------
    observed : float
        The rate of regret that is expected to be seen; below alpha.
    """
    n = groups_needed(alpha, delta)
    while upper_bound(np.floor(observed * n), n, delta) > alpha:
        n = int(np.ceil(1.02 * n))
    return int(np.ceil(n / min(CALIBRATION_SHARE, TEST_SHARE)))


def describe(outcomes: Outcomes) -> dict[str, Any] | None:
    """Say what a history in which tiers went untried teaches, what it does not, and what would mend that. Pure.

    Returns
    -------
    dict or None
        JSON-ready; None where every tier was tried on half of the prompts or more. `prompts`, `complete`, `tiers` (per
        tier: `observed`, `pass_rate`, `weighted_pass_rate` and `effective` where propensities are known, `cut`), `propensity`
        ("none", "some", "all"), `exploration` (`prompts`, `calls`, `usd`, `promise`) and `sentences`, for people.
    """
    observed = ~np.isnan(outcomes.passed)
    whole: NDArray[np.bool_] = np.asarray(observed.all(axis=1))
    if not len(whole) or whole.mean() >= CENSORED_BELOW:
        return None
    weight = outcome_weights(outcomes)
    tiers = [_tier(outcomes, observed, weight, k) for k in range(len(outcomes.ladder))]
    known = "none" if weight is None else "all" if _all_logged(outcomes, observed, whole) else "some"
    n, k = observed.shape
    least, likely = prompts_needed(), prompts_needed(observed=_PROMISE / 2)
    have = int(whole.sum())
    missing = float((~observed[~whole]).sum(axis=1).mean())
    price = float(
        np.where(observed, np.nan, outcomes.cost_usd)[~whole].sum(axis=1, where=~observed[~whole]).mean()
    )
    wanted = max(likely - have, 0)
    exploration = {
        "promise": _PROMISE,
        "prompts_at_least": max(least - have, 0),
        "prompts": wanted,
        "calls": round(wanted * missing),
        "usd": wanted * price,
    }
    return {
        "prompts": n,
        "complete": have,
        "propensity": known,
        "tiers": tiers,
        "exploration": exploration,
        "sentences": _sentences(n, k, have, known, tiers, exploration),
    }


def _all_logged(outcomes: Outcomes, observed: NDArray[np.bool_], whole: NDArray[np.bool_]) -> bool:
    assert outcomes.propensity is not None, "asked where some are known"  # noqa: S101
    return not np.isnan(outcomes.propensity[observed & ~whole[:, None]]).any()


def _tier(outcomes: Outcomes, observed: NDArray[np.bool_], weight: Floats | None, k: int) -> dict[str, Any]:
    seen = observed[:, k]
    passed = outcomes.passed[seen, k].astype(np.float64)
    found: dict[str, Any] = {
        "name": outcomes.ladder.names[k],
        "observed": int(seen.sum()),
        "pass_rate": float(passed.mean()) if len(passed) else None,
    }
    if weight is not None and len(passed):
        own = weight[seen, k]
        logged = (
            np.nan_to_num(outcomes.propensity[seen, k], nan=1.0) if outcomes.propensity is not None else own
        )
        found |= {
            "weighted_pass_rate": float(own @ passed / own.sum()),
            "effective": effective_size(own),
            "cut": float((logged < 1.0 / MOST_WEIGHT).mean()),
        }
    return found


def _sentences(
    n: int, k: int, have: int, known: str, tiers: list[dict[str, Any]], exploration: dict[str, Any]
) -> list[str]:
    said = [
        f"Censored: of {n:,} prompts {have:,} {'has' if have == 1 else 'have'} an outcome on all {k} tiers; on the others, "
        "tiers that did not serve are unknown, and no label is invented for them."
    ]
    if known == "none":
        said.append(
            "No propensity is logged, so each tier is learned on the prompts that it was given: one that was given the "
            "easy prompts looks better than it is, and nothing in the log can tell by how much. Log the probability "
            "with which the tier was chosen in the column propensity."
        )
    else:
        counts = "; ".join(
            f"{tier['name']}: {tier['observed']:,} outcomes worth {tier['effective']:,.0f}, {100 * tier['pass_rate']:.1f} % "
            f"pass as logged and {100 * tier['weighted_pass_rate']:.1f} % over the traffic"
            for tier in tiers
            if "effective" in tier
        )
        some = "" if known == "all" else "; outcomes without one count at their tier's overall rate"
        said.append(f"Outcomes count by the inverse of their propensity{some}. {counts}.")
        cut = [tier for tier in tiers if tier.get("cut", 0.0) > 0]
        if cut:
            named = ", ".join(f"{tier['name']} {100 * tier['cut']:.1f} %" for tier in cut)
            said.append(
                f"Propensities below {1 / MOST_WEIGHT:g} count as that ({named}), which leaves some bias."
            )
    said.append(
        "What cannot be learned from it, however long it is: how often a cheaper tier fails where the reference passes, "
        "because that takes both on one prompt. So there are no cost-quality figures, no verdict and no promise beyond what the "
        f"{have:,} whole prompts support."
    )
    if exploration["prompts"]:
        said.append(
            f"What would mend it: {exploration['prompts']:,} prompts drawn at random and graded on every tier "
            f"({exploration['calls']:,} calls, about ${exploration['usd']:.2f}) for a promise of {100 * _PROMISE:g} % if "
            f"{50 * _PROMISE:g} % go wrong, {exploration['prompts_at_least']:,} if none does: python -m training collect --sample "
            f"{exploration['prompts']}."
        )
    return said
