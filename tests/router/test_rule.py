"""Expected losses: by hand, between their bounds, and the same for one prompt and for many; a NaN is never chosen."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import Reason
from router.policy import Bounds
from router.rule import Loss, choose, choose_many, expected_loss, expected_losses

SHARES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1) | st.floats(0, 1, width=32)
NO_NUMBER = SHARES | st.just(nan)
LOSSES = st.sampled_from(Loss)


@st.composite
def tables(
    draw: st.DrawFn, shares: st.SearchStrategy[float] = SHARES
) -> tuple[list[list[float]], list[list[float]], int]:
    """Pass probabilities and spreads of 1 to 6 prompts on 1 to 5 tiers, and a reference tier."""
    n, k = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    row = st.lists(shares, min_size=k, max_size=k)
    p, spread = (draw(st.lists(row, min_size=n, max_size=n)) for _ in range(2))
    return p, spread, draw(st.integers(0, k - 1))


# By hand


def test_regret_by_hand() -> None:
    # Against the last: nested 1/2, independent 3/4 * 3/4; nested 1/4, independent 3/4 * 1/2; itself.
    p, spread = [0.25, 0.5, 0.75], [0.125, 0.0, 0.0]
    expected = [(0.5 + 0.5625) / 2 + 0.125, (0.25 + 0.375) / 2, 0.0]
    assert expected == expected_loss(p, spread, 2, Loss.REGRET)
    # Against the middle: the dearest is better, so all that can be lost is by chance: 1/2 * 1/4.
    expected = [(0.25 + 0.375) / 2 + 0.125, 0.0, 0.125 / 2]
    assert expected == expected_loss(p, spread, 1, Loss.REGRET)


def test_quality_by_hand() -> None:
    p, spread = [0.25, 0.5, 0.75], [0.125, 0.0, 0.0625]
    assert [0.625, 0.25, 0.0] == expected_loss(p, spread, 2, Loss.QUALITY)
    assert [0.375, 0.0, 0.0] == expected_loss(p, spread, 1, Loss.QUALITY)  # a dearer one wins nothing
    assert [-0.125, 0.25, 0.0] == expected_loss(
        [0.875, 0.5, 0.75], [0.0] * 3, 2, Loss.QUALITY
    )  # a cheaper one does


# One prompt and many


@given(table=tables(), loss=LOSSES)
def test_many_are_one_by_one_to_the_last_bit(table: Any, loss: Loss) -> None:
    p, spread, reference = table
    expected = [expected_loss(row, u, reference, loss) for row, u in zip(p, spread, strict=True)]
    found = expected_losses(p, spread, reference, loss)
    assert np.float64 == found.dtype
    assert np.shape(p) == found.shape
    assert expected == found.tolist()


@given(table=tables(NO_NUMBER), loss=LOSSES)
def test_where_there_is_no_number_one_and_many_agree(table: Any, loss: Loss) -> None:
    p, spread, reference = table
    expected = [expected_loss(row, u, reference, loss) for row, u in zip(p, spread, strict=True)]
    np.testing.assert_array_equal(expected, expected_losses(p, spread, reference, loss))


@given(table=tables(), loss=LOSSES)
def test_float32_is_read_as_the_number_that_it_is(table: Any, loss: Loss) -> None:
    """A graph's outputs: one prompt's are unpacked to Python's floats, many stay an array."""
    p, spread, reference = table
    narrow, u = np.array(p, np.float32), np.array(spread, np.float32)
    expected = [
        expected_loss(a, b, reference, loss) for a, b in zip(narrow.tolist(), u.tolist(), strict=True)
    ]
    assert expected == expected_losses(narrow, u, reference, loss).tolist()


@given(table=tables(), loss=LOSSES)
def test_without_a_spread_it_is_zero(table: Any, loss: Loss) -> None:
    p, spread, reference = table
    found = expected_losses(p, None, reference, loss)
    assert expected_losses(p, np.zeros_like(spread), reference, loss).tolist() == found.tolist()


# Laws


@given(table=tables(), loss=LOSSES)
def test_nothing_is_lost_on_the_reference_tier(table: Any, loss: Loss) -> None:
    p, spread, reference = table
    assert {0.0} == {
        expected_loss(row, u, reference, loss)[reference] for row, u in zip(p, spread, strict=True)
    }


