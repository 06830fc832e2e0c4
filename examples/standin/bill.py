"""The bill: what was answered and has to be paid, and what was paid twice.

No I/O but the two files that hold the prices.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["BATCH_DISCOUNT", "Bill", "read_prices"]

HERE = Path(__file__).resolve().parent
BATCH_DISCOUNT = 0.5
"""What a call costs in a batch, against one by itself."""


def read_prices() -> dict[str, tuple[float, float]]:
    """Return USD per million tokens of input and output by model: the tiers' and the judge's."""
    ladder = tomllib.loads((HERE / "tiers.toml").read_text(encoding="utf-8"))
    graders = tomllib.loads((HERE / "graders.toml").read_text(encoding="utf-8"))
    priced = [*ladder["tier"], *(grader for grader in graders["grader"] if "input_usd_per_mtok" in grader)]
    return {each["model"]: (each["input_usd_per_mtok"], each["output_usd_per_mtok"]) for each in priced}


class Bill:
    """Counts calls and tokens; money is worked out when it is asked for, so that it is exact."""

    def __init__(self, prices: dict[str, tuple[float, float]]) -> None:
        self._prices = prices
        self._tokens: Counter[tuple[str, bool, str]] = Counter()
        self._by_content: Counter[bytes] = Counter()
        self._by_key: Counter[str] = Counter()
        self.requests = 0
        self.given_again = 0
        """Answers that were given again, and not billed again, because their key was known."""

    def add(
        self, model: str, tokens: tuple[int, int], content: bytes, key: str | None, *, batch: bool
    ) -> None:
        """Bill one answer of so many tokens of input and output."""
        self._tokens.update(
            {(model, batch, "calls"): 1, (model, batch, "in"): tokens[0], (model, batch, "out"): tokens[1]}
        )
        self._by_content[content] += 1
        if key is not None:
            self._by_key[key] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the bill, ready for JSON."""
        models = {model: self._of(model) for model in self._prices}
        return {
            "requests": self.requests,
            "calls": sum(each["calls"] for each in models.values()),
            "usd": sum(each["usd"] for each in models.values()),
            "given_again": self.given_again,
            "billed_twice": sum(n - 1 for n in self._by_content.values()),
            "keys_billed_twice": sum(n - 1 for n in self._by_key.values()),
            "models": models,
        }

    def _of(self, model: str) -> dict[str, Any]:
        per_input, per_output = self._prices[model]
        one, many = (
            [self._tokens[model, batch, what] for what in ("calls", "in", "out")] for batch in (False, True)
        )
        usd = (one[1] * per_input + one[2] * per_output) / 1e6
        usd += BATCH_DISCOUNT * (many[1] * per_input + many[2] * per_output) / 1e6
        return {
            "calls": one[0] + many[0],
            "calls_in_batches": many[0],
            "input_tokens": one[1] + many[1],
            "output_tokens": one[2] + many[2],
            "usd": usd,
        }
