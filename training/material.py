"""Material: a history laid out by tier and divided, before anything is learned from it.

Pure but for `read_ladder` and what is told on the terminal. What certifies and what judges has no part in the means that fill gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.history import History
from eval.outcomes import Outcomes, strangers, tabulate
from eval.progress import Progress
from eval.split import CALIBRATION_SHARE, SPLIT_METHODS, TEST_SHARE, Split, split_rows
from eval.summary import render, summarise
from router import ConfigError
from router.tiers import Ladder, read_tiers

__all__ = ["LEAST_PROMPTS", "Material", "prepare", "read_ladder"]

LEAST_PROMPTS = 50
"""Fewer labelled prompts than this on the training part are refused."""


_MOST_NAMED = 4


@dataclass(frozen=True, eq=False)
class Material:
    """Outcomes and who may learn from which.

    Attributes
    ----------
    outcomes : Outcomes
        n prompts on k tiers.
    split : Split
        Parts of the n rows.
    seed : int
        By which the parts were drawn.
    """

    outcomes: Outcomes
    split: Split
    seed: int

    @property
    def train(self) -> Outcomes:
        """The rows that teach."""
        return self.outcomes.take(self.split.train)

    def summary(self) -> dict[str, Any]:
        """Describe the labels in numbers, JSON-ready."""
        return summarise(self.outcomes)

    def parts(self) -> dict[str, int]:
        """Return how many prompts each part has."""
        return {part: int(getattr(self.split, part).sum()) for part in ("train", "calibration", "test")}

    def describe_split(self) -> dict[str, Any]:
        """Say how the history was divided, as a manifest has it."""
        return {
            "method": self.split.method,
            "seed": self.seed,
            "calibration_share": CALIBRATION_SHARE,
            "test_share": TEST_SHARE,
            "learned_until": _newest(self.outcomes, ~self.split.test),
            **self.parts(),
        }

    def split_words(self) -> str:
        """Say the same in a sentence."""
        parts = self.parts()
        return (
            f"{parts['train']:,} prompts to learn from, {parts['calibration']:,} to certify, {parts['test']:,} to "
            f"judge; divided by {SPLIT_METHODS[self.split.method]}"
        )


def read_ladder(path: Path) -> Ladder:
    """Read a ladder that a router can choose on.

    Raises
    ------
    ConfigError
        It cannot be read, or has one tier only.
    """
    ladder = read_tiers(path)
    if len(ladder) < 2:
        raise ConfigError(
            f"tiers file {path}: a router needs two tiers or more to choose from; found {len(ladder)}"
        )
    return ladder


def prepare(history: History, ladder: Ladder, seed: int, split_method: str, progress: Progress) -> Material:
    """Lay a history out and divide it, and say what it holds.

    Raises
    ------
    ConfigError
        The history cannot be laid out, or nothing can be learned from it.
    """
    if others := strangers(history, ladder):
        named = ", ".join(f"{model} ({rows:,} rows)" for model, rows in list(others.items())[:_MOST_NAMED])
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        progress.say(f"left out, because they are on no tier: {named}{more}")
    split = split_rows(tabulate(history, ladder), seed, split_method)
    material = Material(tabulate(history, ladder, split.train), split, seed)  # who teaches is known now
    progress.say(render(material.summary()))
    _require_enough(material.outcomes, split)
    progress.say(material.split_words())
    return material


def _newest(outcomes: Outcomes, rows: NDArray[np.bool_]) -> str | None:
    """Return the newest timestamp of some rows, ISO 8601 in UTC; None where none of them has one."""
    stamps = np.empty(0, "datetime64[us]")
    if outcomes.timestamp is not None:
        # Cut off to microseconds, as an evaluation cuts the rows that it compares with this.
        stamps = outcomes.timestamp[rows].astype("datetime64[us]")
        stamps = stamps[~np.isnat(stamps)]
    return f"{stamps.max().item().isoformat()}+00:00" if len(stamps) else None


def _require_enough(outcomes: Outcomes, split: Split) -> None:
    """Refuse a history from which nothing can be learned."""
    train = outcomes.take(split.train)
    one_group = "history: all prompts are of one group, so no part can judge another; give prompts groups of their own"
    if len(np.unique(outcomes.groups.astype(str))) < 2:
        raise ConfigError(one_group)
    n = len(train)
    if n < LEAST_PROMPTS:
        raise ConfigError(
            f"history: expected {LEAST_PROMPTS} prompts or more to learn from, found {n} "
            f"(of {len(outcomes)}; {int(split.calibration.sum())} certify and {int(split.test.sum())} judge); "
            "grade more prompts"
        )
    if len(np.unique(train.groups.astype(str))) < 2:
        raise ConfigError(one_group.replace("all prompts", "all prompts to learn from"))
    unseen = [t for k, t in enumerate(outcomes.ladder.names) if np.isnan(train.passed[:, k]).all()]
    if unseen:
        raise ConfigError(
            f"history: no outcome on tier {', '.join(unseen)} in the training part; grade prompts on it, or "
            "take it off the ladder"
        )
