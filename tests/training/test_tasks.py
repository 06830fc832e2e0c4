"""The tasks member: tasks learned from tags, rates learned from outcomes, and no tag at serving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from eval.design import Design
from router.embedding import to_unit
from training.graph import Graph, Total
from training.logistic import MARGIN_CLIP, log_odds
from training.stack import sigmoid
from training.tasks import (
    LEAST_ROWS_PER_TASK,
    LEAST_SPREAD,
    MOST_TASKS,
    PRIOR_ROWS,
    SHRINKAGE,
    Tasks,
    tasks_in,
)

MakeDesign = Callable[..., Design]
Relabel = Callable[..., Design]
Export = Callable[..., NDArray[np.float32]]


def tags(*counts: tuple[str | None, int]) -> NDArray[np.object_]:
    return np.array([name for name, count in counts for _ in range(count)], object)


def tagged(make_design: MakeDesign, tasks: NDArray[np.object_] | None) -> Design:
    return replace(make_design(300 if tasks is None else len(tasks), 3), tasks=tasks)


@pytest.fixture
def plain(make_design: MakeDesign, relabel: Relabel) -> Design:
    """Two tasks, one at each end of an axis; the cheap tier does the first, the dear one both."""
    design = make_design(400, 3, n_tiers=2, unobserved=0.0)
    first = np.arange(400) % 2 == 0
    X = np.zeros_like(design.X)
    X[:, 0] = np.where(first, 1.0, -1.0)
    X[:, 1] = np.random.default_rng(0).normal(0.0, 0.1, 400)
    passed = np.stack([first, np.ones(400)], axis=1)
    return relabel(replace(design, X=X, tasks=np.where(first, "easy", "hard").astype(object)), passed)


# Which tasks there are


def test_tasks_by_frequency_and_enough_rows(make_design: MakeDesign) -> None:
    least = LEAST_ROWS_PER_TASK
    design = tagged(make_design, tags(("b", least), ("few", least - 1), (None, 50), ("a", 60), ("c", least)))
    assert ["a", "b", "c"] == tasks_in(design)


def test_at_most_64_tasks_the_most_frequent(make_design: MakeDesign, export: Export) -> None:
    counts = [(f"t{i:03}", LEAST_ROWS_PER_TASK + (i >= 3)) for i in range(MOST_TASKS + 5)]
    design = tagged(make_design, tags(*counts))
    names = tasks_in(design)
    assert MOST_TASKS == len(names) == 64
    assert not {"t000", "t001", "t002"} & set(names)
    member = Tasks.fit(design, 0)
    assert (MOST_TASKS, 3) == member.rates.shape
    few = design.take(np.arange(100))
    np.testing.assert_allclose(
        sigmoid(member.margins(few)), sigmoid(export(member, few, np.ones(3))), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("tasks", [None, tags((None, 60)), tags(("few", 19), (None, 41)), tags(("one", 60))])
def test_fewer_than_two_tasks_are_the_pass_rates(
    tasks: NDArray[np.object_] | None, make_design: MakeDesign, export: Export
) -> None:
    design = tagged(make_design, tasks)
    assert len(tasks_in(design)) < 2
    member = Tasks.fit(design, 0)
    seen = ~np.isnan(design.passed)
    rates = (np.nansum(design.passed, axis=0) + 1) / (seen.sum(axis=0) + 2)
    np.testing.assert_allclose(np.tile(log_odds(rates), (len(design), 1)), member.margins(design))
    np.testing.assert_allclose(member.margins(design), export(member, design, np.ones(3)), atol=1e-5)


# What is learned


def test_two_tasks_are_told_apart_and_have_their_rates(plain: Design, export: Export) -> None:
    member = Tasks.fit(plain, 0)
    assert 2 == len(member.bias) == member.weights.shape[1]
    p = sigmoid(member.margins(plain))
    first = plain.tasks == "easy"
    prior = np.array([201 / 402, 401 / 402])
    passes = {True: np.array([200, 200]), False: np.array([0, 200])}
    for easy, rows in ((True, first), (False, ~first)):
        rate = (passes[easy] + PRIOR_ROWS * prior) / (200 + PRIOR_ROWS)
        np.testing.assert_allclose(np.tile(rate, (200, 1)), p[rows], atol=0.02)
    np.testing.assert_allclose(p, sigmoid(export(member, plain, np.ones(2))), rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_tasks", [2, 3])
def test_tasks_are_told_apart_as_by_scikit_learn(n_tasks: int, make_design: MakeDesign) -> None:
    """On rows whose columns are moved and stretched, the probability of each task times its rates."""
    base = make_design(400, 3)
    X = base.X * np.linspace(0.5, 5.0, base.X.shape[1], dtype=np.float32) + 3.0
    assert base.tasks is not None
    tasks = np.where(base.tasks == "translate", None, base.tasks) if n_tasks == 2 else base.tasks
    design = replace(base, X=X, tasks=tasks)
    told = np.array([task is not None for task in tasks])
    mean, spread = X[told].mean(axis=0, dtype=float), X[told].std(axis=0, dtype=float)
    standard = (X - mean) / np.maximum(spread, LEAST_SPREAD)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
    oracle.fit(standard[told], tasks[told].astype(str))
    member, names = Tasks.fit(design, 0), tasks_in(design)
    order = [list(oracle.classes_).index(name) for name in names]
    expected = oracle.predict_proba(standard)[:, order] @ member.rates
    np.testing.assert_allclose(expected, sigmoid(member.margins(design)), rtol=0, atol=1e-5)
    assert (np.ptp(expected, axis=0) > 0.05).all()


def test_which_name_a_task_has_does_not_matter(plain: Design) -> None:
    renamed = replace(plain, tasks=np.where(plain.tasks == "easy", "zz", "aa").astype(object))
    np.testing.assert_allclose(
        Tasks.fit(plain, 0).margins(plain), Tasks.fit(renamed, 0).margins(plain), rtol=0, atol=1e-9
    )


def test_tasks_are_learned_from_tags_without_an_outcome(plain: Design, relabel: Relabel) -> None:
    """Telling tasks apart needs no grade: a few graded prompts give the rates."""
    passed = plain.passed.copy()
    passed[40:] = np.nan
    p = sigmoid(Tasks.fit(relabel(plain, passed), 0).margins(plain))
    first = plain.tasks == "easy"
    assert p[first, 0].min() > 0.75 > 0.25 > p[~first, 0].max()


def test_untagged_rows_teach_the_general_rates_alone(plain: Design, relabel: Relabel) -> None:
    """Their rows and outcomes do not move the tasks; the tier's own rate, which rates are drawn to, they do."""
    half = np.arange(400) < 200
    tasks = plain.tasks.copy() if plain.tasks is not None else None
    assert tasks is not None
    tasks[~half] = None
    tagless = replace(plain, tasks=tasks)
    alone, both = Tasks.fit(plain.take(half), 0), Tasks.fit(tagless, 0)
    np.testing.assert_allclose(alone.weights, both.weights)
    np.testing.assert_allclose(alone.bias, both.bias)
    failed = plain.passed.copy()
    failed[~half] = 0.0
    lower = Tasks.fit(relabel(tagless, failed), 0)
    assert (lower.rates <= both.rates).all()
    assert 0.0 < np.abs(lower.rates - both.rates).max() < PRIOR_ROWS / (100 + PRIOR_ROWS)


