"""What a skill is: it makes prompts of one kind, and reads them again from their text alone.

Pure. The prompt maker calls `make`; the server calls `read` on whatever text it is sent. Both live in one module for
each kind, so there is one place that says how a prompt looks, what its right answer is, and how answers go wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

__all__ = ["LEVELS", "Skill", "Task"]

LEVELS = 6
"""Prompts come in levels 1 to 6; more of whatever makes the kind hard, and all of it can be seen in the text."""


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt that was understood.

    Attributes
    ----------
    difficulty : float
        About 1 to 6, from the text alone; `abilities.py` says up to where each model is mostly right.
    right : str
        The right answer, without any words around it.
    wrong : callable
        Draws an answer that is wrong and looks right.
    is_right : callable
        Says whether a response, with or without words around it, is right.
    columns : dict
        What a grader needs beside the prompt: `reference`, `tests`, `schema`.
    """

    difficulty: float
    right: str
    wrong: Callable[[Random], str]
    is_right: Callable[[str], bool]
    columns: dict[str, str] = field(default_factory=dict)


class Skill(Protocol):
    """A module of this package."""

    OPENING: str
    """How every prompt of this kind begins, which is how the server tells the kinds apart."""
    DRESS: str
    """The words that a talkative model puts around its answer, which stands for the `{}`."""

    def make(self, rng: Random, level: int) -> str:
        """Return a new prompt of a level, 1 to `LEVELS`."""

    def read(self, prompt: str) -> Task | None:
        """Return the task that a prompt sets, None where the text is of another form after all."""
