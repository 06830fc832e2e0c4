"""What a prompt is expected to cost on each tier: its input by length, its answer by what the model says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.tiers import CHARS_PER_TOKEN, Ladder

__all__ = ["CostModel", "prompt_usd"]


def prompt_usd(ladder: Ladder, n_chars: ArrayLike) -> NDArray[np.float64]:
    """Return what prompts of so many characters (n,) cost as input on each tier, float64 (n, k)."""
    return np.outer(
        np.asarray(n_chars, dtype=np.float64),
        [tier.cost_usd(1.0 / CHARS_PER_TOKEN, 0.0) for tier in ladder.tiers],
    )


@dataclass(frozen=True, slots=True)
class CostModel:
    """Expected cost per tier: so much per character of the prompt, and for a mean answer.

    Attributes
    ----------
    usd_per_char, usd_per_answer : tuple of float
        Input at the tier's price, and what the tier's answers cost in the mean.
    """

    usd_per_char: tuple[float, ...]
    usd_per_answer: tuple[float, ...]

    @classmethod
    def from_ladder(cls, ladder: Ladder, usd_per_answer: tuple[float, ...]) -> CostModel:
        """Price a ladder whose tiers' answers cost this much in the mean.

        Raises
        ------
        ValueError
            Not as many answers as tiers.
        """
        if len(usd_per_answer) != len(ladder):
            raise ValueError(f"expected usd_per_answer of {len(ladder)} tiers, found {len(usd_per_answer)}")
        return cls(tuple(tier.cost_usd(1.0 / CHARS_PER_TOKEN, 0.0) for tier in ladder.tiers), usd_per_answer)

    def expected_usd_per_tier(self, n_chars: float, answer: Sequence[float]) -> tuple[float, ...]:
        """Return the expected USD of a prompt on each tier.

        Parameters
        ----------
        n_chars : float
            Characters of the prompt.
        answer : sequence of float
            Expected cost of each tier's answer, as a multiple of the tier's mean one.
        """
        return tuple(
            [
                mean * multiple + each * n_chars
                for mean, multiple, each in zip(self.usd_per_answer, answer, self.usd_per_char, strict=True)
            ]
        )

    def expected_usd_many(self, n_chars: ArrayLike, answer: ArrayLike) -> NDArray[np.float64]:
        """Return the same for n prompts on all tiers, float64 (n, k); arguments are (n,) and (n, k).

        Raises
        ------
        ValueError
            Arguments of other shapes.
        """
        chars, answer = np.asarray(n_chars, dtype=np.float64)[:, None], np.asarray(answer)
        if answer.shape != (len(chars), len(self.usd_per_answer)):
            raise ValueError(
                f"expected answers ({len(chars)}, {len(self.usd_per_answer)}), found {answer.shape}"
            )
        return np.asarray(
            np.array(self.usd_per_answer) * np.asarray(answer) + np.array(self.usd_per_char) * chars
        )
