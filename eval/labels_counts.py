"""What a history holds: rows, labels, why others have none, and what all of it cost.

Pure. A row without a score is unobserved and never a failure, so each is counted by what it is.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.labels_rows import Labels
from eval.outcomes import strangers
from eval.status import GRADABLE

__all__ = ["count_labels", "count_usd"]

NOT_GRADED = "not graded yet"
NO_GRADER = "no grader applied"
_MOST_STRANGERS = 8


def count_labels(labels: Labels) -> dict[str, Any]:
    """Return how many rows there are, by tier and status, and why those without a score have none. Pure.

    Returns
    -------
    dict
        JSON-ready: `prompts`, `prompts_with_label`, `prompts_whole` (labels on every tier of the ladder), `groups`, `rows`, `labels`,
        `weighted`, `tiers` (a row per tier of the ladder), `status` and `ungraded` (by name, most first), `strangers` (rows by
        model that is on no tier).
    """
    history, labelled = labels.history, labels.labelled
    rows = history.rows
    models = rows["model"].to_numpy(object)
    tiers = []
    for tier in labels.ladder.tiers:
        own = np.isin(models.astype(str), tier.models)
        tiers.append({"tier": tier.name, "rows": int(own.sum()), "labels": int((own & labelled).sum())})
    on_ladder = np.isin(models.astype(str), [model for tier in labels.ladder.tiers for model in tier.models])
    unscored = on_ladder & rows["score"].isna().to_numpy()
    stated = any(status is not None for status in labels.status)
    others = strangers(history, labels.ladder)
    whole = ~np.isnan(labels.outcomes.passed).any(axis=1)
    return {
        "prompts": len(history.prompts),
        "prompts_with_label": len(labels.outcomes),
        "prompts_whole": int(whole.sum()) if len(labels.names) == len(labels.ladder) else 0,
        "groups": len(np.unique(labels.groups)),
        "rows": len(rows),
        "labels": int(labelled.sum()),
        "weighted": labels.weighted,
        "tiers": tiers,
        "status": _ordered(Counter(status or "none" for status in labels.status[on_ladder]))
        if stated
        else {},
        "ungraded": _ordered(Counter(why_ungraded(labels, row) for row in np.flatnonzero(unscored).tolist())),
        "strangers": dict(list(others.items())[:_MOST_STRANGERS]),
    }


def why_ungraded(labels: Labels, row: int) -> str:
    """Return why a row has no score: what came of its call, or what its graders said. Pure."""
    status = labels.status[row]
    if status is not None and status not in GRADABLE:
        return str(status)
    said = sorted(
        {str(grades.why[row]) for grades in labels.graders.values() if grades.asked[row] and grades.why[row]}
    )
    if said:
        return ", ".join(said)
    return NO_GRADER if labels.graders else NOT_GRADED


def count_usd(labels: Labels) -> dict[str, Any]:
    """Return what answers and grading cost. Pure.

    Calls that failed cost, too, where a provider billed them: all logged costs count, over all rows on a tier.

    Returns
    -------
    dict
        JSON-ready: `collection_usd`, `grading_usd` (None where unknown), `total_usd`, `logged_share` (of labels with a logged cost; the
        others count at what `eval.outcomes` estimates), `per_label_usd`, `per_prompt_usd`, `whole_prompt_usd` (a call of each tier
        and its grading, what fails among the rest: what one more prompt costs) and `tiers`.
    """
    rows, labelled = labels.history.rows, labels.labelled
    logged = rows["cost_usd"].to_numpy(np.float64)
    cost = np.where(np.isnan(logged), _estimates(labels), logged)
    on_tier = rows["model"].isin([model for tier in labels.ladder.tiers for model in tier.models]).to_numpy()
    known = ~np.isnan(labels.grading_usd)
    grading = float(labels.grading_usd[on_tier & known].sum()) if known.any() else None
    spent = float(np.nansum(cost[on_tier]))
    total, n_labels = spent + (grading or 0.0), int(labelled.sum())
    tiers, whole = [], 0.0
    for k, name in enumerate(labels.names):
        own = labels.tier == k
        collection = float(np.nansum(cost[own]))
        judged = float(labels.grading_usd[own & known].sum()) if known.any() else None
        both = collection + (judged or 0.0)
        whole += both / int(own.sum())
        each = both / int((own & labelled).sum())
        tiers.append(
            {"tier": name, "collection_usd": collection, "grading_usd": judged, "per_label_usd": each}
        )
    return {
        "collection_usd": spent,
        "grading_usd": grading,
        "total_usd": total,
        "logged_share": float((~np.isnan(logged[labelled])).mean()),
        "per_label_usd": total / n_labels,
        "per_prompt_usd": total / len(labels.outcomes),
        "whole_prompt_usd": whole,
        "tiers": tiers,
    }


def _estimates(labels: Labels) -> NDArray[np.float64]:
    """Return per row what its label cost by the tables of `eval.outcomes`, NaN where it is no label."""
    found = np.full(len(labels.history.rows), np.nan)
    held = labels.chosen >= 0
    found[labels.chosen[held]] = labels.outcomes.cost_usd[held]
    return found


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