@given(table=tables())
def test_regret_lies_between_nested_and_independent_outcomes(table: Any) -> None:
    p, _, reference = table
    for row, found in zip(p, expected_losses(p, None, reference, Loss.REGRET).tolist(), strict=True):
        for k, (tier, loss) in enumerate(zip(row, found, strict=True)):
            nested, independent = max(row[reference] - tier, 0.0), row[reference] * (1.0 - tier)
            if k != reference:
                assert nested - 1e-12 <= loss <= independent + 1e-12
                assert pytest.approx((nested + independent) / 2, abs=1e-15) == loss


@given(table=tables())
def test_quality_is_no_more_than_regret(table: Any) -> None:
    """What is lost, less what is won."""
    p, spread, reference = table
    regret, quality = (expected_losses(p, spread, reference, loss) for loss in (Loss.REGRET, Loss.QUALITY))
    assert (quality <= regret + 1e-12).all()


@given(table=tables(), loss=LOSSES, more=st.floats(0, 1))
def test_what_is_uncertain_is_lost(table: Any, loss: Loss, more: float) -> None:
    p, spread, reference = table
    surely, unsurely = (
        expected_losses(p, np.array(spread) + extra, reference, loss) for extra in (0.0, more)
    )
    cheaper, dearer = slice(None, reference), slice(reference + 1, None)
    np.testing.assert_allclose(surely[:, cheaper] + more, unsurely[:, cheaper], rtol=0, atol=1e-12)
    lost = (unsurely - surely)[
        :, dearer
    ]  # where something was won, which does not count, not all of it shows
    assert ((lost >= -1e-12) & (lost <= more + 1e-12)).all()


@given(table=tables(), loss=LOSSES, better=SHARES)
def test_a_better_tier_loses_no_more(table: Any, loss: Loss, better: float) -> None:
    p, spread, reference = table
    raised = np.array(p)
    others = np.arange(raised.shape[1]) != reference
    raised[:, others] = np.maximum(raised[:, others], better)
    before, after = (expected_losses(each, spread, reference, loss) for each in (p, raised))
    assert (after <= before + 1e-12).all()


# What is no number


@given(table=tables(NO_NUMBER), loss=LOSSES, price=st.floats(0, 1e6))
def test_what_is_no_number_never_wins(table: Any, loss: Loss, price: float) -> None:
    """But at the top, where whatever cannot be compared stays."""
    p, spread, reference = table
    for row, u in zip(p, spread, strict=True):
        losses = expected_loss(row, u, reference, loss)
        top = len(row) - 1
        index, predicted, _ = choose(
            losses,
            [1e-4 * (k + 1) for k in range(len(row))],
            price,
            Bounds(tuple(range(len(row))), 0, top),
            reference,
        )
        assert index == predicted
        assert not isnan(losses[index]) or index == top


@pytest.mark.parametrize("loss", Loss)
def test_a_reference_that_is_no_number_leaves_all_at_the_top(loss: Loss) -> None:
    losses = expected_loss([0.9, nan, 0.9], [0.0, 0.0, 0.0], 1, loss)
    assert [True] * 3 == [isnan(value) for value in losses]
    assert (2, 2, Reason.NEEDED) == choose(losses, [1.0, 2.0, 3.0], 1.0, Bounds((0, 1, 2), 0, 2), 1)


@given(table=tables(), loss=LOSSES, prices=st.lists(st.floats(0, 1e5), min_size=1, max_size=5))
def test_choices_of_many_are_those_of_one(table: Any, loss: Loss, prices: list[float]) -> None:
    """At any price, whatever the order of costs."""
    p, spread, reference = table
    losses = expected_losses(p, spread, reference, loss)
    usd = np.random.default_rng(len(prices)).integers(0, 6, losses.shape) * 1e-4
    bounds = Bounds(tuple(range(losses.shape[1])), 0, losses.shape[1] - 1)
    expected = [
        [choose(row, cost, price, bounds, reference)[1] for price in prices]
        for row, cost in zip(losses.tolist(), usd.tolist(), strict=True)
    ]
    assert expected == choose_many(losses, usd, prices).tolist()
