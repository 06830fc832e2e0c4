"""Bounds: tables, plain loops and known truth; each control shows that its test can fail."""

from __future__ import annotations

from math import log, log1p, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta, binom, binomtest, norm

from eval.bounds import betting_holds, groups_needed, lower_bound, rate_bounds, upper_bound
from eval.certify import ALPHAS, DELTA

# The exact bound


@pytest.mark.parametrize("n", [1, 10, 59, 1000])
@pytest.mark.parametrize("delta", [0.05, 0.01])
def test_without_a_failure_the_bound_is_a_root(n: int, delta: float) -> None:
    assert 1 - delta ** (1 / n) == pytest.approx(float(upper_bound(0, n, delta)))


@pytest.mark.parametrize(
    ("failures", "n", "delta", "expected"),
    [
        (1, 10, 0.05, 0.3942),  # Clopper and Pearson's tables
        (5, 20, 0.025, 0.4910),
        (0, 59, 0.05, 0.0495),  # the rule of three, exactly
        (10, 10, 0.05, 1.0),
        (0, 0, 0.05, 1.0),
    ],
)
def test_bounds_are_those_of_the_tables(failures: int, n: int, delta: float, expected: float) -> None:
    assert expected == pytest.approx(float(upper_bound(failures, n, delta)), abs=5e-5)


def test_bounds_are_those_of_scipy() -> None:
    for n in (1, 7, 40, 333):
        failures = np.arange(n + 1)
        expected = [
            binomtest(int(k), n, alternative="less").proportion_ci(0.95, method="exact").high
            for k in failures
        ]
        np.testing.assert_allclose(expected, upper_bound(failures, n, 0.05), rtol=1e-9)


def test_bounds_cover_as_promised() -> None:
    for n, rate in ((30, 0.05), (100, 0.02), (200, 0.3)):
        k = np.arange(n + 1)
        missed = binom.pmf(k, n, rate)[upper_bound(k, n, DELTA) < rate].sum()
        assert missed <= DELTA


def test_from_below_the_bound_is_the_same_seen_from_the_other_side() -> None:
    for n in (1, 7, 40, 333):
        failures = np.arange(n + 1)
        expected = [
            binomtest(int(k), n, alternative="greater").proportion_ci(0.95, method="exact").low
            for k in failures
        ]
        np.testing.assert_allclose(expected, lower_bound(failures, n, 0.05), rtol=1e-8)
        np.testing.assert_allclose(expected, 1.0 - upper_bound(n - failures, n, 0.05), rtol=1e-8, atol=1e-15)
    assert (0.0, 1.0) == (float(lower_bound(0, 0, 0.05)), float(upper_bound(0, 0, 0.05)))


def test_an_interval_is_both_bounds_at_half_the_rest_each() -> None:
    for k, n in ((0, 20), (3, 20), (20, 20)):
        expected = binomtest(k, n).proportion_ci(0.95, method="exact")
        np.testing.assert_allclose((expected.low, expected.high), rate_bounds(k, n), rtol=1e-9)
    # What is worth 19.5 of 20 independent prompts lies between 19 and 20 of them.
    low, high = rate_bounds(19.5, 20.0)
    np.testing.assert_allclose((beta.ppf(0.025, 19.5, 1.5), beta.ppf(0.975, 20.5, 0.5)), (low, high))
    assert rate_bounds(19, 20)[1] < high < 1.0


# How many groups


@pytest.mark.parametrize(
    ("alpha", "delta", "expected"),
    [(0.2, 0.05, 14), (0.05, 0.05, 59), (0.02, 0.05, 149), (0.005, 0.05, 598), (0.5, 0.25, 2)],
)
def test_groups_needed(alpha: float, delta: float, expected: int) -> None:
    assert expected == groups_needed(alpha, delta)


@pytest.mark.parametrize("delta", [0.05, 0.05 / 7, 0.2])
def test_so_many_groups_are_enough_and_one_less_is_not(delta: float) -> None:
    for alpha in ALPHAS:
        n = groups_needed(alpha, delta)
        assert float(upper_bound(0, n, delta)) <= alpha + 1e-12
        assert alpha < float(upper_bound(0, n - 1, delta))


