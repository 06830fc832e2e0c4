"""The worst misroutes: prompts to look at first.

Pure. Prompts are named by id; their text is shown only where that is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.outcomes import Outcomes
from router.prompt import read_prompt

__all__ = ["PROMPT_CHARS", "worst_misroutes"]

PROMPT_CHARS = 500
"""Characters of a prompt that are shown."""


def worst_misroutes(
    outcomes: Outcomes, scores: ArrayLike, choice: ArrayLike, *, with_prompt: bool = False, most: int = 20
) -> list[dict[str, Any]]:
    """Return the worst misroutes of a choice, under-routed ones first. Pure.

    Under-routed: the top tier passes and the chosen one fails; the most confident errors first. Over-routed:
    a cheaper tier passes, and the prompt is not under-routed; most USD wasted first. Only prompts that every
    tier answered are looked at.

    Parameters
    ----------
    scores : (n, k)
        Pass probabilities.
    choice : int (n,)
        The tier chosen for each prompt.
    with_prompt : bool
        Show the first `PROMPT_CHARS` characters of what a decision reads of each prompt.
    most : int
        Misroutes of each kind.

    Returns
    -------
    list of dict
        JSON-ready: prompt_id, group, task, chosen, needed (the cheapest tier that passes), p_pass, loss (score
        lost against the top tier), kind, wasted_usd (spent beyond the needed tier, 0 or more), prompt.

    Raises
    ------
    ValueError
        Scores or choice of another shape, or a choice that is no tier.
    """
    p, chosen = np.asarray(scores, dtype=np.float64), np.asarray(choice)
    n, k = outcomes.passed.shape
    if p.shape != (n, k) or chosen.shape != (n,) or np.any((chosen < 0) | (chosen >= k)):
        raise ValueError(f"expected scores {(n, k)} and {n} tiers; found {p.shape} and {chosen.shape}")
    rows, chosen = np.arange(n), chosen.astype(np.intp)
    passed, complete = outcomes.passed == 1, outcomes.complete
    under = complete & passed[:, -1] & ~passed[rows, chosen]
    needed = passed.argmax(axis=1)
    over = complete & ~under & passed.any(axis=1) & (needed < chosen)
    wasted = np.maximum(outcomes.cost_usd[rows, chosen] - outcomes.cost_usd[rows, needed], 0.0)
    wasted[~over] = 0.0
    loss = np.maximum(outcomes.score[:, -1] - outcomes.score[rows, chosen], 0.0)
    found = [(row, "under") for row in _worst(under, p[rows, chosen], most)]
    found += [(row, "over") for row in _worst(over, wasted, most)]
    names = outcomes.ladder.names
    return [
        {
            "prompt_id": str(outcomes.prompt_ids[row]),
            "group": str(outcomes.groups[row]),
            "task": _task(outcomes, row),
            "chosen": names[chosen[row]],
            "needed": names[needed[row]],
            "p_pass": [float(value) for value in p[row]],
            "loss": float(loss[row]),
            "kind": kind,
            "wasted_usd": float(wasted[row]),
            **({"prompt": read_prompt(outcomes.prompts[row]).text[:PROMPT_CHARS]} if with_prompt else {}),
        }
        for row, kind in found
    ]


def _worst(which: NDArray[np.bool_], badness: NDArray[np.float64], most: int) -> list[int]:
    """Return the rows of greatest badness, the first of equal ones."""
    rows = np.flatnonzero(which)
    return [int(row) for row in rows[np.argsort(-badness[rows], kind="stable")][:most]]


def _task(outcomes: Outcomes, row: int) -> str | None:
    tasks = outcomes.tags.get("task")
    return None if tasks is None or tasks[row] is None else str(tasks[row])
