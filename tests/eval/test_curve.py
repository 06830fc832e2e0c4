"""Cost-quality curves: hand-computed cases, then the laws."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.curve import (
    Curve,
    aiq,
    choose_by_price,
    gap_closed,
    oracle_curve,
    over_routing_rate,
    random_curve,
    regret_rate,
    router_curve,
    savings_at,
)

History = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

# Four prompts, three tiers. Tier 0 is enough for the first two, tier 1 for the third, none for the fourth.
QUALITY = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 0]], dtype=float)
COST = np.tile([1.0, 2.0, 5.0], (4, 1))


@st.composite
def histories(
    draw: st.DrawFn, tiers: int | None = None, graded: bool = False, flat_price: bool = False
) -> History:
    """Scores, quality and costs, with ties, of 1 to 12 prompts and 1 to 4 tiers; any tier may be the dearest."""
    n, k = draw(st.integers(1, 12)), tiers or draw(st.integers(1, 4))

    def table(element: st.SearchStrategy[float], rows: int = n) -> NDArray[np.float64]:
        cells = draw(st.lists(element, min_size=rows * k, max_size=rows * k))
        return np.array(cells, dtype=float).reshape(rows, k)

    p = table(st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.9, 1.0]) | st.floats(0, 1, width=32))
    quality = table(st.integers(0, 4)) / 4 if graded else table(st.integers(0, 1))
    cost = np.tile(table(st.integers(0, 50), 1), (n, 1)) if flat_price else table(st.integers(0, 50))
    return p, quality, cost * 1e-5


def grid(*curves: Curve) -> NDArray[np.float64]:
    return np.linspace(max(c.cost_usd[0] for c in curves), max(c.cost_usd[-1] for c in curves), 23)


# Choices


@pytest.mark.parametrize(("price", "expected"), [(0.0, 1), (0.24, 1), (0.25, 0), (0.3, 0), (1e9, 0)])
def test_choose_by_price_breaks_ties_to_the_cheaper(price: float, expected: Any) -> None:
    # 0.25 of quality for 1 USD more: worth it below a price of 0.25, a tie at it.
    assert [expected] == choose_by_price([[0.5, 0.75, 0.75]], [1.0, 2.0, 3.0], price).tolist()


def test_choose_by_price_goes_by_cost_and_not_by_position() -> None:
    assert [1] == choose_by_price([[0.5, 0.5]], [[2.0, 1.0]], 0.0).tolist()


@given(histories(graded=True), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_higher_price_never_buys_more(history: History, one: float, other: float) -> None:
    p, _, cost = history
    rows = np.arange(len(p))
    low, high = choose_by_price(p, cost, min(one, other)), choose_by_price(p, cost, max(one, other))
    assert np.all(cost[rows, high] <= cost[rows, low])


# Hulls


def test_hull_keeps_the_corners_that_rise() -> None:
    curve = Curve(np.array([4.0, 1.0, 2.0, 3.0, 5.0, 1.0]), np.array([0.75, 0.25, 0.3, 0.7, 0.6, 0.2]))
    assert [1, 1, 2, 3, 4, 5] == curve.cost_usd.tolist()
    assert [1, 3, 4] == curve.hull().cost_usd.tolist()
    assert [0.25, 0.7, 0.75] == curve.hull().quality.tolist()


def test_hull_drops_what_rises_too_late() -> None:
    curve = Curve(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.1, 0.2, 0.9]))
    assert [1, 4] == curve.hull().cost_usd.tolist()


def test_quality_and_cost_are_read_off_the_hull() -> None:
    curve = Curve(np.array([1.0, 2.0, 3.0]), np.array([0.25, 0.25, 0.75]))
    assert [0.25, 0.5, 0.75, 0.75] == [curve.quality_at(c) for c in (1.0, 2.0, 3.0, 9.0)]
    assert np.isnan(curve.quality_at(0.5))
    assert [1.0, 1.0, 2.0, 3.0] == [curve.cost_at(q) for q in (0.0, 0.25, 0.5, 0.75)]
    assert curve.cost_at(0.76) is None
    assert curve.cost_at(float("nan")) is None


@given(histories(graded=True))
def test_hull_is_concave_rising_and_above_every_point(history: History) -> None:
    p, quality, cost = history
    curve = router_curve(p, quality, cost)
    hull = curve.hull()
    assert np.all(np.diff(hull.cost_usd) > 0)
    assert np.all(np.diff(hull.quality) > 0)
    slopes = np.diff(hull.quality) / np.diff(hull.cost_usd)
    assert np.all(np.diff(slopes) <= 1e-9 * slopes[:-1])
    assert all(q <= hull.quality_at(c) + 1e-9 for c, q in zip(curve.cost_usd, curve.quality, strict=True))
    assert curve.cost_usd[0] == hull.cost_usd[0]
    assert curve.quality.max() == hull.quality[-1]


# The three curves


def test_random_curve_is_the_single_tiers() -> None:
    curve = random_curve(QUALITY, COST)
    assert [1, 2, 5] == curve.cost_usd.tolist()
    assert [0.5, 0.5, 0.75] == curve.quality.tolist()
    assert [1, 5] == curve.hull().cost_usd.tolist()


def test_oracle_buys_the_best_upgrades_first() -> None:
    # From all-cheapest (1, 0.5) only the third prompt gains: tier 1 for 1 USD, a quarter of it per prompt.
    curve = oracle_curve(QUALITY, COST)
    assert [1, 1.25] == curve.cost_usd.tolist()
    assert [0.5, 0.75] == curve.quality.tolist()


def test_router_curve_holds_each_price_and_both_ends() -> None:
    p = np.array([[0.5, 0.5, 0.5], [0.25, 0.5, 1.0], [0.25, 0.75, 0.75], [0.0, 0.0, 0.25]])
    # Something turns at 1/16, 1/12, 1/8, 1/6, 3/16, 1/4 and 1/2 a USD. At price 0: tiers 0 2 1 2; from 1/16 on
    # 0 2 1 0; from 1/6 on 0 1 1 0; from 1/4 on 0 0 1 0; from 1/2 on all 0. Then always-cheapest and always-top.
    curve = router_curve(p, QUALITY, COST)
    assert [1, 1, 1.25, 1.5, 1.5, 2.25, 2.25, 2.25, 3.25, 5] == curve.cost_usd.tolist()
    assert [0.5, 0.5, 0.75, 0.5, 0.5, 0.75, 0.75, 0.75, 0.75, 0.75] == curve.quality.tolist()


@given(histories(graded=True), st.floats(0, 1e6))
def test_the_sweep_is_what_choosing_anew_would_give(history: History, price: float) -> None:
    p, quality, cost = history
    rows, mean = np.arange(len(p)), cost.mean(axis=0)
    up, across = p[:, :, None] - p[:, None, :], mean[:, None] - mean
    turns = np.divide(up, across, out=np.full(up.shape, np.inf), where=across != 0)
    assume(not np.isclose(turns, price, rtol=1e-9, atol=1e-9).any())  # there, rounding chooses
    found = router_curve(p, quality, cost)
    choice = choose_by_price(p, mean, price)
    expected = cost[rows, choice].mean(), quality[rows, choice].mean()
    off = np.abs(found.cost_usd - expected[0]) / 1e-3 + np.abs(found.quality - expected[1])
    assert off.min() < 1e-9


def test_long_sweeps_are_thinned_to_quantiles_and_keep_their_ends() -> None:
    rng = np.random.default_rng(0)
    p, quality = rng.random((3000, 3)), rng.integers(0, 2, (3000, 3))
    cost = np.tile([1.0, 2.0, 5.0], (3000, 1))
    exact, thin = (router_curve(p, quality, cost, max_points=m) for m in (10**6, 200))
    best = cost[0, p.argmax(axis=1)].mean()
    assert 203 >= len(thin.cost_usd) > 150  # between 200 turns, beyond both ends, and the two single tiers
    assert len(exact.cost_usd) > 2000
    assert 1.0 == thin.cost_usd[0]
    assert np.abs(thin.cost_usd - best).min() < 1e-9
    assert aiq(exact, 1, 5) == pytest.approx(aiq(thin, 1, 5), abs=2e-3)


@given(histories(graded=True))
def test_the_oracle_is_never_beaten(history: History) -> None:
    p, quality, cost = history
    router, oracle = router_curve(p, quality, cost), oracle_curve(quality, cost)
    assert all(oracle.quality_at(c) >= router.quality_at(c) - 1e-9 for c in grid(router))
    assert gap_closed(router, random_curve(quality, cost), oracle) <= 1 + 1e-9


@given(histories(graded=True), st.floats(0, 1e6))
def test_the_oracle_is_the_price_rule_on_known_outcomes(history: History, price: float) -> None:
    _, quality, cost = history
    rows = np.arange(len(cost))
    choice = choose_by_price(quality, cost, price)
    oracle = oracle_curve(quality, cost)
    assert quality[rows, choice].mean() == pytest.approx(
        oracle.quality_at(cost[rows, choice].mean()), abs=1e-9
    )


@given(histories(graded=True), st.randoms(use_true_random=False))
def test_the_order_of_prompts_does_not_matter(history: History, random: Random) -> None:
    p, quality, cost = history
    order = list(range(len(p)))
    random.shuffle(order)
    for curve in (
        lambda rows: router_curve(p[rows], quality[rows], cost[rows]),
        lambda rows: random_curve(quality[rows], cost[rows]),
        lambda rows: oracle_curve(quality[rows], cost[rows]),
    ):
        one, other = curve(slice(None)), curve(order)
        assert [one.quality_at(c) for c in grid(one) + 1e-9] == pytest.approx(
            [other.quality_at(c) for c in grid(one) + 1e-9], abs=1e-6
        )


# What perfect and useless scores attain


@given(histories(flat_price=True))
def test_perfect_scores_attain_the_oracles_best_at_its_least_cost(history: History) -> None:
    """Holds where each next tier costs more on every prompt: then price 0 is the oracle's last point."""
    _, quality, cost = history
    cost = np.sort(cost, axis=1) + np.arange(cost.shape[1]) * 1e-6
    router, oracle = router_curve(quality, quality, cost), oracle_curve(quality, cost)
    best = oracle.hull().quality[-1]
    assert oracle.cost_at(best) == pytest.approx(router.cost_at(best), rel=1e-9)


