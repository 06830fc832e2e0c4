"""What a verdict is worth: from a judge's errors on human-graded rows to the chance that a human would pass a row.

Pure. A judge passes what a human passes with a chance s, and what a human fails with a chance f. Both are known from the
human-graded rows alone, as Beta(1 + passed, 1 + failed) posteriors. A model whose answers a human would pass with a chance
p is then passed by the judge with a chance q = p s + (1 - p) f; so its share of passes, over all rows judged, says what p
may be (Rogan and Gladen, American Journal of Epidemiology 107, 1978; with a prior on p, Joseph, Gyorkos and Coupal, ibid.
141, 1995), and

    P(human passes | judge passes) = p s / q,    P(human passes | judge fails) = p (1 - s) / (1 - q).

These are averaged over s, f and p, p being uniform beforehand. Verdicts do not flow back into s and f (a cut posterior:
Plummer, Statistics and Computing 25, 2015): a judge's many verdicts say nothing of whether they are right.

Why by model, and not one chance per verdict for all: a fail is more often wrong where most answers are right. One chance for
all makes a weak model look better and a strong one worse. Between models of which a human passes 45 and 92 in 100, half of
the gap is lost with a judge who is right 88 times in 100 (tests/training/test_grade_judge_noise.py), and what a router
learns from is the gap. What is assumed instead is that s and f do not depend on the model; the confusion by model, in the
summary, shows how far that holds. The human-graded rows need not hold as many passes as the rest, so long as they are like
it in all else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

__all__ = ["Belief", "Confusion", "believe", "count"]

Floats = NDArray[np.float64]
K = TypeVar("K", bound=Hashable)

# Where the posteriors are looked at: 24 equal parts of each of s and f, 400 of p. Three and ten times as many change 95
# chances in 100 by less than .0015, and none of 300 by more than .004.
_PARTS = 24
_P = (np.arange(400) + 0.5) / 400


@dataclass(frozen=True, slots=True)
class Confusion:
    """Human-graded rows, by what the judge and what the human says.

    Attributes
    ----------
    both_pass, false_pass, false_fail, both_fail : int
        A false pass is one of the judge's.
    """

    both_pass: int = 0
    false_pass: int = 0
    false_fail: int = 0
    both_fail: int = 0

    @property
    def n(self) -> int:
        """Rows in all."""
        return self.both_pass + self.false_pass + self.false_fail + self.both_fail

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Belief:
    """How likely a human is to pass a row of one model, after the judge's verdict on it."""

    if_passed: float
    if_failed: float

    def after(self, passed: bool) -> float:
        """Return P(human passes | verdict)."""
        return self.if_passed if passed else self.if_failed


def count(pairs: Iterable[tuple[bool, bool]]) -> Confusion:
    """Count pairs of (judge passes, human passes). Pure."""
    seen = Counter(pairs)
    return Confusion(seen[True, True], seen[True, False], seen[False, True], seen[False, False])


def believe(confusion: Confusion, verdicts: Mapping[K, tuple[int, int]]) -> dict[K, Belief]:
    """Return by model what its verdicts are worth. Pure.

    Parameters
    ----------
    confusion : Confusion
        Of the human-graded rows of all models.
    verdicts : mapping
        By model: how many rows the judge passed, of how many.

    Raises
    ------
    ValueError
        No rows of a model, or more passes than rows.
    """
    middles = (np.arange(_PARTS) + 0.5) / _PARTS
    s = beta.ppf(middles, 1 + confusion.both_pass, 1 + confusion.false_fail)[:, None]
    f = beta.ppf(middles, 1 + confusion.false_pass, 1 + confusion.both_fail)[None, :]
    s, f = (each[s > f] for each in np.broadcast_arrays(s, f))  # a judge who is worse than a coin was refused
    return {model: _belief(s[:, None], f[:, None], *seen) for model, seen in verdicts.items()}


def _belief(s: Floats, f: Floats, passed: int, n: int) -> Belief:
    if not 0 <= passed <= n or n < 1:
        raise ValueError(f"expected 1 row or more and no more passes than rows; found {passed} of {n}")
    q = f + _P * (s - f)
    likelihood = passed * np.log(q) + (n - passed) * np.log1p(-q)
    weight = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True) * len(s)
    return Belief(float((weight * _P * s / q).sum()), float((weight * _P * (1.0 - s) / (1.0 - q)).sum()))
