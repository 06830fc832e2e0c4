"""What a collection will cost: expected, and at most. Reads the journal's answers; calls nothing.

Expected: input tokens are characters / 4, output tokens the mean of the tier's answers so far, or `OUTPUT_TOKENS` where
there are too few. At most: what the budget reserves for a call, `training.calls.budget.most_usd`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from eval.status import Status
from router.tiers import CHARS_PER_TOKEN
from training.calls.answer import Answer
from training.calls.budget import most_usd
from training.calls.journal import Journal
from training.collect.plan import Plan

__all__ = ["BATCH_SHARE", "OUTPUT_TOKENS", "Bill", "draw_up", "render_bill", "usd"]

OUTPUT_TOKENS = 256
"""Tokens of an answer of which nothing is known yet."""
LEAST_ANSWERS = 20
"""Answers of a tier from which on their mean is used."""
BATCH_SHARE = 0.5
"""What the Batch API charges of the price."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bill:
    """What each call costs; arrays are (n prompts, k tiers), in USD.

    Attributes
    ----------
    tiers, models : list of str
        Cheapest first.
    kept : bool
        Answered in the prompts' own files: no call.
    settled : bool
        Answered already, and not asked again.
    paid, expected, most : float64
        What a settled call cost, else 0; what a call still to be made is expected to cost, and at most, else 0.
    input_tokens : float64
        Expected of any call.
    output_tokens : list of float
        Expected of an answer, per tier.
    measured : list of bool
        Whether that is a mean of answers.
    other_usd : float
        What the journal has spent on other calls, or may have.
    """

    tiers: list[str]
    models: list[str]
    kept: NDArray[np.bool_]
    settled: NDArray[np.bool_]
    paid: Floats
    expected: Floats
    most: Floats
    input_tokens: Floats
    output_tokens: list[float]
    measured: list[bool]
    other_usd: float

    def covered(self, sequence: NDArray[np.intp], usd: float) -> int:
        """Return how many prompts of a sequence, from its start, a budget is expected to admit, one after the other."""
        costs = (self.paid + self.expected).sum(axis=1)[sequence]
        before = self.other_usd + np.cumsum(costs) - costs
        most = self.most.sum(axis=1)[sequence]
        admitted = (most == 0.0) | (before + most <= usd)
        return len(sequence) if admitted.all() else int(np.argmin(admitted))

    def to_dict(self, taken: NDArray[np.intp]) -> dict[str, Any]:
        """Return the bill for some prompts, by tier and in all."""
        by_tier = {}
        for k, tier in enumerate(self.tiers):
            called = taken[~self.kept[taken, k]]
            left = called[~self.settled[called, k]]
            by_tier[tier] = {
                "model": self.models[k],
                "calls": len(called),
                "settled": len(called) - len(left),
                "input_tokens": round(float(self.input_tokens[left, k].sum())),
                "output_tokens": round(self.output_tokens[k] * len(left)),
                "output_tokens_measured": self.measured[k],
                "paid_usd": float(self.paid[taken, k].sum()),
                "expected_usd": float(self.expected[taken, k].sum()),
                "at_most_usd": float(self.most[taken, k].sum()),
            }
        names = ("calls", "settled", "paid_usd", "expected_usd", "at_most_usd")
        return {"tiers": by_tier, **{name: sum(tier[name] for tier in by_tier.values()) for name in names}}


def draw_up(plan: Plan, journal: Journal, *, retry: frozenset[Status], batch: bool = False) -> Bill:
    """Return the bill of a whole plan, given what its journal holds already."""
    prompts, endpoints = plan.prompts, [*plan.endpoints.values()]
    shape = (len(prompts), len(endpoints))
    kept, settled = np.ones(shape, bool), np.zeros(shape, bool)
    paid, most, given = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    answered: list[list[int]] = [[] for _ in endpoints]
    place = {name: k for k, name in enumerate(plan.endpoints)}
    for i in range(len(prompts)):
        given[i] = prompts.view(i).n_chars / CHARS_PER_TOKEN
        for call in plan.unit(i).calls:
            k = place[call.endpoint]
            kept[i, k] = False
            answer = journal.answer(call.key)
            if _has_length(answer):
                answered[k].append(answer.output_tokens or 0)
            if answer is not None and journal.settled(call.key, retry):
                settled[i, k], paid[i, k] = True, answer.cost_usd + answer.possibly_usd
            else:
                most[i, k] = most_usd(endpoints[k], call.messages)
    share = BATCH_SHARE if batch else 1.0
    measured = [len(each) >= LEAST_ANSWERS for each in answered]
    lengths = [
        float(np.mean(each)) if known else float(min(OUTPUT_TOKENS, endpoint.max_output_tokens))
        for each, known, endpoint in zip(answered, measured, endpoints, strict=True)
    ]
    expected = np.array(
        [
            [e.tier.cost_usd(row[k], lengths[k]) * share for k, e in enumerate(endpoints)]
            for row in given.tolist()
        ]
    )
    # Rounded as the journal's amounts are: what a sum of floats leaves is not money.
    other = max(round(journal.spent_usd + journal.possibly_usd - float(paid.sum()), 12), 0.0)
    return Bill(
        [*plan.endpoints],
        plan.models,
        kept,
        settled,
        paid,
        np.where(kept | settled, 0.0, np.minimum(expected, most * share)),
        most * share,
        given,
        lengths,
        measured,
        other,
    )


def _has_length(answer: Answer | None) -> TypeGuard[Answer]:
    """Tell whether an answer says how long answers are; one that was cut at the limit does."""
    return answer is not None and answer.status in (Status.ANSWERED, Status.TOOL_CALL, Status.LENGTH)


def render_bill(document: dict[str, Any]) -> str:
    """Return a bill as `Bill.to_dict` gives it as a table for people. Pure."""
    header = (
        "tier",
        "model",
        "calls",
        "done",
        "input tokens",
        "output tokens",
        "paid",
        "expected",
        "at most",
    )
    rows = [
        (
            name, tier["model"], f"{tier['calls']:,}", f"{tier['settled']:,}", f"{tier['input_tokens']:,}",
            f"{tier['output_tokens']:,}{' ?' if _is_guessed(tier) else ''}", usd(tier["paid_usd"]),
            usd(tier["expected_usd"]), usd(tier["at_most_usd"]),
        )
        for name, tier in document["tiers"].items()
    ]  # fmt: skip
    rows.append(
        (
            "all", "", f"{document['calls']:,}", f"{document['settled']:,}", "", "", usd(document["paid_usd"]),
            usd(document["expected_usd"]), usd(document["at_most_usd"]),
        )
    )  # fmt: skip
    widths = [max(len(row[c]) for row in (header, *rows)) for c in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if c < 2 else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (header, *rows)
    ]
    guessed = any(_is_guessed(tier) for tier in document["tiers"].values())
    note = (
        [f"?: nothing is known yet of how long answers are; {OUTPUT_TOKENS} tokens each are assumed"]
        if guessed
        else []
    )
    return "\n".join(line.rstrip() for line in [*lines, *note])


def _is_guessed(tier: dict[str, Any]) -> bool:
    return tier["output_tokens"] > 0 and not tier["output_tokens_measured"]


def usd(amount: float) -> str:
    """Return an amount for people: two digits after the point, or two that are not nought. Pure."""
    return f"${amount:,.2f}" if amount >= 0.0995 or amount == 0.0 else f"${amount:.2g}"
