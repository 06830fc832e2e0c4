"""Drift: whether new prompts, and what came of them, are still what a router was fitted and certified on.

Pure, given a seed, but for the router's scores and decisions. A report asks dozens of questions at once; where nothing
drifted, one in twenty at most calls anything drifted (`eval.drift_rows.ALPHA`), and what is called drifted has also
moved by more than people care about. What too few prompts cannot tell is told to be untold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.drift_certificate import check_certificate
from eval.drift_chance import group_numbers
from eval.drift_inputs import Window, input_rows
from eval.drift_outcomes import outcome_rows
from eval.drift_rows import ALPHA, DRAWS_PER_RESAMPLE, LEAST_GROUPS, Row
from eval.outcomes import Outcomes
from router import Router
from router.scorer import Scores

__all__ = ["measure_drift"]

_AT_ONCE = 256
_MOST_NAMED = 4
_KINDS = {
    "embedding": "what prompts are about",
    "feature": "the shape of prompts",
    "score": "pass probabilities",
    "novelty": "novelty",
    "label": "pass rates",
    "cost": "costs",
    "calibration": "calibration",
}


def measure_drift(
    outcomes: Outcomes,
    router: Router,
    X: NDArray[np.float32],
    *,
    max_regret: float,
    n_boot: int = 500,
    seed: int = 0,
    described: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Compare new prompts with those that a router was fitted and certified on.

    Parameters
    ----------
    outcomes : Outcomes
        Prompts that the router did not learn from, none or more. Tiers are matched by name; what then cannot be judged
        says why.
    router : Router
        With the manifest of a fit; its `reference` and `certificate` are what was then.
    X : float32 (n, width)
        The prompts' rows, as the router's extractor makes them.
    max_regret : float
        The promise that decides first whether the certificate holds.
    n_boot : int
        Resamples; what chance does is drawn twenty times as often, since its far tail is what counts.
    described : bool (n,), optional
        Which prompts are among those that the manifest's statistics describe already, and so are no news. They are left out
        of all but the certificate, unless too few are left without them.

    Returns
    -------
    dict
        JSON-ready and without a prompt's text: `model_id`; `prompts`, `groups`, `from`, `until` (None where no prompt has a
        time), `before` (`prompts`, `groups`, `date`); `alpha`; `looked_at` and `told` (numbers of rows); `drifted` (any); `rows`
        (`eval.drift_rows`); `certificate` (`eval.drift_certificate`); `notes`; `headline`, `details`, and `text`, which is both and the certificate's.

    Raises
    ------
    ValueError
        X is of another shape, or n_boot is below 1.
    """
    extractor = router.model.extractor
    if X.shape != (len(outcomes), extractor.width):
        raise ValueError(f"expected rows of shape {(len(outcomes), extractor.width)}; found {X.shape}")
    if n_boot < 1:
        raise ValueError(f"n_boot is 1 or more; found {n_boot}")
    document, tiers = router.manifest.document, router.model.names
    outcomes, of_passes = _by_pass_score(outcomes, router)
    scores = _score(router, X)
    certificate = check_certificate(outcomes, router, scores, max_regret=max_regret, seed=seed)
    new, of_prompts = _news(outcomes, described)
    outcomes, X, scores = outcomes.take(new), X[new], Scores(*(part[new] for part in scores))
    groups = group_numbers(outcomes.groups) if len(outcomes) else np.empty(0, np.intp)
    window = Window(X, scores, groups, tiers)
    rng, draws = np.random.default_rng(seed), DRAWS_PER_RESAMPLE * n_boot
    rows = [
        *input_rows(window, document, draws, rng),
        *outcome_rows(outcomes, scores.p_pass, tiers, document, draws, rng),
    ]
    headline, details = _summary(rows, len(outcomes))
    stamps = np.empty(0, "datetime64[s]")
    if outcomes.timestamp is not None:
        # A group is as new as its newest prompt: what repeats an old one does not make the window old.
        newest = pd.Series(outcomes.timestamp).groupby(groups).max().dropna()
        stamps = newest.to_numpy().astype("datetime64[s]")
    reference = document.get("reference") or {}
    told = [row for row in rows if row["told"]]
    return {
        "model_id": router.model_id,
        "prompts": len(outcomes),
        "groups": window.n_groups,
        "from": f"{stamps.min().item().isoformat()}+00:00" if len(stamps) else None,
        "until": f"{stamps.max().item().isoformat()}+00:00" if len(stamps) else None,
        "before": {
            "prompts": reference.get("prompts"),
            "groups": reference.get("groups"),
            "date": document.get("created"),
        },
        "alpha": ALPHA,
        "seed": seed,
        "looked_at": len(rows),
        "told": len(told),
        "drifted": any(row["drifted"] for row in rows),
        "rows": rows,
        "certificate": certificate,
        "notes": [*of_prompts, *of_passes, *_ladder_notes(outcomes, router)],
        "headline": headline,
        "details": details,
        "text": " ".join(part for part in (headline, details, certificate["text"]) if part),
    }


