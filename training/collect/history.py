"""From the journal to a history: one row per call that was made, in the order of the prompts.

Reads the journal; writes the history through `training.collect.sinks`. Nothing here depends on the order or the time in
which answers came, but `latency_ms`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eval.status import GRADABLE, Status
from training.calls.answer import Answer
from training.calls.call import Call
from training.calls.journal import Journal
from training.collect.choosing import Sample
from training.collect.existing import Existing
from training.collect.letters import LETTERS_FILE, Letter, describe_letter, open_letters
from training.collect.plan import Plan
from training.collect.sampling import First
from training.collect.sinks import Block, type_of, write_blocks

__all__ = ["Tally", "TierTally", "find_reached", "find_weights", "write_history"]

_OUTCOME: dict[str, pa.DataType] = {
    "model": pa.string(),
    "score": pa.float64(),
    "response": pa.string(),
    "status": pa.string(),
    "finish_reason": pa.string(),
    "input_tokens": pa.int64(),
    "output_tokens": pa.int64(),
    "cached_input_tokens": pa.int64(),
    "cost_usd": pa.float64(),
    "latency_ms": pa.float64(),
    "usage_is_estimate": pa.bool_(),
}
_BLOCK = 500
"""Prompts whose rows are held at once."""

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(eq=False)
class TierTally:
    """What came of one tier's calls."""

    model: str
    by_status: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    answered: int = 0
    timed: int = 0
    latency_ms: float = 0.0

    def add(self, answer: Answer) -> None:
        """Count one answer; the latencies of those that can be graded are added up."""
        self.by_status[answer.status.value] += 1
        self.input_tokens += answer.input_tokens or 0
        self.output_tokens += answer.output_tokens or 0
        self.usd += answer.cost_usd
        if answer.status in GRADABLE:
            self.answered += 1
            self.timed += _is_timed(answer)
            self.latency_ms += answer.latency_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        return {
            "model": self.model,
            "calls": self.by_status.total(),
            "answered": self.answered,
            "by_status": dict(sorted(self.by_status.items())),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "usd": self.usd,
            "mean_latency_ms": self.latency_ms / self.timed if self.timed else None,
        }


@dataclass(eq=False)
class Tally:
    """What a history came to: `prompts` that were asked, and rows of any.

    Of the rows, `kept_rows` were in the history before, and `kept_answers` in the prompts' own files.
    """

    tiers: dict[str, TierTally]
    prompts: int = 0
    rows: int = 0
    kept_rows: int = 0
    kept_answers: int = 0
    dead_letters: int = 0


def find_reached(plan: Plan, sample: Sample, journal: Journal) -> Places:
    """Return the prompts that were asked, in the order of asking.

    Of an order drawn by chance that is its beginning, up to the first prompt that nobody asked: what an earlier run asked
    beyond, in another order, is no part of it.
    """
    asked = np.fromiter((_is_reached(plan, int(i), journal) for i in sample.sequence), bool, sample.size)
    if isinstance(sample.order, First) or asked.all():
        reached: Places = sample.sequence[asked]
        return reached
    return sample.sequence[: int(np.argmin(asked))]


def find_weights(plan: Plan, sample: Sample, reached: Places) -> Floats | None:
    """Return the weight of every prompt, float64 (n,), NaN where it was not asked; None where there are none.

    Weights that the prompts came with are multiplied in.
    """
    given = plan.prompts.weights
    drawn = sample.order.weights(len(reached)) if len(reached) < len(plan.prompts) else None
    if given is None and drawn is None:
        return None
    weights = np.full(len(plan.prompts), np.nan)
    weights[reached] = 1.0 if drawn is None else drawn
    return weights if given is None else weights * np.array(given)


