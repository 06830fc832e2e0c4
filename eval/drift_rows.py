"""One line of a drift report: something that was so then, and is so now, and whether that is more than chance.

Pure. `of_limit` is how far it moved as a share of how far it may: above 1 it drifted. A row of which nothing can be
told has neither, and says why.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ALPHA", "DRAWS_PER_RESAMPLE", "LEAST_GROUPS", "Row", "make_row", "require", "untold_row"]

Row = dict[str, Any]

ALPHA = 0.05
"""The chance, at most, that a report calls anything drifted where nothing did; half for what goes into the router, half
for what came of it, shared alike among the rows of each (Bonferroni: rows are anything but independent)."""

LEAST_GROUPS = 30
"""Groups below which a row says nothing: what a standard error takes to mean something, as in `eval.ladder`."""

DRAWS_PER_RESAMPLE = 20
"""Draws of what chance does, as a multiple of the resamples asked for: it is their far tail that is read."""


def make_row(
    kind: str,
    name: str,
    text: str,
    *,
    before: float,
    now: float,
    shift: float,
    limit: float,
    of_limit: float,
    low: float | None = None,
    high: float | None = None,
    **more: object,
) -> Row:
    """Return a row that tells something. Pure.

    Parameters
    ----------
    shift, limit : float
        How far it moved, and how far it may: what matters at all, or what chance does, whichever is more.
    of_limit : float
        0 or more; drifted above 1.
    low, high : float, optional
        The interval of `now`, at 95 %.
    """
    return {
        "kind": kind,
        "name": name,
        "told": True,
        "before": before,
        "now": now,
        "shift": shift,
        "low": low,
        "high": high,
        "limit": limit,
        "of_limit": of_limit,
        "drifted": of_limit > 1.0,
        "text": text,
        **more,
    }


def untold_row(kind: str, name: str, why: str) -> Row:
    """Return a row of which nothing can be told, and why. Pure."""
    none = dict.fromkeys(("before", "now", "shift", "low", "high", "limit", "of_limit"))
    return {"kind": kind, "name": name, "told": False, **none, "drifted": False, "text": f"untold: {why}"}


def require(groups: int, what: str = "new prompts") -> str | None:
    """Return why so few groups tell nothing; None where there are enough. Pure."""
    if groups >= LEAST_GROUPS:
        return None
    return f"{groups:,} group{'' if groups == 1 else 's'} of {what}; {LEAST_GROUPS} are needed"
