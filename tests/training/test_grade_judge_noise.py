"""What a verdict is worth: in simulations with known errors, the mean of the chances is the share that a human passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.grade.judges.noise import Belief, Confusion, believe, count

COUNTS = st.integers(0, 60)


def drawn(rng: np.random.Generator, n: int, p: float, s: float, f: float) -> list[tuple[bool, bool]]:
    """Return n pairs of (judge passes, human passes)."""
    human = rng.random(n) < p
    judge = rng.random(n) < np.where(human, s, f)
    return list(zip(judge.tolist(), human.tolist(), strict=True))


def mean_score(belief: Belief, passed: int, n: int) -> float:
    return (passed * belief.if_passed + (n - passed) * belief.if_failed) / n


def test_pairs_are_counted_by_who_passes() -> None:
    pairs = [(True, True)] * 4 + [(True, False)] * 3 + [(False, True)] * 2 + [(False, False)]
    found = count(pairs)
    assert Confusion(both_pass=4, false_pass=3, false_fail=2, both_fail=1) == found
    assert 10 == found.n
    assert {"both_pass": 4, "false_pass": 3, "false_fail": 2, "both_fail": 1} == found.to_dict()


@pytest.mark.parametrize(("s", "f"), [(0.9, 0.15), (0.97, 0.05), (0.8, 0.2)])
def test_the_mean_of_scores_is_what_a_human_would_pass(s: float, f: float) -> None:
    """Three models of which a human passes 45, 70 and 92 %; one judge, measured on 150 answers drawn from all."""
    rng, rates, rows = np.random.default_rng(0), (0.45, 0.70, 0.92), 1000
    means = []
    for _ in range(40):
        pairs = [pair for p in rates for pair in drawn(rng, 50, p, s, f)]
        passes = {
            i: (sum(judge for judge, _ in drawn(rng, rows, p, s, f)), rows) for i, p in enumerate(rates)
        }
        beliefs = believe(count(pairs), passes)
        means.append([mean_score(beliefs[i], *passes[i]) for i in range(3)])
    assert rates == pytest.approx(np.mean(means, axis=0), abs=0.03)


def test_one_chance_for_all_models_would_draw_them_together() -> None:
    """Why beliefs are by model: the gap of 47 points between two models would shrink by half."""
    rng, rates, s, f = np.random.default_rng(0), (0.45, 0.92), 0.9, 0.15
    own, common = [], []
    for _ in range(40):
        found = count(pair for p in rates for pair in drawn(rng, 75, p, s, f))
        passes = {p: (sum(judge for judge, _ in drawn(rng, 1000, p, s, f)), 1000) for p in rates}
        beliefs = believe(found, passes)
        one = Belief(
            (found.both_pass + 1) / (found.both_pass + found.false_pass + 2),
            (found.false_fail + 1) / (found.false_fail + found.both_fail + 2),
        )
        low, high = ([mean_score(each, *passes[p]) for each in (beliefs[p], one)] for p in rates)
        own.append(high[0] - low[0])
        common.append(high[1] - low[1])
    assert 0.47 == pytest.approx(np.mean(own), abs=0.03)
    assert 0.47 / 2 == pytest.approx(np.mean(common), abs=0.03)


def test_chances_are_right_as_often_as_they_say() -> None:
    """Judges that a floor lets by and models drawn at random: of rows with a chance of c, a human passes c."""
    rng = np.random.default_rng(1)
    found = []  # what is said, what is true, and the share of rows
    for _ in range(300):
        s, f, p = rng.uniform(0.7, 1.0), rng.uniform(0.0, 0.3), rng.random()
        q = p * s + (1.0 - p) * f
        belief = believe(count(drawn(rng, 60, 0.5, s, f)), {"m": (int(rng.binomial(300, q)), 300)})["m"]
        found.append((belief.if_passed, p * s / q, q))
        found.append((belief.if_failed, p * (1.0 - s) / (1.0 - q), 1.0 - q))
    said, true, share = np.array(found).T
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        at = (low <= said) & (said < low + 0.2)
        assert np.average(true[at], weights=share[at]) == pytest.approx(
            np.average(said[at], weights=share[at]), abs=0.05
        )
    assert np.average(true, weights=share) == pytest.approx(np.average(said, weights=share), abs=0.015)


def test_a_judge_that_never_errs_on_many_is_nearly_believed() -> None:
    belief = believe(Confusion(both_pass=500, both_fail=500), {"m": (50, 100)})["m"]
    assert belief.if_passed > 0.99
    assert belief.if_failed < 0.01


def test_the_same_judge_is_believed_less_on_what_is_rare() -> None:
    confusion = Confusion(both_pass=90, false_pass=10, false_fail=10, both_fail=90)
    beliefs = believe(confusion, {"weak": (14, 100), "strong": (86, 100)})
    assert beliefs["weak"].if_passed < beliefs["strong"].if_passed
    assert beliefs["weak"].if_failed < beliefs["strong"].if_failed


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.integers(1, 10**6), st.floats(0, 1))
def test_chances_are_chances_and_a_pass_is_worth_more(
    a: int, b: int, c: int, d: int, n: int, share: float
) -> None:
    if a * d <= b * c:  # no better than a coin: refused before
        return
    passed = round(n * share)
    belief = believe(Confusion(a, b, c, d), {"m": (passed, n)})["m"]
    assert 0.0 <= belief.if_failed <= belief.if_passed <= 1.0


@pytest.mark.parametrize("seen", [(0, 0), (3, 2), (-1, 2)])
def test_counts_that_cannot_be_are_refused(seen: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 row"):
        believe(Confusion(20, 2, 2, 20), {"m": seen})
