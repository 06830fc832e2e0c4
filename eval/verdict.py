"""The verdict: is a router worth it on these prompts? One word, an exit code, and why.

Pure. The rules, in this order:

1. CANNOT TELL: no figure is possible, or too few prompts or groups stand behind it.
2. ROUTE: the lead over the best baseline is above 0, its whole 95 % interval.
3. DO NOT ROUTE: that interval is below 0, so the baseline is better.
4. DO NOT ROUTE: the gap closed may be 0 and is surely small, so a gain worth having would have shown.
5. TIE: anything else.

The best of many baselines was lucky a little, so the lead over it errs against the router.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from eval.outcomes import Outcomes
from eval.scene import NO_GAP

__all__ = [
    "EXIT_CODES", "MIN_GROUPS", "MIN_PROMPTS", "WORTH_HAVING", "cannot_tell", "decide", "why_not",
]  # fmt: skip

EXIT_CODES = {"ROUTE": 0, "TIE": 10, "DO NOT ROUTE": 11, "CANNOT TELL": 12}
MIN_PROMPTS, MIN_GROUPS = 30, 10
WORTH_HAVING = 0.05
"""Share of the gap closed that is worth having: a gap surely below it, and perhaps 0, is no gain."""

_MOST_PROMPTS = 10_000_000  # beyond it, the lead seen is as good as none

_CONSTANT = (
    "All prompts look the same to a router: every feature is equal. Check that the history holds the prompts "
    "themselves."
)


def why_not(outcomes: Outcomes, *, constant_prompts: bool = False) -> str | None:
    """Return why no figure is possible on these outcomes, one sentence or two; None if one may be. Pure."""
    if len(outcomes.ladder) < 2:
        return "The ladder has fewer than two tiers, so there is nothing to choose between."
    complete = outcomes.complete
    if not complete.any():
        return (
            "No prompt was answered by every tier, so there is no overlap between tiers to compare them on."
        )
    groups = len(np.unique(outcomes.groups[complete].astype(str)))
    return _too_few(int(complete.sum()), groups) or (_CONSTANT if constant_prompts else None)


def cannot_tell(reason: str, more_data: str = "") -> dict[str, Any]:
    """Return the verdict CANNOT TELL for a reason, in the form that `decide` gives. Pure."""
    return _verdict("CANNOT TELL", "Cannot tell whether a router is worth it.", reason, more_data)


def decide(comparison: dict[str, Any], *, constant_prompts: bool = False) -> dict[str, Any]:
    """Return the verdict on a comparison. Pure.

    Parameters
    ----------
    comparison : dict
        As `eval.comparison.compare` gives it.
    constant_prompts : bool
        All prompts have the same features.

    Returns
    -------
    dict
        JSON-ready: word, exit_code, headline, reason, more_data, best_baseline, lead, needed_prompts, and
        beats, ties and loses_to, names of contenders.
    """
    why = _impossible(comparison, constant_prompts)
    if why is not None:
        return cannot_tell(why)
    contenders = comparison["contenders"]
    subject = next(entry for entry in contenders if entry["kind"] == "subject")
    baselines = [
        entry
        for entry in contenders
        if entry["kind"] not in ("subject", "oracle") and entry["gap_closed"]["value"] is not None
    ]
    if not baselines:
        return cannot_tell("There is no baseline to hold the router against.")
    best = max(baselines, key=lambda e: (round(e["gap_closed"]["value"], 9), e["kind"] == "random"))
    gap, lead = subject["gap_closed"], best["lead"]
    if not _whole(gap) or not _whole(lead):
        return cannot_tell("The resamples give no interval, so chance cannot be told from skill.")
    prompts = int(comparison["prompts"])
    standing = _standing(baselines)
    rest = {
        "best_baseline": best["name"],
        "lead": dict(lead),
        **{k: [e["name"] for e in v] for k, v in standing.items()},
    }
    ours, closed, ahead = subject["label"], _closes(gap), _points(lead)
    if lead["low"] > 0:
        return _verdict(
            "ROUTE",
            f"Route: {ours} {closed}, {_number(lead)} points more than {best['label']}.",
            f"Its lead over the best baseline, {best['label']}, is {ahead}: above 0 on its whole interval.",
            f"{prompts:,} prompts are enough to tell.",
            **rest,
        )
    if lead["high"] < 0:
        return _verdict(
            "DO NOT ROUTE",
            f"Do not route with {ours}: {best['label']} {_closes(best['gap_closed'])}, {ours} {_share(gap)}.",
            f"{best['label']} is better: the lead of {ours} over it is {ahead}, below 0 on its whole interval.",
            f"{prompts:,} prompts are enough to tell.",
            **rest,
        )
    if gap["low"] <= 0 and gap["high"] < WORTH_HAVING:
        return _verdict(
            "DO NOT ROUTE",
            f"Do not route: {ours} {closed}."
            if gap["value"] < 0
            else f"Do not route: {ours} {closed}, which may be nothing.",
            f"It is no better than mixing the tiers at random ({_points(gap)} of the gap), and with {prompts:,} "
            f"prompts a gain of {100 * WORTH_HAVING:g} points would show.",
            f"{prompts:,} prompts are enough to tell that little is to be had.",
            **rest,
        )
    needed = _needed_prompts(prompts, lead)
    return _verdict(
        "TIE",
        f"A tie: {ours} {closed}, and cannot be told from {best['label']} ({_share(best['gap_closed'])}).",
        f"Its lead over {best['label']} is {ahead}, which may be 0. {_told(standing)}",
        _more_data(needed, prompts, lead),
        needed_prompts=needed,
        **rest,
    )


def _impossible(comparison: dict[str, Any], constant_prompts: bool) -> str | None:
    tiers, prompts, groups = comparison["tiers"], comparison["prompts"], comparison["groups"]
    if len(tiers) < 2:
        return "The ladder has fewer than two tiers, so there is nothing to choose between."
    few = _too_few(prompts, groups)
    if few or constant_prompts:
        return few or _CONSTANT
    gap = comparison["gap_to_close"]["value"]
    if gap is not None and gap > NO_GAP:
        return None
    rates = [tier["pass_rate"] for tier in tiers]
    if all(rate == 1 for rate in rates):
        return "Every tier passes every prompt, so the cheapest tier is enough and there is nothing to route."
    if all(rate == 0 for rate in rates):
        return "No tier passes any prompt, so no choice of tier helps; check the scores and the pass score."
    return "Even hindsight does no better than mixing the tiers at random, so there is nothing to gain."


def _too_few(prompts: int, groups: int) -> str | None:
    if prompts < MIN_PROMPTS:
        return f"Only {prompts:,} prompts were answered by every tier; {MIN_PROMPTS} are the least that can be judged."
    if groups < MIN_GROUPS:
        return f"The prompts fall into {groups:,} groups; {MIN_GROUPS} are the least that can be judged."
    return None


def _standing(baselines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Sort baselines by what their leads tell."""
    standing: dict[str, list[dict[str, Any]]] = {"beats": [], "ties": [], "loses_to": []}
    for entry in baselines:
        lead = entry["lead"]
        known = _whole(lead)
        where = "beats" if known and lead["low"] > 0 else "loses_to" if known and lead["high"] < 0 else "ties"
        standing[where].append(entry)
    return standing


