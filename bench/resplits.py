"""Certificates on real histories: one part certifies, the other is routed, again and again.

Scores, spreads and expected costs are cross-fitted by group as an evaluation does it, so no prompt is scored by a fit
that saw its group. The novelty guard is left out. Resplits are by group, and groups count alike, as in a certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import delayed
from numpy.typing import NDArray
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from eval.certify import DELTA, EPSILONS, certify
from eval.design import Design, describe
from eval.expected import expected_cost
from eval.folds import Fold, plan_folds
from eval.history import read_history
from eval.ladder import best_tier, mean_call_usd
from eval.outcomes import Outcomes, tabulate
from eval.parallel import run_calls
from eval.progress import Progress
from eval.rows import extract_rows
from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.rule import Loss, choose_many, expected_losses
from router.tiers import read_tiers
from training.answers import predict_answers
from training.blend import cross_validate, fit_blend, select

__all__ = ["PROMISES", "Routed", "resplit", "route_histories"]

Floats = NDArray[np.float64]
PROMISES = (0.02, 0.05, 0.10)  # alphas
CALIBRATION = 1500  # prompts, or half of a history


@dataclass(frozen=True, eq=False)
class Routed:
    """A history whose every prompt was tried on every tier, and what a router would know of it."""

    name: str
    outcomes: Outcomes
    p: Floats
    spread: Floats
    usd: Floats
    reference: int


def route_histories(
    data: Path, ladders: Path, extra: tuple[str, ...], workers: int, tell: Callable[[str], None]
) -> Iterator[Routed]:
    """Yield each history with its own ladder, then those of `extra` with another one."""
    extractor = Extractor(StaticEmbedding.load(find_artifact()))
    own = [(path.name.removesuffix(".tiers.toml"), path) for path in sorted(data.glob("*.tiers.toml"))]
    others = [(name, ladders / f"{name}.tiers.toml") for name in extra]
    for name, tiers in [*own, *others]:
        outcomes = tabulate(read_history([data / f"{name}.parquet"]), read_tiers(tiers))
        design = describe(outcomes, extract_rows(extractor, outcomes.prompts, Progress()), extractor)
        reference = best_tier(outcomes)
        plan = plan_folds(replace(outcomes, timestamp=None))
        answer, p, spread = (np.full(outcomes.passed.shape, np.nan) for _ in range(3))
        calls = (delayed(_score_fold)(design, fold, reference) for fold in plan.folds)
        for test, *found in run_calls(calls, workers):
            answer[test], p[test], spread[test] = found
        usd, rows = expected_cost(outcomes, answer), outcomes.complete
        label = name if tiers.parent == data else f"{name}_other"
        tell(f"scored {label}")
        yield Routed(label, outcomes.take(rows), p[rows], spread[rows], usd[rows], reference)


def _score_fold(
    design: Design, fold: Fold, reference: int
) -> tuple[NDArray[np.intp], Floats, Floats, Floats]:
    """Return test rows, USD of their answers, pass probabilities and spreads, learned from the fold's training rows."""
    train, test = design.take(fold.train), design.take(fold.test).blind()
    with threadpool_limits(1):
        validation = cross_validate(train, 0)
        cost = np.ones(train.passed.shape) if train.cost_usd is None else train.cost_usd
        blend = fit_blend(train, select(validation.margins, train.passed, cost), 0)
        margins = blend.margins(test)
        answer = predict_answers(train, test)
    selection = blend.selection
    return fold.test, answer, selection.p_pass(margins), selection.spread(margins, reference)


@dataclass(frozen=True, eq=False)
class _Sums:
    """What routing at every epsilon comes to, row by row: (n, epsilons), and of the reference tier, (n,)."""

    cost: Floats
    score: Floats
    lost: NDArray[np.bool_]
    won: NDArray[np.bool_]
    best_cost: Floats
    best_score: Floats

    @classmethod
    def of(cls, routed: Routed, loss: Loss) -> _Sums:
        unit = mean_call_usd(routed.usd[:, routed.reference])
        losses = expected_losses(routed.p, routed.spread, routed.reference, loss)
        chosen = choose_many(losses, routed.usd, np.array(EPSILONS) / unit)
        known, b = routed.outcomes, routed.reference
        passed = known.passed == 1.0
        found = np.take_along_axis(passed, chosen, axis=1)
        score = known.score.astype(np.float64)
        return cls(
            np.take_along_axis(known.cost_usd, chosen, axis=1),
            np.take_along_axis(score, chosen, axis=1),
            passed[:, b, None] & ~found,
            found & ~passed[:, b, None],
            known.cost_usd[:, b],
            score[:, b],
        )

    def measure(self, i: int, weights: Floats) -> dict[str, float]:
        """Return what one epsilon comes to on rows that count by weight."""
        total = weights.sum()
        return {
            "saving": float(1 - weights @ self.cost[:, i] / (weights @ self.best_cost)),
            "regret": float(weights @ self.lost[:, i] / total),
            "won": float(weights @ self.won[:, i] / total),
            "quality": float(weights @ self.score[:, i] / (weights @ self.best_score)),
        }


