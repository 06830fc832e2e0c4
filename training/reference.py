"""Reference statistics: what the training data looked like, so that drift can be told later. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.features import FEATURE_NAMES

__all__ = ["describe_reference"]

_QUANTILES = np.linspace(0.0, 1.0, 11)


def describe_reference(
    X: NDArray[np.float32], p_pass: NDArray[Any], novelty: NDArray[np.float32], tiers: tuple[str, ...]
) -> dict[str, Any]:
    """Return deciles of each shape feature, of each tier's p_pass and of novelty, and the mean embedding.

    Parameters
    ----------
    X : (n, width), p_pass : (n, k), novelty : (n,)
        Rows of the training part; p_pass out of fold.
    """
    dimension = X.shape[1] - len(FEATURE_NAMES)
    shapes = np.quantile(X[:, dimension:], _QUANTILES, axis=0).T
    return {
        "prompts": len(X),
        "quantiles": [round(float(q), 2) for q in _QUANTILES],
        "features": {name: _rounded(row) for name, row in zip(FEATURE_NAMES, shapes, strict=True)},
        "p_pass": {name: _rounded(np.quantile(p_pass[:, k], _QUANTILES)) for k, name in enumerate(tiers)},
        "novelty": _rounded(np.quantile(novelty, _QUANTILES)),
        "mean_embedding": _rounded(X[:, :dimension].mean(axis=0, dtype=np.float64)),
    }


def _rounded(values: NDArray[Any]) -> list[float]:
    return [round(float(value), 5) for value in values]
