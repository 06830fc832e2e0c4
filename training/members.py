"""The members of the blend: each turns rows into a margin (log odds of passing) per tier.

Pure, given a seed. A member is fitted by a function, answers `margins` in numpy, and writes the same
computation into an ONNX graph with `export`, where weights and calibration are folded into its constants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from eval.design import Design
from training.graph import Total
from training.logistic import Floats, fit_logistic, prior_margin
from training.tasks import Tasks
from training.trees import TreeBlock, tree_ensemble
from training.words import Words

__all__ = [
    "FITTERS",
    "Length",
    "Linear",
    "Member",
    "Prototypes",
    "Trees",
    "find_prototypes",
    "scale_of",
]

# Shallow and strongly regularised; what was tried beside these numbers is in docs/LOG.md.
TREE_PARAMETERS = {
    "objective": "binary",
    "num_leaves": 6,
    "learning_rate": 0.03,
    "feature_fraction": 0.15,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 20.0,
    "min_data_in_leaf": 20,
    # Two threads on two busy cores made a fit ten times slower; one thread is also bit-identical.
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    # Coarser than the default: as good on held-out prompts (docs/LOG.md), and a third faster.
    "max_bin": 63,
    "verbose": -1,
}
TREE_ROUNDS = 100
LINEAR_C = 0.3
PROTOTYPE_COUNT = 64
PROTOTYPE_TEMPERATURE = 0.1
ROWS_PER_PROTOTYPE = 10
# Below this spread a column is nearly constant on the training data; dividing by less would let a row that
# is unlike the training data throw the linear head anywhere.
LEAST_SPREAD = 0.05


class Member(Protocol):
    """A fitted member of the blend."""

    def margins(self, rows: Design) -> Floats:
        """Return float64 (n, k) log odds of passing per tier; outcomes of the rows play no part. Pure."""
        ...

    def export(self, total: Total, transform: Floats) -> None:
        """Add `margins @ transform`, float64 (k, columns), to a sum of a graph."""
        ...


@dataclass(frozen=True)
class Trees:
    """One booster per tier. A tier whose outcomes are all alike has none and stands at its prior."""

    boosters: tuple[lgb.Booster | None, ...]
    prior: Floats

    @classmethod
    def fit(cls, design: Design, seed: int) -> Trees:
        """Fit a binary booster per tier on the rows where the tier was observed."""
        boosters: list[lgb.Booster | None] = []
        prior = np.zeros(design.n_tiers)
        binned: dict[bytes, lgb.Dataset] = {}  # tiers observed on the same rows share their histograms' bins
        for k, y in enumerate(design.passed.T):
            seen = ~np.isnan(y)
            known = design.weight_of(k)
            weight = None if known is None else known[seen]
            if len(np.unique(y[seen])) < 2:
                boosters.append(None)
                prior[k] = prior_margin(y[seen], weight)
            else:
                rows = seen.tobytes()
                if rows not in binned:
                    binned = {rows: _bin(design.X[seen])}
                boosters.append(_boost(binned[rows], y[seen], weight, seed))
        return cls(tuple(boosters), prior)

    def margins(self, rows: Design) -> Floats:
        """Return float64 (n, k) log odds. Pure."""
        z = np.tile(self.prior, (len(rows), 1))
        for k, booster in enumerate(self.boosters):
            if booster is not None:
                z[:, k] = booster.predict(rows.X, raw_score=True, num_threads=1)
        return z

    def export(self, total: Total, transform: Floats) -> None:
        """Write one tree ensemble for all tiers."""
        graph = total.graph
        blocks = [TreeBlock(booster, (k,)) for k, booster in enumerate(self.boosters) if booster is not None]
        z = graph.append(tree_ensemble(blocks, len(self.boosters), graph.rows, graph.fresh()))
        total.multiply(z, transform)
        total.shift(self.prior @ transform)


@dataclass(frozen=True)
class Linear:
    """A logistic regression per tier, its scaling folded into the weights."""

    weights: Floats  # (width, k)
    bias: Floats  # (k,)

    @classmethod
    def fit(cls, design: Design, seed: int) -> Linear:  # noqa: ARG003 - every member is fitted alike
        """Fit on all columns."""
        return cls._fit(design, slice(None), LINEAR_C)

    @classmethod
    def _fit(cls, design: Design, columns: slice, c: float) -> Linear:
        mean, spread = (each[columns] for each in scale_of(design))
        X = design.X[:, columns].astype(np.float64)
        X -= mean  # in place: a copy of all rows in float64 is what a fit's memory peaks at
        X /= spread
        weights = np.zeros((design.X.shape[1], design.n_tiers))
        bias = np.zeros(design.n_tiers)
        for k, y in enumerate(design.passed.T):
            w, b = fit_logistic(X, y, c, weight=design.weight_of(k))
            weights[columns, k] = w / spread
            bias[k] = b - (w / spread) @ mean
        return cls(weights, bias)

    def margins(self, rows: Design) -> Floats:
        """Return float64 (n, k) log odds. Pure."""
        return rows.X.astype(np.float64) @ self.weights + self.bias

    def export(self, total: Total, transform: Floats) -> None:
        """Write nothing but weights."""
        total.project(self.weights @ transform)
        total.shift(self.bias @ transform)


class Length(Linear):
    """The length baseline: a logistic regression per tier on the logged number of characters alone."""

    @classmethod
    def fit(cls, design: Design, seed: int) -> Length:  # noqa: ARG003 - every member is fitted alike
        """Fit on the first shape feature."""
        return cls._fit(design, slice(design.dimension, design.dimension + 1), 1.0)  # type: ignore[return-value]


@dataclass(frozen=True)
class Prototypes:
    """Soft neighbours: a logistic regression per tier on the similarity to each prototype.

    What nearest neighbours know, at the price of one small product instead of a search: a row's weights are
    the softmax of its cosine to each prototype.
    """

    centers: Floats  # (width, m), unit columns on the embedding, zero on the shape features
    weights: Floats  # (m, k)
    bias: Floats  # (k,)

    @classmethod
    def fit(cls, design: Design, seed: int) -> Prototypes:
        """Cluster the embedding, then fit the regression on the soft assignments."""
        centers = find_prototypes(design, seed)
        assignments = _soft_assign(design.X, centers)
        fitted = [
            fit_logistic(assignments, y, 1.0, weight=design.weight_of(k))
            for k, y in enumerate(design.passed.T)
        ]
        return cls(centers, np.stack([w for w, _ in fitted], 1), np.array([b for _, b in fitted]))

    def margins(self, rows: Design) -> Floats:
        """Return float64 (n, k) log odds. Pure."""
        return _soft_assign(rows.X, self.centers) @ self.weights + self.bias

    def export(self, total: Total, transform: Floats) -> None:
        """Write projection, softmax and product."""
        centers = self.centers / PROTOTYPE_TEMPERATURE
        similarity = total.graph.project(centers, np.zeros(centers.shape[1]))
        total.multiply(total.graph.add("Softmax", similarity, axis=-1), self.weights @ transform)
        total.shift(self.bias @ transform)


FITTERS: dict[str, Callable[[Design, int], Member]] = {
    "trees": Trees.fit,
    "linear": Linear.fit,
    "prototypes": Prototypes.fit,
    "words": Words.fit,
    "tasks": Tasks.fit,
    "length": Length.fit,
}
"""Members by name."""


def scale_of(design: Design) -> tuple[Floats, Floats]:
    """Return each column's origin and unit for a linear head, float64 (width,). Pure.

    Shape features are standardised. The embedding, whose rows are unit vectors, is on one scale already, and its
    small columns would only gain noise (docs/LOG.md).
    """
    mean, spread = np.zeros(design.X.shape[1]), np.ones(design.X.shape[1])
    shapes = design.X[:, design.dimension :].astype(np.float64)
    mean[design.dimension :] = shapes.mean(0)
    spread[design.dimension :] = np.maximum(shapes.std(0), LEAST_SPREAD)
    return mean, spread


def find_prototypes(design: Design, seed: int) -> Floats:
    """Return prototypes of the embedding, float64 (width, m): unit columns, zero on the shape features. Pure.

    Prompts without a known token have no direction and found no prototype. A cluster of opposite vectors has
    none either; its column is zero.
    """
    vectors = design.X[:, : design.dimension]
    vectors = vectors[np.abs(vectors).sum(1) > 0]
    distinct = len({row.tobytes() for row in vectors})
    count = max(1, min(PROTOTYPE_COUNT, distinct, len(vectors) // ROWS_PER_PROTOTYPE))
    centers = np.zeros((design.X.shape[1], count))
    if len(vectors):
        found = KMeans(count, n_init=1, max_iter=30, random_state=seed).fit(vectors).cluster_centers_
        norm = np.linalg.norm(found, axis=1, keepdims=True)
        centers[: design.dimension] = (found / np.where(norm > 0.0, norm, 1.0)).T
    return centers


def _soft_assign(X: NDArray[np.float32], centers: Floats) -> Floats:
    z = X.astype(np.float64) @ centers / PROTOTYPE_TEMPERATURE
    z = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(z / z.sum(1, keepdims=True))


def _bin(X: NDArray[np.float32]) -> lgb.Dataset:
    return lgb.Dataset(X, params=TREE_PARAMETERS).construct()


def _boost(rows: lgb.Dataset, y: NDArray[np.float32], weight: Floats | None, seed: int) -> lgb.Booster:
    rows.set_label(y)
    rows.set_weight(weight)
    return lgb.train({**TREE_PARAMETERS, "seed": seed}, rows, TREE_ROUNDS)
