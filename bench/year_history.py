"""A year of traffic that drifts, whose truth is known: what happens when, and the prompts of each week. Pure and seeded.

The story was written before any router was fitted on it. Slow drift goes with `season`, from 0 to 1 over the year;
sudden things are `EVENTS`. Given P(pass), tiers pass independently (training/synthetic_model.py), so the true regret of
sending a prompt to a tier is P(reference passes) x (1 - P(tier passes)).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from training.synthetic import START, generate_period
from training.synthetic_conditions import STANDING, Conditions

__all__ = ["EVENTS", "QUIET", "WEEKS", "Event", "Week", "conditions_of", "draw_week", "events_of", "prompts_of", "season"]  # fmt: skip

WEEKS = 52
"""Runs of a year; the last one's model serves a week more."""
QUIET = range(38, 44)
"""Weeks in which nothing changes, not even slowly."""

LAUNCH, MEDIUM_WORSE, PRICE_CUT, RETIRED, SMALL_BETTER, MEDIUM_MENDED = 14, 20, 26, 30, 36, 45
"""Weeks from whose beginning it holds."""
SLACK = {32: 0.25, 33: 0.25, 52: 0.15}
"""Weeks with little traffic, and how much of the usual there is."""


class Event(NamedTuple):
    """What happened in the beginning of a week."""

    week: int
    name: str
    text: str


EVENTS = (
    Event(LAUNCH, "launch", "an agent launched: a tenth of the traffic from one week to the next, and a family never seen before"),
    Event(MEDIUM_WORSE, "medium worse", "the medium tier's model silently replaced by a worse one"),
    Event(PRICE_CUT, "price cut", "the large tier's prices cut by 40 %"),
    Event(RETIRED, "retired", "the contracts feature retired: its prompts are gone"),
    Event(min(SLACK), "holidays", "a quarter of the usual traffic for two weeks"),
    Event(SMALL_BETTER, "small better", "the small tier's model silently replaced by a better one"),
    Event(QUIET[0], "quiet", f"nothing changes until week {QUIET[-1]}"),
    Event(MEDIUM_MENDED, "medium mended", "the medium tier's model silently as good as it was"),
    Event(max(SLACK), "year end", "a seventh of the usual traffic"),
)  # fmt: skip
"""In order."""

# Units of difficulty; what they make of pass rates is written beside the events in docs/YEAR.md.
_WORSE, _BETTER = -0.2, 0.15
_GROWING = {
    "coding": 1.8,
    "debugging": 1.6,
    "chat": 1.5,
    "summary": 0.6,
    "translation": 0.5,
    "classification": 0.7,
}
_BACKGROUND = 0.3  # share of plain prompts with pasted text by the year's end; none in its beginning
_AGENTS = 0.10
_SERVED, _FURTHER = 1, 2


@dataclass(frozen=True, eq=False)
class Week:
    """A week's traffic, and what is true of it.

    Attributes
    ----------
    number : int
        1 is the first.
    conditions : Conditions
        What held.
    history : DataFrame
        Graded outcomes, by the history contract.
    truth : DataFrame
        One row per prompt: see `training.synthetic.generate_with_truth`.
    """

    number: int
    conditions: Conditions
    history: pd.DataFrame
    truth: pd.DataFrame


def season(week: int) -> float:
    """Return how far the slow drift has come: 0 in week 1, 1 in week 52, still in the quiet stretch."""
    still = sum(1 for quiet in QUIET[1:] if quiet <= week)
    return (week - 1 - still) / (WEEKS - len(QUIET))


def conditions_of(week: int) -> Conditions:
    """Return what holds in a week."""
    at = season(week)
    weights = {family: share * _GROWING.get(family, 1.0) ** at for family, share in STANDING.shares.items()}
    weights["agent"] = 0.0
    if week >= RETIRED:
        weights["legal"] = 0.0
    total = sum(weights.values())
    agents = _AGENTS if week >= LAUNCH else 0.0
    shares = {family: (1.0 - agents) * weight / total for family, weight in weights.items()}
    shares["agent"] = agents
    return Conditions(
        {family: share for family, share in shares.items() if share},
        _BACKGROUND * at,
        (
            _BETTER if week >= SMALL_BETTER else 0.0,
            _WORSE if MEDIUM_WORSE <= week < MEDIUM_MENDED else 0.0,
            0.0,
        ),
        (1.0, 1.0, 0.6 if week >= PRICE_CUT else 1.0),
    )


def prompts_of(week: int, per_week: int) -> int:
    """Return how many prompts are asked in a week."""
    return max(1, round(per_week * SLACK.get(week, 1.0)))


def draw_week(week: int, per_week: int, seed: int, *, further: bool = False) -> Week:
    """Return a week's traffic.

    Parameters
    ----------
    week : int
        From 1.
    per_week : int
        Prompts of a usual week.
    seed : int
        Same seed, same year; no week depends on another.
    further : bool
        Other prompts of the same week, exactly `per_week` of them, which nobody asked: they say what its conditions
        come to without the luck of a few hundred prompts.
    """
    conditions = conditions_of(week)
    start = START + np.timedelta64(timedelta(weeks=week - 1))
    stream = _FURTHER if further else _SERVED
    n = per_week if further else prompts_of(week, per_week)
    mark = f"w{week:02d}-{'x' if further else ''}"
    return Week(week, conditions, *generate_period(n, [seed, week, stream], conditions, start, 7, mark))


def events_of(week: int) -> list[str]:
    """Return the names of what happened in the beginning of a week."""
    return [event.name for event in EVENTS if event.week == week]
