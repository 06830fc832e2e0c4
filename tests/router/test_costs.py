"""Expected costs are linear in the prompt's length and in the answer, cell by cell the same one and many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.costs import CostModel, answer_scale, prompt_usd, token_usd
from router.tiers import Ladder, LongContext, Tier

LADDER = Ladder((Tier("t", ("m",), 2.0, 10.0), Tier("u", ("n",), 4.0, 20.0)))
COSTS = CostModel.from_ladder(LADDER, (50 * 10e-6, 100 * 20e-6))

# Twice and 1.5 times the price above 1,000 tokens, which are 4,000 characters; half of it for what is cached.
LONG = Tier("l", ("o",), 2.0, 10.0, 1.0, long_context=(LongContext(1000, 4.0, 15.0, 2.0),))
LONG_LADDER = Ladder((LADDER.tiers[0], LONG))
LONG_COSTS = CostModel.from_ladder(LONG_LADDER, (5e-4, 5e-4))

PRICES = st.floats(0.0, 1e4)
OUTPUT_PRICES = st.floats(0.01, 1e4)
CHARS = st.integers(0, 10**12)
ANSWERS = st.floats(0.0, 1000.0, width=32)  # as the graph gives them


@st.composite
def tiers(draw: st.DrawFn, rising: bool = False) -> Tier:
    """Draw a tier's prices; rising ones never fall with the length of the input."""
    starts = sorted(draw(st.sets(st.integers(1, 10**6), max_size=2)))
    columns = [draw(st.lists(prices, min_size=3, max_size=3)) for prices in (PRICES, OUTPUT_PRICES)]
    inputs, outputs = [sorted(column) if rising else column for column in columns]
    cached = draw(st.lists(st.none() | st.floats(0.0, 1.0), min_size=3, max_size=3))
    shares = [None if share is None else share * price for share, price in zip(cached, inputs, strict=True)]
    longer = (LongContext(start, inputs[i], outputs[i], shares[i]) for i, start in enumerate(starts, start=1))
    return Tier("t", ("m",), inputs[0], outputs[0], shares[0], long_context=tuple(longer))


@st.composite
def tables(draw: st.DrawFn, rising: bool = False) -> tuple[CostModel, list[int], list[list[float]]]:
    """Draw prices of k tiers, the lengths of n prompts, and the answers (n, k)."""
    k, n = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    ladder = Ladder(tuple(draw(tiers(rising)) for _ in range(k)))
    per_answer = tuple(draw(st.lists(PRICES, min_size=k, max_size=k)))
    edges = [
        4 * long.above_tokens + more for tier in ladder.tiers for long in tier.long_context for more in (0, 1)
    ]
    lengths = CHARS | st.sampled_from(edges) if edges else CHARS
    chars = draw(st.lists(lengths, min_size=n, max_size=n))
    answers = draw(st.lists(st.lists(ANSWERS, min_size=k, max_size=k), min_size=n, max_size=n))
    return CostModel.from_ladder(ladder, per_answer), chars, answers


def test_costs_by_hand() -> None:
    # 400 characters are 100 tokens.
    assert pytest.approx(100 * 2e-6 + 50 * 10e-6) == COSTS.expected_usd_per_tier(400, [1.0, 1.0])[0]
    assert pytest.approx(100 * 4e-6 + 100 * 20e-6) == COSTS.expected_usd_per_tier(400, [1.0, 1.0])[1]
    assert pytest.approx(100 * 4e-6 + 250 * 20e-6) == COSTS.expected_usd_per_tier(400, [2.5, 2.5])[1]
    assert pytest.approx(50 * 10e-6) == COSTS.expected_usd_per_tier(0, [1.0, 1.0])[0]
    assert pytest.approx(100 * 2e-6) == COSTS.expected_usd_per_tier(400, [0.0, 0.0])[0]
    assert 0.0 == COSTS.expected_usd_per_tier(0, [0.0, 0.0])[1]


