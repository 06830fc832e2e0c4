"""Ordering: who is the oldest of a group, told in pairs, with letters to choose from.

Pure. Hard are many people, because the pairs have to be put together.
"""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

from skills.skill import Task

__all__ = ["DRESS", "OPENING", "make", "read"]

OPENING = "Choose the right letter."
DRESS = "The answer is ({})."
_NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jana", "Kai", "Lea")
_ASKED = ("oldest", "youngest", "second oldest")
_PLACE = {"oldest": 0, "youngest": -1, "second oldest": 1}
_PAIR = re.compile(r"(\w+) is (older|younger) than (\w+)\.")
_QUESTION = re.compile(r"Who is the (oldest|youngest|second oldest)\?")
_OPTION = re.compile(r"^([A-J])\) (\w+)$", re.M)
_LETTER = re.compile(r"\b([A-J])\b")


def make(rng: Random, level: int) -> str:
    """Return a new prompt of a level."""
    people = rng.sample(_NAMES, level + 2)
    pairs = [
        f"{a} is older than {b}." if rng.random() < 0.5 else f"{b} is younger than {a}."
        for a, b in pairwise(people)
    ]
    rng.shuffle(pairs)
    options = "\n".join(
        f"{letter}) {name}" for letter, name in zip("ABCDEFGHIJ", sorted(people), strict=False)
    )
    return f"{OPENING} {' '.join(pairs)} Who is the {rng.choice(_ASKED)}?\n{options}"


def read(prompt: str) -> Task | None:
    """Return the task that a prompt sets."""
    asked, options = _QUESTION.search(prompt), _OPTION.findall(prompt)
    pairs = [(a, b) if word == "older" else (b, a) for a, word, b in _PAIR.findall(prompt)]
    if not asked or len(pairs) != len(options) - 1 or len(options) < 2:
        return None
    younger_than = dict(pairs)
    oldest = set(younger_than) - set(younger_than.values())
    if len(oldest) != 1:
        return None
    line = [oldest.pop()]
    while line[-1] in younger_than and len(line) <= len(pairs):
        line.append(younger_than[line[-1]])
    letters = {name: letter for letter, name in options}
    if {*line} != {*letters} or len(line) != len(letters):
        return None
    right = letters[line[_PLACE[asked[1]]]]

    def wrong(rng: Random) -> str:
        return rng.choice([letter for letter in letters.values() if letter != right])

    def is_right(response: str) -> bool:
        return _LETTER.findall(response)[-1:] == [right]

    return Task(len(options) - 2.0, right, wrong, is_right, {"reference": right})
