"""Answers: what a tier's answer to a prompt is expected to cost, as a multiple of the tier's mean answer.

Pure. Prompts differ in the length of their answers tenfold, and a router that takes a call to cost its tier's mean
buys dear answers and cheap ones alike. A ridge regression per tier on embedding and shape features, as strong as
prompts unlike the history need to get a sober answer (docs/LOG.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from eval.design import Design
from router.scorer import ANSWER
from training.graph import Graph
from training.logistic import Floats
from training.members import scale_of

__all__ = ["LEAST_ANSWERS", "Answers", "predict_answers"]

RIDGE = 100.0
LEAST_ANSWERS = 30
"""Answers of a tier, seen, below which they tell its mean at the most."""

# No prompt is taken to be answered for next to nothing, nor at a price that few answers of a history come near.
RANGE = (0.05, 5.0)


@dataclass(frozen=True)
class Answers:
    """A linear head per tier; a tier of few answers stands at its mean.

    Attributes
    ----------
    usd : float64 (k,)
        The mean of a tier's answers, at the tier's own price.
    weights, bias : float64 (width, k), (k,)
        From a row to the answer, as a multiple of that.
    """

    usd: Floats
    weights: Floats
    bias: Floats

    @classmethod
    def fit(cls, design: Design) -> Answers:
        """Fit on the answers of which something was seen; a tier without any has the mean of what was estimated.

        Raises
        ------
        ValueError
            The design does not say what answers cost.
        """
        if design.answer_usd is None or design.answer_seen is None:
            raise ValueError(
                "answers are learned from their cost: expected answer_usd and answer_seen, found None"
            )
        mean, spread = scale_of(design)
        usd, bias = np.zeros(design.n_tiers), np.ones(design.n_tiers)
        weights = np.zeros((design.X.shape[1], design.n_tiers))
        for k, (paid, seen) in enumerate(zip(design.answer_usd.T, design.answer_seen.T, strict=True)):
            usd[k] = float(paid[seen].mean()) if seen.any() else float(paid.mean())
            if seen.sum() >= LEAST_ANSWERS and usd[k] > 0.0:
                X = (design.X[seen].astype(np.float64) - mean) / spread
                ridge = Ridge(RIDGE).fit(X, paid[seen] / usd[k])
                weights[:, k] = ridge.coef_ / spread
                bias[k] = ridge.intercept_ - weights[:, k] @ mean
        return cls(usd, weights, bias)

    def multiples(self, X: NDArray[np.float32]) -> Floats:
        """Return float64 (n, k), within `RANGE`. Pure."""
        return np.clip(X.astype(np.float64) @ self.weights + self.bias, *RANGE)

    def export(self, graph: Graph) -> None:
        """Write the multiples as the graph's output."""
        z = graph.project(self.weights, self.bias)
        graph.add("Clip", z, *map(graph.constant, RANGE), output=ANSWER)


def predict_answers(train: Design, test: Design) -> Floats:
    """Fit on some rows and return what answers to others are expected to cost, float64 (m, k) USD. Pure."""
    answers = Answers.fit(train)
    return answers.usd * answers.multiples(test.X)
