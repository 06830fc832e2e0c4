"""What a synthetic history is drawn under, so that it can drift: what is asked, how well models do, what they cost. Pure."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

from router.tiers import Ladder
from training.synthetic_model import LADDER
from training.synthetic_office import RECORDS, REPORT
from training.synthetic_prompts import FAMILIES
from training.synthetic_words import Drawn, Slots

__all__ = ["STANDING", "Conditions", "add_background", "render_tiers"]

PerTier = tuple[float, float, float]


@dataclass(frozen=True)
class Conditions:
    """What holds while prompts are asked and answered. The defaults are those of the demo's history.

    Attributes
    ----------
    shares : mapping
        Task family to its share of the traffic; shares add up to one.
    background : float
        Share of the plain prompts that carry pasted text above what they ask, and so are longer.
    ability : tuple of float
        Units of difficulty by which each tier's model is better than `synthetic_model.ABILITY` says, cheapest first.
    price : tuple of float
        Each tier's prices, as a multiple of those of `synthetic_model.LADDER`.
    """

    shares: Mapping[str, float] = field(
        default_factory=lambda: {family: share for family, (share, _, _) in FAMILIES.items()}
    )
    background: float = 0.0
    ability: PerTier = (0.0, 0.0, 0.0)
    price: PerTier = (1.0, 1.0, 1.0)

    @cached_property
    def ladder(self) -> Ladder:
        """The ladder at these prices."""
        tiers = tuple(
            replace(
                tier,
                input_usd_per_mtok=round(tier.input_usd_per_mtok * factor, 6),
                output_usd_per_mtok=round(tier.output_usd_per_mtok * factor, 6),
                cached_input_usd_per_mtok=None
                if tier.cached_input_usd_per_mtok is None
                else round(tier.cached_input_usd_per_mtok * factor, 6),
            )
            for tier, factor in zip(LADDER.tiers, self.price, strict=True)
        )
        return replace(LADDER, tiers=tiers)

    def draw_family(self, slots: Slots) -> str:
        """Draw a task family."""
        return self._names[min(bisect(self._sums, slots.unit()), len(self._names) - 1)]

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.shares)

    @cached_property
    def _sums(self) -> list[float]:
        return list(accumulate(self.shares.values()))


STANDING = Conditions()
"""Those of the demo."""


def add_background(drawn: Drawn, share: float, slots: Slots) -> Drawn:
    """Return a prompt with pasted text above it, in a share of the plain ones; nothing is drawn where the share is 0."""
    if not share or not isinstance(drawn.content, str) or not slots.chance(share):
        return drawn
    pasted = slots.lines(RECORDS + REPORT, slots.integer(2, 7), "\n")
    return drawn._replace(content=f"Background:\n{pasted}\n\n{drawn.content}")


def render_tiers(ladder: Ladder) -> str:
    """Return a ladder as a tiers file; for ladders whose tiers have one price and one model each."""
    lines = [f"pass_score = {ladder.pass_score}"]
    for tier in ladder.tiers:
        lines += ["", "[[tier]]"]
        for key, value in tier.to_dict().items():
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)
