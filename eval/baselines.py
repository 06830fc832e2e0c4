"""Baselines: what a router has to beat, as strong as a competent engineer would make them in an afternoon.

Pure, given a seed. An estimator learns from one design and predicts, for the rows of another, each tier's
chance to pass. It never reads the other's outcomes. A tier whose outcomes are all alike where it was observed,
or that never was, stands at its prior, smoothed by one pass and one failure. The constants are fixed: they were
chosen once over several histories, by the share of the gap closed and the log loss out of fold, so that no
history tunes its own baselines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from eval.design import Design
from eval.outcomes import UNKNOWN

__all__ = ["BASELINES", "LABELS", "Estimator", "always_middle", "hand_rule"]

Floats = NDArray[np.float64]

Estimator = Callable[[Design, Design, int], Floats]
"""From train (n rows), test (m rows) and a seed to P(pass) per tier: float64 (m, k), finite, in [0, 1]."""

NEIGHBOURS = 50
# Rows compared with all others at once: 1,000 x 6,000 cosines in float32 are 24 MB.
_CHUNK = 1_000

# Of the weights of a logistic regression; greater fits closer.
_LENGTH_C = 1.0
_EMBEDDING_C = 0.3
_TFIDF_C = 1.0
# A shape feature that hardly varies where it was learnt must not throw a row that is unlike the others.
_LEAST_SPREAD = 0.05
_MOST_TERMS = 50_000

# Shallow, slow and on a few columns at a time: as LightGBM comes (31 leaves, rate 0.1, all columns), it closes
# half as much of the gap (docs/LOG.md). One thread: folds are what runs at once.
_TREES: dict[str, Any] = {
    "num_leaves": 6,
    "learning_rate": 0.03,
    "feature_fraction": 0.15,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 20.0,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
_TREE_ROUNDS = 100

# The rule by hand, in points from 0 to _MOST_POINTS. Characters above which a prompt is taken to be harder.
_LONG = (150, 600, 2_000)
_MOST_POINTS = 6
_REASONING = re.compile(
    r"\b(prove|proof|derive|deduce|step[ -]by[ -]step|analy[sz]e|explain why|reason(?:ing)?|justify|compare|"
    r"evaluate|critique|design|optimi[sz]e|debug|refactor|trade-?offs?|architecture|strategy)\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"```|\bdef \w|\bclass \w|\bfunction\b|\breturn\b|\bimport \w|=>|\(\)|;\n")
_MATHS = re.compile(
    r"\$[^$]+\$|\\\w|\d\s*[+*^=]\s*\d|[∑∫√≤≥∞]|\b(equation|integral|probability|theorem)\b", re.IGNORECASE
)
_SIMPLE = re.compile(
    r"\b(translate|summari[sz]e|extract|list|rewrite|rephrase|classify|define|spell|correct the|what is|what are|who is|"
    r"who was|when did|when was|where is|hello|thanks?|thank you)\b",
    re.IGNORECASE,
)


def _length(train: Design, test: Design, seed: int) -> Floats:  # noqa: ARG001 - every estimator is called alike
    """Fit a logistic regression per tier on the logged number of characters alone."""
    column = slice(train.dimension, train.dimension + 1)
    return _logistic(train.X[:, column], train.passed, test.X[:, column], _LENGTH_C)


def _neighbours(train: Design, test: Design, seed: int) -> Floats:  # noqa: ARG001
    """Average the outcomes of the nearest prompts by cosine, the prior counted as one more of them."""
    seen = ~np.isnan(train.passed)
    passed, prior = np.where(seen, train.passed, 0.0), _prior(train.passed)
    known, asked = (_unit_rows(design.X[:, : design.dimension]) for design in (train, test))
    count = min(NEIGHBOURS, len(known))
    p = np.empty((len(test), train.n_tiers))
    for start in range(0, len(test), _CHUNK):
        distance = -(asked[start : start + _CHUNK] @ known.T)
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        p[start : start + _CHUNK] = (passed[nearest].sum(1) + prior) / (seen[nearest].sum(1) + 1.0)
    tells = [_varies(y[~np.isnan(y)]) for y in train.passed.T]
    return np.where(tells, np.clip(p, 0.0, 1.0), prior)  # a mean of ones may round to more than one


def _embedding(train: Design, test: Design, seed: int) -> Floats:  # noqa: ARG001
    """Fit a logistic regression per tier on the embedding as it is and the shape features, standardised."""
    shape = train.X[:, train.dimension :].astype(np.float64)
    mean, spread = shape.mean(0), np.maximum(shape.std(0), _LEAST_SPREAD)
    known, asked = (design.X.astype(np.float64) for design in (train, test))
    for X in (known, asked):
        X[:, train.dimension :] = (X[:, train.dimension :] - mean) / spread
    return _logistic(known, train.passed, asked, _EMBEDDING_C)


def _tfidf(train: Design, test: Design, seed: int) -> Floats:  # noqa: ARG001
    """Fit a logistic regression per tier on the words and pairs of words."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=_MOST_TERMS)
    try:
        known = vectorizer.fit_transform(train.texts)
    except ValueError:  # no word occurs twice: there is nothing to learn from
        return np.tile(_prior(train.passed), (len(test), 1))
    # Twice as quick as lbfgs on sparse rows, and no worse.
    return _logistic(known, train.passed, vectorizer.transform(test.texts), _TFIDF_C, "liblinear")


