"""Resamples: means by hand, parity with the plain bootstrap, and what has no interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_bootstrap import bootstrap

from eval.resample import draw_groups, interval

NAN = float("nan")


def test_the_first_row_is_the_sample_itself() -> None:
    draws = draw_groups(["b", "a", "b"], n_boot=5)
    assert [[1, 1]] == draws.counts[:1].tolist()
    assert [1, 0, 1] == draws.group.tolist()
    assert [[2.0, 30.0]] == draws.means([[1, 10], [2, 30], [3, 50]])[:1].tolist()


def test_means_weigh_groups_by_how_often_they_were_drawn() -> None:
    draws = draw_groups(["a", "a", "b"], n_boot=20, seed=1)
    means = draws.means([[1.0], [2.0], [6.0]])[:, 0]
    by_count = {(1, 1): 3.0, (2, 0): 1.5, (0, 2): 6.0}
    assert [by_count[tuple(counts)] for counts in draws.counts.astype(int).tolist()] == means.tolist()
    assert {(1, 1), (2, 0), (0, 2)} == {tuple(counts) for counts in draws.counts.astype(int).tolist()}


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=20), st.integers(0, 99))
def test_blocks_of_weights_agree_with_means(groups: list[str], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=len(groups))
    draws = draw_groups(groups, n_boot=7, seed=seed)
    assert np.all(draws.counts.sum(axis=1) == draws.n_groups)
    found = np.empty(len(draws))
    for block, weight in draws.weights(2_000_000):  # so wide that blocks hold few draws
        found[block] = (weight @ values) / weight.sum(axis=1)
    assert found.tolist() == pytest.approx(draws.means(values[:, None])[:, 0].tolist())


def test_the_interval_is_that_of_the_plain_bootstrap() -> None:
    rng = np.random.default_rng(0)
    groups, values = rng.integers(0, 60, 300), rng.normal(size=300)
    plain = bootstrap(groups, lambda rows: float(values[rows].mean()), n_boot=2000)
    draws = draw_groups(groups, 2000)
    found = interval(draws, draws.means(values[:, None])[:, 0])
    assert plain.value == pytest.approx(found["value"])
    assert [plain.low, plain.high] == pytest.approx([found["low"], found["high"]], abs=0.02)


def test_the_same_seed_gives_the_same_draws() -> None:
    one, same, other = (draw_groups(range(9), 4, seed) for seed in (3, 3, 4))
    assert one.counts.tolist() == same.counts.tolist() != other.counts.tolist()


@pytest.mark.parametrize(
    ("groups", "values", "expected"),
    [
        ([1, 2], [0.5, NAN, NAN, NAN, 1.0], {"value": 0.5, "low": None, "high": None}),
        ([1, 2], [NAN, 1.0, 1.0, NAN, 1.0], {"value": None, "low": 1.0, "high": 1.0}),
        ([1, 1], [0.5, 0.5, 0.5, 0.5, 0.5], {"value": 0.5, "low": None, "high": None}),
    ],
    ids=["mostly undefined", "undefined in the sample", "one group"],
)
def test_no_bounds_without_grounds(groups: Any, values: Any, expected: Any) -> None:
    assert expected == interval(draw_groups(groups, 4), values)


@pytest.mark.parametrize(
    "call",
    [
        lambda: draw_groups([]),
        lambda: draw_groups([[1, 2]]),
        lambda: draw_groups([1, 2], n_boot=0),
        lambda: draw_groups([1, 2]).means([1.0, 2.0]),
        lambda: interval(draw_groups([1, 2], 3), [1.0]),
    ],
)
def test_bad_input_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match="found"):
        call()
