"""Are certificates kept, what do they save, and how long does one take.

`python -m bench.certificate [--data ../shared/data] [--workers N] [--quick] [--write [--docs docs]]`. Three parts:
populations with a known truth, from which calibration parts are drawn; resplits of every history in the data folder,
with its own ladder and of some with another (eval/ladders); and the time to certify 10,000 prompts. `--quick` is for
trying it: its figures are noise. `--write` puts the document and the tables into docs/CERTIFICATE.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import delayed
from scipy.stats import binom
from threadpoolctl import threadpool_limits

from bench.certificate_page import SECTION, TARGETS, render_tables
from bench.measuring import ROOT, describe_machine, report
from bench.populations import USD, outcomes_of, populate
from bench.resplits import resplit, route_histories
from bench.targets import judge
from eval.bounds import betting_holds, groups_needed, rate_bounds
from eval.certify import ALPHAS, DELTA, EPSILONS, certify
from eval.parallel import run_calls

SIMULATED_ALPHAS = (0.02, 0.05, 0.1, 0.2)
NEEDED_ALPHAS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
OTHER_LADDERS = ("routerbench_subset",)
_PIECE = 250  # repetitions of one call


@dataclass(frozen=True)
class World:
    """A population and how calibration parts are drawn from it."""

    name: str
    gap: float
    groups: int
    graded: bool = False
    per_group: int = 1
    by_row: bool = False


WORLDS = (
    *(World("passes", gap, n) for gap in (0.1, 0.3, 0.7) for n in (100, 500, 2000)),
    *(World("graded", gap, 500, graded=True) for gap in (0.1, 0.7)),
    World("groups of 1 to 16", 0.5, 200, per_group=16),
    World("the same, rows taken for groups", 0.5, 200, per_group=16, by_row=True),
)


def simulate(world: World, seeds: Sequence[int]) -> dict[str, list[int]]:
    """Return, promise by promise, how often it was broken and how often it was made."""
    population = populate(world.gap, world.graded, world.per_group)
    counts = {f"{kind} {alpha:g}": [0, 0] for kind in ("regret", "quality") for alpha in SIMULATED_ALPHAS}
    with threadpool_limits(1):
        for seed in seeds:
            rows, names = population.draw(world.groups, np.random.default_rng(seed))
            names = np.arange(len(rows)) if world.by_row else names
            for promise, broken in population.judge(rows, names, SIMULATED_ALPHAS, seed).items():
                counts[promise][0] += broken
                counts[promise][1] += 1
    return counts


def _simulate(at: int, world: World, seeds: Sequence[int]) -> tuple[int, dict[str, list[int]]]:
    return at, simulate(world, seeds)


def measure_simulations(repetitions: int, workers: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return how often promises are broken where the truth is known, with exact intervals of 95 %."""
    pieces = [range(start, min(start + _PIECE, repetitions)) for start in range(0, repetitions, _PIECE)]
    calls = (delayed(_simulate)(at, world, piece) for at, world in enumerate(WORLDS) for piece in pieces)
    totals: list[dict[str, Any]] = [{} for _ in WORLDS]
    for done, (at, counts) in enumerate(run_calls(calls, workers), 1):
        for promise, (broken, made) in counts.items():
            each = totals[at].setdefault(promise, [0, 0])
            each[0] += broken
            each[1] += made
        if done % 13 == 0:
            tell(f"simulated {done} of {len(pieces) * len(WORLDS)}")
    worlds: list[dict[str, Any]] = []
    for world, found in zip(WORLDS, totals, strict=True):
        truth = populate(world.gap, world.graded, world.per_group)
        worlds.append(
            {
                "name": world.name,
                "groups": world.groups,
                "regret_of_cheapest": round(float(truth.regret[-1]), 4),
                "control": world.by_row,
                "promises": {
                    promise: _rate(broken, made, repetitions) for promise, (broken, made) in found.items()
                },
            }
        )
    cells = [
        (world["control"], rate) for world in worlds for rate in world["promises"].values() if rate["made"]
    ]
    kept = [rate["broken"] for control, rate in cells if not control]
    # One in a thousand for all cells together.
    most = float(binom.isf(0.001 / len(kept), repetitions, DELTA)) / repetitions
    return {
        "repetitions": repetitions,
        "delta": DELTA,
        "worlds": worlds,
        "most_by_chance": most,
        "highest_broken": max(kept),
        "beyond_chance": sum(share > most for share in kept),
        "controls_within_chance": sum(rate["broken"] <= most for control, rate in cells if control),
    }