def test_many_costs_by_hand() -> None:
    found = COSTS.expected_usd_many([400, 0], [[1.0, 2.5], [0.5, 0.0]])
    expected = [[2e-4 + 5e-4, 4e-4 + 5e-3], [2.5e-4, 0.0]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_each_tier_has_its_mean_answer() -> None:
    assert (5e-4, 2e-3) == pytest.approx(COSTS.usd_per_answer)
    assert pytest.approx((5e-7, 1e-6)) == COSTS.usd_per_char
    for usd in ((5e-4,), (5e-4, 2e-3, 1e-2), ()):
        with pytest.raises(ValueError, match=f"usd_per_answer of 2 tiers, found {len(usd)}"):
            CostModel.from_ladder(LADDER, usd)


@pytest.mark.parametrize("answers", [[1.0, 2.0], [[1.0, 2.0]], [[1.0], [2.0], [3.0]], 1.0], ids=str)
def test_answers_of_another_shape_are_refused_not_stretched(answers: Any) -> None:
    with pytest.raises(ValueError, match=r"expected answers \(3, 2\), found "):
        COSTS.expected_usd_many([1, 2, 3], answers)


def test_prompts_by_hand() -> None:
    found = prompt_usd(LADDER, [400, 0])
    assert np.float64 == found.dtype
    np.testing.assert_allclose([[2e-4, 4e-4], [0.0, 0.0]], found, rtol=1e-12)
    assert (0, 2) == prompt_usd(LADDER, []).shape


@given(tables())
def test_many_are_one_by_one_to_the_last_bit(table: tuple[CostModel, list[int], list[list[float]]]) -> None:
    costs, chars, answers = table
    expected = [list(costs.expected_usd_per_tier(n, row)) for n, row in zip(chars, answers, strict=True)]
    for kind in (np.float32, np.float64, list):
        given_answers: Any = answers if kind is list else np.array(answers, kind)
        found = costs.expected_usd_many(chars, given_answers)
        assert np.float64 == found.dtype
        assert expected == found.tolist()
    assert np.isfinite(found).all()
    assert (found >= 0).all()


@given(tables(rising=True), st.integers(1, 10**6), st.floats(0.01, 100.0))
def test_more_never_costs_less(
    table: tuple[CostModel, list[int], list[list[float]]], more_chars: int, more_answer: float
) -> None:
    costs, chars, answers = table
    base = costs.expected_usd_many(chars, answers)
    longer = costs.expected_usd_many(np.array(chars) + more_chars, answers)
    dearer = costs.expected_usd_many(chars, np.array(answers) + more_answer)
    assert (longer >= base).all()
    assert (dearer >= base).all()


def test_a_prompt_says_nothing_about_the_cost_of_another() -> None:
    chars, answers = np.arange(7) * 100, np.linspace(0.1, 3.0, 14).reshape(7, 2)
    whole = COSTS.expected_usd_many(chars, answers)
    for i in range(7):
        alone = COSTS.expected_usd_many(chars[i : i + 1], answers[i : i + 1])
        assert whole[i : i + 1].tolist() == alone.tolist()


def test_no_prompts_cost_nothing() -> None:
    found = COSTS.expected_usd_many([], np.empty((0, 2), np.float32))
    assert (np.float64, (0, 2)) == (found.dtype, found.shape)


def test_what_is_given_is_not_changed() -> None:
    chars, answers = np.array([400.0, 7.0]), np.array([[1.0, 2.0], [3.0, 4.0]])
    COSTS.expected_usd_many(chars, answers)
    assert ([400.0, 7.0], [[1.0, 2.0], [3.0, 4.0]]) == (chars.tolist(), answers.tolist())


def test_a_long_prompt_by_hand() -> None:
    assert 4000.0 == LONG_COSTS.ordinary_chars
    at = [LONG_COSTS.expected_usd_per_tier(chars, [1.0, 2.0]) for chars in (4000, 4001)]
    assert pytest.approx([1000 * 2e-6 + 5e-4, 1000 * 2e-6 + 2 * 5e-4]) == list(at[0])
    # Not the tokens beyond, but all of them, and the answer with them.
    assert pytest.approx([1000.25 * 2e-6 + 5e-4, 1000.25 * 4e-6 + 2 * 5e-4 * 1.5]) == list(at[1])


def test_cached_tokens_by_hand() -> None:
    # The first tier has no price for what is cached: it costs there what the rest does.
    plain, half, whole, beyond = (
        LONG_COSTS.expected_usd_per_tier(400, [1.0, 1.0], n) for n in (0, 50, 100, 9e9)
    )
    assert pytest.approx([7e-4, 50 * 2e-6 + 50 * 1e-6 + 5e-4]) == list(half)
    assert pytest.approx([7e-4, 100 * 1e-6 + 5e-4]) == list(whole)
    assert whole == beyond
    assert pytest.approx([7e-4, 7e-4]) == list(plain)
    long = LONG_COSTS.expected_usd_per_tier(8000, [1.0, 1.0], 500)
    assert pytest.approx(1500 * 4e-6 + 500 * 2e-6 + 7.5e-4) == long[1]


def test_a_ladder_without_long_contexts_has_no_long_prompts() -> None:
    assert float("inf") == COSTS.ordinary_chars


def test_free_answers_stay_free() -> None:
    free = Tier("f", ("f",), 1.0, 0.0, long_context=(LongContext(10, 2.0, 0.0),))
    assert [[1.0], [1.0]] == answer_scale(Ladder((free,)), [4, 400]).tolist()


@given(tiers(), st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**7))
def test_expected_costs_are_the_tiers_own(tier: Tier, n_in: int, n_out: int, cached: int) -> None:
    """Where the answer is as long as was expected, a call costs what the tier says it does."""
    costs = CostModel.from_ladder(Ladder((tier,)), (tier.cost_usd(0, n_out),))
    expected = tier.cost_usd(n_in, n_out, cached)
    assert (
        pytest.approx(expected, rel=1e-9, abs=1e-15)
        == costs.expected_usd_per_tier(4 * n_in, [1.0], cached)[0]
    )


