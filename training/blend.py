"""The blend: which members count how much, with which calibration, and the graph they make.

Pure, given a seed. Members are cross-validated by group on the training part; their out-of-fold probabilities
are calibrated, weighted (`training.stack`) and averaged on the log-odds scale. No family wins everywhere: each
history has another best one, and the weights find it (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from eval.calibration import log_loss
from eval.curve import gap_closed, oracle_curve, random_curve, router_curve
from eval.design import Design
from router.scorer import ANSWER, INPUT, NOVELTY, P_PASS, SPREAD
from training.answers import Answers
from training.graph import Graph, Total
from training.logistic import Floats
from training.members import FITTERS, Member
from training.novelty import Novelty
from training.stack import calibrate, match, shrink, sigmoid, weigh
from training.tasks import tasks_in
from training.words import Words

__all__ = [
    "Blend", "CrossValidation", "Selection", "build_model", "cross_fit", "cross_validate", "fit_blend", "judge",
    "members_for", "score_blend", "select",
]  # fmt: skip

FOLDS = 5
# With fewer rows per fold where every tier was observed, a cost-quality curve is noise.
LEAST_CURVE_ROWS = 30


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


@dataclass(frozen=True)
class Selection:
    """Which members, how much each counts, and the calibration.

    Attributes
    ----------
    weights : dict of str to float
        Per member of the blend its share, before calibration; they sum to 1.
    scale : dict of str to float64 (k,)
        Per member of the blend: what its margin is multiplied by, calibration included.
    mix : float64 (k, k)
        From their sum to log odds: draws the tiers together.
    offset : float64 (k,)
        Added in the end.
    own : dict of str to (float64 (k,), float64 (k,))
        Per member of the blend: slope and offset that make its margin alone a calibrated log odds.
    """

    weights: dict[str, float]
    scale: dict[str, Floats]
    mix: Floats
    offset: Floats
    own: dict[str, tuple[Floats, Floats]]

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members of the blend."""
        return tuple(self.weights)

    def p_pass(self, margins: dict[str, Floats]) -> Floats:
        """Return float64 (n, k) calibrated pass probabilities from members' margins. Pure."""
        total = np.sum([margins[name] * scale for name, scale in self.scale.items()], axis=0)
        return sigmoid(total @ self.mix + self.offset)

    def spread(self, margins: dict[str, Floats], reference: int) -> Floats:
        """Return how far members differ on each tier's distance from the reference tier, float64 (n, k). Pure.

        The standard deviation over members, by their weights, of the difference between the two calibrated pass
        probabilities: what one blend does not know of `p_reference - p_k`. Small where members learned from many
        prompts alike, twice that on prompts from elsewhere (docs/LOG.md).
        """
        p = np.stack([sigmoid(margins[name] * slope + offset) for name, (slope, offset) in self.own.items()])
        lead = p[:, :, reference, None] - p
        weights = np.array(list(self.weights.values()))
        mean = np.tensordot(weights, lead, 1)
        return np.asarray(np.sqrt(np.tensordot(weights, np.square(lead - mean), 1)))


@dataclass(frozen=True)
class Blend:
    """Fitted members and how they are put together."""

    members: dict[str, Member]
    selection: Selection

    def p_pass(self, rows: Design) -> Floats:
        """Return float64 (n, k) calibrated pass probabilities, in numpy. Pure."""
        return self.selection.p_pass(self.margins(rows))

    def margins(self, rows: Design) -> dict[str, Floats]:
        """Return what each member says of rows, float64 (n, k). Pure."""
        return {name: member.margins(rows) for name, member in self.members.items()}

    @property
    def lexicon(self) -> NDArray[np.float32] | None:
        """Token weights that serving needs beside the graph, where words are a member."""
        words = self.members.get("words")
        return words.lexicon if isinstance(words, Words) else None


def members_for(design: Design) -> tuple[str, ...]:
    """Return the members that a history can have: words need tokens, and tasks need two tasks or more. Pure."""
    missing = {"words"} if design.tokens is None else set()
    if len(tasks_in(design)) < 2:
        missing.add("tasks")
    return tuple(name for name in FITTERS if name not in missing)