def _rate(broken: int, made: int, repetitions: int) -> dict[str, float]:
    low, high = rate_bounds(broken, repetitions)
    return {
        "broken": round(broken / repetitions, 5),
        "low": round(low, 5),
        "high": round(high, 5),
        "made": round(made / repetitions, 5),
    }


def measure_needed() -> list[dict[str, Any]]:
    """Return how many groups a promise needs at the least, by kind, if nothing goes wrong."""
    return [
        {"alpha": alpha, "regret": groups_needed(alpha, DELTA), "quality": _least_bets(alpha)}
        for alpha in NEEDED_ALPHAS
    ]


def _least_bets(alpha: float) -> int:
    """Return the least number of groups that show `1 - alpha` of a reference that always passes, nothing lost."""
    low, high = 1, 2
    while not betting_holds(np.full((high, 1), alpha), alpha - 1, DELTA)[0]:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        holds = betting_holds(np.full((middle, 1), alpha), alpha - 1, DELTA)[0]
        low, high = (low, middle) if holds else (middle, high)
    return high


def measure_speed(n: int = 10_000, rounds: int = 3) -> dict[str, Any]:
    """Return seconds to certify n prompts, both kinds and eight slices, all promises and epsilons."""
    rng = np.random.default_rng(0)
    ease = rng.normal(size=(n, 1))
    p = 1 / (1 + np.exp(-(np.array([-0.4, 0.3, 1.0]) + ease * np.array([1.4, 1.1, 0.8]))))
    usd = np.array(USD) * rng.lognormal(0, 0.4, (n, 1))
    task = np.array([f"t{i % 8}" for i in range(n)], dtype=object)
    outcomes = outcomes_of((rng.random((n, 3)) < p).astype(np.float64), usd, np.arange(n), task)
    wall, cpu = [], []
    with threadpool_limits(1):
        for seed in range(rounds):
            start, used = time.perf_counter(), time.process_time()
            found = certify(outcomes, p, usd, reference=2, unit_usd=float(usd[:, 2].mean()), seed=seed)
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
    assert len(found["table"]) == len(found["quality"]) == len(ALPHAS), "a promise is missing"
    assert len(found["slices"]) == 8, "a slice is missing"
    return {
        "prompts": n,
        "alphas": len(ALPHAS),
        "epsilons": len(EPSILONS),
        "slices": 8,
        "wall_s": round(float(np.median(wall)), 3),
        "cpu_s": round(float(np.median(cpu)), 3),
    }


def count_broken(resplits: dict[str, Any]) -> dict[str, Any]:
    """Return how many promises were made over all histories, and how many broken, there and on unseen prompts. Pure."""
    promises = [
        each[kind]
        for found in resplits.values()
        for each in found["alphas"].values()
        for kind in ("regret", "quality")
    ]
    total = sum(each["repetitions"] for each in promises)
    counts = {
        name: round(sum(each[name] * each["repetitions"] for each in promises))
        for name in ("broken", "broken_unseen")
    }
    return {
        "promises": total,
        **counts,
        "share": round(counts["broken"] / total, 5),
        "share_unseen": round(counts["broken_unseen"] / total, 5),
    }


def _tell(done: str) -> None:
    print(done, file=sys.stderr, flush=True)


def measure(data: Path, quick: bool, workers: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the whole document."""
    document: dict[str, Any] = {"bench": "certificate", "machine": describe_machine()}
    document["needed"] = measure_needed()
    document["speed"] = measure_speed()
    tell("speed")
    document["resplits"] = {
        routed.name: resplit(routed, 3 if quick else 20)
        for routed in route_histories(data, ROOT / "eval" / "ladders", OTHER_LADDERS, workers, tell)
    }
    document["resplits_broken"] = count_broken(document["resplits"])
    document["simulations"] = measure_simulations(20 if quick else 1000, workers, tell)
    document["targets"] = judge(document, TARGETS)
    return document


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(prog="python -m bench.certificate", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with histories")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--quick", action="store_true", help="a try of a few minutes")
    parser.add_argument(
        "--write", action="store_true", help="write certificate.json and the tables of CERTIFICATE.md"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder to write to")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("--quick is for trying: its figures are not written")
    if not any(options.data.glob("*.tiers.toml")):
        parser.error(f"--data {options.data}: holds no NAME.tiers.toml beside a NAME.parquet")
    if options.write:
        SECTION.check(options.docs)
    document = measure(options.data, options.quick, options.workers, _tell)
    if options.write:
        SECTION.write(options.docs, document)
    report(document, *render_tables(document))


if __name__ == "__main__":
    main()