def resplit(routed: Routed, repetitions: int) -> dict[str, Any]:
    """Return savings, losses and broken promises of a history over many resplits, by promise and kind. Pure."""
    known = routed.outcomes
    names, of = np.unique(known.groups.astype(str), return_inverse=True)
    weights = 1.0 / np.bincount(of)[of]
    sums = {"regret": _Sums.of(routed, Loss.REGRET), "quality": _Sums.of(routed, Loss.QUALITY)}
    share = min(CALIBRATION, len(known) // 2) / len(known)
    unit_usd = float(routed.usd[:, routed.reference].mean())

    def split(rng: np.random.Generator) -> NDArray[np.bool_]:
        rank = rng.permutation(len(names))[of]
        return rank < np.quantile(rank, share)

    rounds: dict[tuple[str, float], list[dict[str, float]]] = {}
    for seed in range(repetitions):
        held = split(np.random.default_rng(seed))
        certificate = certify(
            known.take(held), routed.p[held], routed.usd[held], reference=routed.reference, unit_usd=unit_usd,
            spread=routed.spread[held], seed=seed, alphas=PROMISES,
        )  # fmt: skip
        tables = {
            "regret": {row["alpha"]: row["epsilon"] for row in certificate["table"]},
            "quality": {round(1 - row["min_quality"], 6): row["epsilon"] for row in certificate["quality"]},
        }
        for kind, table in tables.items():
            for alpha in PROMISES:
                epsilon = table.get(alpha)
                found = _judge(sums[kind], kind, alpha, epsilon, weights, held)
                rounds.setdefault((kind, alpha), []).append(found)
    return {
        "prompts": len(known),
        "groups": len(names),
        "calibration_groups": certificate["n"],
        "reference": certificate["reference"],
        "reference_quality": float(weights @ sums["regret"].best_score / weights.sum()),
        "alphas": {
            f"{alpha:g}": {
                kind: {
                    "repetitions": repetitions,
                    **{name: float(np.mean([r[name] for r in rounds[kind, alpha]])) for name in rounds[kind, alpha][0]},
                    "known": _if_known(each, kind, alpha, weights),
                }
                for kind, each in sums.items()
            }
            for alpha in PROMISES
        },
    }  # fmt: skip


def _breaks(found: dict[str, float], kind: str, alpha: float) -> bool:
    return found["regret"] > alpha if kind == "regret" else found["quality"] < 1 - alpha


def _judge(
    sums: _Sums,
    kind: str,
    alpha: float,
    epsilon: float | None,
    weights: Floats,
    held: NDArray[np.bool_],
) -> dict[str, float]:
    """Return what an epsilon came to on unseen rows, and whether the promise is broken there and on the whole history.

    `chance_unseen` is how often unseen rows alone miss a promise that was kept with nothing to spare: what certifies
    and what checks are samples both, of which the latter has no margin (normal approximation).
    """
    if epsilon is None:  # nothing is promised, so the reference tier serves all
        none = {"saving": 0.0, "regret": 0.0, "won": 0.0, "quality": 1.0}
        return none | {"certified": 0.0, "broken": 0.0, "broken_unseen": 0.0, "chance_unseen": 0.0}
    i = EPSILONS.index(epsilon)
    unseen = sums.measure(i, weights * ~held)
    ratio = float(weights[held].sum() / weights[~held].sum())
    return unseen | {
        "certified": 1.0,
        "broken": float(_breaks(sums.measure(i, weights), kind, alpha)),
        "broken_unseen": float(_breaks(unseen, kind, alpha)),
        "chance_unseen": float(norm.sf(norm.isf(DELTA) / np.sqrt(1.0 + ratio))),
    }


def _if_known(sums: _Sums, kind: str, alpha: float, weights: Floats) -> dict[str, float]:
    """Return what the same sequence would come to if the whole history were known, and nothing had to be proved."""
    last = None
    for i in range(len(EPSILONS)):
        found = sums.measure(i, weights)
        if _breaks(found, kind, alpha):
            break
        last = found
    return last or {"saving": 0.0, "regret": 0.0, "won": 0.0, "quality": 1.0}