def cross_validate(
    design: Design, seed: int, tick: Callable[[str], None] = lambda _: None
) -> CrossValidation:
    """Fit every member on all folds but one, in turn. Pure.

    Parameters
    ----------
    design : Design
        With groups, two or more; rows of one group share a fold.
    tick : callable
        Called with what was just fitted, once per fold and member.
    """
    assert design.groups is not None, "folds need groups"  # noqa: S101
    _, codes = np.unique(design.groups.astype(str), return_inverse=True)
    n_folds = min(FOLDS, int(codes.max()) + 1)
    fold = np.zeros(len(codes), np.intp)
    margins = {name: np.zeros(design.passed.shape) for name in members_for(design)}
    splits = GroupKFold(n_folds, shuffle=True, random_state=seed).split(codes, groups=codes)
    for i, (kept, left) in enumerate(splits):
        fold[left] = i
        part, rest = design.take(kept), design.take(left)
        for name in margins:
            margins[name][left] = FITTERS[name](part, seed).margins(rest)
            tick(f"fold {i + 1}/{n_folds}: {name}")
    return CrossValidation(margins, fold)


def select(
    margins: dict[str, Floats], passed: NDArray[np.float32], cost_usd: Floats, weight: Floats | None = None
) -> Selection:
    """Weigh and calibrate members by what they said out of fold. Pure.

    Parameters
    ----------
    margins : dict of str to float64 (n, k)
        Out-of-fold margins per member.
    passed : (n, k)
        1, 0, or NaN where unobserved.
    cost_usd : float64 (n, k)
        What each tier's answer cost.
    weight : float64 (n, k), optional
        How much each outcome counts; by default all alike.
    """
    fits = [calibrate(z, passed, weight) for z in margins.values()]
    calibrated = [z * slope + offset for z, (slope, offset) in zip(margins.values(), fits, strict=True)]
    weights = weigh([sigmoid(z) for z in calibrated], passed, cost_usd.mean(axis=0))
    mean = np.tensordot(weights, np.stack(calibrated), 1)
    slope, offset = calibrate(mean, passed, weight)
    z = mean * slope + offset
    believed = shrink(sigmoid(z), passed, cost_usd.mean(axis=0))
    # Differences are those from the mean of the tiers' log odds, less the tier's usual one.
    mix = believed * np.eye(z.shape[1]) + (1.0 - believed) / z.shape[1]
    usual = (1.0 - believed) * (z - z.mean(axis=1, keepdims=True)).mean(axis=0)
    drawn = z @ mix + usual
    matched = [
        match(drawn[:, k], y, None if weight is None else weight[:, k]) for k, y in enumerate(passed.T)
    ]
    moved = np.tensordot(weights, np.stack([own for _, own in fits]), 1) * slope + offset
    return Selection(
        {name: float(w) for name, w in zip(margins, weights, strict=True) if w > 0.0},
        {name: w * own * slope for name, w, (own, _) in zip(margins, weights, fits, strict=True) if w > 0.0},
        mix,
        moved @ mix + usual + matched,
        {name: own for name, w, own in zip(margins, weights, fits, strict=True) if w > 0.0},
    )


def cross_fit(
    validation: CrossValidation,
    passed: NDArray[np.float32],
    cost_usd: Floats,
    names: tuple[str, ...],
    weight: Floats | None = None,
) -> Floats:
    """Return float64 (n, k) out-of-fold probabilities, given the margins. Pure.

    Each fold is scored by margins from the other folds, weighted and calibrated on the other folds.
    """
    p = np.zeros(passed.shape)
    for i in range(int(validation.fold.max()) + 1):
        left = validation.fold == i
        kept = select(
            {name: validation.margins[name][~left] for name in names},
            passed[~left],
            cost_usd[~left],
            None if weight is None else weight[~left],
        )
        p[left] = kept.p_pass({name: validation.margins[name][left] for name in names})
    return p


