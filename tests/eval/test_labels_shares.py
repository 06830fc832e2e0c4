"""Shares: exact where rows are single and alike, and intervals that hold where they are weighted, grouped or chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.labels_shares import share

Sample = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], float]
"""Values, weights, groups and the truth."""


def test_single_rows_have_the_exact_interval() -> None:
    found = share([1, 1, 0, 0, 0], np.ones(5), np.arange(5))
    assert ("exact", 0.4, 5, 5) == tuple(found[key] for key in ("method", "value", "rows", "groups"))
    # Clopper and Pearson for 2 of 5, from their tables.
    assert (0.0527, 0.8534) == pytest.approx((found["low"], found["high"]), abs=1e-4)


def test_none_of_n_is_bounded_by_the_rule_of_three_and_some() -> None:
    found = share(np.zeros(100), np.ones(100), np.arange(100))
    assert 0.0 == found["low"] == found["value"]
    assert 1.0 - 0.025 ** (1 / 100) == pytest.approx(found["high"])


def test_weights_make_the_mean_of_the_population() -> None:
    found = share([1.0, 0.0], [3.0, 1.0], [0, 1])
    assert 0.75 == found["value"]
    assert "effective" == found["method"]


def test_rows_of_a_group_that_are_all_alike_count_once() -> None:
    twice = share(np.repeat([1, 1, 0, 0, 0, 1, 0, 1, 1, 1], 7), np.ones(70), np.repeat(np.arange(10), 7))
    once = share([1, 1, 0, 0, 0, 1, 0, 1, 1, 1], np.ones(10), np.arange(10))
    assert twice["value"] == pytest.approx(once["value"])
    assert twice["effective"] <= 10
    assert twice["low"] <= once["low"] + 0.02
    assert twice["high"] >= once["high"] - 0.02


def test_all_alike_is_no_more_than_the_groups_are_worth() -> None:
    found = share(np.ones(60), np.ones(60), np.repeat(np.arange(20), 3))
    assert 20 == pytest.approx(found["effective"])
    assert 0.025 ** (1 / 20) == pytest.approx(found["low"])


@pytest.mark.parametrize(("rows", "groups"), [([], []), ([1.0], [0]), ([1.0, 0.0, 1.0], [4, 4, 4])])
def test_one_group_or_none_bounds_nothing(rows: list[float], groups: list[int]) -> None:
    found = share(rows, np.ones(len(rows)), groups)
    assert (None, None, "none", True) == tuple(found[key] for key in ("low", "high", "method", "few"))
    assert found["value"] == (pytest.approx(np.mean(rows)) if rows else None)


ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.08, 0.9, 1.0]), st.floats(0.1, 20.0), st.integers(0, 12)),
    min_size=2,
    max_size=60,
)


@given(rows=ROWS, scale=st.floats(0.01, 100.0), seed=st.integers(0, 99))
def test_neither_order_nor_the_scale_of_weights_matters(
    rows: list[tuple[float, float, int]], scale: float, seed: int
) -> None:
    values, weights, groups = map(np.array, zip(*rows, strict=True))
    order = np.random.default_rng(seed).permutation(len(rows))
    one, other = share(values, weights, groups), share(values[order], scale * weights[order], groups[order])
    for key in ("value", "low", "high", "effective"):
        assert one[key] == (None if other[key] is None else pytest.approx(other[key], rel=1e-6, abs=1e-9))


@given(rows=ROWS)
def test_an_interval_holds_its_share_and_stays_a_share(rows: list[tuple[float, float, int]]) -> None:
    found = share(*map(np.array, zip(*rows, strict=True)))
    if found["low"] is not None:
        assert 0.0 <= found["low"] <= found["value"] <= found["high"] <= 1.0


@given(rows=st.lists(st.booleans(), min_size=2, max_size=60), weight=st.floats(0.1, 50.0))
def test_equal_weights_are_no_weights(rows: list[bool], weight: float) -> None:
    n = len(rows)
    plain, weighted = (share(rows, np.full(n, w), np.arange(n)) for w in (1.0, weight))
    assert "exact" == plain["method"] == weighted["method"]
    assert plain == weighted


def single(rng: np.random.Generator) -> Sample:
    return (rng.random(60) < 0.9).astype(float), np.ones(60), np.arange(60), 0.9


def grouped(rng: np.random.Generator) -> Sample:
    """Users with 1 to 8 prompts each, some of whom ask what is hard."""
    group = np.repeat(np.arange(60), rng.integers(1, 9, 60))
    rate = rng.beta(3.2, 0.8, 60)[group]
    return (rng.random(len(group)) < rate).astype(float), np.ones(len(group)), group, 0.8


def sampled(rng: np.random.Generator) -> Sample:
    """Half of the sample from the hard fifth of the log."""
    hard = rng.random(80) < 0.5
    values = (rng.random(80) < np.where(hard, 0.4, 0.9)).astype(float)
    return values, np.where(hard, 0.4, 1.6), np.arange(80), 0.2 * 0.4 + 0.8 * 0.9


def sampled_groups(rng: np.random.Generator) -> Sample:
    """The same, by user."""
    group = np.repeat(np.arange(50), rng.integers(1, 6, 50))
    hard = (rng.random(50) < 0.5)[group]
    rate = np.where(hard, 0.35, 0.85) + rng.uniform(-0.1, 0.1, 50)[group]
    return (
        (rng.random(len(group)) < rate).astype(float),
        np.where(hard, 0.4, 1.6),
        group,
        0.2 * 0.35 + 0.8 * 0.85,
    )


def chosen(rng: np.random.Generator) -> Sample:
    """A tier of a censored log, served by a known chance that grows with difficulty."""
    hard = rng.random(300)
    chance = 0.1 + 0.6 * hard
    served = rng.random(300) < chance
    values = (rng.random(300) < 1.0 - 0.6 * hard)[served].astype(float)
    return values, 1.0 / chance[served], np.arange(int(served.sum())), 0.7


def judged(rng: np.random.Generator) -> Sample:
    """Scores of a judge: what a person would say, given its verdict."""
    return np.where(rng.random(60) < 0.9, 0.9, 0.08), np.ones(60), np.arange(60), 0.9 * 0.9 + 0.1 * 0.08


@pytest.mark.parametrize("draw", [single, grouped, sampled, sampled_groups, chosen, judged])
def test_intervals_hold_as_often_as_they_say(draw: Callable[[np.random.Generator], Sample]) -> None:
    held = 0
    for seed in range(300):
        values, weights, groups, truth = draw(np.random.default_rng(seed))
        found = share(values, weights, groups)
        held += found["low"] <= truth <= found["high"]
    assert held >= 0.92 * 300


def test_ignoring_groups_or_weights_would_not_hold() -> None:
    """The simulation can tell: without groups and weights, intervals of these samples miss."""
    held = {"grouped": 0, "sampled": 0}
    for seed in range(300):
        for draw in (grouped, sampled):
            values, _, _, truth = draw(np.random.default_rng(seed))
            found = share(values, np.ones(len(values)), np.arange(len(values)))
            held[draw.__name__] += found["low"] <= truth <= found["high"]
    assert max(held.values()) < 0.92 * 300
