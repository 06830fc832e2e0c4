"""What a prompt is expected to cost on each tier: its input by length, its answer by what the model says. Pure.

What an answer costs is said at the tier's own price, and multiplied by `answer_scale` where the input is so long
that all of the request has another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.tiers import CHARS_PER_TOKEN, Ladder, Tier

__all__ = ["CostModel", "Rates", "answer_scale", "prompt_usd", "token_usd"]


def prompt_usd(ladder: Ladder, n_chars: ArrayLike) -> NDArray[np.float64]:
    """Return what prompts of so many characters (n,) cost as input on each tier, float64 (n, k)."""
    chars = np.asarray(n_chars, dtype=np.float64)
    columns = [
        chars * _at_length(tier, chars / CHARS_PER_TOKEN, _usd_per_char(tier)) for tier in ladder.tiers
    ]
    return np.column_stack(columns)


def answer_scale(ladder: Ladder, n_chars: ArrayLike) -> NDArray[np.float64]:
    """Return what the answers to prompts of so many characters (n,) cost on each tier, float64 (n, k).

    As a multiple of what they cost after a short prompt: 1 but for the prices of long contexts.
    """
    tokens = np.asarray(n_chars, dtype=np.float64) / CHARS_PER_TOKEN
    return np.column_stack([_at_length(tier, tokens, _answer_scales(tier)) for tier in ladder.tiers])


def token_usd(
    ladder: Ladder, input_tokens: NDArray[np.float64], output_tokens: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return USD (n, k) of calls of so many tokens, each (n, k): `Tier.cost_usd` for many, none of them cached."""
    usd = np.empty(input_tokens.shape)
    for k, tier in enumerate(ladder.tiers):
        prices = [
            _at_length(tier, input_tokens[:, k], [price[side] / 1e6 for price in tier.prices])
            for side in (1, 2)  # of Prices: input and output
        ]
        usd[:, k] = input_tokens[:, k] * prices[0] + output_tokens[:, k] * prices[1]
    return usd


class Rates(NamedTuple):
    """What a prompt of more than `above_chars` characters costs on a tier, per character and for a mean answer."""

    above_chars: float
    usd_per_char: float
    cached_usd_per_char: float
    usd_per_answer: float


