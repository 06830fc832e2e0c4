"""A summary of outcomes: what a history holds, before anything is fitted on it.

The rule: pure. `summarise` returns what JSON can hold, `render` prints that and nothing else, 100 columns wide.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.censored import describe
from eval.outcomes import UNKNOWN, Outcomes

__all__ = ["render", "summarise"]

_NAME, _MODEL = 14, 26
_MOST_SOURCES = 6


def summarise(outcomes: Outcomes) -> dict[str, Any]:
    """Describe outcomes in numbers. Pure.

    Returns
    -------
    dict
        JSON-ready. Shares are of all prompts, but for `pass_rate` and `mean_score` (of the tier's observed
        prompts) and `non_monotone_share` (of the complete ones: a cheaper tier passes, the top tier fails).
        `complete` counts prompts that figures are taken over, of which `representative` says more: how many prompts of
        a weighted sample stand for the traffic, None where all do. `censored` is `eval.censored.describe`'s.
        None stands for the share of nothing. Costs are in USD per prompt, over all prompts.
    """
    n, label, ladder = len(outcomes), outcomes.label(), outcomes.ladder
    observed = ~np.isnan(outcomes.passed)
    passed = outcomes.passed[outcomes.complete] == 1
    tiers = [
        {
            "name": tier.name,
            "models": list(tier.models),
            "observed": int(observed[:, k].sum()),
            "pass_rate": _mean(outcomes.passed[observed[:, k], k]),
            "mean_score": _mean(outcomes.score[observed[:, k], k]),
            "mean_cost_usd": _mean(outcomes.cost_usd[:, k]),
            "cost_estimated_share": _mean(outcomes.cost_estimated[:, k]),
            "cheapest_pass_share": _mean(label == k),
        }
        for k, tier in enumerate(ladder.tiers)
    ]
    return {
        "prompts": n,
        "outcomes": int(observed.sum()),
        "complete": len(passed),
        "representative": None if outcomes.representative is None else int(outcomes.representative.sum()),
        "censored": describe(outcomes),
        "groups": len(set(outcomes.groups)),
        "sources": _counts(outcomes.tags["source"]),
        "split": _counts(outcomes.tags["split"]),
        "pass_score": ladder.pass_score,
        "tiers": tiers,
        "none_passed_share": _mean(label == outcomes.none_passed),
        "unknown_share": _mean(label == UNKNOWN),
        "non_monotone_share": _mean(passed[:, :-1].any(axis=1) & ~passed[:, -1]),
        "dropped": dict(outcomes.dropped),
    }


def render(summary: dict[str, Any]) -> str:
    """Return a summary as text for a terminal, no line longer than 100 characters. Pure."""
    head = f"{'tier':<{_NAME}}  {'model':<{_MODEL}}"
    lines = [
        f"{summary['prompts']:,} prompts in {summary['groups']:,} groups, {summary['outcomes']:,} outcomes",
        *_sources(summary["sources"]),
        _split(summary["split"]),
        "",
        f"{head}  observed   passes   score  USD/1000  estimated  cheapest",
        *(_tier(tier) for tier in summary["tiers"]),
        _rest("no tier passes", summary["none_passed_share"]),
        _rest("cannot be told", summary["unknown_share"]),
        "",
        "USD/1000: mean cost of 1,000 prompts; cheapest: share of prompts whose cheapest passing tier it is",
        f"passes: a score of {summary['pass_score']:g} or more",
        f"a cheaper tier passes where the top one fails: {_percent(summary['non_monotone_share']).strip()} "
        f"of the {summary['complete']:,} prompts that every tier answered",
    ]
    if summary["representative"] is not None:
        lines.append(
            f"a weighted sample: {summary['representative']:,} of its prompts, drawn by weight, stand for the traffic and judge"
        )
    if summary["censored"] is not None:
        lines += ["", *(line for said in summary["censored"]["sentences"] for line in wrap(said, 100))]
    lines += [
        f"left out: {count:,} prompts ({reason})" for reason, count in summary["dropped"].items() if count
    ]
    return "\n".join(line.rstrip() for line in lines)


def _sources(counts: dict[str, int]) -> list[str]:
    named = [f"  from {_short(name, 60)}: {count:,}" for name, count in list(counts.items())[:_MOST_SOURCES]]
    more = len(counts) - _MOST_SOURCES
    return [*named, f"  and from {more} more"] if more > 0 else named


def _split(counts: dict[str, int]) -> str:
    marked = {name: count for name, count in counts.items() if name != "none"}
    if not marked:
        return "no split in the history"
    listed = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    lone = "; nothing on the other side" if len(marked) == 1 else ""
    return f"split as the history has it: {listed}{lone}"


def _tier(tier: dict[str, Any]) -> str:
    model = tier["models"][0]
    others = len(tier["models"]) - 1
    shown = f"{_short(model, _MODEL - 4)} (+{others})" if others else _short(model, _MODEL)
    score = "-" if tier["mean_score"] is None else f"{tier['mean_score']:.3f}"
    cost = "-" if tier["mean_cost_usd"] is None else f"{1000 * tier['mean_cost_usd']:.4g}"
    return (
        f"{_short(tier['name'], _NAME):<{_NAME}}  {_short(shown, _MODEL):<{_MODEL}}  {tier['observed']:>8,}"
        f"  {_percent(tier['pass_rate'])}  {score:>6}  {cost:>8}  {_percent(tier['cost_estimated_share']):>9}"
        f"  {_percent(tier['cheapest_pass_share']):>8}"
    )


def _rest(name: str, share: float | None) -> str:
    return f"{name:<{_NAME + _MODEL + 52}}{_percent(share):>8}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _percent(share: float | None) -> str:
    return f"{'-':>7}" if share is None else f"{share:>7.1%}"


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean(dtype=np.float64)) if values.size else None


def _counts(values: NDArray[np.object_]) -> dict[str, int]:
    names, counts = np.unique(["none" if value is None else value for value in values], return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
