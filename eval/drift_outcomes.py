"""Drift of what came of it: how often each tier passes, what its calls cost, and whether its probabilities still hold.

Pure, given a generator. Then is what `training.reference` wrote into the manifest of prompts that the fit did not learn
from; where an older fit did not, pass rates of its whole history stand in. A tier that got worse shows as calibration
even where prompts became harder as well, for the probabilities know the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.drift_chance import (
    Null,
    bin_numbers,
    bin_shares,
    group_numbers,
    mean_by_chance,
    mean_error,
    rate_interval,
)  # fmt: skip
from eval.drift_rows import ALPHA, Row, make_row, require, untold_row
from eval.outcomes import Outcomes

__all__ = ["describe_calibration", "outcome_rows"]

Floats = NDArray[np.float64]

LABEL_LIMIT = 0.05
"""Of a pass rate."""
CALIBRATION_LIMIT = 0.05
"""Of the distance between probability and pass rate: what a promotion lets pass beyond chance."""
COST_LIMIT = 0.10
"""Of the mean cost of a call, as a share of what it was."""
_MOST_LIMIT = 20.0  # of a ratio's logarithm: the limit that two groups make may be too large for a float

_OLD = "the model's manifest says nothing of prompts that the fit did not learn from; fit it again"
_ROWS = (("label", ""), ("cost", ""), ("calibration", ": p and pass rate"), ("calibration", ": ECE"))


def outcome_rows(
    outcomes: Outcomes,
    p_pass: NDArray[Any],
    tiers: tuple[str, ...],
    manifest: Mapping[str, Any],
    draws: int,
    rng: np.random.Generator,
) -> list[Row]:
    """Return four rows per tier of the router, a kind at a time.

    Parameters
    ----------
    outcomes : Outcomes
        On whatever ladder; passes are by the router's own pass score.
    p_pass : (n, k)
        The router's, its tiers in order.
    """
    null = Null(0.5 * ALPHA / (len(_ROWS) * len(tiers)), draws, rng)
    names = outcomes.ladder.names
    whole = require(len(set(outcomes.groups)))
    found: list[list[Row]] = []
    for k, tier in enumerate(tiers):
        if tier not in names:
            why = f"no tier of that name is on the new ladder ({', '.join(names)})"
            found.append([untold_row(kind, tier + suffix, why) for kind, suffix in _ROWS])
            continue
        column = names.index(tier)
        seen = np.flatnonzero(~np.isnan(outcomes.passed[:, column]))
        passed = outcomes.passed[seen, column].astype(np.float64)
        groups = group_numbers(outcomes.groups[seen]) if len(seen) else np.empty(0, np.intp)
        why_not = whole or require(int(groups.max(initial=-1)) + 1, f"new prompts that {tier} was tried on")
        if why_not is not None:
            found.append([untold_row(kind, tier + suffix, why_not) for kind, suffix in _ROWS])
            continue
        p = p_pass[seen, k].astype(np.float64)
        found.append(
            [
                _label_row(tier, passed, groups, manifest, null),
                _cost_row(tier, outcomes.cost_usd[seen, column], groups, manifest, null.level),
                *_calibration_rows(tier, p, passed, groups, manifest, null),
            ]
        )
    return [rows[i] for i in range(len(_ROWS)) for rows in found]


def describe_calibration(
    p: Floats, passed: Floats, groups: NDArray[np.intp], edges: Floats
) -> dict[str, Any]:
    """Return, per bin of p, its share of rows, pass rate less mean p, and the standard error of that. Pure.

    An error is no less than that of outcomes drawn with the probabilities: few rows that all passed are no certainty.
    A bin without rows has share 0 and an error of 1.
    """
    bins = bin_numbers(p, edges)
    table: dict[str, list[float]] = {"share": [], "gap": [], "error": []}
    for number in range(len(edges) + 1):
        inside = bins == number
        share, gap, error = float(inside.mean()) if len(p) else 0.0, 0.0, 1.0
        if inside.any():
            own = group_numbers(groups[inside])
            gap, error = mean_error(passed[inside] - p[inside], own)
            fair = float(np.sqrt((p[inside] * (1.0 - p[inside])).sum()) / inside.sum())
            error = fair if own.max() == 0 else max(error, fair)
        for key, value in (("share", share), ("gap", gap), ("error", error)):
            table[key].append(round(value, 6))
    return {"edges": [float(edge) for edge in edges], **table}


def _label_row(
    tier: str,
    passed: Floats,
    groups: NDArray[np.intp],
    manifest: Mapping[str, Any],
    null: Null,
) -> Row:
    then, n_then = _pass_rate_then(tier, manifest)
    if then is None:
        return untold_row("label", tier, _OLD)
    shares, n_now = bin_shares(passed.astype(np.intp), 2, groups)
    now = float(shares[1])
    shift, chance = now - then, null.difference(then, n_then, now, n_now)
    limit = max(LABEL_LIMIT, chance)
    low, high = rate_interval(now, n_now)
    text = f"{tier} passed {then:.1%} then, {now:.1%} now ({low:.1%} to {high:.1%})"
    before_low, before_high = rate_interval(then, n_then)
    return make_row(
        "label", tier, text, before=then, now=now, shift=shift, limit=limit, of_limit=abs(shift) / limit, low=low, high=high,
        before_low=before_low, before_high=before_high, prompts=len(passed),
    )  # fmt: skip


def _pass_rate_then(tier: str, manifest: Mapping[str, Any]) -> tuple[float | None, float]:
    """Return a tier's pass rate, and how many independent prompts it is worth."""
    held = _held(manifest)
    if held:
        own = held["passed"].get(tier)
        return (float(own["share"]), float(own["effective"])) if own else (None, 0.0)
    summary = manifest.get("data", {}).get("summary", {})
    for row in summary.get("tiers", ()):
        if row["name"] == tier and row.get("pass_rate") is not None:
            share = summary["groups"] / summary["prompts"]
            return float(row["pass_rate"]), max(1.0, row["observed"] * share)
    return None, 0.0


