"""The reference tier: the dearest, unless a cheaper one is better beyond chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_certify import outcomes_of

from eval.ladder import best_tier, draw_rows, group_means


def scores(*rates: float, n: int = 400, seed: int = 0) -> Any:
    """Passes at these rates, drawn apart."""
    return (np.random.default_rng(seed).random((n, len(rates))) < rates).astype(float)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((0.5, 0.7, 0.9), 2),
        ((0.9, 0.7, 0.5), 0),
        ((0.5, 0.9, 0.7), 1),
        ((0.85, 0.95, 0.6), 1),  # two are better; the best counts
        ((0.7, 0.7, 0.7), 2),
    ],
)
def test_the_best_tier(rates: tuple[float, ...], expected: int) -> None:
    assert expected == best_tier(outcomes_of(scores(*rates)))


def test_better_by_chance_is_not_better() -> None:
    """Alike in truth: a cheaper one of two is taken about once in forty."""
    wrong = sum(best_tier(outcomes_of(scores(0.7, 0.7, n=200, seed=seed))) == 0 for seed in range(200))
    assert wrong <= 14
    assert 0 == best_tier(outcomes_of(scores(0.8, 0.6, n=200)))


def test_a_group_counts_once() -> None:
    score = np.array([[0.0, 1.0]] * 40 + [[1.0, 0.0]] * 400)
    assert 0 == best_tier(outcomes_of(score))
    one = outcomes_of(score, groups=[*range(40), *[40] * 400])
    assert 1 == best_tier(one)


def test_few_groups_say_nothing() -> None:
    better = [[1.0, 0.0]]
    assert 1 == best_tier(outcomes_of(np.array(better * 29)))
    assert 0 == best_tier(outcomes_of(np.array(better * 30)))


def test_incomplete_rows_are_left_out() -> None:
    score = np.array([[0.0, 1.0]] * 40 + [[1.0, np.nan]] * 400)
    assert 1 == best_tier(outcomes_of(score))
    assert 1 == best_tier(outcomes_of(np.array([[1.0, np.nan]] * 40)))


def test_group_means_by_hand() -> None:
    values = np.array([[1.0, 0.0], [3.0, 1.0], [0.0, 8.0]])
    for groups, expected in (
        (["b", "b", "a"], [[0, 8], [2, 0.5]]),
        (["c", "b", "a"], [[0, 8], [3, 1], [1, 0]]),
    ):
        np.testing.assert_allclose(expected, group_means(values, np.array(groups, object)))


def test_one_row_of_each_group_is_drawn_each_as_often() -> None:
    groups = np.array(["b", "a", "b", "a", "a", 7], object)
    rng = np.random.default_rng(0)
    drawn = np.array([draw_rows(groups, rng) for _ in range(600)])
    assert [["7", "a", "b"]] == np.unique(groups.astype(str)[drawn], axis=0).tolist()
    assert {5} == set(drawn[:, 0])
    for column, rows in ((1, (1, 3, 4)), (2, (0, 2))):
        counts = [(drawn[:, column] == row).sum() for row in rows]
        np.testing.assert_allclose(counts, 600 / len(rows), atol=60)
