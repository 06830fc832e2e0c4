"""The certificate: hand-computed bounds, the fixed sequence, and the promise itself against a known truth."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from eval.curve import choose
from training.certify import ALPHAS, DELTA, EPSILONS, certify, upper_bound

REPETITIONS = 200


def rows_of(p: list[float], passed: list[float], n: int) -> dict[str, Any]:
    """n rows alike, each a group of its own, at prices a decade apart."""
    return {
        "p_pass": np.tile(np.array(p, np.float32), (n, 1)),
        "passed": np.tile(np.array(passed, np.float32), (n, 1)),
        "cost_usd": np.tile(10.0 ** np.arange(len(p)), (n, 1)),
        "groups": np.array([f"g{i}" for i in range(n)], object),
    }


def join(*parts: dict[str, Any]) -> dict[str, Any]:
    """Rows one after another, groups named apart."""
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return joined | {"groups": np.array([f"g{i}" for i in range(len(joined["groups"]))], object)}


# The bound


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


# The table


def test_alphas_and_epsilons_ascend_from_conservative_to_permissive() -> None:
    assert sorted(ALPHAS) == list(ALPHAS)
    assert (0.0, 0.5, 201) == (EPSILONS[0], EPSILONS[-1], len(EPSILONS))
    assert (np.diff(EPSILONS) > 0).all()


def test_too_few_rows_certify_nothing() -> None:
    # With 13 groups and no failure the bound is 0.206, with 14 it is 0.193.
    safe = ([0.875, 0.875], [1, 1])
    assert [] == certify(**rows_of(*safe, 13), seed=0)["table"]
    assert [(0.2, 0.5)] == [
        (r["alpha"], r["epsilon"]) for r in certify(**rows_of(*safe, 14), seed=0)["table"]
    ]
    nothing = {key: value[:0] for key, value in rows_of(*safe, 1).items()}
    assert {"kind": "regret", "delta": DELTA, "n": 0, "table": []} == certify(**nothing, seed=0)


def test_a_row_of_the_table_by_hand() -> None:
    # The cheap tier is 0.125 behind on 80 prompts and passes; on 20 it is 0.25 behind and fails.
    rows = join(rows_of([0.625, 0.75], [1, 1], 80), rows_of([0.5, 0.75], [0, 1], 20))
    certificate = certify(**rows, seed=0)
    assert (100, DELTA, "regret") == (certificate["n"], certificate["delta"], certificate["kind"])
    bound = 1 - 0.05 ** (1 / 100)  # no failure of 100
    expected = {"epsilon": 0.2475, "observed": 0.0, "bound": bound, "saving": 1 - (80 * 1 + 20 * 10) / 1000}
    for row in certificate["table"]:
        assert expected == pytest.approx({key: row[key] for key in expected})
    assert [alpha for alpha in ALPHAS if alpha >= bound] == [row["alpha"] for row in certificate["table"]]


def test_the_sequence_stops_at_the_first_failure() -> None:
    # The middle tier fails and is chosen from 0.125 on; the cheap one passes and is chosen from 0.25 on. So an
    # epsilon of 0.25 or more has no regret again, but a test that looked there after a failure proves nothing.
    rows = rows_of([0.5, 0.625, 0.75], [1, 0, 1], 200)
    assert (choose(rows["p_pass"], 0.25) == 0).all()
    table = certify(**rows, seed=0)["table"]
    assert 0.02 == table[0]["alpha"]
    assert {0.1225} == {row["epsilon"] for row in table}


def test_regret_at_the_first_epsilon_certifies_nothing() -> None:
    # A cheap tier that is thought the better one and fails: even epsilon 0 takes it.
    assert [] == certify(**rows_of([0.75, 0.5], [0, 1], 500), seed=0)["table"]


def test_a_top_tier_that_fails_is_not_regretted() -> None:
    table = certify(**rows_of([0.5, 0.75], [0, 0], 500), seed=0)["table"]
    assert {0.5} == {row["epsilon"] for row in table}
    assert {0.0} == {row["observed"] for row in table}


def test_free_tiers_save_nothing() -> None:
    rows = rows_of([0.75, 0.75], [1, 1], 100) | {"cost_usd": np.zeros((100, 2))}
    assert {0.0} == {row["saving"] for row in certify(**rows, seed=0)["table"]}


def noisy(n: int, seed: int) -> dict[str, Any]:
    """Scores that mean what they say, three tiers."""
    rng = np.random.default_rng(seed)
    p = np.sort(rng.random((n, 3)), axis=1).astype(np.float32)
    return {
        "p_pass": p,
        "passed": (rng.random((n, 3)) < p).astype(np.float32),
        "cost_usd": rng.gamma(2.0, [1.0, 10.0, 100.0], (n, 3)),
        "groups": np.array([f"g{i}" for i in range(n)], object),
    }


@pytest.mark.parametrize("n", [50, 300, 3000])
@pytest.mark.parametrize("seed", range(4))
def test_the_table_is_monotone(n: int, seed: int) -> None:
    table = certify(**noisy(n, seed), seed=seed)["table"]
    for row in table:
        assert row["observed"] <= row["bound"] <= row["alpha"]
        assert row["epsilon"] in EPSILONS
    for above, below in pairwise(table):
        assert above["alpha"] < below["alpha"]
        assert above["epsilon"] <= below["epsilon"]


def test_a_smaller_delta_promises_less() -> None:
    rows = noisy(2000, 1)
    sure, surer = (certify(**rows, seed=0, delta=delta)["table"] for delta in (0.2, 0.001))
    epsilon = {row["alpha"]: row["epsilon"] for row in sure}
    assert len(surer) <= len(sure)
    assert all(row["epsilon"] <= epsilon[row["alpha"]] for row in surer)
    assert any(row["epsilon"] < epsilon[row["alpha"]] for row in surer)


# Which rows count


def test_one_row_of_a_group_counts() -> None:
    safe, bad = rows_of([0.75, 0.75], [1, 1], 100), rows_of([0.75, 0.75], [0, 1], 400)
    rows = join(safe, bad)
    apart = certify(**rows, seed=0)
    assert (500, []) == (apart["n"], apart["table"])
    rows["groups"][100:] = "one user"
    together = certify(**rows, seed=0)
    assert 101 == together["n"]
    assert {1 / 101} == {row["observed"] for row in together["table"]}


def test_which_row_of_a_group_counts_depends_on_the_seed_alone() -> None:
    rows = noisy(300, 5)
    rows["groups"] = np.array([f"g{i // 3}" for i in range(300)], object)
    first, again, other = (certify(**rows, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["n"] == other["n"] == 100
    assert first != other


def test_rows_with_an_unobserved_tier_are_left_out() -> None:
    rows = join(rows_of([0.75, 0.75, 0.75], [1, 1, 1], 100), rows_of([0.75, 0.75, 0.75], [0, 1, 1], 50))
    for k in range(3):
        gaps = rows | {"passed": rows["passed"].copy()}
        gaps["passed"][100:, k] = np.nan
        certificate = certify(**gaps, seed=0)
        assert 100 == certificate["n"]
        assert {0.0} == {row["observed"] for row in certificate["table"]}


# The promise


def test_the_promise_is_kept_on_new_data() -> None:
    """Draw calibration parts from a population whose regret is known exactly, and count broken promises.

    Scores are off on purpose: the promise may not rest on their being calibrated.
    """
    rng = np.random.default_rng(2024)
    truth = np.sort(rng.beta(2.0, 1.0, (20_000, 3)), axis=1)
    p_pass = np.clip(truth**2 + rng.normal(0.0, 0.15, truth.shape), 0.0, 1.0).astype(np.float32)
    true_regret = regret_per_epsilon(p_pass, truth)
    broken, promised = dict.fromkeys(ALPHAS, 0), dict.fromkeys(ALPHAS, 0)
    for repetition in range(REPETITIONS):
        drawn = rng.integers(len(truth), size=250)
        passed = (rng.random((250, 3)) < truth[drawn]).astype(np.float32)
        groups = np.arange(250).astype(str).astype(object)
        table = certify(p_pass[drawn], passed, np.ones((250, 3)), groups, seed=repetition)["table"]
        for row in table:
            promised[row["alpha"]] += 1
            broken[row["alpha"]] += true_regret[row["epsilon"]] > row["alpha"]
    most = binom.ppf(0.999, REPETITIONS, DELTA)
    assert all(count <= most for count in broken.values()), broken
    assert promised[0.1] > REPETITIONS / 2  # the promise is made, not only kept
    assert 0 < sum(broken.values())  # and delta is spent, so that a looser bound would be seen


def test_a_looser_bound_would_break_the_promise() -> None:
    """Certify on the observed rate alone: the simulation above can fail."""
    rng = np.random.default_rng(2024)
    truth = np.sort(rng.beta(2.0, 1.0, (20_000, 3)), axis=1)
    p_pass = truth.astype(np.float32)
    regret = regret_per_epsilon(p_pass, truth)
    broken = 0
    for _ in range(REPETITIONS):
        drawn = rng.integers(len(truth), size=250)
        passed = rng.random((250, 3)) < truth[drawn]
        observed = np.array(
            [
                (passed[:, -1] & ~passed[np.arange(250), choose(p_pass[drawn], epsilon)]).mean()
                for epsilon in EPSILONS[::4]
            ]
        )
        stop = int(np.argmax(observed > 0.1)) if (observed > 0.1).any() else len(observed)
        broken += stop > 0 and regret[EPSILONS[::4][stop - 1]] > 0.1
    assert broken > binom.ppf(0.999, REPETITIONS, DELTA)


def regret_per_epsilon(p_pass: NDArray[np.float32], truth: NDArray[np.float64]) -> dict[float, float]:
    """The exact regret of routing a population whose outcomes are drawn apart with known probabilities."""
    each = np.arange(len(truth))
    regret = {}
    for epsilon in EPSILONS:
        chosen = choose(p_pass, epsilon)
        below = chosen < truth.shape[1] - 1
        regret[epsilon] = float((below * truth[:, -1] * (1.0 - truth[each, chosen])).mean())
    return regret


@pytest.mark.parametrize("leaking", [False, True], ids=["held out", "leaking"])
def test_certifying_on_what_was_learned_breaks_the_promise(leaking: bool) -> None:
    """A scorer that repeats its nearest training row: certified on its own rows it is flawless, and is not."""
    rng = np.random.default_rng(7)
    broken = 0
    for repetition in range(REPETITIONS):
        x = np.sort(rng.random(300))
        truth = np.stack([0.3 + 0.4 * x, np.full(300, 0.9)], axis=1)
        train = (rng.random((300, 2)) < truth).astype(np.float32)
        # New prompts at other places; each is scored as the training row just below it.
        fresh_x = rng.random(300)
        nearest = np.clip(np.searchsorted(x, fresh_x) - 1, 0, None)
        fresh_truth = np.stack([0.3 + 0.4 * fresh_x, np.full(300, 0.9)], axis=1)
        fresh = (rng.random((300, 2)) < fresh_truth).astype(np.float32)
        p, passed = (train, train) if leaking else (train[nearest], fresh)
        groups = np.arange(300).astype(str).astype(object)
        table = certify(p, passed, np.ones((300, 2)), groups, seed=repetition)["table"]
        epsilon = next((row["epsilon"] for row in table if row["alpha"] == 0.05), None)
        if epsilon is not None:
            cheap = choose(train[nearest], epsilon) == 0
            broken += float((cheap * fresh_truth[:, 1] * (1 - fresh_truth[:, 0])).mean()) > 0.05
    most = binom.ppf(0.999, REPETITIONS, DELTA)
    assert broken > most if leaking else broken <= most, broken
