"""Which rows a model may learn from, which certify it, and which judge it.

Pure. A group never straddles parts. Where nothing else decides, a group's part is a hash of its name and the
seed: it stays the same when the history grows, so a later fit never learns from what judged an earlier one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.outcomes import Outcomes
from router.errors import ConfigError

__all__ = ["CALIBRATION_SHARE", "SPLIT_METHODS", "TEST_SHARE", "Split", "split_rows"]

TEST_SHARE = 0.2
CALIBRATION_SHARE = 0.2
SPLIT_METHODS = {
    "given": "the history's own split",
    "time": "time: the newest judge",
    "group": "a hash of the group",
}
"""What decided the test part, in words."""


@dataclass(frozen=True)
class Split:
    """Parts of a history.

    Attributes
    ----------
    train, calibration, test : bool (n,)
        Disjoint; together they are all rows.
    method : str
        A key of `SPLIT_METHODS`.
    """

    train: NDArray[np.bool_]
    calibration: NDArray[np.bool_]
    test: NDArray[np.bool_]
    method: str


def split_rows(outcomes: Outcomes, seed: int = 0, method: str = "auto") -> Split:
    """Divide a history by group. Pure.

    Parameters
    ----------
    method : str
        A key of `SPLIT_METHODS`, or "auto": a `split` of train and test in the history is respected, if it
        holds both (a history that is all one of them says nothing); else, with timestamps on every row, the
        newest groups are the test part; else a hash decides. The calibration part is always taken by hash
        from what is left.

    Raises
    ------
    ConfigError
        The history does not hold what the method asked for needs.
    """
    groups = outcomes.groups
    u = _uniform(groups, seed)
    given = _given_test(outcomes)
    stamps = outcomes.timestamp
    newest = None if stamps is None or np.isnat(stamps).any() else _newest(groups, stamps)
    if method == "auto":
        method = "given" if given is not None else "time" if newest is not None else "group"
    if method == "given":
        if given is None:
            raise ConfigError("split given: the history's split column holds no train and test; use auto")
        test = given
        calibration = ~test & (u < CALIBRATION_SHARE)
    elif method == "time":
        if newest is None:
            raise ConfigError(
                "split time: expected a timestamp on every row, and times that leave about a fifth of the prompts newest; use auto or group"
            )
        test = newest
        calibration = ~test & (u < CALIBRATION_SHARE / (1 - TEST_SHARE))
    elif method == "group":
        test = u >= 1 - TEST_SHARE
        calibration = u < CALIBRATION_SHARE
    else:
        raise ConfigError(f"split {method}: expected auto, {', '.join(SPLIT_METHODS)}")
    return Split(~test & ~calibration, calibration, test, method)


def _uniform(groups: NDArray[np.object_], seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) per row, the same for all rows of a group. Pure."""
    names, rows = np.unique(groups.astype(str), return_inverse=True)
    digests = [
        hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for name in names
    ]
    return np.array([int.from_bytes(digest, "big") / 2.0**64 for digest in digests])[rows]


def _given_test(outcomes: Outcomes) -> NDArray[np.bool_] | None:
    tags = outcomes.tags.get("split")
    if tags is None:
        return None
    test = tags == "test"
    if not test.any() or not (tags == "train").any():
        return None
    # A group with a test row is a test group: what judged must not have been seen.
    return np.isin(outcomes.groups.astype(str), np.unique(outcomes.groups[test].astype(str)))


def _newest(groups: NDArray[np.object_], timestamp: NDArray[np.datetime64]) -> NDArray[np.bool_] | None:
    """Return the rows of the newest groups, by a group's latest row, as near to TEST_SHARE as times allow.

    None where times are too coarse to cut between a few per cent and twice the share. Pure.
    """
    _, rows = np.unique(groups.astype(str), return_inverse=True)
    stamps = timestamp.astype("datetime64[us]").astype(np.int64)
    latest = np.full(rows.max() + 1, np.iinfo(np.int64).min)
    np.maximum.at(latest, rows, stamps)
    times, counts = np.unique(latest[rows], return_counts=True)
    newer = 1.0 - np.cumsum(counts) / len(rows)  # share of the rows after each time
    best = int(np.abs(newer - TEST_SHARE).argmin())
    return np.asarray(latest[rows] > times[best]) if abs(newer[best] - TEST_SHARE) < TEST_SHARE else None
