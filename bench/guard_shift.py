"""Four histories teach, the fifth is routed: what each guard does to a promise where traffic is another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.guard_router import ALPHA, GUARDS, FittedRouter, Reading
from eval.bounds import rate_bounds
from eval.certify import EPSILONS
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.split import split_rows
from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.tiers import Ladder, Tier, read_tiers

__all__ = ["fit_on", "histories_in", "measure_shift", "open_extractor", "pool", "read_outcomes"]

# Two-sided, 95 %.
_Z = 1.96


def histories_in(data: Path) -> list[str]:
    """Return the names of the histories in a folder that have a ladder beside them."""
    files = sorted(data.glob("*.tiers.toml"))
    return [
        name
        for file in files
        if (data / f"{(name := file.name.removesuffix('.tiers.toml'))}.parquet").is_file()
    ]


def open_extractor() -> Extractor:
    """Open the embedding of the default model."""
    return Extractor(StaticEmbedding.load(find_artifact()))


def read_outcomes(data: Path, name: str) -> Outcomes:
    """Lay out one history on its own ladder, its costs in units of a mean call of the dearest tier.

    What models cost differs more than tenfold between histories; as they are, to tell histories apart would be to tell prices.
    """
    outcomes = tabulate(read_history(data / f"{name}.parquet"), read_tiers(data / f"{name}.tiers.toml"))
    unit = float(outcomes.cost_usd[:, -1].mean())
    tiers = [
        replace(
            tier,
            input_usd_per_mtok=tier.input_usd_per_mtok / unit,
            output_usd_per_mtok=tier.output_usd_per_mtok / unit,
        )
        for tier in outcomes.ladder.tiers
    ]
    ladder = replace(outcomes.ladder, tiers=tuple(tiers))
    return replace(outcomes, ladder=ladder, cost_usd=outcomes.cost_usd / unit)


def pool(parts: dict[str, Outcomes]) -> Outcomes:
    """Put histories together, tier by tier: a prompt's outcome on a tier is that of its own history's tier. Pure.

    The ladder's prices are the means of theirs, since a router has one price per tier.
    """
    first, *_ = parts.values()
    ladders = [each.ladder.tiers for each in parts.values()]
    tiers = [
        Tier(
            first.ladder.names[k],
            tuple(dict.fromkeys(model for rung in rungs for model in rung.models)),
            float(np.mean([rung.input_usd_per_mtok for rung in rungs])),
            float(np.mean([rung.output_usd_per_mtok for rung in rungs])),
        )
        for k, rungs in enumerate(zip(*ladders, strict=True))
    ]
    groups = [[f"{name}:{group}" for group in each.groups] for name, each in parts.items()]

    def joined(column: str) -> Any:  # noqa: ANN401 - an array of any type
        return np.concatenate([getattr(each, column) for each in parts.values()])

    return replace(
        first,
        ladder=Ladder(tuple(tiers), first.ladder.pass_score),
        prompts=[prompt for each in parts.values() for prompt in each.prompts],
        groups=np.array([group for each in groups for group in each], dtype=object),
        tags={name: np.concatenate([each.tags[name] for each in parts.values()]) for name in first.tags},
        timestamp=None,
        expected_cost_usd=None,
        answer_seen=np.concatenate(
            [
                ~each.cost_estimated if each.answer_seen is None else each.answer_seen
                for each in parts.values()
            ]
        ),
        prompt_ids=joined("prompt_ids"),
        score=joined("score"),
        passed=joined("passed"),
        cost_usd=joined("cost_usd"),
        cost_estimated=joined("cost_estimated"),
    )


def fit_on(outcomes: Outcomes, extractor: Extractor, seed: int) -> tuple[FittedRouter, Outcomes]:
    """Fit a router on four fifths of the groups, and return it with the calibration part."""
    split = split_rows(outcomes, seed, "group")
    # The test part learns, too: what judges here are other histories.
    return FittedRouter.fit(outcomes.take(split.train | split.test), extractor, seed), outcomes.take(
        split.calibration
    )


def measure_shift(data: Path, names: Sequence[str], left: str, seed: int) -> dict[str, Any]:
    """Return what each guard does on the history that is left out, and on rows like those that taught."""
    with threadpool_limits(1):
        extractor = open_extractor()
        router, held = fit_on(
            pool({name: read_outcomes(data, name) for name in names if name != left}), extractor, seed
        )
        strange = read_outcomes(data, left)
        strange = strange.take(_one_per_group(strange, seed))
        known, unknown = router.read(held.prompts), router.read(strange.prompts)
        reference = router.path.reference
        passed, cost = strange.passed == 1.0, strange.cost_usd
        free = router.choose(unknown, GUARDS["none"], EPSILONS)
        savings = np.array([_saving(cost, chosen, reference) for chosen in free.T])
        guards: dict[str, Any] = {}
        for name, guard in GUARDS.items():
            row = router.certify(held, known, guard)
            chosen = router.choose(unknown, guard, [row["epsilon"]])[:, 0]
            regretted = _regretted(passed, chosen, reference)
            saving = _saving(cost, chosen, reference)
            same = int(np.abs(savings - saving).argmin())
            guards[name] = {
                "epsilon": row["epsilon"],
                "saving_known": row["saving"],
                "regret": _rate(regretted),
                "verdict": _verdict(_rate(regretted)),
                "saving": saving,
                "quality": _quality(strange, chosen, reference),
                "smaller_epsilon": {
                    "epsilon": EPSILONS[same],
                    "saving": float(savings[same]),
                    "quality": _quality(strange, free[:, same], reference),
                    "regret": float(_regretted(passed, free[:, same], reference).mean()),
                    "guard_less_it": _difference(regretted, _regretted(passed, free[:, same], reference)),
                },
            }
        return {
            "history": left,
            "prompts": len(strange),
            "calibration_prompts": len(held),
            "reference": router.ladder.names[reference],
            "flagged_known": float(router.novel(known).mean()),
            "flagged": float(router.novel(unknown).mean()),
            "spread_known": _mean_spread(known, reference),
            "spread": _mean_spread(unknown, reference),
            "expected_over_paid": float(unknown.usd[:, reference].mean() / cost[:, reference].mean()),
            "regret_of_cheapest": float(_regretted(passed, np.zeros(len(passed), np.intp), reference).mean()),
            "guards": guards,
        }


def _one_per_group(outcomes: Outcomes, seed: int) -> NDArray[np.intp]:
    """Return one row of each group, of those with an outcome on every tier: the unit that promises are about."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(outcomes.complete))
    _, first = np.unique(outcomes.groups[rows].astype(str), return_index=True)
    return np.asarray(np.sort(rows[first]))