def _cost_row(
    tier: str, usd: Floats, groups: NDArray[np.intp], manifest: Mapping[str, Any], level: float
) -> Row:
    """Compare mean costs of calls by their ratio: what is ten times dearer is as far off as what is ten times cheaper."""
    then = _held(manifest).get("cost", {}).get(tier)
    if not then:
        return untold_row("cost", tier, _OLD)
    before, error_then = float(then["mean_usd"]), float(then["error_usd"])
    now, error_now = mean_error(usd, groups)
    if not before > 0.0 or not now > 0.0:
        return untold_row("cost", tier, "its calls are free, then or now, so there is no ratio")
    apart = log(now / before)
    fewest = min(int(groups.max()) + 1, int(then["groups"]))
    chance = mean_by_chance((error_then / before, error_now / now), fewest, level)
    limit = max(log(1.0 + COST_LIMIT), chance)
    wide = mean_by_chance((error_now,), fewest, 0.05)
    text = f"a call of {tier} cost {_usd(before)} then, {_usd(now)} now"
    return make_row(
        "cost", tier, text, before=before, now=now, shift=now / before - 1.0, limit=exp(min(limit, _MOST_LIMIT)) - 1.0, of_limit=abs(apart) / limit,
        low=max(0.0, now - wide), high=now + wide,
    )  # fmt: skip


def _calibration_rows(
    tier: str,
    p: Floats,
    passed: Floats,
    groups: NDArray[np.intp],
    manifest: Mapping[str, Any],
    null: Null,
) -> tuple[Row, Row]:
    """Compare the gap between probability and pass rate, in all and bin by bin, with what it was."""
    names = tier + _ROWS[2][1], tier + _ROWS[3][1]
    then = _held(manifest).get("calibration", {}).get(tier)
    if not then:
        return untold_row("calibration", names[0], _OLD), untold_row("calibration", names[1], _OLD)
    gap, error = mean_error(passed - p, groups)
    error = max(error, float(np.sqrt((p * (1.0 - p)).sum()) / len(p)))
    before, shift = float(then["gap"]), gap - float(then["gap"])
    fewest = min(int(groups.max()) + 1, int(then["groups"]))
    limit = max(CALIBRATION_LIMIT, mean_by_chance((float(then["error"]), error), fewest, null.level))
    wide = mean_by_chance((error,), fewest, 0.05)
    mean_p, rate = float(p.mean()), float(passed.mean())
    text = f"{tier} was given {mean_p:.1%} to pass, and passed {rate:.1%}; then the difference was {100 * before:+.1f} points"
    first = make_row(
        "calibration", names[0], text, before=before, now=gap, shift=shift, limit=limit, of_limit=abs(shift) / limit, low=gap - wide,
        high=gap + wide,
    )  # fmt: skip

    edges = np.asarray(then["bins"]["edges"], np.float64)
    now = describe_calibration(p, passed, groups, edges)
    weights, errors_now, gaps_now = (np.asarray(now[key]) for key in ("share", "error", "gap"))
    errors_then, gaps_then = (np.asarray(then["bins"][key]) for key in ("error", "gap"))
    known = np.asarray(then["bins"]["share"]) > 0.0
    weights = np.where(known, weights, 0.0)
    ece_then, ece_now = float(weights @ np.abs(gaps_then)), float(weights @ np.abs(gaps_now))
    moved = float(weights @ np.abs(gaps_now - gaps_then))
    noise = null.rng.standard_normal((null.draws, len(weights))) * np.hypot(errors_then, errors_now)
    drawn = np.abs(noise) @ weights
    # Of what bins differ by, so much is chance on average; what counts is what lies beyond.
    expected, far = float(drawn.mean()), null.exceeded(drawn)
    excess, limit = max(0.0, moved - expected), max(CALIBRATION_LIMIT, far - expected)
    text = f"bin by bin, {tier} is {100 * excess:.1f} points off what it was, beyond the {100 * expected:.1f} that chance makes"
    second = make_row(
        "calibration", names[1], text, before=ece_then, now=ece_now, shift=excess, limit=limit, of_limit=excess / limit
    )  # fmt: skip
    return first, second


def _held(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was of prompts that the fit did not learn from; empty in manifests of older fits."""
    return (manifest.get("reference") or {}).get("held") or {}


def _usd(value: float) -> str:
    return f"${value:.3g}" if value >= 1e-4 else f"${1e6 * value:.3g} a million"
