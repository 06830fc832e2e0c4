"""The duel: a challenger and the champion on the same held-out prompts, each keeping the same promise in its own way.

Pure, given a seed. Differences are paired: both are measured on the same resamples of groups. Three questions:

- What does each save at the promised quality? A router of which the promise is not proved saves nothing at that quality,
  as only the reference tier is left to whoever wants it. Proved means: by what certified it and by these prompts together, and not
  refuted by these alone.
  A certificate alone would do for one model on data like its own; but whoever picks, week after week, the model that saves
  most picks the one whose certificate was luckiest, and traffic moves on (docs/LOG.md).
- At what the challenger spends, whose scores buy the better quality? Read off cross-fitted lines (`eval.lines`).
- Which slices get worse?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from eval.bounds import lower_bound, upper_bound
from eval.calibration import ece
from eval.ladder import draw_rows
from eval.lines import quality_at
from eval.outcomes import Outcomes
from eval.resample import Draws, draw_groups
from eval.scene import Scene, price_settings, serve
from eval.slices import MIN_SLICE

__all__ = ["Contender", "calibration_beyond_chance", "duel", "keeps", "regret_bounds"]

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]

CONFIDENCE = 0.95
SLICE_TAGS = ("task", "feature", "source")
_CHANCE_DRAWS = 200


@dataclass(frozen=True, eq=False)
class Contender:
    """What a router says of n prompts, laid out on the history's ladder.

    Attributes
    ----------
    chosen : int (n,)
        The tier that it decides on when it is held to the promise.
    scores, usd : float64 (n, k) or None
        Its pass probabilities and expected costs; None where it was made for other tiers.
    certified : (int, int)
        What its certificate rests on: how many groups regretted the decision under the promise, of how many.
    """

    chosen: Choice
    scores: Floats | None = None
    usd: Floats | None = None
    certified: tuple[int, int] = (0, 0)

    def take(self, rows: NDArray[np.intp]) -> Contender:
        """Return the same for some rows."""
        return Contender(
            self.chosen[rows],
            None if self.scores is None else self.scores[rows],
            None if self.usd is None else self.usd[rows],
            self.certified,
        )


def duel(
    outcomes: Outcomes,
    challenger: Contender,
    champion: Contender | None,
    *,
    reference: int,
    max_regret: float,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure challenger and champion against each other.

    Parameters
    ----------
    outcomes : Outcomes
        Prompts that neither has learned from; those that a tier did not answer are left out.
    champion : Contender or None
        None where nothing serves that could be compared: then always the reference tier is what the challenger has to
        beat.
    reference : int
        Position of the reference tier.
    max_regret : float
        The promise: the share of prompts on which the reference tier passes and the chosen one fails.

    Returns
    -------
    dict
        JSON-ready; intervals are {"value", "low", "high"} at 95 % over groups. `prompts`, `groups`, `reference`,
        `max_regret`; `challenger` and `champion`, each with `saving`, `quality`, `regret` (as `regret_bounds` gives it), `keeps` and
        `share_per_tier`; `saving_lead`, at the promised quality; `quality_lead`, as decided;
        `same_cost_lead`, None where scores cannot be compared; `slices`.

    Raises
    ------
    ValueError
        No prompt was answered by every tier.
    """
    rows = np.flatnonzero(outcomes.complete)
    if not len(rows):
        raise ValueError("no prompt was answered by every tier, so nothing can be compared")
    held, ours = outcomes.take(rows), challenger.take(rows)
    theirs = Contender(np.full(len(rows), reference)) if champion is None else champion.take(rows)
    scene = Scene.of(held, n_boot, seed)
    bounds = scene.bounds
    sides = {"challenger": ours, "champion": theirs}
    means = {name: _means(scene, side) for name, side in sides.items()}
    measured, saving = {}, {}
    for name, side in sides.items():
        paid, quality = means[name]
        regret = regret_bounds(held, side, reference, seed)
        kept = keeps(regret, max_regret)
        saved = scene.saved(paid, reference)
        saving[name] = saved if kept else np.zeros_like(saved)
        shares = np.bincount(side.chosen, minlength=len(held.ladder)) / len(rows)
        measured[name] = {
            "saving": bounds(saved),
            "quality": bounds(quality),
            "regret": regret,
            "keeps": kept,
            "share_per_tier": dict(zip(held.ladder.names, shares.tolist(), strict=True)),
        }
    return {
        "prompts": len(rows),
        "groups": scene.draws.n_groups,
        "reference": held.ladder.names[reference],
        "max_regret": max_regret,
        **measured,
        "saving_lead": bounds(saving["challenger"] - saving["champion"]),
        "quality_lead": bounds(means["challenger"][1] - means["champion"][1]),
        "same_cost_lead": _same_cost_lead(scene, held, ours, theirs, means["challenger"][0]),
        "slices": _slices(held, ours, theirs, reference, n_boot, seed),
    }


