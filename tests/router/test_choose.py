"""The choice and its laws: never dearer for a higher price, never outside what is permitted."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from router import Policy, Reason, RequestError
from router.policy import Bounds, resolve_bounds
from router.rule import choose

NAMES = ("small", "medium", "large", "huge", "vast")
OBSTACLES = (None, None, Reason.CONTEXT, Reason.CAPABILITY, Reason.COST)
ESCALATIONS = (None, None, Reason.NOVEL, Reason.UNCERTIFIED, Reason.EMPTY)
# Numbers whose sums and products a float holds exactly: with others, ties are decided by rounding.
LOSSES = st.integers(0, 64).map(lambda i: i / 64)
USD = st.integers(0, 32).map(lambda i: i / 32)
PRICES = st.integers(0, 64).map(lambda i: i / 16)
ALL = Bounds((0, 1, 2), 0, 2)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(1, len(NAMES)))
    names = NAMES[:n]
    floor = draw(st.integers(0, n - 1))
    ceiling = draw(st.integers(floor, n - 1))
    allow = draw(st.none() | st.sets(st.integers(0, n - 1), min_size=1))
    policy = Policy(
        floor=draw(st.sampled_from([None, names[floor]])),
        ceiling=draw(st.sampled_from([None, names[ceiling]])),
        allow=None if allow is None else tuple(names[k] for k in allow),
    )
    try:
        bounds = resolve_bounds(policy, names)
    except RequestError:
        bounds = resolve_bounds(Policy(), names)
    obstacles = st.lists(st.sampled_from(OBSTACLES), min_size=n, max_size=n)
    return {
        "losses": draw(st.lists(LOSSES, min_size=n, max_size=n)),
        "usd": draw(st.lists(USD, min_size=n, max_size=n)),
        "bounds": bounds,
        "reference": draw(st.integers(0, n - 1)),
        "obstacles": draw(st.one_of(st.just(()), obstacles)),
        "escalate": draw(st.sampled_from(ESCALATIONS)),
    }


def able(case: dict[str, Any]) -> list[int]:
    return [k for k in case["bounds"].permitted if not case["obstacles"] or case["obstacles"][k] is None]


def least(case: dict[str, Any], price: float, tiers: list[int]) -> int:
    return min(tiers, key=lambda k: (case["losses"][k] + price * max(case["usd"][: k + 1]), k))


@given(cases(), PRICES)
def test_the_choice_is_the_definition(case: dict[str, Any], price: float) -> None:
    tiers, permitted = able(case), case["bounds"].permitted
    if not tiers:
        cheap = [k for k in permitted if case["obstacles"][k] is Reason.COST]
        expected = min(cheap, key=lambda k: (case["usd"][k], k), default=permitted[-1])
    elif case["escalate"] is not None:
        expected = case["reference"] if case["reference"] in tiers else tiers[-1]
    else:
        expected = least(case, price, tiers)
    index, predicted, _ = choose(price=price, **case)
    assert (expected, least(case, price, list(range(len(case["usd"]))))) == (index, predicted)


@given(cases(), PRICES, PRICES)
def test_a_higher_price_never_picks_a_dearer_tier(case: dict[str, Any], one: float, other: float) -> None:
    careful, frugal = (choose(price=price, **case) for price in sorted((one, other)))
    assert frugal[0] <= careful[0]
    assert frugal[1] <= careful[1]


@given(cases(), PRICES)
def test_no_choice_leaves_what_is_permitted(case: dict[str, Any], price: float) -> None:
    index, _, _ = choose(price=price, **case)
    assert index in case["bounds"].permitted
    if able(case):
        assert index in able(case)


@given(cases(), PRICES)
def test_the_reason_tells_what_decided(case: dict[str, Any], price: float) -> None:
    index, predicted, reason = choose(price=price, **case)
    bounds, obstacles = case["bounds"], case["obstacles"] or (None,) * len(case["usd"])
    if not able(case):
        expected: Any = obstacles[index]
    elif case["escalate"] is not None:
        expected = case["escalate"]
    elif index == predicted:
        expected = Reason.SUFFICIENT if index < case["reference"] else Reason.NEEDED
    elif predicted < bounds.floor:
        expected = Reason.FLOOR
    elif predicted > bounds.ceiling:
        expected = Reason.CEILING
    elif predicted not in bounds.permitted:
        expected = Reason.ALLOW
    else:
        expected = obstacles[predicted]
    assert expected == reason


@given(cases(), PRICES)
def test_a_tier_out_of_reach_changes_nothing_unless_it_was_chosen(case: dict[str, Any], price: float) -> None:
    tiers, calm = able(case), case | {"escalate": None}
    free = choose(price=price, **(calm | {"obstacles": ()}))
    if free[0] in tiers:
        assert free[0] == choose(price=price, **calm)[0]


def test_of_two_equal_tiers_the_cheaper_is_chosen() -> None:
    assert 0 == choose([0.25, 0.25, 0.0], [1.0, 1.0, 2.0], 0.25, ALL, 2)[0]
    assert 1 == choose([0.25, 0.0, 0.0], [1.0, 1.0, 1.0], 4.0, ALL, 2)[0]


def test_a_tier_costs_no_less_than_those_below_it() -> None:
    # The small one's answer would be the dearest: going there would save nothing.
    assert 2 == choose([0.25, 0.25, 0.0], [2.0, 1.0, 1.0], 8.0, ALL, 2)[0]


def test_without_a_price_the_best_is_chosen_and_at_a_high_one_the_cheapest() -> None:
    assert [2, 1, 0] == [choose([0.5, 0.125, 0.0], [0.0, 1.0, 4.0], e, ALL, 2)[0] for e in (0.0, 0.25, 8.0)]


@given(cases(), PRICES)
def test_escalation_goes_no_lower_than_what_is_sure_goes(case: dict[str, Any], price: float) -> None:
    """Where the reference tier loses nothing and dearer ones win nothing, as `expected_loss` has it."""
    losses = [0.0 if k == case["reference"] else loss for k, loss in enumerate(case["losses"])]
    sure, escalated = (
        choose(price=price, **(case | {"losses": losses, "escalate": reason}))
        for reason in (None, Reason.NOVEL)
    )
    assert sure[0] <= escalated[0]
