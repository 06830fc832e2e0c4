"""What the runs of bench/http.py add up to: rates, percentiles, medians of rounds, ratios within them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

__all__ = ["expect_all_well", "sum_up", "sum_up_overload", "take_medians", "take_ratio", "take_spread"]


def expect_all_well(found: Mapping[str, Any]) -> None:
    """Raise SystemExit unless every request of a run was answered with its tiers."""
    if found["failures"] or found["rejected_us"] or found["lost"]:
        raise SystemExit(
            f"bench: expected a 200 with its tiers from every request; found {found['failures']}, "
            f"{len(found['rejected_us'])} rejected, {found['lost']} connections lost"
        )


def sum_up(results: Sequence[Mapping[str, Any]], items: int = 1) -> dict[str, float]:
    """Return the figures of one run, of all generators together: prompts a second, times and shares of a core."""
    for found in results:
        expect_all_well(found)
    wall = max(found["end"] for found in results) - min(found["begin"] for found in results)
    taken = [us for found in results for us in found["accepted_us"]]
    # All generators watch the same processes; the first to start and the last to end differ little.
    watched = max(sum(found["watched_cpu_s"]) for found in results)
    busiest = max(max(found["watched_cpu_s"], default=0.0) for found in results)
    return {
        "per_s": len(taken) * items / wall,
        "p50_us": _percentile(taken, 50),
        "p99_us": _percentile(taken, 99),
        "server_cpu_us": watched / (len(taken) * items) * 1e6,
        "server_cpu_share": watched / wall,
        "busiest_share": busiest / watched if watched else 0.0,
        "generator_cpu_share": sum(found["cpu_s"] for found in results) / wall,
    }


def take_medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each figure's median over rounds, to three digits after the point where it is small."""

    def tidy(value: float) -> float:
        return round(value, 3) if value < 100 else round(value)

    return {name: tidy(median(each[name] for each in rounds)) for name in rounds[0]}


def take_spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of rounds, and the lowest and the highest."""
    ends = {"lowest": round(min(values), 3), "highest": round(max(values), 3)}
    return {"median": round(median(values), 3), **ends}


def take_ratio(
    above: Sequence[Mapping[str, float]], below: Sequence[Mapping[str, float]], name: str
) -> dict[str, float]:
    """Return one figure over another, round by round."""
    return take_spread([a[name] / b[name] for a, b in zip(above, below, strict=True)])


def sum_up_overload(
    found: Mapping[str, Any], capacity: float, asked: float, seconds: float
) -> dict[str, float]:
    """Return the figures of one run at more than the capacity."""
    accepted, rejected = found["accepted_us"], found["rejected_us"]
    answered = len(accepted) + len(rejected)
    times = {"p50_us": _percentile(accepted, 50), "p99_us": _percentile(accepted, 99)}
    due = {
        "due_p50_us": _percentile(found["accepted_due_us"], 50),
        "due_p99_us": _percentile(found["accepted_due_us"], 99),
    }
    return {
        "capacity_per_s": capacity,
        "asked_per_s": asked,
        "offered_per_s": found["sent"] / seconds,
        "offered_over_capacity": found["sent"] / seconds / capacity,
        "accepted_per_s": found["accepted_in_time"] / seconds,
        **times,
        "max_us": max(accepted, default=0),
        **due,
        "rejected_share": len(rejected) / answered,
        "rejected_p50_us": _percentile(rejected, 50),
        "rejected_p99_us": _percentile(rejected, 99),
        "failures": sum(found["failures"].values()),
        "lost": found["lost"],
        "server_cpu_share": sum(found["watched_cpu_s"]) / found["wall_s"],
        "generator_cpu_share": found["cpu_s"] / found["wall_s"],
    }


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else 0.0
