"""The comparison: a subject, baselines, fixed choices and the tiers themselves on the same prompts and draws.

Pure. Every contender is a set of settings, each a tier per prompt: scores are swept over prices, a fixed
choice is one setting, and always-cheapest and always-top are open to all. What a contender closes of the gap
is cross-fitted (`eval.lines` says why), with intervals over shared group resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.calibration import auc, brier, ece, log_loss, reliability
from eval.curve import (
    SAME_QUALITY,
    Curve,
    gap_closed,
)
from eval.lines import Line, cross_fit, hull_corners
from eval.outcomes import Outcomes
from eval.resample import Bounds
from eval.scene import AT_SHARE, QUALITY_SHARES, Scene, measure_choice, price_settings, settings_of
from eval.shares import two_tier_bounds

__all__ = ["calibrate", "compare", "mean_fit", "setting_at_share"]

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]


def compare(
    outcomes: Outcomes,
    scores: Mapping[str, ArrayLike],
    choices: Mapping[str, ArrayLike],
    subject: str,
    labels: Mapping[str, str],
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare contenders on the same prompts, settings swept alike, draws shared. Pure.

    Parameters
    ----------
    outcomes : Outcomes
        n judged prompts, and what each call was expected to cost. Those that a tier did not answer count for calibration alone.
    scores : dict of (n, k)
        Out-of-sample pass probabilities in [0, 1], the subject's among them.
    choices : dict of int (n,)
        Tiers chosen by rules that have no setting.
    subject : str
        Which scores are judged.
    labels : dict of str
        How people read a contender's name; the name itself where missing.

    Returns
    -------
    dict
        JSON-ready. Contenders: the subject, baselines and fixed rules by gap, tiers ("tier:NAME"),
        "random-mix", "oracle". Intervals are {"value", "low", "high"} at 95 % over groups. `gap_to_close` is the
        oracle's lead over random mixing, in quality. `hull_gap_closed` is the published figure, off the hull:
        biased upwards where prompts are few. `at_97` is a setting picked on these very prompts, so its quality
        is flattered a little.

    Raises
    ------
    ValueError
        No prompt that every tier answered, or scores or choices of another shape or range.
    """
    scored = {name: _scores(name, p, outcomes) for name, p in scores.items()}
    chosen = {name: _choice(name, tiers, outcomes) for name, tiers in choices.items()}
    if subject not in scored or set(scored) & set(chosen):
        raise ValueError(f"the subject has scores, and no name is both scored and fixed; found {subject!r}")
    rows = np.flatnonzero(outcomes.complete)
    if not len(rows):
        raise ValueError("no prompt was answered by every tier; ask eval.verdict.why_not first")
    complete = outcomes.take(rows)
    scene = Scene.of(complete, n_boot, seed)
    cost = scene.cost_usd

    areas: dict[str, Floats] = {}
    entries: list[dict[str, Any]] = []
    reliability_of: dict[str, dict[str, Any]] = {}
    for name, p in scored.items():
        calibration = {
            tier: calibrate(p[:, k], outcomes.passed[:, k]) for k, tier in enumerate(outcomes.ladder.names)
        }
        reliability_of[name] = calibration
        settings = price_settings(p[rows], complete)
        kind = "subject" if name == subject else "baseline"
        areas[name], entry = _contender(scene, name, labels.get(name, name), kind, settings)
        entries.append(entry | two_tier_bounds(scene.draws, scene.quality, p[rows]) | mean_fit(calibration))
    single = [
        *((name, labels.get(name, name), "fixed", tiers[rows]) for name, tiers in chosen.items()),
        *(
            (f"tier:{tier}", f"always {tier}", "tier", np.full(len(rows), k, dtype=np.intp))
            for k, tier in enumerate(outcomes.ladder.names)
        ),
    ]
    for name, label, kind, tiers in single:
        areas[name], entry = _contender(scene, name, label, kind, settings_of(tiers[:, None], cost))
        entries.append(entry | _NO_SCORES)
    areas["random-mix"], entry = _random(scene, labels)
    entries.append(entry | two_tier_bounds(scene.draws, scene.quality, None))

    ours = scene.closed(areas[subject])
    for entry in entries:
        if entry["name"] != subject:
            entry["lead"] = scene.bounds(ours - scene.closed(areas[entry["name"]]))
    oracle = _oracle(scene, labels) | two_tier_bounds(scene.draws, scene.quality, scene.quality)
    passed = scene.passed
    return {
        "prompts": len(rows),
        "groups": scene.draws.n_groups,
        "n_boot": n_boot,
        "gap_to_close": scene.bounds(scene.gap),
        "tiers": [
            {
                "name": tier.name,
                "model": tier.model,
                "quality": float(scene.tier_quality[0, k]),
                "pass_rate": float(passed[:, k].mean()),
                "cost_usd": float(scene.tier_cost[0, k]),
                "cost_explained": _explained(complete, k),
            }
            for k, tier in enumerate(outcomes.ladder.tiers)
        ],
        "contenders": [*_in_order(entries), oracle],
        "calibration": [{"tier": tier} | table for tier, table in reliability_of[subject].items()],
    }


