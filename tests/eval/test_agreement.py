"""Agreement: textbook values, scikit-learn's kappa, and intervals that hold as often as they say."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from eval.agreement import Agreement, agreement, kappa
from eval.bounds import rate_bounds

LABELS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=60)


def spread(table: list[list[int]]) -> tuple[list[int], list[int]]:
    pairs = [(i, j) for i, row in enumerate(table) for j, times in enumerate(row) for _ in range(times)]
    return [i for i, _ in pairs], [j for _, j in pairs]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[20, 5], [10, 15]], 0.4),
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
        ([[10, 0], [0, 10]], 1.0),
        ([[5, 5], [5, 5]], 0.0),
        ([[0, 10], [10, 0]], -1.0),
    ],
)
def test_kappa_of_known_tables(table: list[list[int]], expected: float) -> None:
    assert expected == pytest.approx(kappa(table), abs=5e-5)
    assert expected == pytest.approx(agreement(*spread(table)).kappa, abs=5e-5)


@pytest.mark.parametrize("scale", ["nominal", "linear", "quadratic"])
@given(rows=LABELS)
def test_kappa_is_scikit_learns(scale: str, rows: list[tuple[int, int, int]]) -> None:
    a, b = [row[0] for row in rows], [row[1] for row in rows]
    found = agreement(a, b, scale=scale, draws=2).kappa  # type: ignore[arg-type]
    assume(len({*a, *b}) > 1)
    weights = None if scale == "nominal" else scale
    assert cohen_kappa_score(a, b, labels=range(1, 6), weights=weights) == pytest.approx(found, abs=1e-9)


@given(rows=LABELS)
def test_both_graders_count_alike_and_their_order_says_nothing(rows: list[tuple[int, int, int]]) -> None:
    a, b, groups = ([row[i] for row in rows] for i in range(3))
    ahead = agreement(a, b, groups=groups, draws=400)
    back = agreement(b[::-1], a[::-1], groups=groups[::-1], draws=400)
    assert astuple(ahead)[:6] == pytest.approx(astuple(back)[:6])
    assert (ahead.kappa is None) == (back.kappa is None)
    if ahead.kappa is not None:
        assert ahead.kappa == pytest.approx(back.kappa, abs=1e-9)
        if ahead.kappa_low is not None and ahead.kappa_high is not None:
            assert -1.0 <= ahead.kappa_low <= ahead.kappa <= ahead.kappa_high <= 1.0
    assert ahead.share_low is not None
    assert ahead.share_high is not None
    assert 0.0 <= ahead.share_low <= (ahead.share or 0.0) <= ahead.share_high <= 1.0


def test_the_share_has_the_exact_interval() -> None:
    found = agreement([1, 1, 0, 0, 1] * 8, [1, 1, 0, 0, 0] * 8)
    assert (0.8, *rate_bounds(32, 40)) == (found.share, found.share_low, found.share_high)


def test_rows_that_one_of_both_left_out_are_left_out() -> None:
    found = agreement([True, None, False, float("nan")], [True, True, None, False])
    assert (1, 1, 1.0, None) == (found.n, found.groups, found.share, found.kappa)
    assert Agreement(0, 0) == agreement([None], [True])
    assert Agreement(0, 0) == agreement([], [])


def test_thirty_out_of_thirty_is_not_certain() -> None:
    found = agreement([True, False] * 15, [True, False] * 15)
    assert 1.0 == found.kappa == found.kappa_high == found.share
    assert found.kappa_low is not None
    assert 0.7 < found.kappa_low < 0.95


def test_one_label_throughout_has_no_kappa_and_one_group_no_interval() -> None:
    assert agreement([1] * 30, [1] * 30).kappa is None
    found = agreement([1, 0] * 15, [1, 0] * 15, groups=[7] * 30)
    assert (1.0, None, None) == (found.kappa, found.kappa_low, found.kappa_high)
    assert found.share_low == pytest.approx(rate_bounds(1, 1)[0])


def test_a_row_told_three_times_is_worth_one() -> None:
    a, b = spread([[20, 5], [10, 15]])
    once = agreement(a, b, groups=range(50))
    thrice = agreement(a * 3, b * 3, groups=[*range(50)] * 3)
    assert once.share_low == pytest.approx(thrice.share_low, abs=5e-3)
    assert once.kappa_low == pytest.approx(thrice.kappa_low, abs=0.04)
    assert agreement(a * 3, b * 3).kappa_low > (thrice.kappa_low or 0.0) + 0.05  # type: ignore[operator]


def test_a_weight_of_two_is_a_row_twice_but_no_more_sure() -> None:
    a, b = spread([[20, 5], [10, 15]])
    weights = [2.0] * 25 + [1.0] * 25
    weighted = agreement(a, b, weights=weights)
    twice = agreement(a + a[:25], b + b[:25])
    assert twice.kappa == pytest.approx(weighted.kappa)
    assert twice.share == pytest.approx(weighted.share)
    assert weighted.share_low < twice.share_low  # type: ignore[operator]
    assert weighted == agreement(a, b, weights=[7.0 * each for each in weights])


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("table", [[[45, 5], [5, 45]], [[20, 10], [10, 60]], [[10, 2], [3, 85]]])
def test_the_interval_of_kappa_holds_as_often_as_it_says(table: list[list[int]], rows: int) -> None:
    """At 95 %, on 30 prompts: rows of one prompt are copies of its first with a chance of a half."""
    chances = np.ravel(table) / np.sum(table)
    true, rng, held, sims = kappa(table), np.random.default_rng(0), 0, 300
    groups = np.repeat(np.arange(30), rows)
    for seed in range(sims):
        drawn = rng.choice(4, p=chances, size=(30, rows))
        drawn = np.where(rng.random((30, rows)) < 0.5, drawn[:, :1], drawn)
        found = agreement(*np.divmod(drawn.ravel(), 2), groups=groups, draws=400, seed=seed)
        held += found.kappa is None or found.kappa_low <= true <= found.kappa_high  # type: ignore[operator]
    assert 0.9 <= held / sims


@pytest.mark.parametrize(
    ("a", "b", "more"),
    [
        ([1], [1, 2], {}),
        ([1, 2], [1, 2], {"groups": [1]}),
        ([1, 2], [1, 2], {"weights": [1.0]}),
        ([1, 2], [1, 2], {"weights": [1.0, 0.0]}),
        ([1, 2], [1, 2], {"weights": [1.0, float("nan")]}),
    ],
)
def test_what_does_not_fit_is_refused(a: list[int], b: list[int], more: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        agreement(a, b, **more)  # type: ignore[arg-type]
