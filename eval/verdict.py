"""The verdict: is a router worth it on these prompts? One word, an exit code, and why.

Pure. The rules, in this order:

1. CANNOT TELL: no figure is possible, or too few prompts or groups stand behind it.
2. ROUTE: the lead over the best baseline is above 0, its whole 95% interval.
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
from eval.report_words import called, interval, listed, percent, standings
from eval.scene import NO_GAP

__all__ = [
    "EXIT_CODES", "MIN_GROUPS", "MIN_PROMPTS", "WORTH_HAVING", "cannot_tell", "decide", "why_not",
]  # fmt: skip

EXIT_CODES = {"ROUTE": 0, "TIE": 10, "DO NOT ROUTE": 11, "CANNOT TELL": 12}
MIN_PROMPTS, MIN_GROUPS = 30, 10
WORTH_HAVING = 0.05
"""Share of the gap closed that is worth having: a gap surely below it, and perhaps 0, is no gain."""

_MOST_TIMES = 1_000  # so many times the prompts to tell: the lead seen is as good as none

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
    same = constant_prompts or all(prompt == outcomes.prompts[0] for prompt in outcomes.prompts)
    return _too_little(int(complete.sum()), groups, same)


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
    known: dict[str, Any] = {
        "best_baseline": best["name"],
        "lead": dict(lead),
        **_standing(baselines),
    }
    ours, theirs = called(subject), called(best)
    ahead = f"{ours}'s lead over it is {_points(lead)}"
    if lead["low"] > 0:
        return _verdict(
            "ROUTE",
            f"{ours} {_closes(gap)}, {_size(lead)} more than {theirs}.",
            f"The best baseline is {theirs}: {ahead}, all of it above 0.",
            f"{prompts:,} prompts are enough to tell.",
            **known,
        )
    if lead["high"] < 0:
        return _verdict(
            "DO NOT ROUTE",
            f"{ours} {_closes(gap)}, {theirs} {percent(best['gap_closed']['value'])}.",
            f"{_capital(theirs)} is better: {ahead}, all of it below 0.",
            f"{prompts:,} prompts are enough to tell.",
            **known,
        )
    if gap["low"] <= 0 and gap["high"] < WORTH_HAVING:
        return _verdict(
            "DO NOT ROUTE",
            f"{ours} {_closes(gap)}" + ("." if gap["value"] < 0 else ", and chance alone may explain that."),
            f"Mixing the tiers at random may do as well: the gap closed is {_bounded(*interval(gap))}, and with "
            f"{prompts:,} prompts a gain of {100 * WORTH_HAVING:g} points would show.",
            f"{prompts:,} prompts are enough to tell that little is to be had.",
            **known,
        )
    needed = _needed_prompts(prompts, lead)
    return _verdict(
        "TIE",
        f"{ours} {_closes(gap)}, {theirs} {percent(best['gap_closed']['value'])}: too close to call.",
        f"{_capital(ahead.replace('over it', f'over {theirs}'))}, so these prompts cannot tell which of the two is "
        f"better. {_told(contenders, known)}".strip(),
        _more_data(needed, prompts, lead),
        needed_prompts=needed,
        **known,
    )


def _impossible(comparison: dict[str, Any], constant_prompts: bool) -> str | None:
    tiers, prompts, groups = comparison["tiers"], comparison["prompts"], comparison["groups"]
    if len(tiers) < 2:
        return "The ladder has fewer than two tiers, so there is nothing to choose between."
    little = _too_little(prompts, groups, constant_prompts)
    if little:
        return little
    gap = comparison["gap_to_close"]["value"]
    if gap is not None and gap > NO_GAP:
        return None
    rates = [tier["pass_rate"] for tier in tiers]
    if all(rate == 1 for rate in rates):
        return "Every tier passes every prompt, so the cheapest tier is enough and there is nothing to route."
    if all(rate == 0 for rate in rates):
        return "No tier passes any prompt, so no choice of tier helps; check the scores and the pass score."
    return "Even hindsight does no better than mixing the tiers at random, so there is nothing to gain."


def _too_little(prompts: int, groups: int, constant_prompts: bool) -> str | None:
    if prompts < MIN_PROMPTS:
        return f"Only {prompts:,} prompts were answered by every tier; {MIN_PROMPTS} are the least that can be judged."
    if constant_prompts:  # before groups: prompts of the same text are of one
        return _CONSTANT
    if groups == 1:
        return f"All prompts are of one group; {MIN_GROUPS} groups are the least that can be judged."
    if groups < MIN_GROUPS:
        return f"The prompts fall into {groups:,} groups; {MIN_GROUPS} are the least that can be judged."
    return None


def _standing(baselines: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Sort the names of baselines by what their leads tell."""
    standing: dict[str, list[str]] = {"beats": [], "ties": [], "loses_to": []}
    for entry in baselines:
        lead = entry["lead"]
        known = _whole(lead)
        where = "beats" if known and lead["low"] > 0 else "loses_to" if known and lead["high"] < 0 else "ties"
        standing[where].append(entry["name"])
    return standing


def _told(contenders: list[dict[str, Any]], known: dict[str, Any]) -> str:
    """Return a sentence for each list of others: who is beaten, who is as good, who is better."""
    begins = {
        "Clearly beats": "It clearly beats",
        "Cannot be told from": "It cannot be told from",
        "Loses to": "It is clearly behind",
    }
    return " ".join(f"{begins[said]} {listed(names)}." for said, names in standings(contenders, known))


def _needed_prompts(prompts: int, lead: dict[str, float]) -> int | None:
    """Return how many prompts would tell, if the lead seen is real, up to two figures; None if beyond reach.

    An interval narrows with the square root of the prompts.
    """
    half, seen = (lead["high"] - lead["low"]) / 2, abs(lead["value"])
    if half <= 0 or seen <= half / math.sqrt(_MOST_TIMES):
        return None
    needed = max(prompts * (half / seen) ** 2, prompts)
    unit = 10 ** max(math.floor(math.log10(needed)) - 1, 0)
    return int(math.ceil(needed / unit - 1e-9) * unit)


def _more_data(needed: int | None, prompts: int, lead: dict[str, float]) -> str:
    if needed is not None:
        where = "ahead" if lead["value"] > 0 else "behind"
        return f"If it really is {where} by that much, about {needed:,} prompts would show it; there are {prompts:,}."
    return f"The difference seen is as good as none, so more prompts are not likely to part the two; there are {prompts:,}."


def _whole(bounds: dict[str, float | None] | None) -> bool:
    return bounds is not None and all(
        value is not None and math.isfinite(value)
        for value in (bounds["value"], bounds["low"], bounds["high"])
    )


def _closes(gap: dict[str, float]) -> str:
    said = percent(gap["value"])
    return f"closes {f'nothing ({said})' if gap['value'] < 0 else said} of the gap to hindsight"


def _points(lead: dict[str, float]) -> str:
    said, bounds = interval(lead, "points")
    return _bounded(_long(said), bounds)


def _bounded(said: str, bounds: str) -> str:
    return f"{said} (95% interval {bounds})" if bounds else f"{said} (an interval of no width)"


def _size(lead: dict[str, float]) -> str:
    return _long(interval(lead, "points")[0].lstrip("+"))


def _long(text: str) -> str:
    return text.replace(" pts", " points")


def _capital(text: str) -> str:
    """Return a sentence with a capital letter first."""
    return text[:1].upper() + text[1:]


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
