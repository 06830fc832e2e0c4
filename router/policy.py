"""From probabilities to a tier: the rule, and what a caller may ask of it.

Pure. The rule is one sentence: the cheapest permitted tier whose expected loss against the best permitted
tier, `max p - p_k`, is at most epsilon. Laws, held by property tests: a larger epsilon never picks a dearer
tier, and no choice leaves what the policy permits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from numbers import Real
from typing import Any

from router.decision import Reason
from router.errors import RequestError

__all__ = ["Bounds", "Policy", "choose", "resolve_bounds"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a caller asks for. Every field is optional; together they narrow the choice.

    Attributes
    ----------
    max_regret : float or None
        At most this share of prompts may fail on the chosen tier where the top tier passes, 0 to 1. Answered
        from the model's certificate; what is not certified goes to the top tier. A `ceiling`, or an `allow`
        without the top tier, overrides the promise.
    epsilon : float or None
        The expected loss allowed per prompt, 0 to 1, uncertified. Not together with `max_regret`. With
        neither, the model's own default holds.
    floor, ceiling : str or None
        Cheapest and dearest tier that may be chosen.
    allow : tuple of str or None
        Tiers that may be chosen; any iterable of names is taken.
    max_cost_usd : float or None
        Tiers whose expected cost for the prompt is above it are passed over. Where all are, the cheapest is chosen.

    Raises
    ------
    RequestError
        A value is out of range, or both `max_regret` and `epsilon` are given.
    """

    max_regret: float | None = None
    epsilon: float | None = None
    floor: str | None = None
    ceiling: str | None = None
    allow: tuple[str, ...] | None = None
    max_cost_usd: float | None = None

    def __post_init__(self) -> None:
        if self.max_regret is not None and self.epsilon is not None:
            raise RequestError(
                "policy: expected one of max_regret and epsilon, found both; drop one", "epsilon"
            )
        for name in ("max_regret", "epsilon"):
            value = getattr(self, name)
            if value is None:
                continue
            number: Any = value  # numpy's numbers are Real too, and typeshed gives Real no order
            if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= number <= 1.0:
                raise RequestError(f"policy: {name} is a number from 0 to 1; found {value!r}", name)
        cost: Any = self.max_cost_usd
        if cost is not None:
            is_number = isinstance(cost, Real) and not isinstance(cost, bool)
            if not is_number or not 0 < cost < inf:
                raise RequestError(
                    f"policy: max_cost_usd is a number of USD above 0; found {cost!r}", "max_cost_usd"
                )
        for name in ("floor", "ceiling"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise RequestError(f"policy: {name} is the name of a tier; found {value!r}", name)
        if self.allow is not None:
            names = (self.allow,) if isinstance(self.allow, str) else self.allow
            names = tuple(names) if isinstance(names, Iterable) else ()
            if not names or not all(isinstance(name, str) for name in names):
                raise RequestError(
                    "policy: allow is a list of tier names, at least one; leave it out to allow all", "allow"
                )
            object.__setattr__(self, "allow", names)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A policy's tiers as positions on a ladder.

    Attributes
    ----------
    permitted : tuple of int
        Positions that may be chosen, ascending, never empty.
    floor, ceiling : int
        Lowest and highest position that floor and ceiling leave.
    """

    permitted: tuple[int, ...]
    floor: int
    ceiling: int


def resolve_bounds(policy: Policy, names: Sequence[str]) -> Bounds:
    """Place a policy's tier names on a ladder. Pure.

    Raises
    ------
    RequestError
        A name is not on the ladder, or the bounds leave no tier.
    """
    floor = 0 if policy.floor is None else _position(policy.floor, "floor", names)
    ceiling = len(names) - 1 if policy.ceiling is None else _position(policy.ceiling, "ceiling", names)
    if floor > ceiling:
        raise RequestError(
            f"policy: floor {policy.floor} is dearer than ceiling {policy.ceiling}; "
            f"tiers from cheapest to dearest: {', '.join(names)}",
            "floor",
        )
    permitted = range(floor, ceiling + 1)
    if policy.allow is None:
        return Bounds(tuple(permitted), floor, ceiling)
    allowed = {_position(name, "allow", names) for name in policy.allow}
    kept = tuple(k for k in permitted if k in allowed)
    if not kept:
        raise RequestError(
            f"policy: no tier is left: allow is {', '.join(policy.allow)}, floor {names[floor]}, "
            f"ceiling {names[ceiling]}",
            "allow",
        )
    return Bounds(kept, floor, ceiling)


def _position(name: str, field: str, names: Sequence[str]) -> int:
    try:
        return names.index(name)
    except ValueError:
        close = get_close_matches(name, names, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise RequestError(
            f"policy: {field} names an unknown tier {name!r}{hint}; known tiers: {', '.join(names)}",
            field,
        ) from None


def choose(
    p_pass: Sequence[float],
    epsilon: float,
    bounds: Bounds,
    obstacles: Sequence[Reason | None] = (),
    escalate: Reason | None = None,
) -> tuple[int, int, Reason]:
    """Choose a tier. Pure.

    Parameters
    ----------
    p_pass : sequence of float
        Pass probability per tier, cheapest first.
    epsilon : float
        Expected loss allowed.
    bounds : Bounds
        What the policy permits.
    obstacles : sequence of (Reason or None)
        Per tier, why it cannot serve this prompt; empty where all can. If no permitted tier can, the cheapest
        of those that merely cost too much is chosen, else the dearest permitted one, with its obstacle as the
        reason.
    escalate : Reason or None
        Why the router is not entitled to be sure; sends the prompt to the dearest permitted tier that can
        serve it.

    Returns
    -------
    index, predicted, reason : int, int, Reason
        The choice, the choice that the probabilities alone would make, and what decided.
    """
    best, predicted, top = max(p_pass), 0, len(p_pass) - 1
    # The comparisons are such that a NaN is never sufficient.
    while predicted < top and not best - p_pass[predicted] <= epsilon:
        predicted += 1
    permitted = bounds.permitted
    if escalate is None and not obstacles and len(permitted) > top:  # the ordinary case, told apart for speed
        return predicted, predicted, Reason.SUFFICIENT if predicted < top else Reason.NEEDED
    able = [k for k in permitted if not obstacles[k]] if obstacles else permitted
    if not able:
        index = next((k for k in permitted if obstacles[k] is Reason.COST), permitted[-1])
        return index, predicted, obstacles[index] or Reason.CAPABILITY
    if escalate is not None:
        return able[-1], predicted, escalate
    within_reach = max(p_pass[k] for k in able)
    index = next((k for k in able if within_reach - p_pass[k] <= epsilon), able[-1])
    if index == predicted:
        return index, predicted, Reason.SUFFICIENT if index < top else Reason.NEEDED
    # Something kept the model's own choice, or the tier that it was measured against, out of reach.
    for k in (predicted, p_pass.index(best)):
        if k < bounds.floor:
            return index, predicted, Reason.FLOOR
        if k > bounds.ceiling:
            return index, predicted, Reason.CEILING
        if k not in permitted:
            return index, predicted, Reason.ALLOW
        if obstacles and (obstacle := obstacles[k]) is not None:
            return index, predicted, obstacle
    raise AssertionError("a permitted and able prediction is always chosen")