def test_a_rare_task_is_drawn_to_the_tiers_own_rate(make_design: MakeDesign, relabel: Relabel) -> None:
    design = tagged(make_design, tags(("common", 380), ("rare", 20)))
    passed = np.zeros((400, 3))
    passed[380:] = 1.0
    rates = Tasks.fit(relabel(design, passed), 0).rates
    prior = 21 / 402
    np.testing.assert_allclose(np.full(3, PRIOR_ROWS * prior / (380 + PRIOR_ROWS)), rates[0])
    np.testing.assert_allclose(np.full(3, (20 + PRIOR_ROWS * prior) / (20 + PRIOR_ROWS)), rates[1])


def test_a_tier_that_a_task_never_saw_has_its_own_rate(make_design: MakeDesign, relabel: Relabel) -> None:
    design = tagged(make_design, tags(("one", 100), ("other", 100)))
    passed = np.ones((200, 3))
    passed[:50] = 0.0
    passed[100:, 1] = np.nan
    rates = Tasks.fit(relabel(design, passed), 0).rates
    assert 51 / 102 == pytest.approx(rates[1, 1])


def test_the_tag_is_not_read_at_serving(make_design: MakeDesign) -> None:
    design = make_design(300, 3)
    member = Tasks.fit(design, 0)
    others = replace(design, tasks=np.full(300, "sum", object))
    np.testing.assert_array_equal(member.margins(design), member.margins(replace(design, tasks=None)))
    np.testing.assert_array_equal(member.margins(design), member.margins(others))


