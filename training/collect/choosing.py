"""Which prompts are asked, and in what order: all of them, a number that the user names, or what the budget covers.

How many a budget covers is found in rounds: first by what answers are assumed to cost, then by what those of the round before
did cost. A round depends on the answers before it and on nothing else, and its size is on disk before its first call, so a
run that goes on after a crash makes the same rounds. Reads the embedding where novelty is wanted; writes that one small file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from router.errors import ConfigError, RouterError
from training.collect.bill import COVERED, Bill, usd
from training.collect.prompts import Prompts
from training.collect.sampling import (
    ByNovelty,
    First,
    Order,
    Stratified,
    novelty_of,
    strata_of,
)

__all__ = ["CHOICE_FILE", "Choice", "choose", "extend", "keep", "order_prompts"]

CHOICE_FILE = "sample.json"
TAGS = ("task", "feature")
LEAST_GROWTH = 0.05
"""A round that adds less than such a share of the prompts is not worth it."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What is asked.

    Attributes
    ----------
    order : Order
        Of all prompts.
    size : int
        Prompts to ask: so many from the order's start.
    method : str or None
        How the order was drawn; None where all are asked in the order of the file.
    wanted : int
        Prompts to ask if the budget allows.
    key : str or None
        What a size that a budget decided depends on; another key, another choice.
    """

    order: Order
    size: int
    method: str | None
    wanted: int
    key: str | None

    @property
    def by_budget(self) -> bool:
        """Whether the budget decided the size."""
        return self.size < self.wanted

    @property
    def sequence(self) -> NDArray[np.intp]:
        """The prompts to ask, the first one first."""
        return self.order.sequence[: self.size]


def order_prompts(prompts: Prompts, method: str, seed: int) -> Order:
    """Return an order to ask prompts in.

    Raises
    ------
    ArtifactError
        Novelty is wanted, and the default artefact is not there.
    """
    if method == "first":
        return First(len(prompts))
    views = [prompts.view(i) for i in range(len(prompts))]
    if method == "novelty":
        vectors = StaticEmbedding.load(find_artifact()).embed_many([view.text for view in views])
        return ByNovelty.draw(novelty_of(vectors, seed), seed)
    tags = next((prompts.columns[name] for name in TAGS if name in prompts.columns), [None] * len(prompts))
    lengths = np.array([view.n_chars for view in views])
    return Stratified.draw(strata_of(["" if tag is None else str(tag) for tag in tags], lengths), seed)


def choose(
    order: Order,
    bill: Bill,
    folder: Path,
    plan_digest: Callable[[], str],
    *,
    method: str,
    seed: int,
    sample: int | None,
    budget_usd: float | None,
) -> Choice:
    """Choose how many prompts of an order are asked.

    Parameters
    ----------
    folder : Path
        The journal's; an earlier choice of the same is found there.
    plan_digest : callable
        `Plan.digest`, which takes a while.

    Raises
    ------
    ConfigError
        The budget does not cover one prompt.
    RouterError
        The earlier choice cannot be read.
    """
    n = len(order.sequence)
    wanted = n if sample is None else min(sample, n)
    if sample is None and budget_usd is None:
        return Choice(First(n), n, None, n, None)
    if budget_usd is None:
        return Choice(order, wanted, method, wanted, None)
    parts = (plan_digest(), method, seed, sample, budget_usd)
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    kept = _kept(folder / CHOICE_FILE)
    covered = (
        kept["prompts"] if kept.get("key") == key else bill.covered(order.sequence, COVERED * budget_usd)
    )
    if covered < 1:
        first = bill.paid[order.sequence[0]].sum() + bill.expected[order.sequence[0]].sum()
        spent = f", and {usd(bill.other_usd)} are spent" if bill.other_usd else ""
        raise ConfigError(
            f"--budget-usd {budget_usd:g}: expected enough for one prompt on every tier, about {usd(float(first))}{spent}; raise it, or "
            "lower --max-output-tokens"
        )
    return Choice(order, min(wanted, covered), method, wanted, key)


def extend(choice: Choice, bill: Bill, budget_usd: float) -> Choice | None:
    """Return a choice of more prompts where the budget covers clearly more than was thought. Pure."""
    size = min(choice.wanted, bill.covered(choice.order.sequence, COVERED * budget_usd))
    enough = size == choice.wanted or size >= choice.size * (1.0 + LEAST_GROWTH)
    return replace(choice, size=size) if size > choice.size and enough else None


def keep(choice: Choice, folder: Path) -> None:
    """Keep a choice that a budget decided, so that the next run of the same makes the same.

    Raises
    ------
    RouterError
        It cannot be written.
    """
    if choice.key is None:
        return
    path = folder / CHOICE_FILE
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with aside.open("w", encoding="utf-8") as file:
                json.dump({"key": choice.key, "prompts": choice.size}, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            with suppress(OSError):
                aside.unlink()
    except OSError as error:
        raise RouterError(
            f"{path}: cannot be written ({error.strerror}); make room, or check the folder"
        ) from None


def _kept(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
        if isinstance(found["key"], str) and isinstance(found["prompts"], int):
            return dict(found)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise RouterError(
        f"{path}: expected how many prompts the budget covers, found a file that cannot be read; remove it, and they are counted anew"
    )