def write_history(
    path: Path,
    folder: Path,
    plan: Plan,
    reached: Places,
    weights: Floats | None,
    existing: Existing,
    journal: Journal,
) -> Tally:
    """Write a history: the rows that stay, then those of this plan; and the dead letters beside the journal.

    Where there are no rows, no history is written.

    Parameters
    ----------
    folder : Path
        The journal's, for the dead letters.
    reached : intp (m,)
        The prompts that were asked, in any order. Of others there are rows where answers of them are kept.
    weights : float64 (n,) or None
        By prompt.

    Raises
    ------
    RouterError
        The disk is full, or a file cannot be written; what was there before is still there.
    """
    prompts = plan.prompts
    tally = Tally({tier: TierTally(each.tier.model) for tier, each in plan.endpoints.items()})
    types: dict[str, pa.DataType] = {"prompt_id": pa.string()}
    if prompts.has_text or "prompt" in existing.columns:
        types["prompt"] = pa.string()
    if prompts.has_chat or "messages" in existing.columns:
        types["messages"] = pa.string()
    types |= _OUTCOME
    if weights is not None or "weight" in existing.columns:
        types["weight"] = pa.float64()
    if any(row["propensity"] is not None for row in prompts.kept.values()):
        types["propensity"] = pa.float64()
    for name in (*prompts.columns, *existing.columns):
        types.setdefault(name, type_of([*prompts.columns.get(name, ()), *existing.columns.get(name, ())]))
    with open_letters(folder / LETTERS_FILE) as letters:
        rows = _Rows(plan, frozenset(reached.tolist()), weights, journal, tally, letters)
        written = sorted(rows.reached | {i for i, _ in prompts.kept})
        if existing.rows or written:  # no one can read a history without rows
            write_blocks(path, types, chain(_kept(existing, types, tally), rows.blocks(written, list(types))))
    return tally


def _is_reached(plan: Plan, i: int, journal: Journal) -> bool:
    calls = plan.unit(i).calls  # none where all its answers are kept
    return not calls or any(journal.status(call.key) or _is_unsettled(call.key, journal) for call in calls)


def _is_unsettled(key: str, journal: Journal) -> bool:
    """Tell whether a killed run had sent a call by itself; one in a batch is on its way."""
    intent = journal.unsettled.get(key)
    return intent is not None and intent.via is None


def _is_timed(answer: Answer) -> bool:
    """Tell whether anyone waited for an answer: a batch has no latency."""
    return answer.latency_ms > 0.0


def _kept(existing: Existing, types: dict[str, pa.DataType], tally: Tally) -> Iterator[Block]:
    tally.kept_rows = existing.rows
    tally.rows += existing.rows
    yield from existing.blocks(list(types), {"weight": 1.0})


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a plan, made a block at a time and counted as they are made."""

    plan: Plan
    reached: frozenset[int]
    weights: Floats | None
    journal: Journal
    tally: Tally
    letters: Callable[[Letter], None]

    def blocks(self, written: list[int], names: list[str]) -> Iterator[Block]:
        for start in range(0, len(written), _BLOCK):
            rows = [row for i in written[start : start + _BLOCK] for row in self._rows_of(i)]
            yield {name: [row.get(name) for row in rows] for name in names}

    def _rows_of(self, i: int) -> Iterator[dict[str, Any]]:
        prompts = self.plan.prompts
        of_prompt = {name: column[i] for name, column in prompts.columns.items()}
        of_prompt |= {"prompt_id": prompts.ids[i], "prompt": prompts.texts[i], "messages": prompts.chats[i]}
        weight = 1.0 if self.weights is None else float(self.weights[i])
        of_prompt["weight"] = None if math.isnan(weight) else weight
        calls = {call.endpoint: call for call in self.plan.unit(i).calls} if i in self.reached else {}
        self.tally.prompts += i in self.reached
        for tier in self.plan.endpoints:
            if kept := prompts.kept.get((i, tier)):
                outcome: dict[str, Any] | None = kept
                self.tally.kept_answers += 1
            else:
                outcome = self._outcome_of(prompts.ids[i], calls[tier]) if tier in calls else None
            if outcome is not None:
                self.tally.rows += 1
                yield of_prompt | outcome

    def _outcome_of(self, prompt_id: str, call: Call) -> dict[str, Any] | None:
        """Return what a call came to, and count it; None where the run ended before, or its batch has not ended."""
        answer = self.journal.answer(call.key)
        if answer is None and _is_unsettled(call.key, self.journal):
            answer = Answer(Status.UNSETTLED, attempts=0)
        if answer is None:
            return None
        tier = self.tally.tiers[call.endpoint]
        tier.add(answer)
        if answer.status not in GRADABLE:
            self.tally.dead_letters += 1
            self.letters(describe_letter(prompt_id, call.endpoint, tier.model, answer))
        return _outcome(tier.model, answer)


def _outcome(model: str, answer: Answer) -> dict[str, Any]:
    asked = answer.status is not Status.UNSETTLED
    return {
        "model": model,
        "score": None,
        "response": answer.response,
        "status": answer.status.value,
        "finish_reason": answer.finish_reason,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cached_input_tokens": answer.cached_input_tokens,
        "cost_usd": answer.cost_usd if asked else None,
        "latency_ms": answer.latency_ms if _is_timed(answer) else None,
        "usage_is_estimate": answer.usage_is_estimate,
    }
