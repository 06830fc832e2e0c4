"""Every row is predicted by a fit that did not see it, the same whatever the number of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from eval.baselines import BASELINES, Estimator
from eval.design import Design
from eval.folds import Fold, Plan
from eval.outcomes import UNKNOWN
from eval.scoring import score_out_of_sample
from router.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
Floats = NDArray[np.float64]


def draw(n: int = 60, width: int = 6) -> Design:
    rng = np.random.default_rng(4)
    passed = rng.integers(0, 2, (n, 2)).astype(np.float32)
    label = np.where(passed[:, 0] == 1, 0, np.where(passed[:, 1] == 1, 1, 2)).astype(np.int8)
    texts = np.empty(n, dtype=object)
    texts[:] = [" ".join(rng.choice(["red", "green", "blue"], 4)) for _ in range(n)]
    X, cost = rng.normal(size=(n, width)).astype(np.float32), rng.random((n, 2))
    answer, seen = cost * rng.random((n, 2)), rng.random((n, 2)) < 0.8
    return Design(X, width - 2, texts, passed, label, cost_usd=cost, answer_usd=answer, answer_seen=seen)


def plan_of(n: int = 60, n_folds: int = 3, first: int = 0) -> Plan:
    """Contiguous folds; `first` leaves out that many of them, as windows of time do."""
    parts = np.array_split(np.arange(n), n_folds)[first:]
    return Plan(tuple(Fold(np.setdiff1d(np.arange(n), part), part) for part in parts), "group", "")


def mean_of_train(train: Design, test: Design, seed: int) -> Floats:  # noqa: ARG001
    return np.tile(train.passed.mean(axis=0, dtype=np.float64), (len(test), 1))


def test_each_row_gets_what_its_own_fold_says() -> None:
    design, plan = draw(), plan_of()
    p = score_out_of_sample(design, plan, {"mean": mean_of_train})["mean"]
    assert np.dtype(np.float64) == p.dtype
    for fold in plan.folds:
        expected = design.passed[fold.train].mean(axis=0, dtype=np.float64)
        assert (expected == p[fold.test]).all()


def test_rows_that_no_fold_tests_are_nan() -> None:
    p = score_out_of_sample(draw(), plan_of(first=1), {"mean": mean_of_train})["mean"]
    assert np.isnan(p[:20]).all()
    assert np.isfinite(p[20:]).all()


def test_an_estimator_never_sees_the_outcomes_that_it_predicts() -> None:
    seen: list[Design] = []

    def spy(train: Design, test: Design, seed: int) -> Floats:
        seen.extend([train, test])
        return mean_of_train(train, test, seed)

    design, plan = draw(), plan_of()
    score_out_of_sample(design, plan, {"spy": spy})
    for fold, train, test in zip(plan.folds, seen[::2], seen[1::2], strict=True):
        assert np.isnan(test.passed).all()
        assert (test.label == UNKNOWN).all()
        assert (None, None, None) == (test.cost_usd, test.answer_usd, test.answer_seen)
        for name in ("cost_usd", "answer_usd", "answer_seen"):
            np.testing.assert_array_equal(getattr(design, name)[fold.train], getattr(train, name))
        assert np.array_equal(design.X[fold.test], test.X)
        assert design.texts[fold.test].tolist() == test.texts.tolist()
        assert np.array_equal(design.passed[fold.train], train.passed)
    assert not np.isnan(design.passed).any()


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_change_nothing_but_the_time(workers: int) -> None:
    here, ticks = os.getpid(), []
    closed_over = 0.25

    def closure(train: Design, test: Design, seed: int) -> Floats:  # noqa: ARG001
        if workers > 1 and os.getpid() == here:
            raise AssertionError("not in another process")
        return np.random.default_rng(seed).random((len(test), 2)) * closed_over

    def tick(name: str) -> None:
        assert os.getpid() == here
        ticks.append(name)

    design, plan = draw(400), plan_of(400)
    expected = score_out_of_sample(design, plan, BASELINES, seed=3)
    found = score_out_of_sample(design, plan, BASELINES | {"closure": closure}, 3, tick, workers)
    assert [*BASELINES, "closure"] == list(found)
    for name in BASELINES:
        assert np.array_equal(expected[name], found[name])
    assert sorted(3 * [*BASELINES, "closure"]) == sorted(ticks)


def test_large_rows_that_processes_share_may_be_written_to() -> None:
    # Above a megabyte, arrays reach other processes as read-only files; an estimator gets copies.
    def scribble(train: Design, test: Design, seed: int) -> Floats:
        train.X[:] = 0.0
        test.X[:] = 0.0
        return mean_of_train(train, test, seed)

    design = draw(900, 400)
    before = design.X.copy()
    found = [score_out_of_sample(design, plan_of(900), {"scribble": scribble}, workers=w) for w in (1, 2)]
    assert np.array_equal(found[0]["scribble"], found[1]["scribble"])
    assert np.array_equal(before, design.X)


def test_an_estimator_has_one_thread() -> None:
    threads: list[int] = []

    def count(train: Design, test: Design, seed: int) -> Floats:
        threads.extend(library["num_threads"] for library in threadpool_info())
        return mean_of_train(train, test, seed)

    score_out_of_sample(draw(), plan_of(), {"count": count})
    assert {1} == set(threads)


def wrong_shape(train: Design, test: Design, seed: int) -> Floats:
    return mean_of_train(train, test, seed)[:, :1]


def not_finite(train: Design, test: Design, seed: int) -> Floats:
    return np.where(np.arange(len(test))[:, None] == 2, np.nan, mean_of_train(train, test, seed))


def above_one(train: Design, test: Design, seed: int) -> Floats:
    return mean_of_train(train, test, seed) + 1.0


@pytest.mark.parametrize(
    ("estimator", "message", "workers"),
    [
        (wrong_shape, r"estimator odd: expected shape \(20, 2\), found \(20, 1\)", 1),
        (not_finite, "estimator odd: expected probabilities", 1),
        (above_one, "estimator odd: expected probabilities", 1),
        (above_one, "estimator odd: expected probabilities", 2),
    ],
)
def test_an_answer_that_is_no_probability_names_its_estimator(
    estimator: Estimator, message: str, workers: int
) -> None:
    with pytest.raises(ValueError, match=message):
        score_out_of_sample(draw(), plan_of(), {"mean": mean_of_train, "odd": estimator}, workers=workers)


def test_what_an_estimator_raises_passes_through() -> None:
    def refuse(train: Design, test: Design, seed: int) -> Floats:  # noqa: ARG001
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        score_out_of_sample(draw(), plan_of(), {"refuse": refuse})


def test_a_plan_that_does_not_fit_is_refused() -> None:
    design, fold = draw(), plan_of().folds[0]
    for folds in ((fold, fold), (Fold(fold.test, np.array([60])),)):
        with pytest.raises(ValueError, match="at most once"):
            score_out_of_sample(design, Plan(folds, "group", ""), {"mean": mean_of_train})
    with pytest.raises(ValueError, match="workers is 1 or more; found 0"):
        score_out_of_sample(design, plan_of(), {"mean": mean_of_train}, workers=0)


def test_nothing_to_do_is_done() -> None:
    assert {} == score_out_of_sample(draw(), plan_of(), {}, workers=2)


ENDLESS = """
import signal
import numpy as np
from eval.design import Design
from eval.folds import Fold, Plan
from eval.scoring import score_out_of_sample

def quick_or_endless(train, test, seed):
    while test.X[0, 0] == 1.0:
        pass
    return np.zeros((len(test), 1))

rows = np.arange(6)
X = (rows[:, None] > 2).astype(np.float32)
design = Design(X, 1, np.array([""] * 6, object), np.ones((6, 1), np.float32), np.zeros(6, np.int8))
plan = Plan(tuple(Fold(np.delete(rows, row), rows[row : row + 1]) for row in rows), "group", "")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start background jobs without one
score_out_of_sample(design, plan, {"e": quick_or_endless}, workers=2, tick=lambda name: print("done", flush=True))
"""


def test_ctrl_c_ends_it_though_workers_never_would() -> None:
    command = [sys.executable, "-W", "error", "-c", ENDLESS]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            assert "done\n" == child.stdout.readline()
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=60)
        finally:
            child.kill()
    assert -signal.SIGINT == child.returncode
    assert errors.rstrip().endswith("KeyboardInterrupt")
