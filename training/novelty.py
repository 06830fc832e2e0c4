"""Novelty: how unlike the training data a prompt is, and from where on the router is not entitled to be sure.

Pure, given a seed. Two distances, the larger counts: of the embedding to the nearest prototype, which tells other
topics, and of the shape features to their mean, which tells malformed text (base64, one character repeated, another
script), whose tokens may be ordinary ones. Alone each misses what the other tells (docs/BENCHMARKS.md, "Guards").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from eval.design import Design
from router.scorer import NOVELTY
from training.graph import Graph
from training.logistic import Floats
from training.members import find_prototypes, scale_of

__all__ = ["NOVELTY_FALSE_ALARM", "Novelty", "is_novel", "threshold"]

NOVELTY_FALSE_ALARM = 0.01
"""Share of prompts like the training data that are taken for novel. Each of them costs a call of the reference tier, so
the rate is also the most that the guard takes of the saving; flags on malformed text hardly grow with a higher one."""

# Towards the features' own variances: a direction that the training data hardly moves in would else make anything
# novel that moves in it at all.
RIDGE = 0.3
_FOLDS = 5
# Quantiles below these are rounding, or features that are constant on the training data: a cosine in float32, and one
# unit of the whitened features.
_LEAST_COSINE_DISTANCE, _LEAST_SHAPE_DISTANCE = 1e-4, 1.0


@dataclass(frozen=True)
class Novelty:
    """The larger of two distances, brought to one scale: 0 is like the training data, 1 unlike any of it.

    Attributes
    ----------
    prototypes : float64 (width, m)
        Unit columns on the embedding, zero on the shape features. Half the cosine distance to the nearest counts: a
        prompt without a known token is at .5, the opposite of all prototypes at 1.
    mean : float64 (s,)
        Of the s shape features.
    whitening : float64 (s, s)
        Turns features less their mean into ones of which the squared length counts. It is scaled such that of the
        training data as many are far by their shape as by their embedding, at the rate of `NOVELTY_FALSE_ALARM`.
    """

    prototypes: Floats
    mean: Floats
    whitening: Floats

    @classmethod
    def fit(cls, design: Design, seed: int) -> Novelty:
        """Learn what is known. Outcomes play no part; one row is enough."""
        prototypes, dimension = find_prototypes(design, seed), design.dimension
        mean, spread = (column[dimension:] for column in scale_of(design))
        shapes = design.X[:, dimension:].astype(np.float64) - mean
        variances, axes = np.linalg.eigh(shapes.T @ shapes / len(shapes) + RIDGE * np.diag(spread**2))
        alone = cls(prototypes, mean, axes / np.sqrt(variances))
        far = [np.quantile(distance, 1.0 - NOVELTY_FALSE_ALARM) for distance in alone.distances(design.X)]
        unit = max(far[0], 0.5 * _LEAST_COSINE_DISTANCE) / max(far[1], _LEAST_SHAPE_DISTANCE)
        return cls(prototypes, mean, alone.whitening * np.sqrt(unit))

    def score(self, X: NDArray[np.float32]) -> Floats:
        """Return the novelty of rows, float64 (n,), 0 to 1, NaN where a row holds one. Pure.

        Parameters
        ----------
        X : float32 (n, width or more)
            As the extractor gives them: embeddings of unit length, or zero. A lexicon's columns are not read.
        """
        return np.clip(np.maximum(*self.distances(X)), 0.0, 1.0)

    def export(self, graph: Graph) -> None:
        """Write the score as the graph's output `novelty`, float32 (n, 1)."""
        cosine = graph.project(-0.5 * self.prototypes, np.full(self.prototypes.shape[1], 0.5))
        # A product of its own: as columns of the shared one it would be ten times its size in zeros.
        whitening = np.zeros((graph.n_features, len(self.mean)))
        whitening[: len(self.mean)] = self.whitening
        white = graph.add(
            "Gemm", graph.features, graph.constant(whitening), graph.constant(-self.mean @ self.whitening)
        )
        nearest = graph.add("ReduceMin", cosine, axes=[1], keepdims=1)
        length = graph.add("ReduceSumSquare", white, axes=[1], keepdims=1)
        # A square is not negative, so neither is the larger one, though rounding can put a cosine above 1.
        graph.add("Min", graph.add("Max", nearest, length), graph.constant(1.0), output=NOVELTY)

    def distances(self, X: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return half the cosine distance to the nearest prototype, and the squared length of the white shape. Pure."""
        rows, width = X.astype(np.float64), len(self.prototypes)
        nearest = 0.5 - 0.5 * (rows[:, :width] @ self.prototypes).max(axis=1)
        white = (rows[:, width - len(self.mean) : width] - self.mean) @ self.whitening
        return nearest, np.square(white).sum(axis=1)


def threshold(design: Design, seed: int, false_alarm: float = NOVELTY_FALSE_ALARM) -> float:
    """Return the novelty above which a prompt is novel: at most a share of ones like the training data are. Pure.

    Every row is scored by a fit that saw no row of its group, so no calibration row is spent on this, and the
    certificate can be made with the whole decision path. Fits of four fifths know a little less than the one of all
    rows, so a little less than that share is flagged.

    Parameters
    ----------
    design : Design
        With groups, two or more; rows of one group share a fold.
    false_alarm : float
        0 to 1, exclusive. Of fewer rows than its inverse, none is to be flagged.
    """
    assert design.groups is not None, "folds need groups"  # noqa: S101
    _, codes = np.unique(design.groups.astype(str), return_inverse=True)
    scores = np.zeros(len(codes))
    folds = GroupKFold(min(_FOLDS, int(codes.max()) + 1), shuffle=True, random_state=seed)
    for kept, left in folds.split(codes, groups=codes):
        scores[left] = Novelty.fit(design.take(kept), seed).score(design.X[left])
    # The (n + 1)(1 - rate)-th smallest, as in conformal prediction: a fresh row is above it at the rate, or less often.
    rank = min(int(np.ceil((len(scores) + 1) * (1.0 - false_alarm))), len(scores))
    return max(float(np.sort(scores)[rank - 1]), _LEAST_COSINE_DISTANCE)


def is_novel(novelty: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Return which prompts escalate, as `router.model` decides it: a NaN does, too. Pure."""
    return np.asarray(~(novelty <= threshold))
