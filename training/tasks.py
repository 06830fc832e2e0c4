"""The tasks member: which task a prompt is, and how each tier does on it.

Pure. Where a history says what its prompts are (its `task` or `feature` tags), telling the tasks apart is
learned from those tags, which carry no noise of grading, and the pass rate of a task is known far better than
that of a prompt. At serving no tag is needed: the task is guessed from the text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from eval.design import Design
from training.graph import Total
from training.logistic import MARGIN_CLIP, Floats, log_odds

__all__ = ["Tasks", "tasks_in"]

LEAST_ROWS_PER_TASK = 20
# A pass rate is drawn towards the tier's own as if by this many prompts.
PRIOR_ROWS = 10
# Towards a multiple of the identity: the covariance of 300 columns is more than a small history can tell.
SHRINKAGE = 0.5
LEAST_SPREAD = 0.05
MOST_TASKS = 64


def tasks_in(design: Design) -> list[str]:
    """Return the tasks that enough rows are tagged with, the most frequent first, at most 64. Pure."""
    if design.tasks is None:
        return []
    names, counts = np.unique([str(t) for t in design.tasks if t is not None], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [str(names[i]) for i in order if counts[i] >= LEAST_ROWS_PER_TASK][:MOST_TASKS]


@dataclass(frozen=True)
class Tasks:
    """A softmax over tasks, times the pass rates per task.

    Attributes
    ----------
    weights : float64 (width, t)
    bias : float64 (t,)
    rates : float64 (t, k)
        Pass rate per task and tier, smoothed.
    """

    weights: Floats
    bias: Floats
    rates: Floats

    @classmethod
    def fit(cls, design: Design, seed: int) -> Tasks:  # noqa: ARG003 - every member is fitted alike
        """Fit a linear discriminant on the tagged rows; without two tasks, every prompt is of one."""
        names = tasks_in(design)
        every = np.ones(len(design), np.bool_)
        prior = _rates(design, every, np.full(design.n_tiers, 0.5), 2)
        width = design.X.shape[1]
        if len(names) < 2:
            return cls(np.zeros((width, 1)), np.zeros(1), prior[None])
        assert design.tasks is not None, "tasks_in found some"  # noqa: S101
        index = {name: i for i, name in enumerate(names)}
        task = np.array([index.get(str(t), -1) if t is not None else -1 for t in design.tasks])
        tagged = task >= 0
        X = design.X[tagged].astype(np.float64)
        mean, spread = X.mean(0), np.maximum(X.std(0), LEAST_SPREAD)
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
        lda.fit((X - mean) / spread, task[tagged])
        weights, bias = lda.coef_.T, lda.intercept_
        if len(names) == 2:  # one column for two classes: the second against the first
            weights, bias = np.hstack([np.zeros_like(weights), weights]), np.append(0.0, bias)
        weights = weights / spread[:, None]
        rates = np.stack([_rates(design, task == i, prior, PRIOR_ROWS) for i in range(len(names))])
        return cls(weights, bias - mean @ weights, rates)

    def margins(self, rows: Design) -> Floats:
        """Return float64 (n, k) log odds. Pure."""
        z = rows.X.astype(np.float64) @ self.weights + self.bias
        z = np.exp(z - z.max(1, keepdims=True))
        return log_odds(z / z.sum(1, keepdims=True) @ self.rates)

    def export(self, total: Total, transform: Floats) -> None:
        """Write the softmax, the shares of passes and failures, and their logarithms.

        Failures are a product of their own: in float32, 1 minus a share near 1 keeps no more than three digits.
        """
        graph = total.graph
        task = graph.add("Softmax", graph.project(self.weights, self.bias), axis=-1)
        shares = np.hstack([self.rates, 1.0 - self.rates])
        mixed = graph.add("Gemm", task, graph.constant(shares))
        if shares.min() < MARGIN_CLIP:  # else no mixture of them is, and the node would do nothing
            mixed = graph.add("Clip", mixed, *map(graph.constant, (MARGIN_CLIP, 1.0 - MARGIN_CLIP)))
        total.multiply(graph.add("Log", mixed), np.vstack([transform, -transform]))


def _rates(design: Design, rows: NDArray[np.bool_], prior: Floats, strength: float) -> Floats:
    """Return the pass rate per tier on some rows, drawn towards a prior as if by `strength` rows."""
    passed = design.passed[rows]
    seen = ~np.isnan(passed)
    counted = seen.sum(0) if design.weight is None else np.where(seen, design.weight[rows], 0.0).sum(0)
    passes = passed if design.weight is None else passed * design.weight[rows]
    return np.asarray((np.nansum(passes, 0, dtype=np.float64) + strength * prior) / (counted + strength))
