"""Sampling: any beginning of an order is a sample, and its weights make sums right on average."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.collect.sampling import ByNovelty, First, Stratified, novelty_of, strata_of

Floats = NDArray[np.float64]


def population(n: int, seed: int = 0) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Strata of very unequal size, a novelty, and an outcome that goes with both."""
    random = np.random.default_rng(seed)
    strata = random.choice(4, size=n, p=[0.7, 0.2, 0.07, 0.03]).astype(np.intp)
    strata[:4] = range(4)
    novelty = random.exponential(size=n)
    outcome = strata * 0.2 + 0.1 * novelty + random.normal(scale=0.1, size=n)
    return strata, novelty, outcome


@given(
    strata=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    seed=st.integers(0, 9),
    share=st.floats(0.0, 1.0),
)
def test_strata_are_all_there_and_their_weights_add_up(strata: list[int], seed: int, share: float) -> None:
    codes = np.unique(strata, return_inverse=True)[1].astype(np.intp)
    order = Stratified.draw(codes, seed)
    assert list(range(len(codes))) == sorted(order.sequence.tolist())
    k = codes.max() + 1
    assert k == len(set(codes[order.sequence[:k]].tolist())), "one of each stratum comes first"
    taken = max(1, round(share * len(codes)))
    weights = order.weights(taken)
    assert taken == len(weights)
    assert weights.sum() == pytest.approx(len(codes))
    assert (weights >= 1.0 - 1e-9).all()
    if taken == len(codes):
        assert weights == pytest.approx(np.ones(taken))


@given(n=st.integers(1, 40), seed=st.integers(0, 9), taken=st.integers(1, 40))
def test_orders_are_drawn_by_seed_alone_and_a_beginning_of_a_longer_one(
    n: int, seed: int, taken: int
) -> None:
    strata, novelty, _ = population(max(n, 4))
    for first, again in (
        (Stratified.draw(strata, seed), Stratified.draw(strata, seed)),
        (ByNovelty.draw(novelty, seed), ByNovelty.draw(novelty, seed)),
    ):
        taken = min(taken, len(strata))
        assert first.sequence[:taken].tolist() == again.sequence[:taken].tolist()
        assert len(strata) == len(set(first.sequence.tolist()))
        assert first.weights(taken).tolist() == again.weights(taken).tolist()
        assert (first.weights(taken) >= 1.0 - 1e-9).all()


@pytest.mark.parametrize("method", ["stratified", "novelty"])
@pytest.mark.parametrize("taken", [30, 80, 150])
def test_weighted_estimates_are_right_on_average(method: str, taken: int) -> None:
    strata, novelty, outcome = population(200)
    sums, hajek, sizes = [], [], []
    for seed in range(800):
        order = Stratified.draw(strata, seed) if method == "stratified" else ByNovelty.draw(novelty, seed)
        weights, values = order.weights(taken), outcome[order.sequence[:taken]]
        sums.append(float(weights @ values) / len(outcome))
        hajek.append(float(weights @ values / weights.sum()))
        sizes.append(float(weights.sum()))
    for estimates in (sums, hajek):
        error = np.std(estimates) / np.sqrt(len(estimates))
        assert abs(np.mean(estimates) - outcome.mean()) < 4.0 * error + 1e-3
    assert np.mean(sizes) == pytest.approx(200, rel=0.01)
    unweighted = [outcome[Stratified.draw(strata, seed).sequence[:30]].mean() for seed in range(200)]
    assert np.mean(unweighted) - outcome.mean() > 0.05, "without weights it is off: the test can fail"


def test_small_strata_get_more_than_their_share_and_large_ones_most() -> None:
    strata = np.repeat(np.arange(2, dtype=np.intp), [900, 100])
    counts = np.bincount(strata[Stratified.draw(strata, 3).sequence[:100]])
    assert counts.tolist() == pytest.approx([75, 25], abs=2)


def test_the_novel_comes_earlier_and_no_weight_is_large() -> None:
    novelty = np.repeat([0.1, 2.0], [900, 100])
    order = ByNovelty.draw(novelty, 0)
    share = (novelty[order.sequence[:100]] == 2.0).mean()
    assert 0.2 < share < 0.6
    uniform = 1000 / 100
    assert order.weights(100).max() <= 2.5 * uniform


def test_novelty_that_is_nowhere_is_a_uniform_draw() -> None:
    order = ByNovelty.draw(np.zeros(50), 1)
    assert len(set(order.weights(10).round(9).tolist())) == 1
    assert order.weights(50).tolist() == [1.0] * 50


def test_first_has_no_weights() -> None:
    assert [0, 1, 2] == First(3).sequence.tolist()
    assert First(3).weights(2) is None


@given(
    tags=st.lists(st.sampled_from(["", *"abcdefghijkl"]), min_size=1, max_size=80),
    seed=st.integers(0, 5),
)
def test_strata_are_numbered_and_never_mix_common_tags(tags: list[str], seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 1000, size=len(tags))
    strata = strata_of(tags, lengths)
    assert set(range(int(strata.max()) + 1)) == set(strata.tolist())
    assert int(strata.max()) + 1 <= 24
    if len(set(tags)) <= 8:
        assert all(
            len({tags[i] for i in np.flatnonzero(strata == each)}) == 1 for each in set(strata.tolist())
        )


def test_strata_cut_lengths_into_three() -> None:
    strata = strata_of(["t"] * 9, np.arange(9) * 100)
    assert [0, 0, 0, 1, 1, 1, 2, 2, 2] == strata.tolist()
    assert {0} == set(strata_of(["t"] * 9, np.full(9, 5)).tolist())


def test_novelty_is_the_distance_to_neighbours() -> None:
    random = np.random.default_rng(0)
    crowd = np.array([1.0, 0.0, 0.0]) + random.normal(scale=0.05, size=(60, 3))
    vectors = np.vstack([crowd, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]]).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    novelty = novelty_of(vectors, 0)
    assert (novelty[:60] < 0.1).all()
    assert (novelty[60:] > 0.5).all()
    assert [0.0] == novelty_of(vectors[:1], 0).tolist()
    assert novelty.tolist() == novelty_of(vectors, 0).tolist()


def test_novelty_of_many_is_by_a_part_of_them() -> None:
    vectors = np.random.default_rng(1).normal(size=(5000, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[4999] = 0.0
    novelty = novelty_of(vectors, 0)
    assert (5000,) == novelty.shape
    assert 4999 == int(novelty.argmax())
