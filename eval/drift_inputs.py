"""Drift of what goes into a router: embeddings, shape features, its scores and novelty, then and now.

Pure, given a generator. Then is what `training.reference` wrote into the manifest. Features are compared with the
training part. Scores and novelty are compared with prompts that the fit did not learn from, for on its own prompts a
model is surer, and nothing is novel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.drift_chance import (
    Binned,
    Null,
    bin_shares,
    edges_of,
    psi_of,
    rate_interval,
    widest_cut,
)  # fmt: skip
from eval.drift_rows import ALPHA, Row, make_row, require, untold_row
from eval.drift_words import cut_words
from router.features import FEATURE_NAMES
from router.scorer import Scores

__all__ = ["MUCH", "SOME", "Window", "input_rows"]

Floats = NDArray[np.float64]

SOME, MUCH = 0.10, 0.25
"""Population stability index from which a shift is some, and much: see `eval.drift_chance.psi`."""
EMBEDDING_LIMIT = 0.002
"""Cosine distance of mean embeddings below which nobody cares: on the synthetic history, drawing half of the prompts from
three of its thirteen tasks is .004. Means of many prompts are near each other whatever these are about."""
NOVELTY_LIMIT = 0.02
"""Of the share of prompts taken for novel: each costs a call of the reference tier."""

_OLD = "the model's manifest says nothing of prompts that the fit did not learn from; fit it again"


class Window(NamedTuple):
    """New prompts as the router reads them.

    Attributes
    ----------
    X : float32 (n, width)
    scores : Scores
        What the graph makes of them.
    groups : intp (n,)
        0 to G - 1.
    tiers : tuple of str
        The router's.
    """

    X: NDArray[np.float32]
    scores: Scores
    groups: NDArray[np.intp]
    tiers: tuple[str, ...]

    @property
    def n_groups(self) -> int:
        """G, 0 of no prompts."""
        return int(self.groups.max(initial=-1)) + 1


def input_rows(
    window: Window, manifest: Mapping[str, Any], draws: int, rng: np.random.Generator
) -> list[Row]:
    """Return the rows of embedding, features, scores and novelty, in this order."""
    names = [
        ("embedding", "mean embedding"),
        *(("feature", name) for name in FEATURE_NAMES),
        *(("score", name) for name in window.tiers),
        ("novelty", "novel prompts"),
    ]
    why = require(window.n_groups)
    reference = manifest.get("reference")
    if why is None and not isinstance(reference, Mapping):
        why = "the model's manifest holds no reference statistics; fit it again"
    if why is not None:
        return [untold_row(kind, name, why) for kind, name in names]
    assert isinstance(reference, Mapping)  # noqa: S101 - told above
    null = Null(0.5 * ALPHA / len(names), draws, rng)
    dimension = len(reference["mean_embedding"])
    rows = [_embedding_row(window, manifest, dimension, null)]
    for i, name in enumerate(FEATURE_NAMES):
        values = window.X[:, dimension + i].astype(np.float64)
        rows.append(_feature_row(name, values, window, manifest, null))
    held = reference.get("held")
    for k, name in enumerate(window.tiers):
        if not held or name not in held["p_pass"]:
            rows.append(untold_row("score", name, _OLD))
            continue
        then = Binned.read(held["p_pass"][name])
        now = Binned.of(window.scores.p_pass[:, k], window.groups, then.edges)
        rows.append(_shape_row("score", name, then, now, null))
    rows.append(_novelty_row(window, manifest, null))
    return rows


def _embedding_row(
    window: Window,
    manifest: Mapping[str, Any],
    dimension: int,
    null: Null,
) -> Row:
    """Compare mean embeddings; chance moves either as prompts of the window vary, group by group."""
    reference, name = manifest["reference"], "mean embedding"
    then = np.asarray(reference["mean_embedding"], np.float64)
    rows = window.X[:, :dimension].astype(np.float64)
    now, groups = rows.mean(axis=0), window.n_groups
    if not np.linalg.norm(then) or not np.linalg.norm(now):
        return untold_row("embedding", name, "a mean embedding is zero, so it points nowhere")
    off = np.zeros((groups, dimension))
    np.add.at(off, window.groups, rows - now)
    variances, axes = np.linalg.eigh(off.T @ off * (groups / (groups - 1) / len(rows) ** 2))
    spread = axes * np.sqrt(np.maximum(variances, 0.0))
    ratio = groups / _groups_then(manifest)
    pooled = (now + then / ratio) / (1.0 + 1.0 / ratio)
    first = pooled + null.rng.standard_normal((null.draws, dimension)) @ spread.T
    second = pooled + np.sqrt(ratio) * null.rng.standard_normal((null.draws, dimension)) @ spread.T
    chance = null.exceeded(_cosine_distance(first, second))
    shift, limit = float(_cosine_distance(then, now)), max(EMBEDDING_LIMIT, chance)
    text = f"mean embeddings are {shift:.4f} apart in cosine; chance alone stays below {chance:.4f}"
    return make_row(
        "embedding", name, text, before=0.0, now=shift, shift=shift, limit=limit, of_limit=shift / limit, chance=chance
    )  # fmt: skip


def _feature_row(
    name: str,
    values: Floats,
    window: Window,
    manifest: Mapping[str, Any],
    null: Null,
) -> Row:
    reference = manifest["reference"]
    bins = reference.get("bins", {}).get(name)
    then: Binned | None
    if bins is not None:
        then = Binned.read(bins)
        now = Binned.of(values, window.groups, then.edges)
    else:
        now, then = _against_deciles(values, window, manifest, reference["features"].get(name))
        if then is None:
            return untold_row("feature", name, "the model's manifest says nothing of it; fit it again")
    return _shape_row("feature", name, then, now, null)


def _against_deciles(
    values: Floats, window: Window, manifest: Mapping[str, Any], deciles: list[float] | None
) -> tuple[Binned, Binned | None]:
    """Return the distribution now, and one then that agrees with its deciles and is as near to it as they allow.

    Manifests of older fits hold no more. Deciles leave open how many prompts share a value, so what they show of a
    shift is less than there may be, and never more.
    """
    points = np.asarray(deciles if deciles is not None else [0.0] * 11, np.float64)
    edges = edges_of(points)
    now = Binned.of(values, window.groups, edges)
    if deciles is None:
        return now, None
    quantiles = np.asarray(manifest["reference"]["quantiles"], np.float64)
    low = np.array([quantiles[points <= edge].max(initial=0.0) for edge in edges])
    high = np.array([quantiles[points > edge].min(initial=1.0) for edge in edges])
    below = np.clip(np.cumsum(now.shares)[:-1], low, high)
    shares = np.diff(below, prepend=0.0, append=1.0)
    return now, Binned(edges, shares, float(_groups_then(manifest)))


def _shape_row(
    kind: str,
    name: str,
    then: Binned,
    now: Binned,
    null: Null,
) -> Row:
    """Return the row of a distribution; `before` and `now` are the shares beyond the cut where they differ most."""
    shift = psi_of(then, now)
    # What is within the limit needs no chance to excuse it, and a report asks for dozens of these.
    chance = null.psi(then, now) if shift > SOME else 0.0
    limit = max(SOME, chance)
    cut = widest_cut(then, now)
    beyond = [1.0, 1.0] if cut is None else [float(each.shares[cut + 1 :].sum()) for each in (then, now)]
    at = None if cut is None else float(then.edges[cut])
    where = "all prompts"
    if at is not None:
        where = (
            cut_words(name, at)
            if kind == "feature"
            else f"prompts given more than {at:.2f} to pass on {name}"
        )
    size = "much" if shift > MUCH else "some" if shift > SOME else "little"
    text = (
        f"{where}: {beyond[0]:.1%} then, {beyond[1]:.1%} now; stability index {shift:.2f}, limit {limit:.2f}"
    )
    return make_row(
        kind, name, text, before=beyond[0], now=beyond[1], shift=shift, limit=limit, of_limit=shift / limit, cut=at, size=size, where=where
    )  # fmt: skip


def _novelty_row(window: Window, manifest: Mapping[str, Any], null: Null) -> Row:
    kind, name = "novelty", "novel prompts"
    decision, held = manifest["decision"], manifest["reference"].get("held")
    if held:
        then, n_then = float(held["novel"]["share"]), float(held["novel"]["effective"])
    elif decision.get("novelty_false_alarm_observed") is not None:
        then = float(decision["novelty_false_alarm_observed"])
        n_then = _groups_then(manifest, manifest["data"]["split"]["calibration"])
    else:
        return untold_row(kind, name, _OLD)
    novel = ~(window.scores.novelty <= decision["novelty_threshold"])
    shares, n_now = bin_shares(novel.astype(np.intp), 2, window.groups)
    now = float(shares[1])
    shift = now - then
    chance = null.difference(then, n_then, now, n_now)
    limit = max(NOVELTY_LIMIT, chance)
    low, high = rate_interval(now, n_now)
    text = f"prompts taken for novel, which go to the reference tier: {then:.1%} then, {now:.1%} now"
    return make_row(
        kind, name, text, before=then, now=now, shift=shift, limit=limit, of_limit=abs(shift) / limit, low=low, high=high
    )  # fmt: skip


def _groups_then(manifest: Mapping[str, Any], prompts: int | None = None) -> float:
    """Return how many groups the training part had, or so many prompts of the history: all that deciles are worth."""
    reference = manifest["reference"]
    if prompts is None and "groups" in reference:
        return float(reference["groups"])
    summary = manifest.get("data", {}).get("summary", {})
    share = summary["groups"] / summary["prompts"] if summary.get("prompts") else 1.0
    return max(1.0, share * (reference["prompts"] if prompts is None else prompts))


def _cosine_distance(a: Floats, b: Floats) -> Floats:
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray(1.0 - (a * b).sum(axis=-1) / np.maximum(lengths, 1e-12))
