"""What input made to be slow, or to fill the memory, costs against ordinary prompts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.decisions import serve, summarise, take_turns
from bench.families import CHARS, FAMILIES, HUGE_FAMILY, make_prompts
from bench.measuring import run_child

__all__ = ["measure_hostile"]


def measure_hostile(
    folder: Path,
    served: Sequence[str],
    short: Sequence[str],
    long: Sequence[str],
    grown: int,
) -> dict[str, Any]:
    """Time each family in turn with ordinary prompts of 220 and 2,000 characters, each on a router of its own.

    Parameters
    ----------
    short, long : list of str
        Ordinary prompts, as many as each family shall have.
    grown : int
        Prompts of each family that the child routes, whose memory is read.
    """
    families: dict[str, Any] = {}
    for name in FAMILIES:
        hostile = list(make_prompts(name, 20 if name == HUGE_FAMILY else len(short)))
        assert len(set(hostile)) == len(hostile), "prompts repeat"
        pairs = [(serve(folder, served).route, texts) for texts in (hostile, short, long)]
        taken, brief, window = take_turns(pairs)
        families[name] = {
            "prompts": len(hostile),
            **summarise(taken),
            "over_ordinary_220": round(median(taken) / median(brief), 2),
            "over_ordinary_2000": round(median(taken) / median(window), 2),
        }
    child = run_child(sys.executable, "-m", "bench.service", "hostile", folder.resolve(), str(grown))
    grown_mb: dict[str, float] = child.last_json
    for name, family in families.items():
        family["resident_after_mb"] = grown_mb[name]
    worst = max(families, key=lambda name: families[name]["over_ordinary_220"])
    return {
        "chars": CHARS,
        "families": families,
        "worst": worst,
        "worst_over_ordinary_220": families[worst]["over_ordinary_220"],
        "grown_prompts": grown,
        "resident_first_mb": grown_mb["first"],
        "resident_worst_mb": max(grown_mb.values()),
    }
