"""The blend: which members, with which calibration, and the graph they make.

Pure, given a seed. Members are cross-validated by group on the training part; subsets of them are averaged
on the log-odds scale, calibrated, and compared by log loss, which is far less noisy than the routing that comes
of it. No family wins everywhere: the average of trees, linear head and prototypes, which is at or near the best on
each history, stands unless another subset is materially better (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from eval.calibration import log_loss
from eval.curve import gap_closed, oracle_curve, random_curve, router_curve
from router.scorer import INPUT, NOVELTY, P_PASS
from training.graph import Graph
from training.members import FITTERS, Design, Floats, Member

__all__ = ["Blend", "CrossValidation", "Selection", "build_model", "calibrate", "cross_validate", "select"]

FOLDS = 5
PREFERRED = ("trees", "linear", "prototypes")
CANDIDATES: tuple[tuple[str, ...], ...] = (
    *(subset for size in range(1, 5) for subset in combinations((*PREFERRED, "labels"), size)),
    ("length",),
)
# The share by which another subset must lower the preferred one's log loss. Smaller gains did not route better
# on held-out prompts (docs/LOG.md).
MATERIAL = 0.02
# With fewer rows per fold where every tier was observed, a cost-quality curve is noise.
LEAST_CURVE_ROWS = 30
SLOPE_RANGE = (0.2, 5.0)


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold margins.

    Attributes
    ----------
    margins : dict of str to float64 (n, k)
        Per member: log odds from a fit that did not see the row's group.
    fold : intp (n,)
        Which fold a row was left out in.
    """

    margins: dict[str, Floats]
    fold: NDArray[np.intp]

    def blend(self, members: tuple[str, ...]) -> Floats:
        """Return the average of some members' margins."""
        return np.asarray(np.mean([self.margins[name] for name in members], axis=0))


@dataclass(frozen=True)
class Selection:
    """The members chosen, and the scores of every candidate.

    Attributes
    ----------
    members : tuple of str
        What the blend holds.
    p_pass : float64 (n, k)
        Their out-of-fold, calibrated probabilities on the training part.
    slope, offset : float64 (k,)
        Calibration of the averaged margin per tier.
    table : list of dict
        Per candidate: members, log loss and gap closed, each with its standard error over folds; the gap is
        None where too few rows have an outcome on every tier.
    """

    members: tuple[str, ...]
    p_pass: Floats
    slope: Floats
    offset: Floats
    table: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True)
class Blend:
    """Fitted members and their calibration."""

    members: dict[str, Member]
    slope: Floats
    offset: Floats

    def p_pass(self, X: NDArray[np.float32]) -> Floats:
        """Return float64 (n, k) calibrated pass probabilities, in numpy. Pure."""
        margin = np.mean([member.margins(X) for member in self.members.values()], axis=0)
        return sigmoid(margin * self.slope + self.offset)


def sigmoid(z: Floats) -> Floats:
    """Return the logistic function, without overflow. Pure."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def cross_validate(
    design: Design, groups: NDArray[np.object_], seed: int, tick: Callable[[str], None] = lambda _: None
) -> CrossValidation:
    """Fit every member on all folds but one, in turn. Pure.

    Parameters
    ----------
    groups : (n,)
        Rows of one group share a fold. At least two groups.
    tick : callable
        Called with what was just fitted, once per fold and member.
    """
    _, codes = np.unique(groups.astype(str), return_inverse=True)
    n_folds = min(FOLDS, int(codes.max()) + 1)
    fold = np.zeros(len(codes), np.intp)
    margins = {name: np.zeros(design.passed.shape) for name in FITTERS}
    splits = GroupKFold(n_folds, shuffle=True, random_state=seed).split(codes, groups=codes)
    for i, (kept, left) in enumerate(splits):
        fold[left] = i
        part = design.take(kept)
        for name, fit in FITTERS.items():
            margins[name][left] = fit(part, seed).margins(design.X[left])
            tick(f"fold {i + 1}/{n_folds}: {name}")
    return CrossValidation(margins, fold)


def calibrate(margin: Floats, passed: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return slope and offset per tier that make a margin a calibrated log odds. Pure.

    One slope for all tiers (a temperature), because a slope of its own per tier fits noise into exactly what
    decisions rest on, the differences between tiers (docs/LOG.md); an offset per tier, at which its mean
    probability is its pass rate. The slope stays positive and moderate, so that calibration never reverses or
    explodes a ranking. A tier whose outcomes are all alike keeps its margin.
    """
    slope, offset = np.ones(margin.shape[1]), np.zeros(margin.shape[1])
    tiers = [k for k, y in enumerate(passed.T) if len(np.unique(y[~np.isnan(y)])) > 1]
    if not tiers:
        return slope, offset
    row, tier = np.nonzero(~np.isnan(passed[:, tiers]))
    y, z = passed[:, tiers][row, tier], margin[:, tiers][row, tier]
    indicators = np.eye(len(tiers))[tier]
    platt = LogisticRegression(C=100.0, fit_intercept=False, max_iter=1000)
    slope[tiers] = np.clip(platt.fit(np.column_stack([z, indicators]), y).coef_[0, 0], *SLOPE_RANGE)
    for k in tiers:
        seen = ~np.isnan(passed[:, k])
        offset[k] = _matching_offset(margin[seen, k] * slope[k], float(passed[seen, k].mean()))
    return slope, offset


