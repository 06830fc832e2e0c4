"""Prompts where a cheap tier passes and a dearer one fails, and how many of them wrong labels alone would make.

Pure. Such cases are real, since models differ and answers are drawn by chance; they are also what a noisy grader makes. Where
it is known how often labels are wrong, the number that noise alone is expected to make stands beside what is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.labels_rows import Labels
from eval.labels_shares import share
from eval.labels_slices import Slice

__all__ = ["MOST_IDS", "expect_by_noise", "find_inversions", "inverted"]

Floats = NDArray[np.float64]

MOST_IDS = 20
"""Prompts named of each kind; the count says how many there are."""


def find_inversions(labels: Labels, slices: Sequence[Slice]) -> dict[str, Any]:
    """Return how often a cheap tier passes where a dearer one fails. Pure.

    Returns
    -------
    dict
        JSON-ready: `prompts` (with labels on two tiers or more), `count`, `share` (`eval.labels_shares.share`), `prompt_ids` (the first
        of them); `pairs`, per pair of tiers `cheap`, `dear`, `prompts`, `count`, `share`, `reverse` (dear passes, cheap fails),
        `expected`, `expected_on`, `seen_on` (what noise alone makes of how many prompts whose errors are known, and what is seen on
        these; None where none is known) and `prompt_ids`; `slices`, each with `by`, `value`, `prompts`, `count`, `share`.
    """
    passed = labels.outcomes.passed.astype(np.float64)
    several = (~np.isnan(passed)).sum(axis=1) >= 2
    found = inverted(passed)
    return {
        "prompts": int(several.sum()),
        "count": int(found.sum()),
        "share": _share(labels, found, several),
        "prompt_ids": labels.prompt_ids(found)[:MOST_IDS],
        "pairs": [_pair(labels, passed, *pair) for pair in combinations(range(len(labels.names)), 2)],
        "slices": [
            {
                "by": each.by,
                "value": each.value,
                "prompts": int((several & each.inside).sum()),
                "count": int((found & each.inside).sum()),
                "share": _share(labels, found, several & each.inside),
            }
            for each in slices
        ],
    }


def inverted(passed: Floats) -> NDArray[np.bool_]:
    """Return which prompts a tier passes and a dearer one fails, (n,), of passes (n, k), NaN where unobserved. Pure."""
    before = np.cumsum(passed == 1.0, axis=1) > 0
    return np.asarray(np.any((passed[:, 1:] == 0.0) & before[:, :-1], axis=1))


def expect_by_noise(cheap: Floats, dear: Floats, cheap_error: Floats, dear_error: Floats) -> float:
    """Return how many cases of "cheap passes, dear fails" wrong labels alone would make. Pure.

    Labels (m,) are 1 or 0, errors (m,) the probability that each is wrong. The dear tier's failures that are none fall on
    its passes, of which the cheap tier has a part; the cheap tier's passes that are none fall on its failures, of which
    the dear tier has a part. That the two labels err apart, and alike on all prompts, is taken for granted.
    """
    both, neither = float((cheap * dear).sum()), float(((1.0 - cheap) * (1.0 - dear)).sum())
    rises = float(((1.0 - cheap) * dear).sum())
    false_failures = float((dear_error * (1.0 - dear)).sum())
    false_passes = float((cheap_error * cheap).sum())
    of_passes = both / (both + rises) if both + rises else 0.0
    of_failures = neither / (neither + rises) if neither + rises else 0.0
    return false_failures * of_passes + false_passes * of_failures


def _pair(labels: Labels, passed: Floats, k: int, j: int) -> dict[str, Any]:
    cheap, dear, errors = passed[:, k], passed[:, j], labels.errors
    both = ~np.isnan(cheap) & ~np.isnan(dear)
    found = (cheap == 1.0) & (dear == 0.0)
    known = both & ~np.isnan(errors[:, k]) & ~np.isnan(errors[:, j])
    expected = (
        expect_by_noise(cheap[known], dear[known], errors[known, k], errors[known, j])
        if known.any()
        else None
    )
    return {
        "cheap": labels.names[k],
        "dear": labels.names[j],
        "prompts": int(both.sum()),
        "count": int(found.sum()),
        "share": _share(labels, found, both),
        "reverse": int(((cheap == 0.0) & (dear == 1.0)).sum()),
        "expected": expected,
        "expected_on": int(known.sum()),
        "seen_on": int((found & known).sum()) if known.any() else None,
        "prompt_ids": labels.prompt_ids(found)[:MOST_IDS],
    }


def _share(labels: Labels, found: NDArray[np.bool_], of: NDArray[np.bool_]) -> dict[str, Any]:
    return share(found[of].astype(np.float64), labels.weight[of], labels.groups[of])
