"""Folds: which rows an estimator learns from and which then judge it, so that none is judged on what it saw.

The rule: pure, and no group is ever on both sides of a fold. Where every row has a time, the past judges the
future: an estimator learns from groups that ended before the rows that judge it began. Otherwise each group is
left out once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from eval.outcomes import Outcomes
from router.errors import ConfigError

__all__ = ["Fold", "Plan", "plan_folds", "require_no_leak"]

# Beyond these, windows of time are no fair test: a block within this factor of an equal share, and at least
# this share of the older rows left to learn from once groups that reach into the block are dropped.
MOST_UNEVEN = 2.0
LEAST_KEPT = 0.5


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows to learn from and rows that judge.

    Attributes
    ----------
    train : intp (a,)
        Row numbers, ascending.
    test : intp (b,)
        Row numbers, ascending; none is in `train`.
    """

    train: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Plan:
    """Folds, and how they were made.

    Attributes
    ----------
    folds : tuple of Fold
        A row is in the test part of one of them at most.
    method : str
        "group" or "time".
    text : str
        One sentence for people.
    """

    folds: tuple[Fold, ...]
    method: str
    text: str


def plan_folds(outcomes: Outcomes, seed: int = 0, n_folds: int = 5) -> Plan:
    """Plan an out-of-sample evaluation. Pure.

    With a timestamp on every row, the rows are cut by time into `n_folds` blocks of about equal size. Each
    block but the first is judged by what the groups older than all of its rows taught; groups that reach into
    the block are dropped from that training, and the first block is never judged. Without timestamps, or
    where times are too coarse or groups last too long for that, groups are shuffled into `n_folds` folds (or
    as many as there are groups) and each row is judged once.

    Parameters
    ----------
    seed : int
        Of the shuffle; windows of time do not depend on it.
    n_folds : int
        2 or more.

    Raises
    ------
    ConfigError
        There are fewer than two groups.
    ValueError
        `n_folds` is below 2.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds is 2 or more; found {n_folds}")
    codes = _group_codes(outcomes)
    n_groups = len(np.unique(codes))
    if n_groups < 2:
        raise ConfigError(
            f"history: expected two or more groups of prompts to judge out of sample, found {n_groups} "
            f"({len(codes):,} prompts); add prompts of other groups, or correct the column group"
        )
    times = _times(outcomes)
    if isinstance(times, str):
        return _by_group(codes, n_groups, seed, n_folds, times)
    blocks = _blocks(times, n_folds)
    if blocks is None:
        return _by_group(codes, n_groups, seed, n_folds, "; times are too coarse to go by")
    folds = tuple(_window(codes, times, blocks == block) for block in range(1, n_folds))
    older = [int(np.sum(times < times[fold.test].min())) for fold in folds]
    if any(len(fold.train) < LEAST_KEPT * count for fold, count in zip(folds, older, strict=True)):
        return _by_group(codes, n_groups, seed, n_folds, "; groups last too long to go by time")
    text = (
        f"By time, in {n_folds - 1} steps: each prompt is judged by a fit on groups that are older; "
        f"the oldest {np.sum(blocks == 0):,} prompts only teach."
    )
    return Plan(folds, "time", text)


def require_no_leak(plan: Plan, outcomes: Outcomes) -> None:
    """Check that nothing a fold learns from could give away what judges it. Pure.

    Raises
    ------
    ValueError
        A group is on both sides of a fold, a row is tested twice, a part is empty or names rows that do not
        exist, or, by time, a training row is newer than the oldest test row.
    """
    codes, times = _group_codes(outcomes), _times(outcomes)
    tested = np.zeros(len(codes), dtype=np.intp)
    for number, fold in enumerate(plan.folds, 1):
        for name, rows in (("train", fold.train), ("test", fold.test)):
            if not len(rows) or rows.min() < 0 or rows.max() >= len(codes):
                raise ValueError(
                    f"fold {number}: {name} is empty, or holds rows outside 0 to {len(codes) - 1}"
                )
        np.add.at(tested, fold.test, 1)
        shared = np.intersect1d(codes[fold.train], codes[fold.test])
        if len(shared):
            raise ValueError(f"fold {number}: {len(shared)} group(s) on both sides")
        if plan.method == "time":
            if isinstance(times, str):
                raise ValueError(f"fold {number}: planned by time, but not every row has a time")
            if times[fold.train].max() > times[fold.test].min():
                raise ValueError(f"fold {number}: a training row is newer than the oldest test row")
    if tested.max(initial=0) > 1:
        raise ValueError(f"{np.sum(tested > 1)} row(s) are tested twice")


def _group_codes(outcomes: Outcomes) -> NDArray[np.intp]:
    """Return a number per row, the same for all rows of a group; in the order of the groups' names."""
    return np.unique(outcomes.groups.astype(str), return_inverse=True)[1].astype(np.intp)


def _times(outcomes: Outcomes) -> NDArray[np.int64] | str:
    """Return the nanoseconds of each row, or, in words for the end of a sentence, why there are none."""
    if outcomes.timestamp is None:
        return ""
    missing = int(np.isnat(outcomes.timestamp).sum())
    if missing:
        return f"; times were not used, since {missing:,} of {len(outcomes):,} prompts have none"
    return outcomes.timestamp.astype("datetime64[ns]").astype(np.int64)


def _by_group(codes: NDArray[np.intp], n_groups: int, seed: int, n_folds: int, why: str) -> Plan:
    """Leave out each group once."""
    n_folds = min(n_folds, n_groups)
    splits = GroupKFold(n_folds, shuffle=True, random_state=seed).split(codes, groups=codes)
    folds = tuple(Fold(train.astype(np.intp), test.astype(np.intp)) for train, test in splits)
    text = f"In {n_folds} folds: each prompt is judged by a fit that saw no prompt of its group{why}."
    return Plan(folds, "group", text)


def _blocks(times: NDArray[np.int64], n_blocks: int) -> NDArray[np.intp] | None:
    """Return each row's block, oldest first, equal times together; None where blocks would be too uneven."""
    _, at, counts = np.unique(times, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2  # rows before the middle of each time
    blocks = (middle * n_blocks / len(times)).astype(np.intp)
    sizes = np.bincount(blocks, counts, minlength=n_blocks)
    share = len(times) / n_blocks
    if sizes.min() < share / MOST_UNEVEN or sizes.max() > share * MOST_UNEVEN:
        return None
    return np.asarray(blocks[at])


def _window(codes: NDArray[np.intp], times: NDArray[np.int64], block: NDArray[np.bool_]) -> Fold:
    """Judge a block by all groups whose every row is older than all of it."""
    latest = np.full(codes.max() + 1, np.iinfo(np.int64).min)
    np.maximum.at(latest, codes, times)
    older = latest[codes] < times[block].min()
    return Fold(np.flatnonzero(older), np.flatnonzero(block))