def _matching_offset(z: Floats, rate: float) -> float:
    """Return the offset at which the mean probability is the pass rate, by bisection. Pure."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(z + middle).mean() < rate else (low, middle)
    return (low + high) / 2


def select(
    validation: CrossValidation,
    passed: NDArray[np.float32],
    score: NDArray[np.float32],
    cost_usd: Floats,
) -> Selection:
    """Choose the members by their out-of-fold log loss, after calibration. Pure.

    Parameters
    ----------
    passed, score, cost_usd : (n, k)
        Outcomes of the training part; NaN where unobserved (cost never is).
    """
    complete = ~np.isnan(score).any(axis=1)
    folds = [validation.fold == i for i in range(int(validation.fold.max()) + 1)]
    parts = [np.flatnonzero(complete & fold) for fold in folds]
    if min(map(len, parts)) < LEAST_CURVE_ROWS:
        parts = []
    bounds = [(random_curve(score[r], cost_usd[r]), oracle_curve(score[r], cost_usd[r])) for r in parts]
    candidates: dict[tuple[str, ...], Selection] = {}
    table: list[dict[str, Any]] = []
    for members in CANDIDATES:
        margin = validation.blend(members)
        slope, offset = calibrate(margin, passed)
        p = sigmoid(margin * slope + offset)
        losses = np.array([_mean_log_loss(p[fold], passed[fold]) for fold in folds])
        gaps = np.array(
            [
                gap_closed(router_curve(p[r], score[r], cost_usd[r], "price"), *ends)
                for r, ends in zip(parts, bounds, strict=True)
            ]
        )
        table.append(
            {
                "members": list(members),
                "log_loss": float(losses.mean()),
                "log_loss_standard_error": _standard_error(losses),
                "gap_closed": float(gaps.mean()) if len(gaps) else None,
                "gap_closed_standard_error": _standard_error(gaps) if len(gaps) else None,
            }
        )
        candidates[members] = Selection(members, p, slope, offset, table)
    log_loss_of = {tuple(row["members"]): row["log_loss"] for row in table}
    best = min(CANDIDATES, key=lambda members: log_loss_of[members])
    materially = log_loss_of[best] < (1.0 - MATERIAL) * log_loss_of[PREFERRED]
    return candidates[best if materially else PREFERRED]


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _mean_log_loss(p: Floats, passed: NDArray[np.float32]) -> float:
    tiers = [k for k in range(p.shape[1]) if not np.isnan(passed[:, k]).all()]
    return float(np.mean([log_loss(p[:, k], passed[:, k]) for k in tiers])) if tiers else 0.0


def build_model(blend: Blend, prototypes: Floats, width: int) -> onnx.ModelProto:
    """Write blend, calibration and novelty as one graph.

    Parameters
    ----------
    prototypes : float64 (width, m)
        Unit columns; novelty is 1 minus the largest cosine to any of them, 0 to 2.

    Returns
    -------
    onnx.ModelProto
        Input `x` float32 (n, width); outputs `p_pass` float32 (n, k) and `novelty` float32 (n, 1).
    """
    graph = Graph()
    scale = blend.slope / len(blend.members)
    margins = [member.export(graph, INPUT, scale) for member in blend.members.values()]
    graph.add("Sigmoid", graph.add("Sum", *margins, graph.constant(blend.offset[None])), output=P_PASS)
    nearest = graph.add(
        "ReduceMax", graph.add("MatMul", INPUT, graph.constant(prototypes)), axes=[1], keepdims=1
    )
    # Rounding can put a cosine above 1; a known prompt is not less than not novel.
    graph.add("Relu", graph.add("Sub", graph.constant(np.ones((1, 1))), nearest), output=NOVELTY)
    return graph.build({INPUT: width}, {P_PASS: len(blend.slope), NOVELTY: 1})
