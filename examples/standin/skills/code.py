"""Code: a Python function that takes a list of whole numbers through some steps.

Pure: nothing is run here; each step is known both as words, as a line of Python and as what it does. Hard are many
steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from skills.skill import Task

__all__ = ["DRESS", "OPENING", "make", "read"]

OPENING = "Write a Python function"
DRESS = "Here is the function.\n\n{}"


class Step(NamedTuple):
    """One step: its words, its line of Python, and what it does."""

    words: str
    line: str
    does: Callable[[list[int]], list[int]]


_STEPS = (
    Step(
        "keep the even numbers", "[v for v in values if v % 2 == 0]", lambda vs: [v for v in vs if v % 2 == 0]
    ),
    Step(
        "keep the odd numbers", "[v for v in values if v % 2 == 1]", lambda vs: [v for v in vs if v % 2 == 1]
    ),
    Step("keep the positive numbers", "[v for v in values if v > 0]", lambda vs: [v for v in vs if v > 0]),
    Step("add 3 to each", "[v + 3 for v in values]", lambda vs: [v + 3 for v in vs]),
    Step("double each", "[v * 2 for v in values]", lambda vs: [v * 2 for v in vs]),
    Step("square each", "[v * v for v in values]", lambda vs: [v * v for v in vs]),
    Step("sort from small to large", "sorted(values)", sorted),
    Step("reverse the order", "values[::-1]", lambda vs: vs[::-1]),
    Step("drop the first number", "values[1:]", lambda vs: vs[1:]),
    Step("drop the last number", "values[:-1]", lambda vs: vs[:-1]),
)
_BY_WORDS = {step.words: step for step in _STEPS}
_TRIED = ([3, -4, 10, 7, 0, 12, -9, 5], [8, 1, 6], [], [2, 2, -3, 15, 4, 11])
_FORM = re.compile(
    r"Write a Python function `(\w+)` that takes a list of whole numbers through these steps and returns the list:\n(.+)",
    re.S,
)


def make(rng: Random, level: int) -> str:
    """Return a new prompt of a level."""
    steps = rng.sample(_STEPS, level)
    listed = "\n".join(f"{i}. {step.words}" for i, step in enumerate(steps, start=1))
    name = f"{rng.choice(('process', 'prepare', 'arrange', 'select'))}_{rng.choice(('values', 'numbers', 'items'))}"
    return f"{OPENING} `{name}` that takes a list of whole numbers through these steps and returns the list:\n{listed}"


def read(prompt: str) -> Task | None:
    """Return the task that a prompt sets."""
    found = _FORM.fullmatch(prompt.strip())
    if not found:
        return None
    name = found[1]
    steps = [_BY_WORDS.get(line.partition(". ")[2]) for line in found[2].splitlines()]
    known = [step for step in steps if step]
    if not known or len(known) < len(steps):
        return None
    expected = [_run(known, values) for values in _TRIED]
    right = _source(name, known)

    def wrong(rng: Random) -> str:
        slips = [known[:i] + known[i + 1 :] for i in range(len(known))]  # a step forgotten, or mistaken
        slips += [[*known[:i], other, *known[i + 1 :]] for i in range(len(known)) for other in _STEPS]
        rng.shuffle(slips)
        bad = (slip for slip in slips if [_run(slip, values) for values in _TRIED] != expected)
        return _source(name, next(bad))

    tests = "\n".join(
        f"assert {name}({values}) == {out}" for values, out in zip(_TRIED, expected, strict=True)
    )
    return Task(float(len(known)), right, wrong, lambda response: right in response, {"tests": tests})


def _run(steps: Sequence[Step], values: list[int]) -> list[int]:
    for step in steps:
        values = step.does(values)
    return values


def _source(name: str, steps: Sequence[Step]) -> str:
    lines = "".join(f"    values = {step.line}\n" for step in steps)
    return f"```python\ndef {name}(values):\n{lines}    return values\n```"
