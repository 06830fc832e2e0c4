"""The kinds of prompts that the stand-in models can answer; one module each."""

from __future__ import annotations

from typing import NamedTuple

from skills import arithmetic, code, extraction, glossary, order_json, ordering, summary
from skills.skill import LEVELS, Skill, Task

__all__ = ["LEVELS", "SKILLS", "Reading", "Skill", "Task", "read"]

SKILLS: dict[str, Skill] = {
    "arithmetic": arithmetic,
    "extraction": extraction,
    "ordering": ordering,
    "json": order_json,
    "glossary": glossary,
    "code": code,
    "summary": summary,
}
"""By the name that prompts carry in their column `task`."""


class Reading(NamedTuple):
    """A prompt that was understood, and as what."""

    kind: str
    task: Task


def read(prompt: str) -> Reading | None:
    """Return what a prompt asks for; None where no skill reads it. Pure."""
    for kind, skill in SKILLS.items():
        if prompt.startswith(skill.OPENING):
            task = skill.read(prompt)
            return Reading(kind, task) if task else None
    return None