def _score(router: Router, X: NDArray[np.float32]) -> Scores:
    scorer, n_tiers = router.model.scorer, len(router.model.names)
    if not len(X):
        none = np.empty((0, n_tiers), np.float32)
        return Scores(none, none, none, np.empty(0, np.float32))
    parts = [scorer.score(X[start : start + _AT_ONCE]) for start in range(0, len(X), _AT_ONCE)]
    return Scores(*map(np.concatenate, zip(*parts, strict=True)))


def _news(outcomes: Outcomes, described: NDArray[np.bool_] | None) -> tuple[NDArray[np.intp], list[str]]:
    """Return the rows that are compared, and what is to be said of the others."""
    everything = np.arange(len(outcomes))
    if described is None or not described.any():
        return everything, []
    new, known = np.flatnonzero(~described), f"{int(described.sum()):,} of {len(outcomes):,} prompts"
    if len(set(outcomes.groups[new])) < LEAST_GROUPS:
        note = f"{known} describe the model in its manifest, too, so shifts look smaller than they are: without them, too few are left."
        return everything, [note]
    return new, [f"{known} describe the model in its manifest, so they count for the certificate only."]


def _by_pass_score(outcomes: Outcomes, router: Router) -> tuple[Outcomes, list[str]]:
    """Return the outcomes with passes by the router's own pass score: what it promises is about those."""
    own, theirs = router.manifest.ladder.pass_score, outcomes.ladder.pass_score
    if own == theirs:
        return outcomes, []
    passed = np.where(np.isnan(outcomes.score), np.nan, outcomes.score >= np.float32(own))
    note = f"An answer passes from a score of {own:g} here, as when the model was fitted; the new ladder says {theirs:g}."
    return replace(outcomes, passed=passed.astype(np.float32)), [note]


def _ladder_notes(outcomes: Outcomes, router: Router) -> list[str]:
    new = {tier.name: tier for tier in outcomes.ladder.tiers}
    notes = []
    if added := [name for name in new if name not in router.model.names]:
        notes.append(f"New on the ladder, and unknown to the model: {', '.join(added)}.")
    for tier in router.tiers:
        if tier.name in new and set(new[tier.name].models) != set(tier.models):
            now, then = ", ".join(new[tier.name].models), ", ".join(tier.models)
            notes.append(f"Tier {tier.name} is {now} now, and was {then} when the model was fitted.")
    return notes


def _summary(rows: list[Row], prompts: int) -> tuple[str, str]:
    """Return one sentence, and the farthest row of each kind that drifted."""
    told = [row for row in rows if row["told"]]
    if not told:
        why = rows[0]["text"].removeprefix("untold: ")
        return f"Nothing can be told of drift: {why}.", ""
    drifted = sorted((row for row in told if row["drifted"]), key=lambda row: -row["of_limit"])
    on = f"of {len(told)} things looked at on {prompts:,} new prompts"
    if not drifted:
        return f"Nothing drifted, {on}.", ""
    kinds = [said for kind, said in _KINDS.items() if any(row["kind"] == kind for row in drifted)]
    named = "; ".join(row["text"] for row in _one_of_each_kind(drifted))
    return f"{len(drifted)} {on} drifted: {', '.join(kinds)}.", f"{named[0].upper()}{named[1:]}."


def _one_of_each_kind(drifted: list[Row]) -> list[Row]:
    """Return the farthest row of each kind, the farthest kind first."""
    first: dict[str, Row] = {}
    for row in drifted:
        first.setdefault(row["kind"], row)
    return list(first.values())[:_MOST_NAMED]