# The bet


def plain_bet(values: list[float], low: float, delta: float) -> bool:
    """One gambler, one value at a time."""
    n, zero = len(values), -low / (1 - low)
    total, squares, wealth = 0.0, 0.0, 0.0
    for t, value in enumerate(values, 1):
        x = (value - low) / (1 - low)
        variance = (0.25 + squares) / t
        bet = min(sqrt(2 * log(1 / delta) / (n * variance)), 0.75 / zero)
        wealth += log1p(bet * (x - zero))
        if wealth >= log(1 / delta):
            return True
        total += x
        squares += (x - (0.5 + total) / (t + 1)) ** 2
    return False


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([1, 2, 30, 511, 512, 513, 700]),  # blocks end at multiples of 512
    share=st.sampled_from([0.8, 0.95, 0.995]),
    lost=st.floats(0.0, 0.3),
)
def test_many_settings_are_many_single_bets(seed: int, n: int, share: float, lost: float) -> None:
    rng = np.random.default_rng(seed)
    best = rng.random((n, 1)) < 0.8
    kept = rng.random((n, 5)) >= lost * np.arange(5) / 4
    values = (best & kept) - share * best
    expected = [plain_bet(values[:, j].tolist(), -share, DELTA) for j in range(5)]
    assert expected == betting_holds(values, -share, DELTA).tolist()


def test_what_is_always_lost_and_always_won() -> None:
    values = np.tile([-0.9, -0.1, 0.0, 0.1, 1.0], (200, 1))
    assert [False, False, False, True, True] == betting_holds(values, -0.9, DELTA).tolist()
    assert [] == betting_holds(np.empty((10, 0)), -0.9, DELTA).tolist()
    assert [False, False] == betting_holds(np.empty((0, 2)), -0.9, DELTA).tolist()


def test_a_bet_needs_something_to_lose() -> None:
    with pytest.raises(ValueError, match=r"low below 0; found \(3, 2\) and 0"):
        betting_holds(np.zeros((3, 2)), 0.0, DELTA)
    with pytest.raises(ValueError, match=r"values \(n, m\)"):
        betting_holds(np.zeros(3), -0.5, DELTA)


def at_zero(rng: np.random.Generator, n: int, m: int, share: float, lost: float) -> NDArray[np.float64]:
    """Differences of quality whose mean is 0 exactly: the reference passes all, its share is just kept.

    With `lost`, losses are that large and as rare as the mean allows; else graded.
    """
    alpha = 1.0 - share
    if lost:
        return np.where(rng.random((n, m)) < alpha / lost, alpha - lost, alpha)
    return 1.0 - rng.beta(20 * alpha, 20 * share, (n, m)) - share


@pytest.mark.parametrize("n", [50, 300, 1000])
@pytest.mark.parametrize("share", [0.8, 0.95, 0.98])
@pytest.mark.parametrize("lost", [0.0, 0.4, 1.0])
def test_a_mean_of_zero_is_rarely_called_positive(n: int, share: float, lost: float) -> None:
    values = at_zero(np.random.default_rng(n), n, 2000, share, lost)
    held = int(betting_holds(values, -share, DELTA).sum())
    assert held <= binom.ppf(0.999, 2000, DELTA)


def test_the_normal_approximation_would_break_the_promise() -> None:
    """The control: rare losses, of which a small sample shows none."""
    values = at_zero(np.random.default_rng(50), 50, 2000, 0.98, 1.0)
    called = values.mean(axis=0) >= norm.ppf(1 - DELTA) * values.std(axis=0) / sqrt(50)
    assert called.sum() > binom.ppf(0.999, 2000, DELTA)


def test_the_bet_is_not_idle() -> None:
    """Half of what is promised is lost: shown nearly always, and never far from the exact test where that applies."""
    rng = np.random.default_rng(3)
    failed = rng.random((1000, 400)) < 0.025
    held = betting_holds(0.05 - failed, -0.95, DELTA)
    exact = upper_bound(failed.sum(axis=0), 1000, DELTA) <= 0.05
    assert exact.mean() > 0.9
    assert held.mean() > 0.8
