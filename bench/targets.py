"""What a bench promises, and whether its figures keep it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["Target", "judge", "target_rows"]


class Target(NamedTuple):
    """A figure's name, its place in the document, and the bound that it is held to.

    A place is keys with spaces between; what is found there may be a number, or a spread, of which the median counts.
    """

    name: str
    path: str
    limit: float
    at_least: bool = False


def judge(document: dict[str, Any], targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return each target with its figure and whether it is met. Pure."""
    judged = []
    for target in targets:
        measured: Any = document
        for key in target.path.split():
            measured = measured[key]
        if isinstance(measured, dict):
            measured = measured["median"]
        met = measured >= target.limit if target.at_least else measured <= target.limit
        bound = f"at {'least' if target.at_least else 'most'} {target.limit:,g}"
        judged.append({"name": target.name, "measured": measured, "target": bound, "met": bool(met)})
    return judged


def target_rows(judged: Sequence[dict[str, Any]]) -> list[tuple[object, ...]]:
    """Return what `judge` says as rows of a table: figure, measured, target, and whether it is met. Pure."""
    return [
        (each["name"], f"{each['measured']:,}", each["target"], "met" if each["met"] else "MISSED")
        for each in judged
    ]
