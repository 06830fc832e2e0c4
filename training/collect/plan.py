"""Which calls a collection is made of: every prompt on every tier, less the answers that are there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from training.calls.call import Call, Unit, call_key
from training.calls.endpoints import Endpoint
from training.collect.prompts import Prompts

__all__ = ["Plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """Every prompt on every tier, the cheapest first, but for what the prompts' files have answers of.

    Calls are made up anew each time they are asked for: a plan holds nothing that grows with the calls.

    Attributes
    ----------
    prompts : Prompts
        In the order of the file.
    endpoints : dict
        By tier name, cheapest first.
    """

    prompts: Prompts
    endpoints: dict[str, Endpoint]

    @property
    def models(self) -> list[str]:
        """The model that is asked on each tier."""
        return [endpoint.tier.model for endpoint in self.endpoints.values()]

    def unit(self, i: int) -> Unit:
        """Return the calls of prompt i, one per tier of which no answer is kept."""
        messages = self.prompts.messages(i)
        name = self.prompts.ids[i]
        return Unit(
            tuple(
                Call(
                    call_key(name, messages, each.tier.model, each.max_output_tokens, each.params),
                    tier,
                    messages,
                    f"prompt {name:.80}, tier {tier}",
                )
                for tier, each in self.endpoints.items()
                if (i, tier) not in self.prompts.kept
            )
        )

    def units(self, sequence: Iterable[int]) -> Iterator[Unit]:
        """Yield the units of prompts in the order given."""
        return map(self.unit, sequence)