def judge(
    validation: CrossValidation,
    passed: NDArray[np.float32],
    score: NDArray[np.float32],
    cost_usd: Floats,
    weight: Floats | None = None,
) -> list[dict[str, Any]]:
    """Return what each member alone and all of them together are worth, out of fold. Pure.

    A call is taken to cost its tier's mean, so that the gap is of what members say alone.

    Parameters
    ----------
    passed, score, cost_usd : (n, k)
        Outcomes of the training part; NaN where unobserved (cost never is).
    weight : float64 (n, k), optional
        As `select`'s.

    Returns
    -------
    list of dict
        Per candidate: members, log loss and gap closed, each with its standard error over folds; the gap is None
        where too few rows have an outcome on every tier.
    """
    folds = [validation.fold == i for i in range(int(validation.fold.max()) + 1)]
    complete = ~np.isnan(score).any(axis=1)
    parts = [np.flatnonzero(complete & fold) for fold in folds]
    if min(map(len, parts)) < LEAST_CURVE_ROWS:
        parts = []
    bounds = [(random_curve(score[r], cost_usd[r]), oracle_curve(score[r], cost_usd[r])) for r in parts]
    names = tuple(validation.margins)
    table: list[dict[str, Any]] = []
    for members in (*((name,) for name in names), names):
        p = cross_fit(validation, passed, cost_usd, members, weight)
        losses = np.array([_mean_log_loss(p[fold], passed[fold]) for fold in folds])
        curves = [router_curve(p[r], score[r], cost_usd[r]) for r in parts]
        gaps = np.array([gap_closed(curve, *ends) for curve, ends in zip(curves, bounds, strict=True)])
        table.append(
            {
                "members": list(members),
                "log_loss": float(losses.mean()),
                "log_loss_standard_error": _standard_error(losses),
                "gap_closed": float(gaps.mean()) if len(gaps) else None,
                "gap_closed_standard_error": _standard_error(gaps) if len(gaps) else None,
            }
        )
    return table


def fit_blend(design: Design, selection: Selection, seed: int) -> Blend:
    """Fit the chosen members on all rows. Pure."""
    members = {name: FITTERS[name](design, seed) for name in selection.members}
    return Blend(members, selection)


def score_blend(train: Design, test: Design, seed: int) -> Floats:
    """Fit the blend on some rows, by cross-validation among them, and score others. Pure.

    Returns
    -------
    float64 (m, k)
        Calibrated pass probabilities of the test rows.
    """
    validation = cross_validate(train, seed)
    cost_usd = np.ones(train.passed.shape) if train.cost_usd is None else train.cost_usd
    selection = select(validation.margins, train.passed, cost_usd, train.weight)
    return fit_blend(train, selection, seed).p_pass(test)


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _mean_log_loss(p: Floats, passed: NDArray[np.float32]) -> float:
    tiers = [k for k in range(p.shape[1]) if not np.isnan(passed[:, k]).all()]
    return float(np.mean([log_loss(p[:, k], passed[:, k]) for k in tiers])) if tiers else 0.0


def build_model(
    blend: Blend, answers: Answers, novelty: Novelty, reference: int, width: int, dimension: int
) -> onnx.ModelProto:
    """Write blend, calibration, answers and novelty as one graph.

    Parameters
    ----------
    reference : int
        Position of the reference tier.
    width : int
        Columns of the rows that serving extracts, the lexicon's included.
    dimension : int
        Of these, how many are the embedding.

    Returns
    -------
    onnx.ModelProto
        Input `x` float32 (n, width), its embedding of any length; outputs as in `router.scorer.Scores`, `novelty`
        float32 (n, 1).
    """
    graph = Graph(INPUT, width, dimension)
    k = len(blend.selection.offset)
    _export_blend(graph, blend, reference)
    answers.export(graph)
    novelty.export(graph)
    return graph.build({P_PASS: k, SPREAD: k, ANSWER: k, NOVELTY: 1})


def _export_blend(graph: Graph, blend: Blend, reference: int) -> None:
    """Write pass probabilities and their spread. One sum holds the blend's log odds and, beside them, each member's."""
    selection, k, m = blend.selection, len(blend.selection.offset), len(blend.members)
    total = Total(graph, k * (1 + m))
    total.shift(np.concatenate([selection.offset, *(offset for _, offset in selection.own.values())]))
    for i, (name, member) in enumerate(blend.members.items()):
        transform = np.zeros((k, 1 + m, k))
        transform[:, 0] = selection.scale[name][:, None] * selection.mix
        transform[:, 1 + i] = np.diag(selection.own[name][0])
        member.export(total, transform.reshape(k, -1))
    probabilities = graph.add("Sigmoid", total.close())
    alone = graph.split(probabilities, {P_PASS: k, graph.fresh() + "_members": k * m})
    # From (member, tier) to deviations of leads from the members' mean, each times the root of the member's weight.
    weights = np.array(list(selection.weights.values()))
    lead = np.eye(k)[:, [reference]] - np.eye(k)
    centred = np.sqrt(weights) * (np.eye(m) - weights[:, None])
    deviations = graph.add("MatMul", alone, graph.constant(np.kron(centred, lead)))
    by_member = graph.add("Reshape", deviations, graph.constant([0, m, k], np.int64))
    graph.add("ReduceL2", by_member, axes=[1], keepdims=0, output=SPREAD)