def calibrate(p: Floats, passed: NDArray[np.float32]) -> dict[str, Any]:
    """Return how well one tier's probabilities (n,) mean what they say, JSON-ready; NaN is unobserved. Pure."""
    y = passed.astype(np.float64)
    table = reliability(p, y)
    return {
        "observed": int((~np.isnan(y)).sum()),
        "ece": _plain(ece(p, y)),
        "log_loss": _plain(log_loss(p, y)),
        "brier": _plain(brier(p, y)),
        "auc": _plain(auc(p, y)),
        "reliability": {
            "mean_p": _rounded(table.mean_p),
            "mean_y": _rounded(table.mean_y),
            "count": table.count.tolist(),
        },
    }


def _contender(
    scene: Scene, name: str, label: str, kind: str, settings: Choice
) -> tuple[Floats, dict[str, Any]]:
    """Return a contender's area per draw, and its entry."""
    costs = np.take_along_axis(scene.cost_usd, settings, axis=1)
    qualities = np.take_along_axis(scene.quality, settings, axis=1)
    cost, quality = costs.mean(axis=0), qualities.mean(axis=0)
    if kind in ("fixed", "tier"):  # no settings to choose among, so no flattery: as random mixing
        corners = hull_corners(cost, quality)
        line = scene.line(costs[:, corners], qualities[:, corners])
    else:
        line = scene.line(*cross_fit(costs, qualities, scene.folds))
    areas = scene.area(line)
    entry = _entry(scene, name, label, kind, areas, line)
    entry |= {"at_97": _at_share(scene, settings, cost, quality), **_curves(scene, Curve(cost, quality))}
    return areas, entry


def _random(scene: Scene, labels: Mapping[str, str]) -> tuple[Floats, dict[str, Any]]:
    n, k = scene.quality.shape
    entry = _entry(
        scene, "random-mix", labels.get("random-mix", "random mix"), "random", scene.random_area, scene.mixing
    )
    settings = np.tile(np.arange(k), (n, 1))
    at_97 = _at_share(scene, settings, scene.tier_cost[0], scene.tier_quality[0])
    return scene.random_area, entry | {"at_97": at_97} | _curves(scene, scene.random) | _NO_FIT


def _oracle(scene: Scene, labels: Mapping[str, str]) -> dict[str, Any]:
    label = labels.get("oracle", "oracle")
    entry = _entry(scene, "oracle", label, "oracle", scene.oracle_area, None)
    savings = {
        f"{s:g}": scene.saved(np.fmin(cost, scene.tier_cost[:, -1]))
        for s, cost in zip(QUALITY_SHARES, scene.oracle_cost.T, strict=True)
    }
    entry["saving_at_quality"] = {share: scene.bounds(saved) for share, saved in savings.items()}
    return entry | {"at_97": None} | _curves(scene, _thinned(scene.oracle)) | _NO_FIT


def _entry(
    scene: Scene, name: str, label: str, kind: str, areas: Floats, line: Line | None
) -> dict[str, Any]:
    """Return what every contender has; the lead is filled in when all are there."""
    return {
        "name": name,
        "label": label,
        "kind": kind,
        "gap_closed": scene.bounds(scene.closed(areas)),
        "aiq": scene.bounds(areas),
        "lead": None,
        "saving_at_quality": {}
        if line is None
        else {f"{share:g}": scene.bounds(scene.saving_at(line, share)) for share in QUALITY_SHARES},
    }


def _curves(scene: Scene, curve: Curve) -> dict[str, Any]:
    hull = curve.hull()
    published = gap_closed(curve, scene.random, scene.oracle)
    return {
        "hull_gap_closed": published,
        "points": {"cost_usd": _rounded(curve.cost_usd), "quality": _rounded(curve.quality)},
        "hull": {"cost_usd": _rounded(hull.cost_usd), "quality": _rounded(hull.quality)},
    }


