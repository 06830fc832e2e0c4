"""What each grader said, and how far graders agree on the answers that two of them graded.

Pure, given a seed. Agreement is about passing, at the ladder's pass score; kappa and its interval are those of `eval.agreement`,
with answers to prompts of one group drawn together.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.agreement import agreement
from eval.labels_rows import Grades, Labels
from eval.labels_shares import share

__all__ = ["HUMAN", "compare_graders", "count_graders"]

HUMAN = "human"
"""The grader that a file of people's grades becomes, and what it is compared with beyond the others: the label itself."""
LABEL = "label"
_LEAST_ROWS = 10
MOST_PAIRS = 40


def count_graders(labels: Labels) -> list[dict[str, Any]]:
    """Return what each grader said: `grader`, `asked`, `graded`, `rate` (its passes), `mean_score` and `none` (by reason). Pure."""
    found = []
    for name, grades in labels.graders.items():
        rows = _usable(labels) & ~np.isnan(grades.score)
        asked = grades.asked
        score = grades.score[rows]
        prompt = labels.prompt[rows]
        why = Counter(map(str, grades.why[asked & np.isnan(grades.score)]))
        found.append(
            {
                "grader": name,
                "asked": int(asked.sum()),
                "graded": int(rows.sum()),
                "rate": share(score >= labels.pass_score, labels.weight[prompt], labels.groups[prompt]),
                "mean_score": float(np.average(score, weights=labels.weight[prompt])) if len(score) else None,
                "none": dict(sorted(why.items(), key=lambda item: (-item[1], item[0]))),
            }
        )
    return found


def compare_graders(labels: Labels, seed: int = 0) -> dict[str, Any]:
    """Return how far pairs of graders agree. Pure.

    Returns
    -------
    dict
        JSON-ready: `pairs`, those with most rows first, each `a`, `b`, the figures of `eval.agreement.Agreement` and the cells
        `both_pass`, `only_a`, `only_b`, `both_fail`; `looked_at`; `left_out`, pairs with fewer than ten rows in common.
    """
    said = dict(labels.graders)
    pairs = list(combinations(said, 2))
    if HUMAN in said:
        said[LABEL] = _label(labels)
        pairs.append((LABEL, HUMAN))
    common = {pair: _both(labels, said[pair[0]], said[pair[1]]) for pair in pairs}
    enough = [pair for pair in pairs if common[pair].sum() >= _LEAST_ROWS]
    enough.sort(key=lambda pair: (HUMAN not in pair, -int(common[pair].sum()), pair))
    found = [_pair(labels, said, pair, common[pair], seed) for pair in enough[:MOST_PAIRS]]
    overlapping = sum(bool(rows.any()) for rows in common.values())
    return {"pairs": found, "looked_at": len(enough), "left_out": overlapping - len(enough)}


def _pair(
    labels: Labels, said: dict[str, Grades], pair: tuple[str, str], rows: NDArray[np.bool_], seed: int
) -> dict[str, Any]:
    # In the order of prompts and models and not of the file: draws then fall on the same groups.
    at = np.flatnonzero(rows)
    at = at[np.lexsort((labels.history.rows["model"].to_numpy(object)[at].astype(str), _names(labels, at)))]
    a, b = (said[name].score[at] >= labels.pass_score for name in pair)
    prompt = labels.prompt[at]
    found = agreement(
        a.tolist(), b.tolist(), groups=labels.groups[prompt], weights=labels.weight[prompt], seed=seed
    )
    return {
        "a": pair[0],
        "b": pair[1],
        **found.to_dict(),
        "both_pass": int((a & b).sum()),
        "only_a": int((a & ~b).sum()),
        "only_b": int((~a & b).sum()),
        "both_fail": int((~a & ~b).sum()),
    }


def _names(labels: Labels, rows: NDArray[np.intp]) -> NDArray[np.str_]:
    return labels.outcomes.prompt_ids[labels.prompt[rows]].astype(str)


def _usable(labels: Labels) -> NDArray[np.bool_]:
    return np.asarray((labels.prompt >= 0) & (labels.tier >= 0))


def _both(labels: Labels, a: Grades, b: Grades) -> NDArray[np.bool_]:
    return np.asarray(_usable(labels) & ~np.isnan(a.score) & ~np.isnan(b.score))


def _label(labels: Labels) -> Grades:
    n = len(labels.history.rows)
    return Grades(
        labels.history.rows["score"].to_numpy(np.float64),
        np.ones(n, np.bool_),
        np.full(n, None, dtype=object),
    )