def regret_bounds(outcomes: Outcomes, side: Contender, reference: int, seed: int) -> dict[str, float]:
    """Return a contender's regret on complete rows, and what it comes to with what certified it. Pure.

    Groups are exchangeable, not rows, so one row of each group counts, drawn with a seed.

    Returns
    -------
    dict
        `value`, and its exact bounds `low` and `high`, each at 95 %; `groups`; `proved`, the exact upper bound by certificate
        and rows together, 0 where there is nothing to regret.
    """
    rows, delta = draw_rows(outcomes.groups, np.random.default_rng(seed)), 1.0 - CONFIDENCE
    passed, chosen = outcomes.passed == 1.0, side.chosen
    failures, n = int((passed[rows, reference] & ~passed[rows, chosen[rows]]).sum()), len(rows)
    before, groups = side.certified
    certain = bool((chosen == reference).all())
    return {
        "value": failures / n,
        "low": float(lower_bound(failures, n, delta)),
        "high": float(upper_bound(failures, n, delta)),
        "groups": n,
        "proved": 0.0 if certain else float(upper_bound(before + failures, groups + n, delta)),
    }


def keeps(found: Mapping[str, float], promise: float) -> bool:
    """Whether a promise is proved by certificate and rows together, and not refuted by the rows alone. Pure.

    Parameters
    ----------
    found : mapping
        As `regret_bounds` gives it.
    """
    return found["proved"] <= promise and found["low"] <= promise


def calibration_beyond_chance(p: Floats, passed: NDArray[np.float32], seed: int) -> float:
    """Return the calibration error of one tier less what a calibrated one shows on as many prompts, 0 or more. Pure.

    Parameters
    ----------
    p, passed : (n,)
        Probabilities; outcomes, NaN where unobserved. Without an outcome, 0.
    """
    seen = ~np.isnan(passed)
    p, y = p[seen].astype(np.float64), passed[seen].astype(np.float64)
    if not len(p):
        return 0.0
    uniform = np.random.default_rng(seed).random((_CHANCE_DRAWS, len(p)))
    chance = float(np.mean([ece(p, drawn < p) for drawn in uniform]))
    return max(0.0, ece(p, y) - chance)


def _means(scene: Scene, side: Contender) -> tuple[Floats, Floats]:
    """Return mean USD and mean quality of what was decided, per draw."""
    rows = np.arange(len(side.chosen))
    columns = np.stack([scene.cost_usd[rows, side.chosen], scene.quality[rows, side.chosen]], axis=1)
    cost, quality = scene.draws.means(columns).T
    return cost, quality


def _same_cost_lead(
    scene: Scene, held: Outcomes, ours: Contender, theirs: Contender, spent: Floats
) -> dict[str, float | None] | None:
    """Return how much better a quality our scores buy for what we spend; None without scores of both."""
    reached = []
    for side in (ours, theirs):
        if side.scores is None or side.usd is None:
            return None
        priced = replace(held, expected_cost_usd=side.usd)
        line = scene.line(*serve(scene, price_settings(side.scores, priced)))
        reached.append(quality_at(line, spent))
    return scene.bounds(reached[0] - reached[1])


def _slices(
    held: Outcomes, ours: Contender, theirs: Contender, reference: int, n_boot: int, seed: int
) -> list[dict[str, Any]]:
    """Return by slice how quality changes from them to us: intervals hold for all slices together.

    Rows make a slice, but groups make it sure, and they may be two: so Student's t, of as many groups as there are.
    """
    found = list(_labelled(held))
    tail = (1.0 - CONFIDENCE) / 2.0 / max(len(found), 1)
    entries = []
    for name, rows in found:
        part, at = held.take(rows), np.arange(len(rows))
        score, passed = part.score.astype(np.float64), part.passed == 1.0
        before, after = theirs.chosen[rows], ours.chosen[rows]
        draws: Draws = draw_groups(part.groups, n_boot, seed)
        lead = draws.means((score[at, after] - score[at, before])[:, None])[:, 0]
        groups, reach = draws.n_groups, float("inf")
        if groups > 1:
            # Resamples vary about their own mean, not the true one: by (G - 1) / G too little.
            error = float(lead[1:].std(ddof=1)) * (groups / (groups - 1)) ** 0.5
            # Not a percentile: with many slices that would be one of the two or three farthest draws.
            reach = float(t.isf(tail, groups - 1)) * error
        entries.append(
            {
                "name": name,
                "prompts": len(rows),
                "groups": groups,
                "quality_lead": {
                    "value": float(lead[0]),
                    "low": max(-1.0, float(lead[0]) - reach),
                    "high": min(1.0, float(lead[0]) + reach),
                },
                "regret": float((passed[at, reference] & ~passed[at, after]).mean()),
            }
        )
    return entries


def _labelled(held: Outcomes) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield name and rows of each slice that is large enough, where a tag has two values or more."""
    for tag in SLICE_TAGS:
        labels = held.tags.get(tag)
        if labels is None:
            continue
        values = sorted({str(label) for label in labels if label is not None})
        for value in values if len(values) > 1 else ():
            rows = np.flatnonzero(labels == value)
            if len(rows) >= MIN_SLICE:
                yield f"{tag}={value}", rows