def setting_at_share(outcomes: Outcomes, scores: ArrayLike) -> Choice:
    """Return the tiers (n,) of the cheapest setting that keeps `AT_SHARE` of the top tier's quality. Pure.

    Prompts that a tier did not answer are given a tier too, and play no part in which setting it is.
    """
    complete = outcomes.complete
    cost, quality = outcomes.cost_usd[complete], outcomes.score[complete].astype(np.float64)
    settings = price_settings(np.asarray(scores, dtype=np.float64), outcomes)
    cost, quality = (np.take_along_axis(each, settings[complete], axis=1) for each in (cost, quality))
    at = _cheapest(
        cost.mean(axis=0), quality.mean(axis=0), AT_SHARE * float(outcomes.score[complete, -1].mean())
    )
    return np.asarray(settings[:, -1 if at is None else at])


def _at_share(scene: Scene, settings: Choice, cost: Floats, quality: Floats) -> dict[str, Bounds] | None:
    """Return what the cheapest setting that keeps `AT_SHARE` of the top tier's quality does."""
    at = _cheapest(cost, quality, AT_SHARE * scene.tier_quality[0, -1])
    return None if at is None else measure_choice(scene, settings[:, at])


def _cheapest(cost: Floats, quality: Floats, level: float) -> int | None:
    """Return the cheapest setting of a quality, None where none has it."""
    kept = np.flatnonzero(quality >= level - SAME_QUALITY)
    return int(kept[np.argmin(cost[kept])]) if len(kept) else None


def _explained(outcomes: Outcomes, tier: int) -> float | None:
    """Return the share of the variance of a tier's cost that was expected; None where nothing was, or none varies."""
    if outcomes.expected_cost_usd is None:
        return None
    cost = outcomes.cost_usd[:, tier]
    spread = float(np.square(cost - cost.mean()).sum())
    missed = float(np.square(cost - outcomes.expected_cost_usd[:, tier]).sum())
    # A cost that is the same on every prompt has a spread of rounding.
    return 1.0 - missed / spread if spread > 1e-18 * float(np.square(cost).sum()) else None


_NO_FIT: dict[str, Any] = {"log_loss": None, "ece": None, "auc": None}
_NO_SCORES: dict[str, Any] = {"two_tier": None, **_NO_FIT}


def mean_fit(calibration: Mapping[str, dict[str, Any]]) -> dict[str, float | None]:
    """Return log_loss, ece and auc as means over the tiers that have them, from what `calibrate` gives. Pure."""
    found: dict[str, float | None] = {}
    for name in ("log_loss", "ece", "auc"):
        some = [tier[name] for tier in calibration.values() if tier[name] is not None]
        found[name] = float(np.mean(some)) if some else None
    return found


def _in_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = ["subject", "baseline", "fixed", "tier", "random"]

    def place(entry: dict[str, Any]) -> tuple[int, float]:
        by_gap = entry["kind"] in ("baseline", "fixed")
        return kinds.index(entry["kind"]), -entry["gap_closed"]["value"] if by_gap else 0.0

    return sorted(entries, key=place)


def _thinned(curve: Curve, most: int = 100) -> Curve:
    """Return at most so many points, at equal steps of quality, both ends among them."""
    n = len(curve.quality)
    if n <= most:
        return curve
    steps = np.linspace(curve.quality[0], curve.quality[-1], most)
    at = np.unique(np.append(np.searchsorted(curve.quality, steps).clip(0, n - 1), [0, n - 1]))
    return Curve(curve.cost_usd[at], curve.quality[at])


def _scores(name: str, p: ArrayLike, outcomes: Outcomes) -> Floats:
    values = np.asarray(p, dtype=np.float64)
    if values.shape != outcomes.passed.shape:
        raise ValueError(f"scores of {name}: expected shape {outcomes.passed.shape}; found {values.shape}")
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(
            f"scores of {name}: expected probabilities for every judged prompt; found NaN or other"
        )
    return values


def _choice(name: str, tiers: ArrayLike, outcomes: Outcomes) -> Choice:
    values, (n, k) = np.asarray(tiers), outcomes.passed.shape
    if values.shape != (n,) or values.dtype.kind not in "iu" or np.any((values < 0) | (values >= k)):
        raise ValueError(f"choices of {name}: expected {n} tiers from 0 to {k - 1}; found other")
    return values.astype(np.intp)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
