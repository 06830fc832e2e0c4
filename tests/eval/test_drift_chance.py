"""How far two samples differ, and how far chance sets them apart: by hand, as laws, and by simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from eval.drift_chance import (
    Binned,
    Null,
    bin_numbers,
    bin_shares,
    edges_of,
    group_numbers,
    mean_by_chance,
    mean_error,
    psi,
    psi_of,
    rate_interval,
    widest_cut,
)  # fmt: skip

Values = NDArray[np.float64]
shares = st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).filter(lambda row: sum(row) > 0.1)
sizes = st.integers(1, 10_000)


def alone(n: int) -> NDArray[np.intp]:
    return np.arange(n)


def binned(row: list[float], n: int) -> Binned:
    return Binned(np.arange(3.0), np.array(row) / sum(row), float(n))


def test_deciles_part_values_into_tenths() -> None:
    values = np.arange(1000.0)
    edges = edges_of(values)
    assert 9 == len(edges)
    assert_allclose(np.full(10, 0.1), bin_shares(bin_numbers(values, edges), 10, alone(1000))[0])


def test_a_value_that_many_share_has_a_bin_of_its_own() -> None:
    values = np.where(np.arange(1000) < 950, 0.0, 3.0)
    edges = edges_of(values)
    found, _ = bin_shares(bin_numbers(values, edges), len(edges) + 1, alone(1000))
    assert_allclose([0.0, 0.95, 0.05], found)


def test_a_constant_shows_what_is_new_on_either_side() -> None:
    edges = edges_of(np.full(50, 0.7))
    assert [0, 1, 1, 2] == bin_numbers(np.array([0.6, 0.7, float(np.float32(0.7)), 0.8]), edges).tolist()


def test_independent_prompts_count_in_full_and_copies_once() -> None:
    bins = np.random.default_rng(0).integers(0, 4, 600)
    assert 600.0 == bin_shares(bins, 4, alone(600))[1]
    _, effective = bin_shares(np.repeat(bins, 5), 4, np.repeat(alone(600), 5))
    assert_allclose(600.0, effective, rtol=0.01)


def test_one_group_is_worth_one_prompt() -> None:
    assert 1.0 == bin_shares(np.array([0, 1, 0, 1]), 2, np.zeros(4, np.intp))[1]
    assert 1.0 == bin_shares(np.zeros(4, np.intp), 2, np.zeros(4, np.intp))[1]


@given(shares, shares, sizes, sizes)
def test_the_index_is_nothing_for_equals_never_negative_and_the_same_both_ways(
    a: list[float], b: list[float], m: int, n: int
) -> None:
    one, other = binned(a, m), binned(b, n)
    assert_allclose(0.0, psi_of(one, binned(a, n)), atol=1e-12)
    assert psi_of(one, other) >= -1e-12
    assert_allclose(psi_of(one, other), psi_of(other, one), atol=1e-12)


def test_the_index_by_hand() -> None:
    expected = 0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5)
    assert_allclose(expected, psi([0.5, 0.5], 10**9, [0.8, 0.2], 10**9), rtol=1e-6)
    assert np.isfinite(psi([1.0, 0.0], 100, [0.0, 1.0], 100))
    assert 0.0 == psi([1.0, 0.0], 100, [1.0, 0.0], 7)


def test_what_is_written_is_read() -> None:
    written = Binned.of(np.random.default_rng(1).normal(size=300), alone(300))
    found = Binned.read(written.to_dict())
    assert_allclose(written.edges, found.edges, rtol=0)
    assert_allclose(written.shares, found.shares, atol=1e-6)
    assert written.effective == found.effective


def zeros_mostly(rng: np.random.Generator, n: int) -> Values:
    return np.where(rng.random(n) < 0.97, 0.0, rng.random(n))


def ordinary(rng: np.random.Generator, n: int) -> Values:
    return rng.normal(size=n)


def never(rng: np.random.Generator, n: int) -> Values:
    return (rng.random(n) < 0.001).astype(float)


@pytest.mark.parametrize("draw", [ordinary, zeros_mostly, never])
@pytest.mark.parametrize("copies", [1, 4])
def test_the_index_exceeds_what_chance_does_no_more_often_than_said(
    draw: Callable[[np.random.Generator, int], Values], copies: int
) -> None:
    alarms, windows = 0, 200
    for seed in range(windows):
        rng = np.random.default_rng([seed, copies])
        then_values, now_values = draw(rng, 800), draw(rng, 60)
        then = Binned.of(then_values, alone(800))
        now = Binned.of(np.repeat(now_values, copies), np.repeat(alone(60), copies), then.edges)
        alarms += psi_of(then, now) > Null(0.05, 400, rng).psi(then, now)
    assert alarms <= 0.09 * windows  # five in a hundred, and three standard errors


def test_copies_taken_for_prompts_would_be_false_alarms() -> None:
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        then = Binned.of(rng.normal(size=800), alone(800))
        now = Binned.of(np.repeat(rng.normal(size=60), 4), alone(240), then.edges)
        alarms += psi_of(then, now) > Null(0.05, 400, rng).psi(then, now)
    assert alarms > 30


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.99])
def test_rates_differ_by_chance_no_more_often_than_said(rate: float) -> None:
    alarms, windows = 0, 300
    for seed in range(windows):
        rng = np.random.default_rng(seed)
        then, now = rng.binomial(500, rate) / 500, rng.binomial(80, rate) / 80
        alarms += abs(then - now) > Null(0.05, 400, rng).difference(then, 500, now, 80)
    assert alarms <= 0.09 * windows


def test_the_error_of_a_mean_by_hand() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])
    mean, error = mean_error(values, alone(4))
    assert 3.0 == mean
    assert_allclose(values.std(ddof=1) / 2.0, error)
    _, together = mean_error(np.repeat(values, 3), np.repeat(alone(4), 3))
    assert_allclose(error, together)
    assert np.isinf(mean_error(values, np.zeros(4, np.intp))[1])


def test_means_differ_by_students_t() -> None:
    assert_allclose(1.96 * 5.0, mean_by_chance((3.0, 4.0), 10**6, 0.05), rtol=1e-3)
    assert mean_by_chance((3.0, 4.0), 5, 0.05) > mean_by_chance((3.0, 4.0), 50, 0.05)


def test_intervals_of_rates_hold_their_ends() -> None:
    assert (0.0, 1.0) == (rate_interval(0.0, 20.0)[0], rate_interval(1.0, 20.0)[1])
    low, high = rate_interval(0.5, 400.0)
    assert_allclose([0.45, 0.55], [low, high], atol=0.002)


def test_the_widest_cut_is_where_most_prompts_changed_sides() -> None:
    then = Binned(np.arange(3.0), np.array([0.25, 0.25, 0.25, 0.25]), 100.0)
    now = Binned(np.arange(3.0), np.array([0.05, 0.15, 0.4, 0.4]), 100.0)
    assert 1 == widest_cut(then, now)
    assert widest_cut(Binned(np.empty(0), np.ones(1), 1.0), Binned(np.empty(0), np.ones(1), 1.0)) is None


def test_groups_are_told_by_their_text() -> None:
    assert [0, 1, 0] == group_numbers(np.array(["a", "b", "a"], object)).tolist()
