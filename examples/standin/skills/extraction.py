"""Extraction: one number to be found in a message that holds many.

Pure. Hard are long messages, with codes of the same form.
"""

from __future__ import annotations

import re
from random import Random

from skills.skill import Task

__all__ = ["DRESS", "OPENING", "make", "read"]

OPENING = "Read the message and give the "
DRESS = "It is {}."
_THINGS = ("invoice", "order", "booking", "customer", "delivery", "ticket", "contract", "part")
_FORM = re.compile(
    r"Read the message and give the (\w+) number\. Answer with it only\.\n\nMessage:\n(.+)", re.S
)
_CODE = re.compile(r"\b[A-Z]{2}-\d{4,6}\b")
_SENTENCES = (
    "The {thing} number is {code}.",
    "Please note {code}, our {thing} number.",
    "As for the {thing} number, we have {code} here.",
)
_FILLERS = (
    "Thank you for your patience last week.",
    "Our office is closed on Friday afternoon.",
    "The driver will ring the bell twice.",
    "We hope the new desk suits you well.",
    "My colleague will call you about the rest.",
)


def make(rng: Random, level: int) -> str:
    """Return a new prompt of a level."""
    things = rng.sample(_THINGS, min(level + 1, len(_THINGS)))
    lines = [rng.choice(_SENTENCES).format(thing=thing, code=_code(rng)) for thing in things]
    lines += rng.sample(_FILLERS, min(level, len(_FILLERS)))
    rng.shuffle(lines)
    return f"{OPENING}{things[0]} number. Answer with it only.\n\nMessage:\n{' '.join(lines)}"


def read(prompt: str) -> Task | None:
    """Return the task that a prompt sets."""
    found = _FORM.fullmatch(prompt.strip())
    if not found:
        return None
    thing, message = found.groups()
    codes = _CODE.findall(message)
    here = [s for s in re.split(r"(?<=\.) ", message) if f"{thing} number" in s and _CODE.search(s)]
    if len(here) != 1 or len(codes) < 2:
        return None
    right = _CODE.findall(here[0])[0]

    def wrong(rng: Random) -> str:
        return rng.choice([code for code in codes if code != right])

    def is_right(response: str) -> bool:
        return _CODE.findall(response) == [right]

    return Task(len(codes) - 1.0, right, wrong, is_right, {"reference": right})


def _code(rng: Random) -> str:
    letters = "".join(rng.choices("ABCDEFGHKLMNPRSTUVW", k=2))
    return f"{letters}-{rng.randrange(1000, 999999)}"
