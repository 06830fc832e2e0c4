"""From the grades of several graders to one score, and how likely its label is wrong.

Pure. The rule: what is not known stays unknown, unless it changes nothing. Under `all` one fail is a fail whatever the
others would say, under `any` one pass is a pass. A grader that does not apply is left out; if none applies, there is no
score.

A judge's grade is no fact: it enters as a coin that passes with the probability that a human would pass the response
(training.grade.judges). With the grades by rule fixed, the score of the row is the expectation of the combination over
the coins, taken as independent given their verdicts, so that the mean of the scores estimates the mean of the true
labels without bias; and `label_error` is the probability that the combination lands on the other side of the passing
score than the row's own label. Independence is an assumption: two judges that share a mistake are wrong together more
often. With one judge there is nothing to assume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import NamedTuple

from training.grade.grades import Grade, Why

__all__ = ["MOST_JUDGES", "PASS_SCORE", "Combine", "Given", "Label", "combine", "decides"]

MOST_JUDGES = 8
"""Judges in one rule: their outcomes are enumerated."""
PASS_SCORE = 0.5
"""From here on a score passes, where no ladder says otherwise."""


class Combine(StrEnum):
    """How the scores of several graders become one."""

    ALL = "all"
    ANY = "any"
    MEAN = "mean"
    WEIGHTED = "weighted"
    FIRST = "first"
    MAJORITY = "majority"


class Given(NamedTuple):
    """A grade, and the probability that its label is wrong: None where a judge was not measured, 0 by rule."""

    grade: Grade
    error: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Label:
    """The score of a row, or why there is none, and the probability that its label is wrong, None if unknown."""

    score: float | None
    why: Why | None
    error: float | None


def decides(how: Combine, scores: Sequence[float | None]) -> bool:
    """Tell whether grades by rule settle the score before a judge that comes after them is asked. Pure."""
    known = [score for score in scores if score is not None]
    if how is Combine.ALL:
        return 0.0 in known
    if how is Combine.ANY:
        return 1.0 in known
    return how is Combine.FIRST and bool(known)


def combine(
    how: Combine,
    given: Sequence[Given],
    weights: Sequence[float] | None = None,
    pass_score: float = PASS_SCORE,
) -> Label:
    """Return the label of a row. Pure.

    Parameters
    ----------
    how : Combine
        `all` is the least score and `any` the greatest; `weighted` needs weights; `first` takes the first grader that
        has a score; `majority` is 1 where more than half pass, a tie is 0.
    given : sequence of Given
        In the order of the rule.
    pass_score : float
        From here on a score passes.
    """
    kept = [i for i, each in enumerate(given) if each.grade.why is not Why.NOT_APPLICABLE]
    if not kept:
        return Label(None, Why.NOT_APPLICABLE, None)
    shares = [weights[i] for i in kept] if how is Combine.WEIGHTED and weights else [1.0] * len(kept)
    parts = [given[i] for i in kept]

    def score_of(scores: Sequence[float | None]) -> float | None:
        return _score(how, scores, shares, pass_score)

    plain = score_of([part.grade.score for part in parts])
    if plain is None:
        return Label(None, next(part.grade.why for part in parts if part.grade.why), None)
    coins = [i for i, part in enumerate(parts) if part.error and part.grade.score is not None]
    score, error = (plain, 0.0) if not coins else _toss(parts, coins, score_of, pass_score)
    unknown = any(part.error is None for part in parts) and not _is_settled(
        parts, score_of, score >= pass_score, pass_score
    )
    return Label(score, None, None if unknown else error)


def _score(
    how: Combine, scores: Sequence[float | None], weights: Sequence[float], pass_score: float
) -> float | None:
    known = [score for score in scores if score is not None]
    whole = len(known) == len(scores)
    if how is Combine.FIRST:
        return known[0] if known else None
    if how is Combine.ALL:
        return min(known) if whole or 0.0 in known else None
    if how is Combine.ANY:
        return max(known) if whole or 1.0 in known else None
    if how is Combine.MAJORITY:
        passes = sum(score >= pass_score for score in known)
        unknown = len(scores) - len(known)
        if 2 * passes > len(scores):
            return 1.0
        return 0.0 if 2 * (passes + unknown) <= len(scores) else None
    if not whole:
        return None
    return sum(weight * score for weight, score in zip(weights, known, strict=True)) / sum(weights)


def _toss(
    parts: Sequence[Given],
    coins: Sequence[int],
    score_of: Callable[[Sequence[float | None]], float | None],
    pass_score: float,
) -> tuple[float, float]:
    """Return the expected score, and how likely the combination's label is not that of its expected score."""
    scores = [part.grade.score for part in parts]
    outcomes: list[tuple[float, float]] = []
    for sides in product((0.0, 1.0), repeat=len(coins)):
        chance = 1.0
        tossed = list(scores)
        for i, side in zip(coins, sides, strict=True):
            passing = scores[i] or 0.0
            chance *= passing if side else 1.0 - passing
            tossed[i] = side
        outcomes.append((chance, score_of(tossed) or 0.0))
    expected = sum(chance * score for chance, score in outcomes)
    label = expected >= pass_score
    return expected, sum(chance for chance, score in outcomes if (score >= pass_score) is not label)


def _is_settled(
    parts: Sequence[Given],
    score_of: Callable[[Sequence[float | None]], float | None],
    label: bool,
    pass_score: float,
) -> bool:
    """Tell whether the label is the same whatever the graders of unknown error, and all coins, would say."""
    open_ = [i for i, part in enumerate(parts) if part.error is None or part.error > 0]
    for sides in product((0.0, 1.0), repeat=len(open_)):
        scores = [part.grade.score for part in parts]
        for i, side in zip(open_, sides, strict=True):
            scores[i] = side
        found = score_of(scores)
        if found is None or (found >= pass_score) is not label:
            return False
    return True
