"""What a prompt is expected to cost on each tier: its input by length, its answer by what the model says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.tiers import CHARS_PER_TOKEN, Ladder

__all__ = ["CostModel"]


@dataclass(frozen=True, slots=True)
class CostModel:
    """Expected cost per tier: so much per character of the prompt, and for an answer of mean length.

    Attributes
    ----------
    usd_per_char, usd_per_answer : tuple of float
        Input at the tier's price, and the tier's mean output.
    """

    usd_per_char: tuple[float, ...]
    usd_per_answer: tuple[float, ...]

    @classmethod
    def from_ladder(cls, ladder: Ladder, mean_output_tokens: tuple[float, ...]) -> CostModel:
        """Price a ladder whose tiers answer with this many tokens in the mean."""
        return cls(
            tuple(tier.cost_usd(1.0 / CHARS_PER_TOKEN, 0.0) for tier in ladder.tiers),
            tuple(tier.cost_usd(0.0, n) for tier, n in zip(ladder.tiers, mean_output_tokens, strict=True)),
        )

    def expected_usd(self, tier: int, n_chars: int, answer: float) -> float:
        """Return the expected USD of a prompt on a tier.

        Parameters
        ----------
        n_chars : int
            Characters of the prompt.
        answer : float
            Expected cost of this answer, as a multiple of the tier's mean one.
        """
        return self.usd_per_answer[tier] * answer + self.usd_per_char[tier] * n_chars

    def expected_usd_many(self, n_chars: ArrayLike, answer: ArrayLike) -> NDArray[np.float64]:
        """Return the same for n prompts on all tiers, float64 (n, k); arguments are (n,) and (n, k)."""
        chars = np.asarray(n_chars, dtype=np.float64)[:, None]
        return np.asarray(
            np.array(self.usd_per_answer) * np.asarray(answer) + np.array(self.usd_per_char) * chars
        )