def _regretted(passed: NDArray[np.bool_], chosen: NDArray[np.intp], reference: int) -> NDArray[np.bool_]:
    return np.asarray(passed[:, reference] & ~passed[np.arange(len(passed)), chosen])


def _saving(cost: NDArray[np.float64], chosen: NDArray[np.intp], reference: int) -> float:
    return float(1.0 - cost[np.arange(len(cost)), chosen].sum() / cost[:, reference].sum())


def _quality(outcomes: Outcomes, chosen: NDArray[np.intp], reference: int) -> float:
    score = outcomes.score.astype(np.float64)
    return float(score[np.arange(len(score)), chosen].mean() / score[:, reference].mean())


def _rate(found: NDArray[np.bool_]) -> dict[str, float]:
    """Return a rate and its exact interval of 95 %."""
    k, n = int(found.sum()), len(found)
    low, high = rate_bounds(k, n)
    return {"value": k / n, "low": low, "high": high}


def _verdict(regret: dict[str, float]) -> str:
    """Say whether a promise was kept; a rate is that of a sample, and may be above by chance."""
    return "kept" if regret["value"] <= ALPHA else "within noise" if regret["low"] <= ALPHA else "violated"


def _difference(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, float]:
    """Return a difference of rates on the same prompts, and its interval of 95 %."""
    gap = one.astype(np.float64) - other
    error = _Z * float(gap.std(ddof=1)) / len(gap) ** 0.5
    mean = float(gap.mean())
    return {"value": mean, "low": mean - error, "high": mean + error}


def _mean_spread(reading: Reading, reference: int) -> float:
    others = [k for k in range(reading.scores.spread.shape[1]) if k != reference]
    return float(reading.scores.spread[:, others].mean())
