"""What a prompt is expected to cost on each tier. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from router.tiers import CHARS_PER_TOKEN, Ladder

__all__ = ["CostModel"]


@dataclass(frozen=True, slots=True)
class CostModel:
    """Expected cost as a straight line in the number of characters, one per tier.

    Attributes
    ----------
    usd_per_char, usd_per_call : tuple of float
        Slope and intercept per tier: input at the tier's price, and its mean output.
    """

    usd_per_char: tuple[float, ...]
    usd_per_call: tuple[float, ...]

    @classmethod
    def from_ladder(cls, ladder: Ladder, mean_output_tokens: tuple[float, ...]) -> CostModel:
        """Price a ladder whose tiers answer with this many tokens in the mean."""
        return cls(
            tuple(tier.cost_usd(1.0 / CHARS_PER_TOKEN, 0.0) for tier in ladder.tiers),
            tuple(tier.cost_usd(0.0, n) for tier, n in zip(ladder.tiers, mean_output_tokens, strict=True)),
        )

    def expected_usd(self, tier: int, n_chars: int) -> float:
        """Return the expected USD of a prompt of `n_chars` characters on a tier."""
        return self.usd_per_call[tier] + self.usd_per_char[tier] * n_chars
