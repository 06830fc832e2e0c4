"""Answers: what a tier's answer to a prompt is expected to cost, as a multiple of the tier's mean answer.

Pure. Prompts differ in the length of their answers tenfold, and a router that takes a call to cost its tier's mean
buys dear answers and cheap ones alike. A ridge regression per tier on embedding and shape features; nothing better
was found (docs/LOG.md).
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

RIDGE = 3.0
LEAST_ANSWERS = 30
"""Logged answers of a tier below which they tell its mean at the most."""

# No prompt is taken to be answered for nothing, nor at a price that no answer of the history came near.
RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class Answers:
    """A linear head per tier; a tier of few logged answers stands at 1, its mean."""

    weights: Floats  # (width, k)
    bias: Floats  # (k,)

    @classmethod
    def fit(cls, design: Design) -> Answers:
        """Fit on the answers of which something was logged; `design.answer` None is none of them."""
        weights, bias = np.zeros((design.X.shape[1], design.n_tiers)), np.ones(design.n_tiers)
        if design.answer is None:
            return cls(weights, bias)
        mean, spread = scale_of(design)
        for k, answer in enumerate(design.answer.T):
            seen = ~np.isnan(answer)
            if seen.sum() >= LEAST_ANSWERS:
                X = (design.X[seen].astype(np.float64) - mean) / spread
                ridge = Ridge(RIDGE).fit(X, answer[seen])
                weights[:, k] = ridge.coef_ / spread
                bias[k] = ridge.intercept_ - weights[:, k] @ mean
        return cls(weights, bias)

    def predict(self, X: NDArray[np.float32]) -> Floats:
        """Return float64 (n, k), within `RANGE`. Pure."""
        return np.clip(X.astype(np.float64) @ self.weights + self.bias, *RANGE)

    def export(self, graph: Graph, x: str) -> None:
        """Write the same as the graph's output."""
        z = graph.add("Gemm", x, graph.rows(self.weights), graph.constant(self.bias))
        graph.add("Clip", z, *map(graph.constant, RANGE), output=ANSWER)


def predict_answers(train: Design, test: Design) -> Floats:
    """Fit on some rows and predict others, float64 (m, k). Pure."""
    return Answers.fit(train).predict(test.X)
