"""Calibration metrics: hand-computed cases, laws, and scikit-learn as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics
from sklearn.calibration import calibration_curve

from eval.calibration import auc, brier, ece, log_loss, reliability

Metric = Callable[[ArrayLike, ArrayLike], float]

P = np.array([0.1, 0.2, 0.6, 0.9])
Y = np.array([0.0, 1.0, 0.0, 1.0])

rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.2, 0.5, 1.0]) | st.floats(0.01, 0.99), st.sampled_from([0.0, 1.0, np.nan])
    ),
    max_size=40,
).map(lambda pairs: np.array(pairs, dtype=float).reshape(-1, 2))


def simulated(n: int = 2000, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(n), 2) * 0.98 + 0.01
    return p, (rng.random(n) < p**2).astype(float)


def test_reliability_by_hand() -> None:
    table = reliability(P, Y, bins=2)
    assert [0.1, 0.6] == table.low.tolist()
    assert [0.2, 0.9] == table.high.tolist()
    assert [0.15, 0.75] == pytest.approx(table.mean_p.tolist())
    assert [0.5, 0.5] == table.mean_y.tolist()
    assert [2, 2] == table.count.tolist()


def test_ece_by_hand() -> None:
    assert (0.35 + 0.25) / 2 == pytest.approx(ece(P, Y, bins=2))
    assert 0.05 == pytest.approx(ece(P, Y, bins=1))
    assert (0.1 + 0.8 + 0.6 + 0.1) / 4 == pytest.approx(ece(P, Y))  # a bin each


def test_ece_weighs_bins_by_their_rows() -> None:
    # Three rows in two bins: ranks 0 1 2 give bins 0 0 1.
    assert (2 * 0.25 + 1 * 0.5) / 3 == pytest.approx(ece([0.25, 0.25, 0.5], [0, 1, 1], bins=2))


def test_equal_predictions_share_a_bin() -> None:
    table = reliability(np.full(100, 0.3), np.repeat([0.0, 1.0], 50))
    assert [100] == table.count.tolist()
    assert 0.2 == pytest.approx(ece(np.full(100, 0.3), np.repeat([0.0, 1.0], 50)))


def test_log_loss_by_hand() -> None:
    assert -np.log([0.9, 0.2, 0.4, 0.9]).mean() == pytest.approx(log_loss(P, Y))
    assert 36.04 == pytest.approx(log_loss([0.0], [1]), abs=0.01)
    assert 0.0 == pytest.approx(log_loss([1.0, 0.0], [1, 0]))


def test_brier_by_hand() -> None:
    assert (0.01 + 0.64 + 0.36 + 0.01) / 4 == pytest.approx(brier(P, Y))


def test_auc_by_hand() -> None:
    assert 0.75 == auc(P, Y)  # of four pairs, only (0.2, 0.6) is wrong
    assert 0.875 == auc([0.1, 0.6, 0.6, 0.9], Y)  # a tie counts half
    assert 0.5 == auc(np.full(4, 0.3), Y)
    assert 1.0 == auc([-3.0, 5.0, 0.0, 9.0], Y)  # any finite score


def test_scores_between_are_outcomes_too() -> None:
    assert 0.0 == pytest.approx(brier([0.25, 0.5], [0.25, 0.5]))
    assert 0.0 == pytest.approx(ece([0.25, 0.5], [0.25, 0.5]))
    assert -(0.25 * np.log(0.5) + 0.75 * np.log(0.5)) == pytest.approx(log_loss([0.5], [0.25]))


@pytest.mark.parametrize("y", [[np.nan] * 4, [1.0, 1.0, np.nan, 1.0], [0.0] * 4])
def test_auc_of_one_class_is_nan(y: ArrayLike) -> None:
    assert np.isnan(auc(P, y))


@pytest.mark.parametrize(("p", "y"), [([], []), (P, np.full(4, np.nan))])
def test_nothing_observed_is_nan(p: ArrayLike, y: ArrayLike) -> None:
    assert np.isnan([metric(p, y) for metric in (ece, log_loss, brier, auc)]).all()
    assert 0 == len(reliability(p, y).count)


@pytest.mark.parametrize("metric", [ece, log_loss, brier, auc])
def test_unobserved_rows_are_left_out(metric: Metric) -> None:
    p, y = np.append(P, [0.7, np.nan]), np.append(Y, [np.nan, np.nan])
    assert metric(P, Y) == metric(p, y)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(log_loss, metrics.log_loss), (brier, metrics.brier_score_loss), (auc, metrics.roc_auc_score)],
)
def test_scikit_learn_agrees(ours: Metric, theirs: Metric) -> None:
    p, y = simulated()
    assert theirs(y, p) == pytest.approx(ours(p, y), rel=1e-12)


def test_quantile_bins_of_scikit_learn_agree_where_nothing_is_tied() -> None:
    p = np.random.default_rng(1).permutation(np.linspace(0.01, 0.99, 1500))
    y = (np.random.default_rng(2).random(1500) < p).astype(float)
    share, mean = calibration_curve(y, p, n_bins=15, strategy="quantile")
    table = reliability(p, y)
    assert [100] * 15 == table.count.tolist()
    assert share.tolist() == pytest.approx(table.mean_y.tolist())
    assert mean.tolist() == pytest.approx(table.mean_p.tolist())


def test_ece_is_small_where_calibrated_and_large_where_not() -> None:
    p, y = simulated(20_000)
    assert ece(p**2, y) < 0.02
    assert ece(p, y) == pytest.approx(1 / 2 - 1 / 3, abs=0.02)


@given(rows, st.integers(1, 20))
def test_bins_hold_every_observed_row_and_do_not_overlap(pairs: NDArray[np.float64], bins: int) -> None:
    p, y = pairs.T
    table = reliability(p, y, bins)
    assert np.sum(~np.isnan(y)) == table.count.sum()
    assert len(table.count) <= bins
    assert np.all(table.count > 0)
    assert np.all(table.low <= table.high)
    assert np.all(table.high[:-1] < table.low[1:])
    assert not len(table.count) or 0 <= ece(p, y, bins) <= 1


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pairs: NDArray[np.float64], random: Random) -> None:
    order = list(range(len(pairs)))
    random.shuffle(order)
    for metric in (ece, log_loss, brier, auc):
        assert metric(*pairs.T) == pytest.approx(metric(*pairs[order].T), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ece([0.1, 0.2], [1]), "both"),
        (lambda: brier(np.ones((2, 2)), np.ones((2, 2))), "one tier at a time"),
        (lambda: log_loss([1.5], [1]), "probability"),
        (lambda: ece([np.nan], [1]), "finite"),
        (lambda: brier([0.5], [2]), r"y is in \[0, 1\]"),
        (lambda: auc([0.5], [0.5]), "outcomes 0 and 1"),
        (lambda: reliability([0.5], [1], bins=0), "bins is 1 or more"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
