"""The grader of similarity to a reference: shared words, longest common subsequence, or the cosine of embeddings.

Pure, but that the static embedding is read at first use. Similar is not right: "the answer is not 5" is close to "the
answer is 5". It serves where the reference is prose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from training.grade.grades import FAILED, PASSED, Grade, Row, Why
from training.grade.matching import normalise
from training.grade.references import references

__all__ = ["Measure", "Similarity", "rouge_l", "similarity", "token_f1"]

Measure = Literal["token_f1", "rouge_l", "cosine"]


def token_f1(a: Sequence[str], b: Sequence[str]) -> float:
    """Return the F1 of shared words, as SQuAD counts them (Rajpurkar et al. 2016). Pure."""
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b)) if shared else float(not a and not b)


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """Return the F1 of the longest common subsequence of words (Lin 2004). Pure.

    The length is found with one integer of as many bits as `a` has words (Hyyrö 2004), in O(len(b)) operations on it.
    """
    if not a or not b:
        return float(not a and not b)
    masks: dict[str, int] = {}
    for i, word in enumerate(a):
        masks[word] = masks.get(word, 0) | 1 << i
    full = (1 << len(a)) - 1
    unmatched = full
    for word in b:
        matched = unmatched & masks.get(word, 0)
        unmatched = (unmatched + matched | unmatched - matched) & full
    return 2 * (len(a) - unmatched.bit_count()) / (len(a) + len(b))


def similarity(measure: Measure, a: str, b: str) -> float:
    """Return how similar two texts are, from 0 to 1. Pure."""
    if measure == "cosine":
        return _cosine(a, b)
    words = normalise(a, articles=False).split(), normalise(b, articles=False).split()
    return token_f1(*words) if measure == "token_f1" else rouge_l(*words)


def _cosine(a: str, b: str) -> float:
    if a.strip() == b.strip():
        return 1.0  # also of texts without a known word, whose vectors are zero
    first, second = _embedding().embed_many([a, b])
    return min(max(float(first @ second), 0.0), 1.0)


@cache
def _embedding() -> StaticEmbedding:
    return StaticEmbedding.load(find_artifact())


@dataclass(frozen=True)
class Similarity:
    """The response is similar to the nearest of the references.

    Attributes
    ----------
    reference : str
        The column of the reference.
    measure : {"token_f1", "rouge_l", "cosine"}
        The cosine is that of the default artefact's static embedding.
    threshold : float or None
        From here on it passes; without one the similarity itself is the score.
    """

    name: str
    reference: str = "reference"
    measure: Measure = "token_f1"
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is above 0 and at most 1; found {self.threshold}")

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return (self.reference,)

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        wanted = references(row, self.reference)
        if not wanted:
            return Grade(None, Why.NO_REFERENCE)
        score = max(similarity(self.measure, row.response, each) for each in wanted)
        if self.threshold is None:
            return Grade(round(score, 6))
        return PASSED if score >= self.threshold else FAILED
