"""Which prompts are asked, and in what order: all of them, as many as the user names, or until the budget is spent.

Reads the embedding where novelty is wanted; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from training.collect.prompts import Prompts
from training.collect.sampling import ByNovelty, First, Order, Stratified, novelty_of, strata_of

__all__ = ["Sample", "draw_sample"]

TAGS = ("task", "feature")


@dataclass(frozen=True, eq=False)
class Sample:
    """What is asked, as far as the budget goes.

    Attributes
    ----------
    order : Order
        Of all prompts.
    method : str
        How it was drawn.
    size : int
        Prompts to ask: so many from the order's start.
    """

    order: Order
    method: str
    size: int

    @property
    def sequence(self) -> NDArray[np.intp]:
        """The prompts to ask, the first one first."""
        return self.order.sequence[: self.size]


def draw_sample(prompts: Prompts, method: str, seed: int, size: int | None) -> Sample:
    """Draw an order to ask prompts in, and take so many of them; None is all.

    Raises
    ------
    ArtifactError
        Novelty is wanted, and the default artefact is not there.
    """
    order = _order(prompts, method, seed)
    return Sample(order, method, len(prompts) if size is None else min(size, len(prompts)))


def _order(prompts: Prompts, method: str, seed: int) -> Order:
    if method == "first":
        return First(len(prompts))
    views = [prompts.view(i) for i in range(len(prompts))]
    if method == "novelty":
        vectors = StaticEmbedding.load(find_artifact()).embed_many([view.text for view in views])
        return ByNovelty.draw(novelty_of(vectors, seed), seed)
    tags = next((prompts.columns[name] for name in TAGS if name in prompts.columns), [None] * len(prompts))
    lengths = np.array([view.n_chars for view in views])
    return Stratified.draw(strata_of(["" if tag is None else str(tag) for tag in tags], lengths), seed)