def test_margins_are_a_mean_of_rates(make_design: MakeDesign) -> None:
    """Whatever the prompt, no tier is thought better than at its best task, or worse than at its worst."""
    member = Tasks.fit(make_design(300, 3), 0)
    assert 3 == len(member.rates)
    p = sigmoid(member.margins(make_design(500, 9)))
    assert (p <= member.rates.max(axis=0) + 1e-12).all()
    assert (p >= member.rates.min(axis=0) - 1e-12).all()
    assert (np.ptp(p, axis=0) > 0.05).all()


@pytest.mark.parametrize("kind", ["constant", "zero", "collinear", "duplicates", "huge"])
@pytest.mark.parametrize("n_tasks", [2, 3])
def test_degenerate_rows_fit_in_silence(
    kind: str,
    n_tasks: int,
    make_design: MakeDesign,
    export: Export,
    capfd: pytest.CaptureFixture[str],
) -> None:
    design = make_design(90, 3, unobserved=0.0)
    X = design.X.copy()
    change: dict[str, Callable[[], Any]] = {
        "constant": lambda: X[:1].repeat(90, 0),
        "zero": lambda: 0 * X,
        "collinear": lambda: X[:, :1].repeat(X.shape[1], 1),
        "duplicates": lambda: X[np.arange(90) % n_tasks],
        "huge": lambda: np.where(np.arange(90)[:, None] == 7, 1e6, X).astype(np.float32),
    }
    tasks = np.array([f"t{i % n_tasks}" for i in range(90)], object)
    X = change[kind]()
    to_unit(X[:, : design.dimension])  # as every row of a design is
    design = replace(design, X=X, tasks=tasks)
    assert n_tasks == len(tasks_in(design))
    member = Tasks.fit(design, 0)
    for rows in (design, make_design(40, 8)):
        margins = member.margins(rows)
        assert np.isfinite(margins).all()
        np.testing.assert_allclose(
            sigmoid(margins), sigmoid(export(member, rows, np.ones(3))), rtol=0, atol=1e-5
        )
    assert ("", "") == capfd.readouterr()


LIMITS = [MARGIN_CLIP, 1.0 - MARGIN_CLIP]


@pytest.mark.parametrize(
    ("rates", "clipped"),
    [
        ([[0.2, 0.7, 0.9], [0.5, 0.5, 0.99]], False),
        ([[LIMITS[0] * 1.01, 0.5, 0.5], [0.5, 0.5, 1.0 - LIMITS[0] * 1.01]], False),
        ([[LIMITS[0] * 0.99, 0.5, 0.5], [0.5, 0.5, 0.5]], True),
        ([[0.5, 0.5, 0.5], [0.5, 0.5, 1.0 - LIMITS[0] * 0.99]], True),
        ([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]], True),
    ],
)
def test_the_graph_clips_rates_beyond_the_limits_and_only_those(
    rates: list[list[float]], clipped: bool, make_design: MakeDesign, export: Export
) -> None:
    design = make_design(200, 3)
    weights = np.zeros((design.X.shape[1], 2))
    weights[0] = 40.0, -40.0  # sure of most rows, so that a mixture is as extreme as a rate
    member = Tasks(weights, np.zeros(2), np.array(rates))
    graph = Graph("x", design.X.shape[1], design.dimension)
    total = Total(graph, 3)
    member.export(total, np.eye(3))
    graph.add("Identity", total.close(), output="z")
    assert clipped == ("Clip" in [node.op_type for node in graph.build({"z": 3}).graph.node])
    margins = member.margins(design)
    bound = np.log(LIMITS[1] / LIMITS[0]) + 1e-9
    assert (np.abs(margins) <= bound).all()
    np.testing.assert_allclose(margins, export(member, design, np.ones(3)), rtol=0, atol=2e-4)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_rates_near_both_ends_survive_float32(
    rate: float, make_design: MakeDesign, relabel: Relabel, export: Export
) -> None:
    """1 minus a share near 1 would keep three digits in float32, and its logarithm no more."""
    design = tagged(make_design, tags(("a", 900), ("b", 900), ("c", 900)))
    member = Tasks.fit(relabel(design, np.full((2700, 3), rate)), 0)
    np.testing.assert_allclose(member.margins(design), export(member, design, np.ones(3)), rtol=0, atol=2e-5)
