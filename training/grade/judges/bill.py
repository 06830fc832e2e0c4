"""What judging will cost, said before it is paid. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from router.tiers import CHARS_PER_TOKEN
from training.calls.endpoints import Endpoint

__all__ = ["DEFAULT_OUTPUT_TOKENS", "Bill"]

DEFAULT_OUTPUT_TOKENS = 80.0
"""Of a verdict with its two sentences, before any is there to be counted: an assumption."""


@dataclass(slots=True)
class Bill:
    """Calls to one judge that are to be made, and their price.

    Attributes
    ----------
    calls, done : int
        First tries in all, and how many of them the journal has already.
    expected_usd : float
        Of those that it has not, from characters / 4 and the tokens of an answer so far.
    most_usd : float
        Of the same if every answer is as long as it may be and off format, so that each is asked twice. The engine holds to
        the budget whatever this says.
    """

    calls: int = 0
    done: int = 0
    expected_usd: float = 0.0
    most_usd: float = 0.0

    def add(self, endpoint: Endpoint, characters: int, output_tokens: float, most_usd: float) -> None:
        """Add a call that is still to be made."""
        self.calls += 1
        self.expected_usd += endpoint.tier.cost_usd(characters / CHARS_PER_TOKEN, output_tokens)
        self.most_usd += most_usd

    def sentence(self, judge: str, budget_usd: float | None) -> str:
        """Return the bill as a line of progress."""
        left = self.calls - self.done
        text = f"judge {judge}: {left:,} calls to make"
        text += f" ({self.done:,} more are in the journal)" * (self.done > 0)
        if not left:
            return text
        text += f", ${self.expected_usd:,.4f} expected, ${self.most_usd:,.4f} at most"
        if budget_usd is not None and self.expected_usd > budget_usd:
            text += f"; ${budget_usd:,.4f} is left of the budget, about {int(left * budget_usd / self.expected_usd):,} of them"
        return text