@given(tiers(), st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**6)), min_size=1, max_size=5))
def test_many_calls_cost_what_each_does(tier: Tier, calls: list[tuple[int, int]]) -> None:
    ladder, tokens = Ladder((LONG, tier)), np.array(calls, dtype=np.float64)
    found = token_usd(ladder, *(np.stack([column, column], axis=1) for column in tokens.T))
    expected = [[each.cost_usd(*call) for each in ladder.tiers] for call in calls]
    np.testing.assert_allclose(expected, found, rtol=1e-12, atol=1e-18)


@given(tables(), st.data())
def test_costs_are_prompts_and_scaled_answers(
    table: tuple[CostModel, list[int], list[list[float]]], data: st.DataObject
) -> None:
    tier = data.draw(tiers())
    ladder, (_, chars, _) = Ladder((LONG, tier)), table
    costs = CostModel.from_ladder(ladder, (1.0, 2.0))
    expected = prompt_usd(ladder, chars) + np.array([1.0, 2.0]) * answer_scale(ladder, chars)
    np.testing.assert_allclose(expected, costs.expected_usd_many(chars, np.ones((len(chars), 2))), rtol=1e-12)


@given(tables(), st.integers(0, 10**9), st.integers(0, 10**9))
def test_caching_never_costs_more(
    table: tuple[CostModel, list[int], list[list[float]]], some: int, more: int
) -> None:
    costs, chars, answers = table
    for n, row in zip(chars, answers, strict=True):
        few, many = (
            costs.expected_usd_per_tier(n, row, some),
            costs.expected_usd_per_tier(n, row, some + more),
        )
        assert all(b <= a * (1 + 1e-12) for a, b in zip(few, many, strict=True))


@pytest.mark.parametrize("answers", [[1.0], [1.0, 1.0, 1.0], []])
@pytest.mark.parametrize("chars", [400, 8000])
def test_as_many_answers_as_tiers(answers: list[float], chars: int) -> None:
    with pytest.raises(ValueError, match=f"expected answers of 2 tiers, found {len(answers)}"):
        LONG_COSTS.expected_usd_per_tier(chars, answers)
