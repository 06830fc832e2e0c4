"""The grouped bootstrap: what it draws, when it declines, and how often it covers."""

from __future__ import annotations

from typing import Any, Never

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.bootstrap import Interval, Statistic, bootstrap, paired_difference


def mean_of(values: NDArray[np.float64]) -> Statistic:
    return lambda rows: float(values[rows].mean())


def test_value_is_that_of_all_rows_and_lies_inside() -> None:
    values = np.arange(10.0)
    interval = bootstrap(np.arange(10), mean_of(values), n_boot=500)
    assert 4.5 == interval.value
    assert 0 < interval.low < 4.5 < interval.high < 9


def test_two_rows_give_the_binomial_bounds() -> None:
    # Draws of {0, 1} average 0, 0.5 or 1 with chances 1/4, 1/2, 1/4, so a 40 % interval is 0.5 to 0.5.
    values = np.array([0.0, 1.0])
    assert Interval(0.5, 0.0, 1.0) == bootstrap(["a", "b"], mean_of(values), n_boot=400)
    assert Interval(0.5, 0.5, 0.5) == bootstrap(["a", "b"], mean_of(values), n_boot=400, level=0.4)


@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=30).filter(lambda g: len(set(g)) > 1), st.integers(0, 99)
)
def test_groups_are_drawn_whole_and_as_many_as_there_are(groups: list[int], seed: int) -> None:
    labels = np.array(groups)
    sizes = {g: groups.count(g) for g in set(groups)}
    seen = []

    def statistic(rows: NDArray[np.intp]) -> float:
        seen.append(rows)
        return 0.0

    bootstrap(labels, statistic, n_boot=5, seed=seed)
    assert 6 == len(seen)
    assert list(range(len(groups))) == seen[0].tolist()
    for rows in seen[1:]:
        times = np.bincount(rows, minlength=len(groups))
        drawn = {g: set(times[labels == g].tolist()) for g in sizes}
        assert all(len(counts) == 1 for counts in drawn.values())
        assert len(sizes) == sum(counts.pop() for counts in drawn.values())


def test_the_seed_decides_the_draws() -> None:
    values = np.random.default_rng(3).random(50)
    one, again, other = (
        bootstrap(np.arange(50) // 5, mean_of(values), n_boot=100, seed=s) for s in (1, 1, 2)
    )
    assert one == again
    assert one != other


def test_one_group_has_a_value_and_no_bounds() -> None:
    interval = bootstrap(["a", "a", "a"], mean_of(np.array([1.0, 2.0, 3.0])))
    assert 2.0 == interval.value
    assert np.isnan([interval.low, interval.high]).all()


def test_no_rows_is_nan_and_calls_nothing() -> None:
    def refuse(rows: NDArray[np.intp]) -> Never:
        raise AssertionError(rows)

    for interval in (bootstrap([], refuse), paired_difference([], refuse, refuse)):
        assert np.isnan([interval.value, interval.low, interval.high]).all()


def test_draws_without_a_number_are_left_out() -> None:
    values = np.array([0.0, 1.0, 2.0, 3.0])
    some = bootstrap(
        np.arange(4), lambda rows: float("nan") if 0 not in rows else values[rows].mean(), n_boot=400
    )
    assert np.isfinite([some.value, some.low, some.high]).all()
    few = bootstrap(np.arange(4), lambda rows: float("nan") if len(set(rows)) < 4 else 1.0, n_boot=400)
    assert 1.0 == few.value
    assert np.isnan([few.low, few.high]).all()


def test_paired_difference_cancels_what_both_share() -> None:
    rng = np.random.default_rng(0)
    prompts = rng.normal(0, 10, 200)
    better = prompts + 0.5 + rng.normal(0, 0.1, 200)
    groups = np.arange(200) // 4
    difference = paired_difference(groups, mean_of(better), mean_of(prompts), n_boot=300)
    apart = [bootstrap(groups, mean_of(values), n_boot=300) for values in (better, prompts)]
    assert better.mean() - prompts.mean() == pytest.approx(difference.value)
    assert 0.45 < difference.low < difference.high < 0.55
    assert apart[0].low < apart[1].high
    same = paired_difference(groups, mean_of(prompts), mean_of(prompts), n_boot=50)
    assert Interval(0.0, 0.0, 0.0) == same


def test_intervals_cover_by_group_and_not_by_row() -> None:
    """Forty groups of five rows that share most of their noise; the true mean is 0."""
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(40), 5)
    covered = {"group": 0, "row": 0}
    for seed in range(200):
        values = rng.normal(size=40)[groups] + rng.normal(0, 0.3, 200)
        for name, labels in (("group", groups), ("row", np.arange(200))):
            interval = bootstrap(labels, mean_of(values), n_boot=200, seed=seed)
            covered[name] += interval.low <= 0 <= interval.high
    assert 0.88 * 200 <= covered["group"] <= 0.99 * 200
    assert covered["row"] < 0.75 * 200


@pytest.mark.parametrize(
    "options",
    [{"n_boot": 0}, {"level": 0.0}, {"level": 1.0}, {"level": float("nan")}, {"groups": np.ones((2, 2))}],
)
def test_bad_input_is_refused(options: dict[str, Any]) -> None:
    arguments = {"groups": [1, 2], "statistic": lambda _: 0.0, **options}
    with pytest.raises(ValueError, match=r"n_boot|groups"):
        bootstrap(**arguments)
