"""Logistic regression on what was observed, and the log odds that members speak in. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

__all__ = ["MARGIN_CLIP", "Floats", "fit_logistic", "log_odds", "prior_margin"]

Floats = NDArray[np.float64]

# Pass shares are kept this far from 0 and 1, so that a margin is finite.
MARGIN_CLIP = 1e-4


def log_odds(p: Floats) -> Floats:
    """Return the log odds of shares, which are kept off 0 and 1. Pure."""
    p = np.clip(p, MARGIN_CLIP, 1.0 - MARGIN_CLIP)
    return np.log(p / (1.0 - p))


def prior_margin(y: NDArray[np.float32], weight: Floats | None = None) -> float:
    """Return the log odds of a pass, smoothed by one pass and one failure. Pure; weights are 1 in the mean."""
    passes = y.sum(dtype=np.float64) if weight is None else float(weight @ y)
    return float(log_odds(np.asarray((passes + 1.0) / (len(y) + 2.0))))


def fit_logistic(
    X: Any,  # noqa: ANN401 - dense or sparse
    y: NDArray[np.float32],
    c: float,
    solver: str = "lbfgs",
    weight: Floats | None = None,
) -> tuple[Floats, float]:
    """Return weights (width,) and bias of a logistic regression on the observed rows. Pure.

    Parameters
    ----------
    X : float64 (n, width), dense or sparse rows
    y : (n,)
        1, 0, or NaN where unobserved. Where all are alike, or no column is there to tell them apart, the weights
        are zero and the bias is the prior.
    c : float
        Inverse strength of the L2 penalty.
    weight : float64 (n,), optional
        How much each row counts, 1 in the mean of those observed; by default all alike.
    """
    seen = ~np.isnan(y)
    own = None if weight is None else weight[seen]
    if len(np.unique(y[seen])) < 2 or not X.shape[1]:
        return np.zeros(X.shape[1]), prior_margin(y[seen], own)
    model = LogisticRegression(C=c, max_iter=1000, solver=solver).fit(X[seen], y[seen], own)
    return model.coef_[0], float(model.intercept_[0])
