"""Expected costs are linear in the prompt's length and in the answer, cell by cell the same one and many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.costs import CostModel, prompt_usd
from router.tiers import Ladder, Tier

LADDER = Ladder((Tier("t", ("m",), 2.0, 10.0), Tier("u", ("n",), 4.0, 20.0)))
COSTS = CostModel.from_ladder(LADDER, (50 * 10e-6, 100 * 20e-6))

PRICES = st.floats(0.0, 1e4)
CHARS = st.integers(0, 10**12)
ANSWERS = st.floats(0.0, 1000.0, width=32)  # as the graph gives them


@st.composite
def tables(draw: st.DrawFn) -> tuple[CostModel, list[int], list[list[float]]]:
    """Draw prices of k tiers, the lengths of n prompts, and the answers (n, k)."""
    k, n = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    per_char, per_answer = (tuple(draw(st.lists(PRICES, min_size=k, max_size=k))) for _ in range(2))
    chars = draw(st.lists(CHARS, min_size=n, max_size=n))
    answers = draw(st.lists(st.lists(ANSWERS, min_size=k, max_size=k), min_size=n, max_size=n))
    return CostModel(per_char, per_answer), chars, answers


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


@given(tables(), st.integers(1, 10**6), st.floats(0.01, 100.0))
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