@dataclass(frozen=True, slots=True)
class CostModel:
    """Expected cost per tier: so much per character of the prompt, and for a mean answer.

    Attributes
    ----------
    rates : tuple of tuples of Rates
        Per tier, the ordinary ones, then those of longer and longer prompts.
    usd_per_char, usd_per_answer : tuple of float
        The ordinary ones: input at the tier's price, and what the tier's answers cost in the mean.
    ordinary_chars : float
        The length up to which a prompt is priced so on every tier.
    """

    rates: tuple[tuple[Rates, ...], ...]
    usd_per_char: tuple[float, ...] = field(init=False)
    usd_per_answer: tuple[float, ...] = field(init=False)
    ordinary_chars: float = field(init=False)

    def __post_init__(self) -> None:
        # Held apart, so that a decision about an ordinary prompt reads no more than it needs.
        derived = {
            "usd_per_char": tuple(ordinary.usd_per_char for ordinary, *_ in self.rates),
            "usd_per_answer": tuple(ordinary.usd_per_answer for ordinary, *_ in self.rates),
            "ordinary_chars": min(
                (long.above_chars for _, *more in self.rates for long in more), default=inf
            ),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_ladder(cls, ladder: Ladder, usd_per_answer: tuple[float, ...]) -> CostModel:
        """Price a ladder whose tiers' answers cost this much in the mean, at the tiers' own prices.

        Raises
        ------
        ValueError
            Not as many answers as tiers.
        """
        if len(usd_per_answer) != len(ladder):
            raise ValueError(f"expected usd_per_answer of {len(ladder)} tiers, found {len(usd_per_answer)}")
        return cls(
            tuple(
                tuple(
                    Rates(
                        price.above_tokens * CHARS_PER_TOKEN,
                        per_char,
                        price.cached_input_usd_per_mtok / CHARS_PER_TOKEN / 1e6,
                        mean * scale,
                    )
                    for price, per_char, scale in zip(
                        tier.prices, _usd_per_char(tier), _answer_scales(tier), strict=True
                    )
                )
                for tier, mean in zip(ladder.tiers, usd_per_answer, strict=True)
            )
        )

    def expected_usd_per_tier(
        self, n_chars: float, answer: Sequence[float], cached_tokens: float = 0
    ) -> tuple[float, ...]:
        """Return the expected USD of a prompt on each tier.

        Parameters
        ----------
        n_chars : float
            Characters of the prompt.
        answer : sequence of float
            Expected cost of each tier's answer, as a multiple of the tier's mean one.
        cached_tokens : float
            How many of the input's tokens the provider reads from its cache; never more than the prompt has.

        Raises
        ------
        ValueError
            Not as many answers as tiers.
        """
        usd_per_answer = self.usd_per_answer
        if len(answer) != len(usd_per_answer):
            raise ValueError(f"expected answers of {len(usd_per_answer)} tiers, found {len(answer)}")
        if cached_tokens or n_chars > self.ordinary_chars:
            return self._long_or_cached(n_chars, answer, cached_tokens)
        # Every decision passes here, and `strict` is a quarter of the time that this takes.
        priced = zip(usd_per_answer, answer, self.usd_per_char)  # noqa: B905
        return tuple([mean * multiple + each * n_chars for mean, multiple, each in priced])

    def _long_or_cached(
        self, n_chars: float, answer: Sequence[float], cached_tokens: float
    ) -> tuple[float, ...]:
        cached = min(cached_tokens * CHARS_PER_TOKEN, n_chars)
        found = []
        for rates, multiple in zip(self.rates, answer, strict=True):
            rate = rates[0]
            for longer in rates[1:]:
                if n_chars > longer.above_chars:
                    rate = longer
            usd = rate.usd_per_answer * multiple + rate.usd_per_char * (n_chars - cached)
            found.append(usd + rate.cached_usd_per_char * cached)
        return tuple(found)

    def expected_usd_many(self, n_chars: ArrayLike, answer: ArrayLike) -> NDArray[np.float64]:
        """Return the same for n prompts on all tiers, float64 (n, k); arguments are (n,) and (n, k).

        Raises
        ------
        ValueError
            Arguments of other shapes.
        """
        chars, answer = np.asarray(n_chars, dtype=np.float64)[:, None], np.asarray(answer)
        if answer.shape != (len(chars), len(self.rates)):
            raise ValueError(f"expected answers ({len(chars)}, {len(self.rates)}), found {answer.shape}")
        per_answer, per_char = np.array(self.usd_per_answer), np.array(self.usd_per_char)
        if self.ordinary_chars < inf:
            per_answer, per_char = np.tile(per_answer, (len(chars), 1)), np.tile(per_char, (len(chars), 1))
            for k, rates in enumerate(self.rates):
                for longer in rates[1:]:
                    long = chars[:, 0] > longer.above_chars
                    per_answer[long, k], per_char[long, k] = longer.usd_per_answer, longer.usd_per_char
        return np.asarray(per_answer * answer + per_char * chars)


def _usd_per_char(tier: Tier) -> list[float]:
    """Return what a character costs, by length as `Tier.prices` are."""
    return [price.input_usd_per_mtok / CHARS_PER_TOKEN / 1e6 for price in tier.prices]


def _answer_scales(tier: Tier) -> list[float]:
    """Return what an answer costs by length, as multiples of the tier's own price."""
    base = tier.output_usd_per_mtok
    return [price.output_usd_per_mtok / base if base > 0.0 else 1.0 for price in tier.prices]


def _at_length(tier: Tier, input_tokens: NDArray[np.float64], by_length: list[float]) -> NDArray[np.float64]:
    """Return which of a tier's prices holds at each length of input."""
    starts = [longer.above_tokens for longer in tier.long_context]
    return np.array(by_length)[np.searchsorted(starts, input_tokens, side="left")]