@given(histories(graded=True, tiers=2, flat_price=True))
def test_perfect_scores_close_the_whole_gap_for_two_flat_priced_tiers(history: History) -> None:
    """With one step in cost for all prompts, what is expected is what is paid, so the curves are one."""
    _, quality, cost = history
    cost = np.sort(cost, axis=1)
    router, oracle = router_curve(quality, quality, cost), oracle_curve(quality, cost)
    random = random_curve(quality, cost)
    lowest, highest = random.cost_usd[[0, -1]]
    assert aiq(oracle, lowest, highest) == pytest.approx(aiq(router, lowest, highest), abs=1e-9)


@given(histories(graded=True))
def test_perfect_scores_and_known_costs_close_the_whole_gap_by_price(history: History) -> None:
    _, quality, cost = history
    router = router_curve(quality, quality, cost, expected_cost_usd=cost)
    oracle, random = oracle_curve(quality, cost), random_curve(quality, cost)
    lowest, highest = random.cost_usd[[0, -1]]
    assert aiq(oracle, lowest, highest) == pytest.approx(aiq(router, lowest, highest), abs=1e-9)


def test_perfect_scores_do_not_close_the_whole_gap_where_upgrades_differ_in_price() -> None:
    # Both prompts need the strong tier; it costs 1 more on one and 3 more on the other, 2 in the mean.
    quality, cost = np.array([[0.0, 1], [0, 1]]), np.array([[0.0, 1], [0, 3]])
    router, oracle = router_curve(quality, quality, cost), oracle_curve(quality, cost)
    # Over costs 0 to 2 the router's AIQ is 0.5, as random's; the oracle's (0.5 x 0.25 + 1.5 x 0.75) / 2 = 0.625.
    assert [0, 0.5, 2] == oracle.cost_usd.tolist()
    assert [0.5, 0.625] == [aiq(curve, 0, 2) for curve in (router, oracle)]
    assert 0.0 == gap_closed(router, random_curve(quality, cost), oracle)