def _lightgbm(train: Design, test: Design, seed: int) -> Floats:
    """Boost shallow trees per tier."""
    p = np.tile(_prior(train.passed), (len(test), 1))
    for k, y in enumerate(train.passed.T):
        seen = ~np.isnan(y)
        if _varies(y[seen]):
            p[:, k] = _boost(train.X[seen], y[seen], test.X, {"objective": "binary", "seed": seed})
    return p


def _label_classifier(train: Design, test: Design, seed: int) -> Floats:
    """Boost trees on the cheapest passing tier where it is known; P(label <= k) stands for "k passes"."""
    known = train.label != UNKNOWN
    classes, y = np.unique(train.label[known].astype(np.int64), return_inverse=True)
    enough = classes[:, None] <= np.arange(train.n_tiers)
    if len(classes) < 2:
        return np.tile(_prior(enough[y].astype(np.float32)), (len(test), 1))
    parameters = {"objective": "multiclass", "num_class": len(classes), "seed": seed}
    shares = _boost(train.X[known], y, test.X, parameters)
    return np.clip(shares @ enough.astype(np.float64), 0.0, 1.0)


def _cost_only(train: Design, test: Design, seed: int) -> Floats:  # noqa: ARG001
    """Give every prompt the tiers' pass rates: what is left to choose by is what calls are expected to cost."""
    return np.tile(_prior(train.passed), (len(test), 1))


def hand_rule(texts: Iterable[str], k: int) -> NDArray[np.intp]:
    """Return a tier per prompt by the rule that people write by hand, (n,). Pure; learns nothing.

    A prompt starts with 2 points. It gains one for each of the lengths 150, 600 and 2,000 characters that it
    exceeds, one for each different word that asks for reasoning (prove, derive, step by step, ...; 3 at most), one
    for code, one for mathematics; it loses 2 for a word of a simple task (translate, summarise, what is, ...).
    The points, 0 to 6, are cut into k tiers evenly.

    Parameters
    ----------
    texts : iterable of n str
        The part of each prompt that a decision reads.
    k : int
        Tiers, cheapest first.
    """
    points = np.array([_points(text) for text in texts], dtype=np.intp)
    return np.asarray(points * k // (_MOST_POINTS + 1), dtype=np.intp)


def always_middle(n: int, k: int) -> NDArray[np.intp]:
    """Return the middle of k tiers for each of n prompts, the dearer one of two, (n,). Pure."""
    return np.full(n, k // 2, dtype=np.intp)


BASELINES: dict[str, Estimator] = {
    "length": _length,
    "knn-50": _neighbours,
    "logistic-embedding": _embedding,
    "logistic-tfidf": _tfidf,
    "lightgbm": _lightgbm,
    "label-classifier": _label_classifier,
    "cost-only": _cost_only,
}
"""Learned baselines by name."""

LABELS: dict[str, str] = {
    "tierwise": "tierwise",
    "length": "prompt length alone",
    "knn-50": "50 nearest neighbours",
    "logistic-embedding": "logistic regression on the embedding",
    "logistic-tfidf": "logistic regression on words (tf-idf)",
    "lightgbm": "LightGBM per tier",
    "label-classifier": "LightGBM on the cheapest passing tier",
    "cost-only": "expected cost alone",
    "hand-rule": "rule by hand: length and keywords",
    "always-middle": "always the middle tier",
    "random-mix": "random mix",
    "oracle": "hindsight (oracle)",
}
"""How people read the name of a contender, fixed ones included."""


def _points(text: str) -> int:
    length = sum(len(text) > threshold for threshold in _LONG)
    reasoning = min(len({word.lower() for word in _REASONING.findall(text)}), 3)
    marks = bool(_CODE.search(text)) + bool(_MATHS.search(text))
    simple = 2 * bool(_SIMPLE.search(text))
    return min(max(2 + length + reasoning + marks - simple, 0), _MOST_POINTS)


def _logistic(known: Any, passed: NDArray[np.float32], asked: Any, c: float, solver: str = "lbfgs") -> Floats:  # noqa: ANN401 - dense or sparse
    """Return P(pass) per tier from a logistic regression on the rows where it was observed, (m, k). Pure."""
    p = np.tile(_prior(passed), (asked.shape[0], 1))
    for k, y in enumerate(passed.T):
        seen = ~np.isnan(y)
        if _varies(y[seen]):
            model = LogisticRegression(C=c, max_iter=1000, solver=solver).fit(known[seen], y[seen])
            p[:, k] = model.predict_proba(asked)[:, 1]
    return p


def _boost(
    X: NDArray[np.float32], y: NDArray[Any], asked: NDArray[np.float32], parameters: dict[str, object]
) -> Floats:
    booster = lgb.train({**_TREES, **parameters}, lgb.Dataset(X, y), _TREE_ROUNDS)
    return np.asarray(booster.predict(asked, num_threads=1), dtype=np.float64)


def _prior(passed: NDArray[np.float32]) -> Floats:
    """Return each tier's pass rate where observed, smoothed by one pass and one failure: (k,)."""
    seen = (~np.isnan(passed)).sum(axis=0)
    return np.asarray((np.nansum(passed, axis=0, dtype=np.float64) + 1.0) / (seen + 2.0))


def _varies(y: NDArray[np.float32]) -> bool:
    return len(np.unique(y)) > 1


def _unit_rows(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of length one; a row of zeros, a prompt without a known word, stays."""
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return np.asarray(X / np.where(length > 0.0, length, 1.0), dtype=np.float32)
