"""Summary: a note to be told in one sentence, with nothing that matters left out.

Pure. This is the kind without a reference: many sentences would do, so a judge has to read them. Hard are many facts.
"""

from __future__ import annotations

import re
from random import Random

from skills.skill import Task

__all__ = ["DRESS", "OPENING", "make", "read"]

OPENING = "Sum up the note in one sentence"
DRESS = "In short: {}"
_FORM = re.compile(
    r"Sum up the note in one sentence\. Keep every name, date and amount\.\n\nNote: (.+)", re.S
)
_FACT = re.compile(r"(\w+) (paid|owes|promised|returned|lent) (\d+) euros on (\d{1,2} \w+)")
_NAMES = ("Amir", "Bella", "Chidi", "Dorota", "Emil", "Farah", "Goran", "Hilda", "Ines", "Jonas")
_MONTHS = ("January", "March", "April", "June", "August", "October")
_ASIDES = ("as far as we know", "which was agreed by telephone", "and nobody objected", "after some delay")


def make(rng: Random, level: int) -> str:
    """Return a new prompt of a level."""
    told = []
    for name in rng.sample(_NAMES, level + 1):
        verb = rng.choice(("paid", "owes", "promised", "returned", "lent"))
        day = f"{rng.randrange(1, 29)} {rng.choice(_MONTHS)}"
        aside = f", {rng.choice(_ASIDES)}" if rng.random() < 0.5 else ""
        told.append(f"{name} {verb} {rng.randrange(20, 990)} euros on {day}{aside}.")
    return f"{OPENING}. Keep every name, date and amount.\n\nNote: {' '.join(told)}"


def read(prompt: str) -> Task | None:
    """Return the task that a prompt sets."""
    found = _FORM.fullmatch(prompt.strip())
    facts = _FACT.findall(found[1]) if found else []
    if len(facts) < 2:
        return None
    told = [f"{name} {verb} {amount} euros on {day}" for name, verb, amount, day in facts]

    def wrong(rng: Random) -> str:
        place = rng.randrange(len(told))
        if rng.random() < 0.5:  # one is forgotten, or its amount is mistaken
            return _joined(told[:place] + told[place + 1 :])
        name, verb, amount, day = facts[place]
        slip = f"{name} {verb} {int(amount) + rng.choice((-10, 10, 100))} euros on {day}"
        return _joined([*told[:place], slip, *told[place + 1 :]])

    def is_right(response: str) -> bool:
        return {*_FACT.findall(response)} == {*facts}

    return Task(len(facts) - 1.0, _joined(told), wrong, is_right)


def _joined(told: list[str]) -> str:
    return (", ".join(told[:-1]) + " and " if told[1:] else "") + told[-1] + "."