def _told(standing: dict[str, list[dict[str, Any]]]) -> str:
    named = {where: ", ".join(entry["label"] for entry in entries) for where, entries in standing.items()}
    parts = [f"It cannot be told from {named['ties']}."] if named["ties"] else []
    parts.insert(0, f"It clearly beats {named['beats']}." if named["beats"] else "It clearly beats nothing.")
    if named["loses_to"]:
        parts.append(f"It is clearly behind {named['loses_to']}.")
    return " ".join(parts)


def _needed_prompts(prompts: int, lead: dict[str, float]) -> int | None:
    """Return how many prompts would tell, if the lead seen is real, up to two figures; None if beyond reach.

    An interval narrows with the square root of the prompts.
    """
    half, seen = (lead["high"] - lead["low"]) / 2, abs(lead["value"])
    if half <= 0 or seen <= half * math.sqrt(prompts / _MOST_PROMPTS):
        return None
    needed = max(prompts * (half / seen) ** 2, prompts)
    unit = 10 ** max(math.floor(math.log10(needed)) - 1, 0)
    return int(math.ceil(needed / unit - 1e-9) * unit)


def _more_data(needed: int | None, prompts: int, lead: dict[str, float]) -> str:
    if needed is not None:
        better = "lead" if lead["value"] > 0 else "deficit"
        return f"If the {better} seen is real, about {needed:,} prompts would show it; there are {prompts:,}."
    return f"The lead seen is as good as none: more prompts are not likely to part the two; there are {prompts:,}."


def _whole(bounds: dict[str, float | None] | None) -> bool:
    return bounds is not None and all(
        value is not None and math.isfinite(value)
        for value in (bounds["value"], bounds["low"], bounds["high"])
    )


def _closes(gap: dict[str, float]) -> str:
    if gap["value"] < 0:
        return f"closes nothing of the gap to hindsight ({_share(gap)})"
    return f"closes {_share(gap)} of the gap to hindsight"


def _share(gap: dict[str, float]) -> str:
    return f"{_number(gap)} %"


def _number(bounds: dict[str, float]) -> str:
    return _signless(100 * bounds["value"])


def _points(bounds: dict[str, float]) -> str:
    value, low, high = (_signless(100 * bounds[key]) for key in ("value", "low", "high"))
    return f"{value} points (95 % interval {low} to {high})"


def _signless(value: float) -> str:
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text


def _verdict(word: str, headline: str, reason: str, more_data: str, **known: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "word": word,
        "exit_code": EXIT_CODES[word],
        "headline": headline,
        "reason": reason,
        "more_data": more_data,
        "best_baseline": None,
        "lead": None,
        "needed_prompts": None,
        "beats": [],
        "ties": [],
        "loses_to": [],
    } | known
