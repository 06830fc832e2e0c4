"""Slices: the same router on parts of the prompts, by task, feature, source, length and script.

Pure. Settings are those of the whole: a slice asks how one router serves its prompts, not how one made for it
would. Intervals are over the slice's own groups; few prompts make them wide, and one in twenty misses by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.comparison import calibrate, mean_fit
from eval.outcomes import Outcomes
from eval.scene import AT_SHARE, Scene, measure_choice, price_settings, serve
from eval.scripts import script_of
from router.prompt import read_prompt

__all__ = ["MIN_SLICE", "OTHER", "slices"]

MIN_SLICE = 50
"""Prompts that every tier answered, below which a value joins `OTHER`."""

OTHER = "other"

TAGS = ("task", "feature", "source")

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]
Labels = NDArray[np.object_]


def slices(
    outcomes: Outcomes,
    scores: ArrayLike,
    length_scores: ArrayLike,
    choice: ArrayLike,
    n_boot: int = 200,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure scores on each slice. Pure.

    Parameters
    ----------
    outcomes : Outcomes
        n judged prompts.
    scores, length_scores : (n, k)
        Pass probabilities of the subject, and of prompt length alone.
    choice : int (n,)
        The subject's tier per prompt at its operating point.

    Returns
    -------
    list of dict
        JSON-ready; slices of one kind stand together, the largest first, "other" last. `prompts` and `groups`
        count prompts that every tier answered; calibration rests on all. Values without such a prompt are left out,
        and so is a kind with fewer than two values.

    Raises
    ------
    ValueError
        Scores or choice of another shape.
    """
    p, length = np.asarray(scores, dtype=np.float64), np.asarray(length_scores, dtype=np.float64)
    chosen, shape = np.asarray(choice).astype(np.intp), outcomes.passed.shape
    if p.shape != shape or length.shape != shape or chosen.shape != shape[:1]:
        raise ValueError(
            f"expected scores {shape} and {shape[0]} tiers; found {p.shape}, {length.shape}, {chosen.shape}"
        )
    complete = outcomes.complete
    if not complete.any():
        return []
    served = _served(outcomes.take(complete), [q[complete] for q in (p, length)], seed)
    place = np.cumsum(complete) - 1
    found = []
    for by, labels in _kinds(outcomes):
        merged = _merge_small(labels, complete)
        values, counts = np.unique(merged[complete].astype(str), return_counts=True)
        if len(values) < 2:
            continue
        order = sorted(range(len(values)), key=lambda i: (values[i] == OTHER, -counts[i], values[i]))
        for value in (str(values[i]) for i in order):
            rows = np.flatnonzero(merged == value)
            kept = place[rows[complete[rows]]]
            lines = [(cost[kept], quality[kept]) for cost, quality in served]
            figures = _measure(outcomes.take(rows), p[rows], chosen[rows], lines, n_boot, seed)
            found.append({"by": by, "value": value} | figures)
    return found


def _served(outcomes: Outcomes, scores: Sequence[Floats], seed: int) -> list[tuple[Floats, Floats]]:
    """Return what scores cost and score on each prompt, budget by budget, when cross-fitted on all prompts."""
    scene = Scene.of(outcomes, 1, seed)
    return [serve(scene, price_settings(p, outcomes)) for p in scores]


def _measure(
    outcomes: Outcomes,
    p: Floats,
    chosen: Choice,
    served: Sequence[tuple[Floats, Floats]],
    n_boot: int,
    seed: int,
) -> dict[str, Any]:
    """Measure one slice; `served` are cost and quality per budget of the subject and of length, complete rows."""
    kept = np.flatnonzero(outcomes.complete)
    scene = Scene.of(outcomes.take(kept), n_boot, seed)
    ours, length = (scene.line(*each) for each in served)
    closed = [scene.closed(scene.area(line)) for line in (ours, length)]
    point = measure_choice(scene, chosen[kept])
    calibration = {
        name: calibrate(p[:, k], outcomes.passed[:, k]) for k, name in enumerate(outcomes.ladder.names)
    }
    return {
        "prompts": len(kept),
        "groups": scene.draws.n_groups,
        "gap_closed": scene.bounds(closed[0]),
        "lead_over_length": scene.bounds(closed[0] - closed[1]),
        "saving_at_97": scene.bounds(scene.saving_at(ours, AT_SHARE)),
        "regret": point["regret"],
        **mean_fit(calibration),
        "top_quality": float(scene.tier_quality[0, -1]),
        "routed_quality": point["quality"]["value"],
        "calibration": calibration,
    }


def _kinds(outcomes: Outcomes) -> Iterator[tuple[str, Labels]]:
    """Yield how to slice, and each prompt's value, a str."""
    for tag in TAGS:
        labels = outcomes.tags.get(tag)
        if labels is not None:
            yield tag, np.array(["none" if label is None else str(label) for label in labels], dtype=object)
    views = [read_prompt(prompt) for prompt in outcomes.prompts]
    yield "length", _length_quarters(np.array([view.n_chars for view in views]))
    yield "language", np.array([script_of(view.text) for view in views], dtype=object)


def _length_quarters(chars: NDArray[np.intp]) -> Labels:
    """Name each prompt's quarter by length; equal lengths share one, so that there may be fewer."""
    edges = np.unique(np.quantile(chars, [0.25, 0.5, 0.75], method="lower"))
    edges = edges[edges < chars.max()]
    if not len(edges):
        return np.array(["any length"] * len(chars), dtype=object)
    starts = [f"{low + 1:,}" for low in edges]
    names = [f"up to {edges[0]:,} characters"]
    names += [f"{start} to {high:,} characters" for start, high in zip(starts[:-1], edges[1:], strict=True)]
    names.append(f"more than {edges[-1]:,} characters")
    return np.array(names, dtype=object)[np.searchsorted(edges, chars, side="left")]


def _merge_small(labels: Labels, complete: NDArray[np.bool_]) -> Labels:
    values, counts = np.unique(labels[complete].astype(str), return_counts=True)
    large = {str(value) for value, count in zip(values, counts, strict=True) if count >= MIN_SLICE}
    return np.array([label if label in large else OTHER for label in labels], dtype=object)
