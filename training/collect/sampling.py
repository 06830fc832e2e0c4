"""Which prompts to ask first, so that wherever it stops what was asked is a probability sample.

Pure, given a seed. An order is drawn, not a set: a sample of any size is the order's beginning, a larger sample contains
every smaller one, and a budget may end it anywhere. A prompt's weight is one over its chance to be among those asked;
weighted sums over the sample estimate sums over all prompts. Where a budget ends it depends on what answers cost, which leaves
a bias of the order of one prompt in those asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "ByNovelty", "First", "Order", "Stratified", "novelty_of", "strata_of"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

METHODS = ("stratified", "novelty", "first")

MOST_TAGS = 8
"""Tags with strata of their own, the rest together: so many strata that a few hundred prompts have some of each."""
LENGTHS = 3
"""Strata by length within a tag, of equal size."""
NEIGHBOURS = 5
REFERENCE = 2000
"""Prompts that the others are compared with: all pairs of a large log would take hours."""
UNIFORM = 0.5
"""Share of the sampling that novelty plays no part in; no weight is more than 1 / UNIFORM times that of a uniform draw."""


class Order(Protocol):
    """Prompts in the order in which to ask them."""

    @property
    def sequence(self) -> Places:
        """All prompts, intp (n,), by position; the first is asked first."""

    def weights(self, taken: int) -> Floats | None:
        """Return the weights of the first `taken` prompts of the sequence, float64 (taken,); None where there are none."""


@dataclass(frozen=True, eq=False)
class First:
    """The prompts as they come: no sample, and so without weights."""

    n: int

    @property
    def sequence(self) -> Places:
        """The order of the file."""
        return np.arange(self.n)

    def weights(self, taken: int) -> None:  # noqa: ARG002 - as the others
        """Return None."""
        return


@dataclass(frozen=True, eq=False)
class Stratified:
    """A random order within each stratum, and the strata by turns.

    Strata get shares of any beginning in proportion to the roots of their sizes, between equal shares (best to compare
    strata) and proportional ones (best for the whole): power allocation, Bankier (1988). One prompt of each stratum
    comes first. Given how many of a stratum were taken, each of its prompts is as likely as another to be among them, so the
    weight is the stratum's size over the number taken. A beginning that is shorter than the number of strata leaves some
    out; the weights then still add up to the population, and the estimate is only about right.
    """

    strata: NDArray[np.intp]
    sequence: Places

    @classmethod
    def draw(cls, strata: NDArray[np.intp], seed: int) -> Stratified:
        """Draw an order; strata are numbered from zero, intp (n,)."""
        random = np.random.default_rng([seed, 1])
        turns = np.empty(len(strata))
        opening = random.permutation(int(strata.max()) + 1)
        for stratum in range(len(opening)):
            members = random.permutation(np.flatnonzero(strata == stratum))
            turns[members] = (np.arange(len(members)) + random.uniform()) / np.sqrt(len(members))
            turns[members[:1]] = opening[stratum] - len(opening)
        return cls(strata, np.argsort(turns, kind="stable"))

    def weights(self, taken: int) -> Floats:
        """Return stratum size over number taken, scaled up for strata that are not reached."""
        sizes = np.bincount(self.strata)
        chosen = self.strata[self.sequence[:taken]]
        counts = np.bincount(chosen, minlength=len(sizes))
        reached = sizes[counts > 0].sum()
        weights: Floats = sizes[chosen] / counts[chosen] * (len(self.strata) / reached if taken else 1.0)
        return weights


@dataclass(frozen=True, eq=False)
class ByNovelty:
    """What is unlike the rest first, by chance: priority sampling, Duffield, Lund and Thorup (2007).

    A prompt of size x has the rank u / x, u uniform; the lowest ranks are taken. With t the lowest rank that was not
    taken, the weight 1 / min(1, x t) makes weighted sums unbiased for any number taken. (Pareto sampling, Rosén (1997),
    is close kin, but its order depends on how many will be taken.)
    """

    sizes: Floats
    ranks: Floats
    sequence: Places

    @classmethod
    def draw(cls, novelty: Floats, seed: int) -> ByNovelty:
        """Draw an order; novelty is 0 or more, float64 (n,), on any scale."""
        mean = novelty.mean()
        sizes = UNIFORM + (1.0 - UNIFORM) * (novelty / mean if mean > 0.0 else np.ones_like(novelty))
        ranks = np.random.default_rng([seed, 2]).uniform(size=len(sizes)) / sizes
        return cls(sizes, ranks, np.argsort(ranks, kind="stable"))

    def weights(self, taken: int) -> Floats:
        """Return one over the chance to lie below the first rank that was not taken."""
        if taken >= len(self.sizes):
            return np.ones(len(self.sizes))
        chosen = self.sequence[:taken]
        chance: Floats = np.minimum(1.0, self.sizes[chosen] * self.ranks[self.sequence[taken]])
        return 1.0 / chance


def strata_of(tags: Sequence[str], lengths: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return strata, intp (n,), numbered from zero: tag by length.

    Parameters
    ----------
    tags : sequence of str
        One per prompt; the commonest have strata of their own.
    lengths : int64 (n,)
        Characters. Prompts of the same length stand in the same stratum of their tag.
    """
    names, tag, sizes = np.unique(np.asarray(tags, dtype=np.str_), return_inverse=True, return_counts=True)
    by_size = np.lexsort((names, -sizes))
    place = np.empty(len(names), np.intp)
    place[by_size] = np.minimum(np.arange(len(names)), MOST_TAGS - 1)
    tag = place[tag]
    length = np.zeros(len(tag), np.intp)
    for each in np.unique(tag):
        of = tag == each
        bounds = np.quantile(lengths[of], np.arange(1, LENGTHS) / LENGTHS, method="lower")
        length[of] = np.searchsorted(bounds, lengths[of], side="left")
    strata: NDArray[np.intp] = np.unique(tag * LENGTHS + length, return_inverse=True)[1].astype(np.intp)
    return strata


def novelty_of(vectors: NDArray[np.float32], seed: int) -> Floats:
    """Return how far each prompt is from its nearest neighbours, float64 (n,) from 0 to 2.

    Parameters
    ----------
    vectors : float32 (n, d)
        Unit rows, or zero. Compared with at most `REFERENCE` of them, drawn at random.
    """
    n = len(vectors)
    drawn = np.random.default_rng([seed, 3]).permutation(n)[:REFERENCE]
    nearest = min(NEIGHBOURS, len(drawn) - 1)
    if nearest < 1:
        return np.zeros(n)
    column = np.full(n, -1)
    column[drawn] = np.arange(len(drawn))
    found = np.empty(n)
    for start in range(0, n, REFERENCE):
        likeness = vectors[start : start + REFERENCE] @ vectors[drawn].T
        own = column[start : start + REFERENCE]
        likeness[
            np.flatnonzero(own >= 0), own[own >= 0]
        ] = -2.0  # below any other: no one is its own neighbour
        best = np.partition(likeness, -nearest, axis=1)[:, -nearest:]
        found[start : start + REFERENCE] = 1.0 - best.mean(axis=1)
    # Rounded, for float32 sums differ in their last digits from CPU to CPU, and an order must not.
    return np.maximum(found, 0.0).round(3)
