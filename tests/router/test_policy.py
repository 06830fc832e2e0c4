"""The rule and its laws: never dearer for a larger epsilon, never outside what is permitted."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import Policy, Reason, RequestError
from router.policy import Bounds, choose, resolve_bounds

NAMES = ("small", "medium", "large", "huge", "vast")
OBSTACLES = (None, None, Reason.CONTEXT, Reason.CAPABILITY, Reason.COST)
ESCALATIONS = (None, None, Reason.NOVEL, Reason.UNCERTIFIED, Reason.EMPTY)
# A grid makes ties and losses of exactly epsilon; the rest is any float.
SHARES = st.one_of(st.integers(0, 8).map(lambda i: i / 8), st.floats(0.0, 1.0))
FREE = Bounds((0, 1, 2), 0, 2)


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
    return {
        "p_pass": draw(st.lists(SHARES, min_size=n, max_size=n)),
        "bounds": bounds,
        "obstacles": draw(
            st.one_of(st.just(()), st.lists(st.sampled_from(OBSTACLES), min_size=n, max_size=n))
        ),
        "escalate": draw(st.sampled_from(ESCALATIONS)),
    }


def able(case: dict[str, Any]) -> list[int]:
    return [k for k in case["bounds"].permitted if not case["obstacles"] or case["obstacles"][k] is None]


def last_resort(case: dict[str, Any]) -> int:
    """Return who tries where nobody can: the cheapest of those that merely cost too much, else the dearest."""
    permitted = case["bounds"].permitted
    return min((k for k in permitted if case["obstacles"][k] is Reason.COST), default=permitted[-1])


def sufficient(p: list[float], tiers: list[int], epsilon: float) -> int:
    return min(k for k in tiers if max(p[i] for i in tiers) - p[k] <= epsilon)


@given(cases(), SHARES)
def test_the_choice_is_the_definition(case: dict[str, Any], epsilon: float) -> None:
    p, tiers = case["p_pass"], able(case)
    if not tiers:
        expected = last_resort(case)
    elif case["escalate"] is not None:
        expected = tiers[-1]
    else:
        expected = sufficient(p, tiers, epsilon)
    index, predicted, _ = choose(epsilon=epsilon, **case)
    assert expected == index
    assert sufficient(p, list(range(len(p))), epsilon) == predicted


@given(cases(), SHARES, SHARES)
def test_a_larger_epsilon_never_picks_a_dearer_tier(case: dict[str, Any], a: float, b: float) -> None:
    strict, _, _ = choose(epsilon=min(a, b), **case)
    permissive, _, _ = choose(epsilon=max(a, b), **case)
    assert strict >= permissive


@given(cases(), SHARES)
def test_no_choice_leaves_what_is_permitted(case: dict[str, Any], epsilon: float) -> None:
    index, _, _ = choose(epsilon=epsilon, **case)
    assert index in case["bounds"].permitted
    assert case["bounds"].floor <= index <= case["bounds"].ceiling
    if able(case):
        assert index in able(case)


@given(cases())
def test_the_ends_of_epsilon(case: dict[str, Any]) -> None:
    case |= {"escalate": None, "obstacles": ()}
    p, permitted = case["p_pass"], case["bounds"].permitted
    best = max(p[k] for k in permitted)
    assert next(k for k in permitted if p[k] == best) == choose(epsilon=0.0, **case)[0]
    assert permitted[0] == choose(epsilon=1.0, **case)[0]


@given(cases(), SHARES)
def test_the_reason_is_true(case: dict[str, Any], epsilon: float) -> None:
    index, predicted, reason = choose(epsilon=epsilon, **case)
    p, bounds, obstacles = case["p_pass"], case["bounds"], case["obstacles"]
    last, tiers = len(p) - 1, able(case)
    if not tiers:
        assert obstacles[last_resort(case)] == reason
    elif case["escalate"] is not None:
        assert case["escalate"] == reason
    elif index == predicted:
        assert (Reason.NEEDED if index == last else Reason.SUFFICIENT) == reason
    else:
        # One of the two that the rule looks at was out of reach, and for this reason.
        best = p.index(max(p))
        barred = {
            Reason.FLOOR: lambda k: k < bounds.floor,
            Reason.CEILING: lambda k: k > bounds.ceiling,
            Reason.ALLOW: lambda k: bounds.floor <= k <= bounds.ceiling and k not in bounds.permitted,
            Reason.CONTEXT: lambda k: k in bounds.permitted and obstacles and obstacles[k] == Reason.CONTEXT,
            Reason.CAPABILITY: lambda k: (
                k in bounds.permitted and obstacles and obstacles[k] == Reason.CAPABILITY
            ),
            Reason.COST: lambda k: k in bounds.permitted and obstacles and obstacles[k] == Reason.COST,
        }[reason]
        assert barred(predicted) or barred(best)


@given(cases(), SHARES)
def test_the_ordinary_reasons_mean_the_ordinary_choice(case: dict[str, Any], epsilon: float) -> None:
    index, predicted, reason = choose(epsilon=epsilon, **case)
    if reason in (Reason.SUFFICIENT, Reason.NEEDED):
        assert predicted == index
    if reason is Reason.FLOOR:
        assert predicted < index
    if reason is Reason.SUFFICIENT:
        assert index < len(case["p_pass"]) - 1


@given(cases(), SHARES)
def test_escalation_never_picks_a_cheaper_tier(case: dict[str, Any], epsilon: float) -> None:
    escalated, _, _ = choose(epsilon=epsilon, **case)
    calm, _, _ = choose(epsilon=epsilon, **(case | {"escalate": None}))
    assert calm <= escalated


# What a tier may cost

USD = st.one_of(st.integers(0, 6).map(float), st.floats(0.0, 10.0))
LIMITS = st.one_of(st.integers(1, 6).map(float), st.floats(1e-9, 10.0))


def limited(case: dict[str, Any], usd: list[float], limit: float) -> dict[str, Any]:
    """Return a case in which tiers above a limit cost too much; what stood in their way before still does."""
    before = case["obstacles"] or (None,) * len(usd)
    after = [o or (None if cost <= limit else Reason.COST) for o, cost in zip(before, usd, strict=True)]
    return case | {"obstacles": after}


def without_costs(case: dict[str, Any]) -> dict[str, Any]:
    return case | {"obstacles": [None if o is Reason.COST else o for o in case["obstacles"]]}


@st.composite
def priced_cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[float]]:
    case = without_costs(draw(cases()))
    n = len(case["p_pass"])
    return case, draw(st.lists(USD, min_size=n, max_size=n))


@given(priced_cases(), LIMITS, SHARES)
def test_the_choice_is_within_the_limit_if_any_choice_is(
    priced: tuple[dict[str, Any], list[float]], limit: float, epsilon: float
) -> None:
    case, usd = priced
    index, _, reason = choose(epsilon=epsilon, **limited(case, usd, limit))
    could = able(case)
    if any(usd[k] <= limit for k in could):
        assert usd[index] <= limit
        assert index in could
    elif could:  # the cheapest that can serve it, though it costs too much
        assert (could[0], Reason.COST) == (index, reason)
    else:  # cost is not what stands in the way
        assert (case["bounds"].permitted[-1], case["obstacles"][index]) == (index, reason)


@given(priced_cases(), LIMITS, SHARES)
def test_cost_is_the_reason_only_where_a_tier_was_passed_over_for_it(
    priced: tuple[dict[str, Any], list[float]], limit: float, epsilon: float
) -> None:
    case, usd = priced
    index, _, reason = choose(epsilon=epsilon, **limited(case, usd, limit))
    passed_over = [k for k in able(case) if usd[k] > limit]
    if reason is Reason.COST:
        assert passed_over
    if not passed_over:  # a limit that excludes nothing changes nothing
        assert choose(epsilon=epsilon, **case) == choose(epsilon=epsilon, **limited(case, usd, limit))
    if index != choose(epsilon=epsilon, **case)[0]:
        assert passed_over


@given(priced_cases(), LIMITS, LIMITS, SHARES)
def test_where_dearer_tiers_cost_more_a_larger_limit_never_picks_a_cheaper_one(
    priced: tuple[dict[str, Any], list[float]], a: float, b: float, epsilon: float
) -> None:
    case, usd = priced
    usd = sorted(usd)
    tight, loose = (choose(epsilon=epsilon, **limited(case, usd, limit)) for limit in (min(a, b), max(a, b)))
    free = choose(epsilon=epsilon, **case)
    assert tight[0] <= loose[0] <= free[0]


def test_where_dearer_tiers_cost_less_a_larger_limit_may_pick_a_cheaper_one() -> None:
    """A long prompt on a tier with long answers: the order of the ladder is not the order of what it costs."""
    case = {"p_pass": [0.9, 0.9, 0.9], "bounds": FREE, "escalate": None, "obstacles": ()}
    usd = [3.0, 2.0, 1.0]
    found = [choose(epsilon=0.0, **limited(case, usd, limit))[0] for limit in (0.5, 1.0, 2.0, 3.0)]
    assert [0, 2, 1, 0] == found


@given(priced_cases(), LIMITS, SHARES, SHARES)
def test_within_a_limit_too_a_larger_epsilon_never_picks_a_dearer_tier(
    priced: tuple[dict[str, Any], list[float]], limit: float, a: float, b: float
) -> None:
    case = limited(*priced, limit)
    strict, permissive = (choose(epsilon=e, **case)[0] for e in (min(a, b), max(a, b)))
    assert strict >= permissive


C, X, T, D = Reason.CAPABILITY, Reason.CONTEXT, None, Reason.COST


@pytest.mark.parametrize(
    ("expected", "p_pass", "epsilon", "bounds", "obstacles", "escalate"),
    [
        ((0, 0, Reason.SUFFICIENT), [0.90, 0.92, 0.93], 0.05, FREE, (), None),
        ((1, 1, Reason.SUFFICIENT), [0.50, 0.90, 0.93], 0.05, FREE, (), None),
        ((2, 2, Reason.NEEDED), [0.50, 0.60, 0.93], 0.05, FREE, (), None),
        ((0, 0, Reason.SUFFICIENT), [0.7, 0.7, 0.7], 0.0, FREE, (), None),
        ((0, 0, Reason.SUFFICIENT), [0.0, 0.0, 0.0], 0.0, FREE, (), None),
        ((0, 0, Reason.SUFFICIENT), [0.75, 0.5, 1.0], 0.25, FREE, (), None),  # a loss of exactly epsilon
        ((1, 0, Reason.FLOOR), [0.90, 0.92, 0.93], 0.05, Bounds((1, 2), 1, 2), (), None),
        ((2, 0, Reason.FLOOR), [0.90, 0.2, 0.93], 0.05, Bounds((1, 2), 1, 2), (), None),
        ((1, 1, Reason.SUFFICIENT), [0.1, 0.92, 0.93], 0.05, Bounds((1, 2), 1, 2), (), None),
        ((1, 2, Reason.CEILING), [0.50, 0.60, 0.93], 0.05, Bounds((0, 1), 0, 1), (), None),
        # The tier chosen was permitted, but the one that it was measured against is not.
        ((0, 1, Reason.CEILING), [0.60, 0.64, 0.68], 0.05, Bounds((0, 1), 0, 1), (), None),
        ((2, 1, Reason.ALLOW), [0.1, 0.92, 0.93], 0.05, Bounds((0, 2), 0, 2), (), None),
        ((0, 1, Reason.ALLOW), [0.60, 0.64, 0.68], 0.05, Bounds((0, 1), 0, 2), (), None),
        ((1, 0, Reason.CONTEXT), [0.9, 0.9, 0.9], 0.05, FREE, (X, T, T), None),
        ((2, 0, Reason.CAPABILITY), [0.9, 0.9, 0.9], 0.05, FREE, (C, X, T), None),
        ((2, 2, Reason.NEEDED), [0.1, 0.9, 1.0], 0.05, FREE, (C, X, T), None),
        # Nobody can serve it: the dearest permitted tier, with its own obstacle.
        ((2, 0, Reason.CONTEXT), [0.9, 0.9, 0.9], 0.05, FREE, (C, C, X), None),
        ((1, 0, Reason.CAPABILITY), [0.9, 0.9, 0.9], 0.05, Bounds((0, 1), 0, 1), (X, C, T), Reason.NOVEL),
        ((2, 0, Reason.NOVEL), [0.9, 0.9, 0.9], 0.05, FREE, (), Reason.NOVEL),
        ((2, 0, Reason.UNCERTIFIED), [0.9, 0.9, 0.9], 0.05, FREE, (), Reason.UNCERTIFIED),
        ((2, 2, Reason.EMPTY), [0.1, 0.1, 0.9], 0.05, FREE, (), Reason.EMPTY),
        ((1, 0, Reason.NOVEL), [0.9, 0.9, 0.9], 0.05, Bounds((0, 1), 0, 1), (), Reason.NOVEL),
        ((1, 0, Reason.NOVEL), [0.9, 0.9, 0.9], 0.05, FREE, (T, T, X), Reason.NOVEL),
        ((0, 0, Reason.NEEDED), [0.3], 0.0, Bounds((0,), 0, 0), (), None),
        # Cost: passed over, or the least of what is too much.
        ((1, 2, Reason.COST), [0.50, 0.60, 0.93], 0.05, FREE, (T, T, D), None),
        ((0, 1, Reason.COST), [0.60, 0.64, 0.68], 0.05, FREE, (T, T, D), None),
        ((0, 0, Reason.SUFFICIENT), [0.90, 0.92, 0.93], 0.05, FREE, (T, D, D), None),
        ((0, 0, Reason.COST), [0.90, 0.92, 0.93], 0.05, FREE, (D, D, D), None),
        ((0, 2, Reason.COST), [0.1, 0.2, 0.9], 0.05, FREE, (D, D, D), Reason.NOVEL),
        ((1, 2, Reason.COST), [0.1, 0.2, 0.9], 0.05, Bounds((1, 2), 1, 2), (D, D, D), None),
        ((1, 0, Reason.COST), [0.9, 0.9, 0.9], 0.05, FREE, (C, D, D), None),
        ((0, 0, Reason.COST), [0.9, 0.9, 0.9], 0.05, FREE, (D, C, X), None),
        ((0, 0, Reason.NOVEL), [0.9, 0.9, 0.9], 0.05, FREE, (T, D, D), Reason.NOVEL),
        ((1, 0, Reason.COST), [0.9, 0.9, 0.9], 0.05, FREE, (D, T, T), None),
    ],
)
def test_each_reason_by_hand(
    expected: tuple[int, int, Reason],
    p_pass: list[float],
    epsilon: float,
    bounds: Bounds,
    obstacles: tuple[Reason | None, ...],
    escalate: Reason | None,
) -> None:
    assert expected == choose(p_pass, epsilon, bounds, obstacles=obstacles, escalate=escalate)


@pytest.mark.parametrize(
    ("expected", "policy"),
    [
        (Bounds((0, 1, 2), 0, 2), Policy()),
        (Bounds((1, 2), 1, 2), Policy(floor="medium")),
        (Bounds((0, 1), 0, 1), Policy(ceiling="medium")),
        (Bounds((1,), 1, 1), Policy(floor="medium", ceiling="medium")),
        (Bounds((0, 2), 0, 2), Policy(allow=["large", "small"])),
        (Bounds((2,), 1, 2), Policy(floor="medium", allow={"small", "large"})),
        (Bounds((1,), 0, 2), Policy(allow="medium")),
        (Bounds((1,), 0, 2), Policy(allow=("medium", "medium"))),
    ],
)
def test_names_become_positions(expected: Bounds, policy: Policy) -> None:
    assert expected == resolve_bounds(policy, NAMES[:3])


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        (["floor", "'smal'", "did you mean small?", "small, medium, large"], Policy(floor="smal")),
        (["ceiling", "'Large'", "did you mean large?"], Policy(ceiling="Large")),
        (["allow", "'mediun'", "did you mean medium?"], Policy(allow=["small", "mediun"])),
        (["floor", "''", "known tiers"], Policy(floor="")),
        (["floor large is dearer than ceiling small"], Policy(floor="large", ceiling="small")),
        (["no tier is left", "allow is small", "floor medium"], Policy(floor="medium", allow=["small"])),
        (["no tier is left", "ceiling medium"], Policy(ceiling="medium", allow=["large"])),
    ],
)
def test_names_that_do_not_fit_are_refused(words: list[str], policy: Policy) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_bounds(policy, NAMES[:3])
    assert [] == [word for word in words if word not in str(caught.value)]


def test_a_name_unlike_any_gets_no_hint() -> None:
    with pytest.raises(RequestError, match="known tiers") as caught:
        resolve_bounds(Policy(floor="gpt-zz"), NAMES[:3])
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["max_regret", "epsilon"])
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, True, False, -0.01, 1.01, 10**400, "0.1", [0.1], 1j, b"1"],
    ids=repr,
)
def test_a_share_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"{name} is a number from 0 to 1; found"):
        Policy(**{name: value})


@pytest.mark.parametrize("name", ["max_regret", "epsilon"])
@pytest.mark.parametrize("value", [0, 0.0, -0.0, 1, 1.0, 0.05, 5e-324, np.float64(0.5)])
def test_a_share_in_range_is_taken(name: str, value: float) -> None:
    assert value == getattr(Policy(**{name: value}), name)


@pytest.mark.parametrize("value", [0.0, 0.05])
def test_one_of_regret_and_epsilon(value: float) -> None:
    with pytest.raises(RequestError, match="found both"):
        Policy(max_regret=value, epsilon=value)


@pytest.mark.parametrize(
    "value",
    [
        0,
        0.0,
        -0.0,
        -1,
        -5e-324,
        math.nan,
        math.inf,
        -math.inf,
        True,
        False,
        "0.1",
        [0.1],
        1j,
        b"1",
        -(10**400),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_limit_that_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="max_cost_usd is a number of USD above 0; found") as caught:
        Policy(max_cost_usd=value)
    assert "max_cost_usd" == caught.value.field


@pytest.mark.parametrize(
    "value",
    [5e-324, 0.001, 1, 10**12, 1e308, np.float64(0.5), np.float32(0.5), Fraction(1, 3), 10**400],
    ids=lambda value: repr(value)[:20],
)
def test_a_limit_is_any_amount(value: Any) -> None:
    assert value == Policy(max_cost_usd=value).max_cost_usd


@pytest.mark.parametrize(
    ("field", "ask"),
    [
        ("max_regret", {"max_regret": 2}),
        ("epsilon", {"epsilon": -1}),
        ("epsilon", {"epsilon": 0, "max_regret": 0}),
        ("floor", {"floor": 1}),
        ("ceiling", {"ceiling": b"large"}),
        ("allow", {"allow": []}),
        ("floor", {"floor": "smal"}),
        ("ceiling", {"ceiling": "smal"}),
        ("allow", {"allow": ["small", "smal"]}),
        ("floor", {"floor": "large", "ceiling": "small"}),
        ("allow", {"floor": "large", "allow": ["small"]}),
    ],
)
def test_an_error_names_its_field(field: str, ask: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_bounds(Policy(**ask), NAMES[:3])
    assert field == caught.value.field


def test_an_error_of_another_kind_names_none() -> None:
    assert RequestError("x").field is None


@pytest.mark.parametrize("field", ["floor", "ceiling"])
@pytest.mark.parametrize("value", [0, 1, b"small", ["small"], True])
def test_a_tier_is_named(field: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"{field} is the name of a tier"):
        Policy(**{field: value})


@pytest.mark.parametrize("allow", [[], (), set(), {}, [0], ["small", None], b"small", [["small"]]])
def test_allow_is_a_list_of_names(allow: Any) -> None:
    with pytest.raises(RequestError, match="at least one"):
        Policy(allow=allow)


@pytest.mark.parametrize(
    "allow", [["large"], ("large",), {"large"}, frozenset(["large"]), "large", {"large": 1}, iter(["large"])]
)
def test_allow_is_any_iterable_of_names(allow: Any) -> None:
    assert ("large",) == Policy(allow=allow).allow


def test_a_policy_is_a_value() -> None:
    one, other = Policy(epsilon=0, allow=["small", "large"]), Policy(epsilon=0.0, allow=("small", "large"))
    assert one == other
    assert 1 == len({one, other})
    assert Policy() != Policy(epsilon=0.0)
    assert Policy() != Policy(max_regret=0.0)
    assert Policy(max_cost_usd=1) == Policy(max_cost_usd=1.0) != Policy()
    with pytest.raises(AttributeError):
        one.epsilon = 0.5  # type: ignore[misc]
    assert not hasattr(one, "__dict__")
