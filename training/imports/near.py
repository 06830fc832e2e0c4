"""Finds prompts that are nearly the same: MinHash and locality-sensitive hashing, then the true similarity of each pair.

Pure. MinHash (Broder, 1997) gives each prompt a signature; prompts whose signatures agree on one of several bands
(Indyk and Motwani, 1998) are candidates; a candidate pair counts only if Jaccard's index of its runs of words, computed,
reaches the threshold. So no pair is false, and few are missed: at the threshold at most 1 - `FOUND`. The result
does not depend on the order of the prompts.

The signatures are datasketch's. For 100,000 prompts it takes 5.1 s, rensa 2.4 s, of some 25 s in all (one core): not
worth a compiled library for each release of Python. The bands are sorted here: datasketch's own index of them took 6.4 s
and 340 MB more, for 9 bands where 21 are needed.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from eval.progress import Progress
from training.imports.shingles import jaccard
from training.imports.unions import Unions

__all__ = ["FOUND", "Runs", "bands_for", "join_near"]

PERMUTATIONS = 128
FOUND = 0.995
"""The share of pairs right at the threshold that become candidates; of more similar ones, more."""
_BATCH = 4096  # prompts whose signatures are made at a time
_CROWD = 64
"""In a bucket of more prompts than this, as a template makes them, each is compared with its `_NEIGHBOURS` next only,
in the order of the signatures: else the work grew with the square."""
_NEIGHBOURS = 8
_FAR = 4.0
"""Standard errors by which a signature must fall short of the threshold for its pair not to be computed."""


class Runs:
    """The runs of words of many prompts, in one growing block of memory: 8 bytes a run."""

    def __init__(self) -> None:
        self._flat = np.empty(2**16, np.uint64)
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, i: int) -> NDArray[np.uint64]:
        return self._flat[self._ends[i] : self._ends[i + 1]]

    def add(self, runs: NDArray[np.uint64]) -> None:
        """Add those of one more prompt."""
        end = self._ends[-1] + len(runs)
        if end > len(self._flat):
            grown = np.empty(max(end, len(self._flat) + len(self._flat) // 2), np.uint64)
            grown[: self._ends[-1]] = self._flat[: self._ends[-1]]
            self._flat = grown
        self._flat[self._ends[-1] : end] = runs
        self._ends.append(end)


def bands_for(threshold: float) -> tuple[int, int]:
    """Return how many bands of how many rows make candidates of pairs at the threshold with probability `FOUND`. Pure.

    The most rows that do: fewer make more candidates, which cost time.
    """
    for rows in range(PERMUTATIONS, 1, -1):
        bands = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= FOUND:
            return bands, rows
    return PERMUTATIONS, 1


def join_near(runs: Runs, threshold: float, unions: Unions, progress: Progress | None = None) -> int:
    """Join all prompts that are similar, directly or through others, and return the pairs computed.

    Parameters
    ----------
    runs : Runs
        Of each prompt, in the order of `unions`.
    threshold : float
        Jaccard's index from which two prompts are near-duplicates, in (0, 1].
    unions : Unions
        Groups so far; written into.
    progress : Progress or None
        Shows a bar on a terminal.
    """
    kept = _join_equal(runs, unions)
    signatures = _sign(runs, kept, progress)
    bands, rows = bands_for(threshold)
    least = threshold - _FAR * (threshold * (1 - threshold) / PERMUTATIONS) ** 0.5
    computed = 0
    failed = np.empty(0, np.int64)
    for band in range(bands):
        one, other = _candidates(signatures, signatures[:, band * rows : (band + 1) * rows])
        keys = np.unique(np.minimum(one, other) * len(kept) + np.maximum(one, other))
        keys = keys[~np.isin(keys, failed)]
        one, other = np.divmod(keys, len(kept))
        roots = np.array(unions.roots())
        apart = roots[kept[one]] != roots[kept[other]]
        close = np.zeros(len(keys), np.bool_)
        for start in range(0, len(keys), _BATCH):
            part = slice(start, start + _BATCH)
            close[part] = (signatures[one[part]] == signatures[other[part]]).mean(axis=1) >= least
        missed = []
        for key, i, j in zip(
            *(each[apart & close].tolist() for each in (keys, kept[one], kept[other])), strict=True
        ):
            if unions.root(i) == unions.root(j):
                continue
            computed += 1
            if _similar(runs[i], runs[j], threshold):
                unions.join(i, j)
            else:
                missed.append(key)
        failed = np.union1d(failed, np.array(missed, np.int64))
    return computed


def _similar(one: NDArray[np.uint64], other: NDArray[np.uint64], threshold: float) -> bool:
    if min(len(one), len(other)) < threshold * max(len(one), len(other)):
        return False  # no set is more similar to one of another size than the sizes are
    return jaccard(one, other) >= threshold


def _join_equal(runs: Runs, unions: Unions) -> NDArray[np.int64]:
    """Join the prompts with the very same runs, and return one of each."""
    seen: dict[bytes, int] = {}
    kept: list[int] = []
    for i in range(len(runs)):
        content = runs[i].tobytes()
        same = seen.setdefault(content if len(content) <= 64 else _digest(content), i)
        if same == i:
            kept.append(i)
        else:
            unions.join(same, i)
    return np.array(kept, np.int64)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _sign(runs: Runs, kept: NDArray[np.int64], progress: Progress | None) -> NDArray[np.uint32]:
    signatures = np.empty((len(kept), PERMUTATIONS), np.uint32)
    with (progress or Progress()).bar(len(kept), "prompts") as bar:
        for start in range(0, len(kept), _BATCH):
            batch = kept[start : start + _BATCH]
            made = MinHash.generator(
                [(runs[int(i)] & np.uint64(0xFFFFFFFF)).tolist() for i in batch],
                num_perm=PERMUTATIONS,
                seed=1,
                hashfunc=int,
            )
            for row, minhash in enumerate(made, start=start):
                signatures[row] = minhash.hashvalues
            bar.update(len(batch))
    return signatures


def _candidates(
    signatures: NDArray[np.uint32], band: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs to compare of the prompts that agree on a band."""
    keys = np.ascontiguousarray(band).view(np.dtype((np.void, band.dtype.itemsize * band.shape[1]))).ravel()
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(order) else order
    ones: list[NDArray[np.int64]] = []
    others: list[NDArray[np.int64]] = []
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        if end - start < 2:
            continue
        members, reach = order[start:end], end - start
        if reach > _CROWD:
            members = members[np.lexsort(signatures[members].T[::-1])]
            reach = _NEIGHBOURS + 1
        for step in range(1, reach):
            ones.append(members[:-step])
            others.append(members[step:])
    none = np.empty(0, np.int64)
    return (np.concatenate(ones), np.concatenate(others)) if ones else (none, none)
