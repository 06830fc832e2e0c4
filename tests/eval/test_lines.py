"""Lines: areas and crossings by hand, parity with the curves, and what cross-fitting is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.curve import Curve, aiq, oracle_curve
from eval.lines import (
    FOLDS,
    Line,
    area,
    cost_reaching,
    cross_fit,
    deal_folds,
    draw_line,
    draw_oracle,
    hull_corners,
    upgrades,
)
from eval.resample import draw_groups

ROWS = st.integers(1, 12)


def line(cost: list[float], quality: list[float]) -> Line:
    return Line(np.array([cost]), np.array([quality]), np.array([quality[-1]]))


def tables(n: int, seed: int, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (n, k)) / 2, rng.integers(1, 6, (n, k)) * 1e-4


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.0, 3.0, 0.5),
        (1.0, 5.0, 0.625),  # flat beyond its end
        (1.0, 2.0, 0.375),
        (0.0, 3.0, (0.25 + 1.0) / 3),  # and before its start
        (2.0, 2.0, 0.75),  # no width: its end
    ],
)
def test_area_by_hand(low: float, high: float, expected: float) -> None:
    found = area(line([1.0, 3.0], [0.25, 0.75]), np.array([low]), np.array([high]))
    assert [expected] == pytest.approx(found.tolist())


def test_area_counts_dips_that_a_hull_would_bridge() -> None:
    dip = line([0.0, 1.0, 2.0], [0.0, 0.0, 1.0])
    assert [0.25] == area(dip, np.array([0.0]), np.array([2.0])).tolist()


def test_the_first_crossing_counts() -> None:
    climb = line([1.0, 2.0, 3.0, 4.0], [0.0, 0.5, 0.25, 1.0])
    costs = [cost_reaching(climb, np.array([quality]))[0] for quality in (0.0, 0.25, 0.5, 0.625, 1.0)]
    assert [1.0, 1.5, 2.0, 3.5, 4.0] == costs
    assert np.isnan(cost_reaching(climb, np.array([1.1]))[0])


@given(ROWS, st.integers(0, 10**6))
def test_on_its_hull_a_line_has_the_area_of_the_curve(m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost, quality = rng.integers(0, 8, m) * 1.0, rng.integers(0, 5, m) / 4
    corners = hull_corners(cost, quality)
    hull = Curve(cost, quality).hull()
    assert hull.cost_usd.tolist() == cost[corners].tolist()
    assert hull.quality.tolist() == quality[corners].tolist()
    low, high = float(cost.min()), float(cost.max()) + 1
    found = area(line(cost[corners].tolist(), quality[corners].tolist()), np.array([low]), np.array([high]))
    assert aiq(Curve(cost, quality), low, high) == pytest.approx(found[0])


@given(ROWS, st.integers(0, 10**6))
def test_the_oracle_is_that_of_the_curves_in_the_sample_and_in_each_draw(n: int, seed: int) -> None:
    quality, cost = tables(n, seed)
    groups = np.random.default_rng(seed).integers(0, 4, n)
    draws = draw_groups(groups, 3, seed)
    means = draws.means(cost)
    low, high = means.min(axis=1), means.max(axis=1)
    targets = draws.means(quality)[:, -1:]
    areas, costs = draw_oracle(draws, quality, cost, low, high, targets)
    for i, counts in enumerate(draws.counts.astype(int)):
        rows = np.repeat(np.arange(n), counts[draws.group])
        curve = oracle_curve(quality[rows], cost[rows])
        if high[i] > low[i] * (1 + 1e-6):
            assert aiq(curve, low[i], high[i]) == pytest.approx(areas[i])
        assert curve.cost_at(float(targets[i, 0]) - 1e-9) == pytest.approx(costs[i, 0], rel=1e-3)


def test_upgrades_are_bought_by_quality_per_usd() -> None:
    quality, cost = (
        np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]),
        np.array([[1.0, 4.0], [1.0, 2.0], [1.0, 2.0]]),
    )
    start, row, across, up = upgrades(quality, cost)
    assert ([0, 0, 0], [1, 0], [1.0, 3.0], [1.0, 1.0]) == (
        start.tolist(),
        row.tolist(),
        across.tolist(),
        up.tolist(),
    )


# Cross-fitting


def test_groups_stay_whole_and_folds_are_even() -> None:
    group = np.repeat(np.arange(40), 3)
    folds = deal_folds(group, seed=2)
    assert all(len({tuple(row) for row in folds[group == g].tolist()}) == 1 for g in range(40))
    assert [40 // FOLDS * 3] * FOLDS == np.bincount(folds[:, 0]).tolist()


def test_each_half_is_served_by_the_hull_of_the_other() -> None:
    # Setting 1 looks good on the first two rows alone, setting 2 on all: only the second half buys setting 1.
    cost = np.tile([1.0, 2.0, 3.0], (4, 1))
    quality = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    spent, attained = cross_fit(cost, quality, np.array([[0], [0], [1], [1]]))
    assert [1.0] * 4 == spent[:, 0].tolist()
    assert [3.0, 3.0, 2.0, 2.0] == spent[:, -1].tolist()
    assert [1.0, 1.0, 0.0, 0.0] == attained[:, -1].tolist()


def test_one_fold_is_served_by_its_own_hull() -> None:
    quality, cost = tables(30, 0)
    spent, attained = cross_fit(cost, quality, np.zeros((30, 1), dtype=int))
    corners = hull_corners(cost.mean(axis=0), quality.mean(axis=0))
    own = draw_line(draw_groups(range(30), 1), cost[:, corners], quality[:, corners])
    served = draw_line(draw_groups(range(30), 1), spent, attained)
    ends = own.cost_usd[:, 0], own.cost_usd[:, -1] + 1e-4
    assert area(own, *ends)[0] == pytest.approx(area(served, *ends)[0])


def test_settings_that_differ_by_luck_alone_gain_nothing() -> None:
    """A hundred coins at equal prices: the hull takes the luckiest, a fifth of new groups is not impressed."""
    rng = np.random.default_rng(0)
    cost = np.tile(np.linspace(1.0, 2.0, 100), (100, 1))
    hull, fair = [], []
    for seed in range(20):
        quality = rng.integers(0, 2, (100, 100)).astype(float)
        hull.append(aiq(Curve(cost[0], quality.mean(axis=0)), 1.0, 2.0))
        line = draw_line(
            draw_groups(range(100), 1), *cross_fit(cost, quality, deal_folds(np.arange(100), seed))
        )
        fair.append(area(line, np.array([1.0, 1.0]), np.array([2.0, 2.0]))[0])
    assert np.mean(hull) > 0.57
    assert 0.5 == pytest.approx(np.mean(fair), abs=0.02)
