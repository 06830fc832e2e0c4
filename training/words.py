"""The words member: a logistic regression per tier on the tokens of a prompt.

Pure. Words carry what a sentence embedding averages away: the form of a task, a name, a unit. On some histories
they say more than anything else (docs/LOG.md). Serving reads the weights from the lexicon, so the graph only
adds them up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from eval.design import Design
from router.lexicon import MARGIN_LIMIT
from training.graph import Total
from training.logistic import Floats, fit_logistic

__all__ = ["Words"]

WORDS_C = 0.3
# A token of a single prompt tells about that prompt alone.
LEAST_PROMPTS_PER_TOKEN = 2


@dataclass(frozen=True)
class Words:
    """Token weights per tier, with TF-IDF over token positions.

    Attributes
    ----------
    lexicon : float32 (V, 1 + k)
        As `router.lexicon.Lexicon` takes it.
    bias : float64 (k,)
    column : int
        Where a row of the graph's input holds the first of the lexicon's margins.
    """

    lexicon: NDArray[np.float32]
    bias: Floats
    column: int

    @classmethod
    def fit(cls, design: Design, seed: int) -> Words:  # noqa: ARG003 - every member is fitted alike
        """Fit on the tokens that occur in two prompts or more."""
        assert design.tokens is not None, "words need tokens"  # noqa: S101
        counts = design.tokens
        n = counts.shape[0]
        spread = np.bincount(counts.indices, minlength=counts.shape[1])  # prompts that hold each token
        idf = np.where(spread >= LEAST_PROMPTS_PER_TOKEN, np.log((1.0 + n) / (1.0 + spread)) + 1.0, 0.0)
        known = np.flatnonzero(idf)
        lexicon = np.zeros((counts.shape[1], 1 + design.n_tiers), np.float32)
        lexicon[:, 0] = idf**2
        bias = np.zeros(design.n_tiers)
        weighted = _weigh(counts, idf)[:, known]
        for k, y in enumerate(design.passed.T):
            # liblinear: ten times faster than lbfgs on rows as sparse as these.
            w, bias[k] = fit_logistic(weighted, y, WORDS_C, solver="liblinear", weight=design.weight_of(k))
            lexicon[known, 1 + k] = w * idf[known]
        return cls(lexicon, bias, design.X.shape[1])

    def margins(self, rows: Design) -> Floats:
        """Return float64 (n, k) log odds. Pure."""
        assert rows.tokens is not None, "words need tokens"  # noqa: S101
        norm = np.sqrt(rows.tokens @ self.lexicon[:, 0].astype(np.float64))
        sums = rows.tokens @ self.lexicon[:, 1:].astype(np.float64)
        scaled = np.divide(sums, norm[:, None], out=np.zeros_like(sums), where=norm[:, None] > 0.0)
        return np.asarray(np.clip(scaled, -MARGIN_LIMIT, MARGIN_LIMIT) + self.bias)

    def export(self, total: Total, transform: Floats) -> None:
        """Write nothing but weights, of the lexicon's columns."""
        weights = np.zeros((self.column + len(transform), transform.shape[1]))
        weights[self.column :] = transform
        total.project(weights)
        total.shift(self.bias @ transform)


def _weigh(counts: sparse.csr_array, idf: Floats) -> sparse.csr_array:
    """Return the counts times the inverse document frequency, over the norm of that over positions."""
    norm = np.sqrt(counts @ idf**2)
    inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0.0)
    weighted = counts.copy()
    weighted.data = counts.data * idf[counts.indices] * np.repeat(inverse, np.diff(counts.indptr))
    return weighted
