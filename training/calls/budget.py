"""What a call may cost at most, and what may still be spent. Pure.

Money is counted in whole picodollars, 10^-12 USD: their sum does not depend on the order in which answers come, so
neither does what a budget admits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.calls.endpoints import Endpoint

__all__ = ["IMAGE_TOKENS", "MESSAGE_TOKENS", "Budget", "input_bound", "most_usd", "picos", "usd"]

MESSAGE_TOKENS = 16
"""More than the tokens that a chat template puts around one message: OpenAI's takes 3 or 4, Llama's 5."""
IMAGE_TOKENS = 2000
"""More than OpenAI counts for an image in full detail after scaling: 85 + 170 for each of at most 8 tiles."""


def picos(amount_usd: float) -> int:
    """Return USD as whole picodollars, rounded up; what `usd` made of them is what they were."""
    amount = amount_usd * 1e12
    nearest = round(amount)
    return nearest if abs(amount - nearest) <= 4e-16 * nearest else math.ceil(amount)


def usd(amount_picos: int) -> float:
    """Return picodollars as USD."""
    return amount_picos / 1e12


def input_bound(endpoint: Endpoint, messages: Sequence[Mapping[str, Any]]) -> int:
    """Return a number of tokens that the input cannot exceed.

    A token of a byte-level tokenizer stands for at least one byte; parameters such as tools are part of the prompt.
    """
    tokens = MESSAGE_TOKENS * (len(messages) + 1)
    for message in messages:
        tokens += _bytes_within(message)
    if endpoint.params:
        tokens += len(json.dumps(endpoint.params))
    return tokens


def most_usd(endpoint: Endpoint, messages: Sequence[Mapping[str, Any]]) -> float:
    """Return the most that one request can cost, if the provider keeps to the most output tokens."""
    most, tier = input_bound(endpoint, messages), endpoint.tier
    # Where longer inputs are priced otherwise, the dearest need not be the longest.
    sizes = [most, *(longer.above_tokens for longer in tier.long_context if longer.above_tokens < most)]
    return max(
        tier.cost_usd(size, endpoint.max_output_tokens, cached) for size in sizes for cached in (0, size)
    )


def _bytes_within(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if isinstance(value, Mapping):
        if "image" in str(value.get("type", "")):
            return IMAGE_TOKENS
        return sum(_bytes_within(each) for each in value.values())
    if isinstance(value, list | tuple):
        return sum(_bytes_within(each) for each in value)
    return 0 if value is None else len(str(value))


class Budget:
    """What may still be spent; amounts in picodollars.

    The law: what is committed, which is spent, possibly spent, or reserved, never passes the limit, as long as no call
    costs more than was reserved for it.
    """

    def __init__(self, limit_usd: float | None, committed: int = 0) -> None:
        self._limit = None if limit_usd is None else math.floor(limit_usd * 1e12)
        self.committed = committed

    def reserve(self, amount: int) -> bool:
        """Set an amount aside if it fits."""
        if self._limit is not None and self.committed + amount > self._limit:
            return False
        self.committed += amount
        return True

    def settle(self, reserved: int, spent: int) -> None:
        """Replace what was reserved by what was spent, or possibly spent."""
        self.committed += spent - reserved