@given(histories(graded=True))
def test_constant_scores_never_beat_random_and_equal_it_where_they_are_the_tiers_means(
    history: History,
) -> None:
    p, quality, cost = history
    random = random_curve(quality, cost)
    means = np.tile(quality.mean(axis=0), (len(p), 1))
    router = router_curve(means, quality, cost)
    assert [random.quality_at(c) for c in grid(random)] == pytest.approx(
        [router.quality_at(c) for c in grid(random)]
    )
    useless = router_curve(np.tile(p[0], (len(p), 1)), quality, cost)
    assert all(random.quality_at(c) >= useless.quality_at(c) - 1e-9 for c in grid(random))


# Summaries of a curve


def test_aiq_is_the_mean_quality_over_the_range() -> None:
    curve = Curve(np.array([1.0, 3.0]), np.array([0.25, 0.75]))
    assert 0.5 == aiq(curve, 1.0, 3.0)
    assert 0.625 == aiq(curve, 1.0, 5.0)  # (2 x 0.5 + 2 x 0.75) / 4: flat beyond its end
    assert 0.375 == aiq(curve, 1.0, 2.0)
    assert 0.75 == aiq(curve, 3.0, 3.0)
    assert 0.25 == aiq(Curve(np.array([0.0]), np.array([0.25])), 0.0, 0.0)


