"""Arithmetic: a row of whole numbers to add, take away and multiply.

Pure. Hard are many operations and long numbers.
"""

from __future__ import annotations

import re
from math import prod
from random import Random

from skills.skill import Task

__all__ = ["DRESS", "OPENING", "make", "read"]

OPENING = "Compute "
DRESS = "The result is {}."
_FORM = re.compile(r"Compute (-?\d{1,9}(?: [-+*] \d{1,9}){1,12})\. Answer with the number only\.")
_NUMBER = re.compile(r"-?\d+")


def make(rng: Random, level: int) -> str:
    """Return a new prompt of a level."""
    digits = 2 + level // 3
    parts = [str(rng.randrange(10 ** (digits - 1), 10**digits))]
    for _ in range(level):
        sign = rng.choice("++-*") if "*" not in parts[-2:] else rng.choice("+-")
        parts += [sign, str(rng.randrange(2, 10) if sign == "*" else rng.randrange(10, 10**digits))]
    return f"{OPENING}{' '.join(parts)}. Answer with the number only."


def read(prompt: str) -> Task | None:
    """Return the task that a prompt sets."""
    found = _FORM.fullmatch(prompt.strip())
    if not found:
        return None
    parts = found[1].split(" ")
    right = _value(parts)
    digits = max(len(part) for part in parts[::2])

    def wrong(rng: Random) -> str:
        if len(parts) > 3 and rng.random() < 0.4:  # the last step is forgotten
            other = _value(parts[:-2])
            if other != right:
                return str(other)
        return str(right + rng.choice((-1, 1)) * 10 ** rng.randrange(digits))  # a carry is lost

    def is_right(response: str) -> bool:
        numbers = _NUMBER.findall(response.replace(",", ""))
        return bool(numbers) and numbers[-1] == str(right)

    difficulty = len(parts) // 2 + 0.5 * (digits - 3)
    return Task(difficulty, str(right), wrong, is_right, {"reference": str(right)})


def _value(parts: list[str]) -> int:
    """Return the value of `number sign number …`; products bind first."""
    total = 0
    for sign, term in re.findall(r"([-+]?) ?(\d+(?: \* \d+)*)", " ".join(parts)):
        value = prod(int(factor) for factor in term.split(" * "))
        total += -value if sign == "-" else value
    return total
