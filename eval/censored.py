"""Censored histories: logs in which only the tier that served was graded. What they teach, and what they cannot.

Pure. Where a log says with which probability each tier was chosen, an outcome counts by the inverse of it (Horvitz and
Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47, 1952), so that a tier is
learned on the traffic and not on the prompts that somebody thought fit for it. What no weight gives back is two tiers on
one prompt: a promise is about a cheap tier that fails where the reference passes, and takes both.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.bounds import groups_needed, upper_bound
from eval.outcomes import Outcomes
from eval.split import CALIBRATION_SHARE, TEST_SHARE
from router.prompt import read_prompt
from router.tiers import CHARS_PER_TOKEN, Ladder, Tier

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
        n = ceil(1.02 * n)
    return ceil(n / min(CALIBRATION_SHARE, TEST_SHARE))


def describe(outcomes: Outcomes, ladder: Ladder | None = None) -> dict[str, Any] | None:
    """Say what a history in which tiers went untried teaches, what it does not, and what would mend that. Pure.

    Parameters
    ----------
    ladder : Ladder or None
        All tiers that there are, where `outcomes` leaves out those without any outcome.

    Returns
    -------
    dict or None
        JSON-ready; None where every tier was tried on half of the prompts or more. `prompts`, `complete`, `tiers` (per
        tier: `observed`, `pass_rate`, `weighted_pass_rate` and `effective` where propensities are known, `cut`), `propensity`
        ("none", "some", "all"), `exploration` (`promise`; `sample`, the prompts to draw, some of which are whole already;
        `prompts`, those that are not; `calls` and `usd` for what they lack; `prompts_at_least`, the whole prompts that do
        where nothing goes wrong) and `sentences`, for people.
    """
    names = (ladder or outcomes.ladder).names
    known = [names.index(name) for name in outcomes.ladder.names]
    observed = np.zeros((len(outcomes), len(names)), np.bool_)
    observed[:, known] = ~np.isnan(outcomes.passed)
    whole: NDArray[np.bool_] = np.asarray(observed.all(axis=1))
    if not len(whole) or whole.mean() >= CENSORED_BELOW:
        return None
    cost_usd = np.tile(
        [_price(outcomes, tier) for tier in (ladder or outcomes.ladder).tiers], (len(whole), 1)
    )
    cost_usd[:, known] = outcomes.cost_usd
    weight = outcome_weights(outcomes)
    of_tiers = {name: _tier(outcomes, weight, k) for k, name in enumerate(outcomes.ladder.names)}
    tiers = [of_tiers.get(name) or {"name": name, "observed": 0, "pass_rate": None} for name in names]
    logged = "none" if weight is None else "all" if _all_logged(outcomes, whole) else "some"
    n, have = len(whole), int(whole.sum())
    missing = ~observed[~whole]
    per_group = n / len(np.unique(outcomes.groups.astype(str)))
    least, likely = (ceil(per_group * prompts_needed(observed=rate)) for rate in (0.0, _PROMISE / 2))
    wanted = max(likely - have, 0)
    exploration = {
        "promise": _PROMISE,
        "prompts_at_least": least,
        "sample": ceil(wanted * n / (n - have)),
        "prompts": wanted,
        "calls": round(wanted * float(missing.sum(axis=1).mean())),
        "usd": wanted * float((cost_usd[~whole] * missing).sum(axis=1).mean()),
    }
    return {
        "prompts": n,
        "complete": have,
        "propensity": logged,
        "tiers": tiers,
        "exploration": exploration,
        "sentences": _sentences(n, have, logged, tiers, exploration),
    }


def _price(outcomes: Outcomes, tier: Tier) -> float:
    """Return what an answer of a tier is expected to cost, by the lengths of these prompts and of other tiers' answers."""
    characters = np.mean([read_prompt(prompt).n_chars for prompt in outcomes.prompts])
    return tier.cost_usd(float(characters) / CHARS_PER_TOKEN, float(np.mean(outcomes.mean_output_tokens)))


def _all_logged(outcomes: Outcomes, whole: NDArray[np.bool_]) -> bool:
    assert outcomes.propensity is not None, "asked where some are known"  # noqa: S101
    return not np.isnan(outcomes.propensity[~np.isnan(outcomes.passed) & ~whole[:, None]]).any()


def _tier(outcomes: Outcomes, weight: Floats | None, k: int) -> dict[str, Any]:
    seen = ~np.isnan(outcomes.passed[:, k])
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
    n: int, have: int, known: str, tiers: list[dict[str, Any]], exploration: dict[str, Any]
) -> list[str]:
    said = [
        f"Censored: of {n:,} prompts {have:,} {'has' if have == 1 else 'have'} an outcome on all {len(tiers)} tiers; on the others, "
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
            f"{tier['name']}: {tier['observed']:,} outcomes worth {tier['effective']:,.0f}, {100 * tier['pass_rate']:.1f}% "
            f"pass as logged and {100 * tier['weighted_pass_rate']:.1f}% over the traffic"
            for tier in tiers
            if "effective" in tier
        )
        some = "" if known == "all" else "; outcomes without one count at their tier's overall rate"
        said.append(f"Outcomes count by the inverse of their propensity{some}. {counts}.")
        cut = [tier for tier in tiers if tier.get("cut", 0.0) > 0]
        if cut:
            named = ", ".join(f"{tier['name']} {100 * tier['cut']:.1f}%" for tier in cut)
            said.append(
                f"Propensities below {1 / MOST_WEIGHT:g} count as that ({named}), which leaves some bias."
            )
    promise = f"no promise beyond what the {have:,} whole prompts support" if have else "no promise"
    said.append(
        "What cannot be learned from it, however long it is: how often a cheaper tier fails where the reference passes, "
        f"because that takes both on one prompt. So there are no cost-quality figures, no verdict and {promise}."
    )
    if exploration["prompts"]:
        least, sample = exploration["prompts_at_least"], exploration["sample"]
        fewer = f"; if none does, {least:,} whole prompts are enough" if least > have else ""
        short = f" That is more than the {n:,} prompts of this log: log more first." if sample > n else ""
        said.append(
            f"What would mend it: {exploration['prompts']:,} more prompts, drawn at random, with an outcome on every tier "
            f"({exploration['calls']:,} calls, about ${exploration['usd']:.2f} and their grading), for a promise of "
            f"{100 * _PROMISE:g}% if {50 * _PROMISE:g}% go wrong{fewer}: python -m training collect --keep-answers "
            f"--sample {sample}.{short}"
        )
    return said