def test_aiq_refuses_a_curve_that_starts_above_the_range() -> None:
    with pytest.raises(ValueError, match="add the cheapest tier's point"):
        aiq(Curve(np.array([2.0]), np.array([0.5])), 1.0, 3.0)


def test_gap_closed_places_the_router_between_random_and_oracle() -> None:
    random = Curve(np.array([0.0, 4.0]), np.array([0.0, 0.5]))  # AIQ 0.25
    oracle = Curve(np.array([0.0, 2.0]), np.array([0.0, 0.5]))  # AIQ (0.5 + 1) / 4 = 0.375
    router = Curve(np.array([0.0, 3.0]), np.array([0.0, 0.5]))  # AIQ (0.75 + 0.5) / 4 = 0.3125
    worse = Curve(np.array([0.0]), np.array([0.125]))
    assert [0.5, 0.0, 1.0, -1.0] == [gap_closed(c, random, oracle) for c in (router, random, oracle, worse)]


def test_gap_closed_is_zero_where_the_oracle_has_no_gap() -> None:
    quality, cost = np.ones((5, 3)), np.tile([1e-4, 2e-4, 3e-4], (5, 1))
    random = random_curve(quality, cost)
    assert 0.0 == gap_closed(router_curve(quality / 2, quality, cost), random, oracle_curve(quality, cost))
    single = random_curve(quality[:, :1], cost[:, :1])
    assert 0.0 == gap_closed(single, single, oracle_curve(quality[:, :1], cost[:, :1]))


def test_savings_at_compares_with_the_top_tier() -> None:
    curve = Curve(np.array([1.0, 3.0, 4.0]), np.array([0.25, 0.75, 0.75]))
    assert 0.25 == savings_at(curve, 1.0, 0.75, 4.0)
    assert 0.5 == savings_at(curve, 1.0, 0.5, 4.0)
    assert 0.75 == savings_at(curve, 0.1, 0.75, 4.0)  # never cheaper than the cheapest tier
    assert -0.5 == savings_at(curve, 1.0, 0.75, 2.0)
    assert 0.0 == savings_at(curve, 1.0, 0.75, 0.0)
    assert savings_at(curve, 1.1, 0.75, 4.0) is None


def test_rates_by_hand() -> None:
    passed = QUALITY.astype(bool)
    assert 0.25 == regret_rate(passed, [0, 0, 0, 0])
    assert 0.5 == regret_rate(passed, [0, 1, 0, 1])
    assert 0.0 == regret_rate(passed, [2, 2, 2, 2])
    assert 0.75 == over_routing_rate(passed, [2, 2, 2, 2])
    assert 0.25 == over_routing_rate(passed, [0, 1, 1, 2])
    assert 0.0 == over_routing_rate(passed, [0, 0, 0, 0])
    assert np.isnan(
        [f(np.empty((0, 2), bool), np.empty(0, int)) for f in (regret_rate, over_routing_rate)]
    ).all()


# Refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choose_by_price([[0.5, np.nan]], [1, 2], 0.1), "p holds NaN"),
        (lambda: choose_by_price([0.5, 0.7], [1, 2], 0.1), "2 dimension"),
        (lambda: choose_by_price([[0.5, 0.7]], [1, 2], -1.0), "price is finite"),
        (lambda: choose_by_price([[0.5, 0.7]], [1, 2], float("nan")), "price is finite"),
        (lambda: choose_by_price([[0.5, 0.7]], [1, 2], float("inf")), "price is finite"),
        (lambda: Curve(np.empty(0), np.empty(0)), "a point or more"),
        (lambda: Curve(np.array([1.0]), np.array([1.0, 2.0])), "one quality per cost"),
        (lambda: random_curve(np.where(QUALITY == 0, np.nan, 1), COST), "leave out prompts"),
        (lambda: oracle_curve(QUALITY[:0], COST[:0]), "a prompt or more"),
        (lambda: router_curve(QUALITY[:, :2], QUALITY, COST), "p and quality"),
        (lambda: regret_rate(QUALITY, [0, 0, 0, 0]), "expected bool"),
        (lambda: over_routing_rate(QUALITY > 0, [0, 0]), "expected bool"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
