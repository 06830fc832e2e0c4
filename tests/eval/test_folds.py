"""No fold learns from what judges it, by group or by time; and a fold that did would be found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from eval.curve import gap_closed, oracle_curve, random_curve, router_curve
from eval.design import Design
from eval.folds import Fold, Plan, plan_folds, require_no_leak
from eval.outcomes import Outcomes
from eval.scoring import score_out_of_sample
from router.errors import ConfigError
from router.tiers import Ladder, Tier

LADDER = Ladder((Tier("small", ("s",), 1.0, 1.0), Tier("large", ("b",), 2.0, 2.0)))
START = np.datetime64("2025-01-01", "ns")


def strings(values: list[str]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def of_groups(
    groups: list[str], hours: list[int] | None = None, passed: NDArray[np.float32] | None = None
) -> Outcomes:
    n = len(groups)
    names = strings([f"p{i}" for i in range(n)])
    passed = np.ones((n, 2), np.float32) if passed is None else passed
    return Outcomes(
        ladder=LADDER,
        prompt_ids=names,
        prompts=list(names),
        groups=strings(groups),
        score=passed,
        passed=passed,
        cost_usd=np.tile([1.0, 4.0], (n, 1)),
        cost_estimated=np.zeros((n, 2), dtype=bool),
        tags={},
        timestamp=None if hours is None else START + np.array(hours, "m8[h]"),
        mean_output_tokens=(1.0, 1.0),
        dropped={},
    )


def rows_of(*rows: int) -> NDArray[np.intp]:
    return np.array(rows, np.intp)


def judged_rows(plan: Plan) -> list[int]:
    return sorted(int(row) for fold in plan.folds for row in fold.test)


def parts(plan: Plan, outcomes: Outcomes) -> set[tuple[frozenset[str], frozenset[str]]]:
    """Each fold by the names of its prompts, whatever their rows."""
    names = outcomes.prompt_ids
    return {(frozenset(names[fold.train]), frozenset(names[fold.test])) for fold in plan.folds}


GROUPS = st.lists(st.sampled_from([f"g{i}" for i in range(12)]), min_size=2, max_size=60).filter(
    lambda groups: len(set(groups)) > 1
)


@given(GROUPS, st.integers(0, 5), st.integers(2, 7))
def test_by_group_every_row_is_judged_exactly_once_by_all_other_groups(
    groups: list[str], seed: int, n_folds: int
) -> None:
    outcomes = of_groups(groups)
    plan = plan_folds(outcomes, seed, n_folds)
    require_no_leak(plan, outcomes)
    assert "group" == plan.method
    assert min(n_folds, len(set(groups))) == len(plan.folds)
    assert list(range(len(groups))) == judged_rows(plan)
    for fold in plan.folds:
        assert list(range(len(groups))) == sorted([*fold.train, *fold.test])
        assert not set(outcomes.groups[fold.train]) & set(outcomes.groups[fold.test])


@given(GROUPS, st.data())
def test_with_times_no_fold_leaks_whatever_the_groups(groups: list[str], data: st.DataObject) -> None:
    n = len(groups)
    outcomes = of_groups(groups, data.draw(st.lists(st.integers(0, 40), min_size=n, max_size=n)))
    plan = plan_folds(outcomes)
    require_no_leak(plan, outcomes)
    assert len(judged_rows(plan)) == len(set(judged_rows(plan)))


@given(st.lists(st.integers(0, 400), min_size=20, max_size=60, unique=True), st.data())
def test_by_time_the_past_judges_the_future(hours: list[int], data: st.DataObject) -> None:
    outcomes = of_groups([f"g{i}" for i in range(len(hours))], hours)
    plan = plan_folds(outcomes, seed=data.draw(st.integers(0, 3)))
    assert "time" == plan.method
    assert 4 == len(plan.folds)
    for fold in plan.folds:
        assert max(hours[i] for i in fold.train) < min(hours[i] for i in fold.test)
    judged = judged_rows(plan)
    never = set(range(len(hours))) - set(judged)
    assert len(set(judged)) == len(judged)
    assert max(hours[i] for i in never) < min(hours[i] for i in judged)
    sizes = [len(never), *(len(fold.test) for fold in plan.folds)]
    assert max(sizes) - min(sizes) <= 1


@given(GROUPS, st.booleans(), st.integers(0, 9))
def test_the_order_of_rows_does_not_matter(groups: list[str], stamped: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes = of_groups(groups, rng.integers(0, 99, len(groups)).tolist() if stamped else None)
    shuffled = outcomes.take(rng.permutation(len(groups)))
    straight, other = plan_folds(outcomes), plan_folds(shuffled)
    assert (straight.method, straight.text) == (other.method, other.text)
    assert parts(straight, outcomes) == parts(other, shuffled)


def test_windows_by_hand() -> None:
    # Ten prompts, one an hour, in blocks of two. Group "long" was seen at hours 1 and 4: the folds
    # that judge hours 2 to 5 may not learn from it, later ones may.
    groups = ["a", "long", "c", "d", "long", "f", "g", "h", "i", "j"]
    outcomes = of_groups(groups, list(range(10)))
    plan = plan_folds(outcomes)
    expected = [([0], [2, 3]), ([0, 2, 3], [4, 5]), ([0, 1, 2, 3, 4, 5], [6, 7]), (list(range(8)), [8, 9])]
    assert expected == [(fold.train.tolist(), fold.test.tolist()) for fold in plan.folds]
    assert plan.text == (
        "By time, in 4 steps: each prompt is judged by a fit on groups that are older; "
        "the oldest 2 prompts only teach."
    )


def test_seeds_shuffle_groups_and_equal_seeds_repeat() -> None:
    outcomes = of_groups([f"g{i}" for i in range(40)])
    first, again, other = (parts(plan_folds(outcomes, seed), outcomes) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("hours", "why"),
    [
        (None, "its group."),
        ([0] * 10 + [1] * 10, "its group; times are too coarse to go by."),
        ([10] * 15 + list(range(5)), "its group; times are too coarse to go by."),
    ],
)
def test_where_times_do_not_serve_groups_do_and_the_text_says_so(hours: list[int] | None, why: str) -> None:
    plan = plan_folds(of_groups([f"g{i}" for i in range(20)], hours))
    assert "group" == plan.method
    assert plan.text.startswith("In 5 folds: ")
    assert plan.text.endswith(why)


def test_groups_that_never_end_leave_nothing_older_to_learn_from() -> None:
    plan = plan_folds(of_groups([f"user{i % 4}" for i in range(40)], list(range(40))))
    assert "group" == plan.method
    assert plan.text.endswith("; groups last too long to go by time.")


def test_one_prompt_without_a_time_is_enough_to_go_by_group() -> None:
    outcomes = of_groups([f"g{i}" for i in range(20)], list(range(20)))
    assert outcomes.timestamp is not None
    outcomes.timestamp[3] = np.datetime64("NaT")
    plan = plan_folds(outcomes)
    assert "group" == plan.method
    assert plan.text.endswith("; times were not used, since 1 of 20 prompts have none.")


def test_one_group_cannot_be_judged_out_of_sample() -> None:
    with pytest.raises(ConfigError, match=r"expected two or more groups .* found 1 \(3 prompts\)"):
        plan_folds(of_groups(["only"] * 3))
    with pytest.raises(ConfigError, match="found 0"):
        plan_folds(of_groups([]))
    with pytest.raises(ValueError, match="n_folds is 2 or more; found 1"):
        plan_folds(of_groups(["a", "b"]), n_folds=1)


LEAKS: list[tuple[str, list[Fold], str]] = [
    ("group", [Fold(rows_of(0, 1), rows_of(2, 3))], r"fold 1: 1 group\(s\) on both sides"),
    (
        "group",
        [Fold(rows_of(0), rows_of(3)), Fold(rows_of(1, 2), rows_of(3))],
        r"1 row\(s\) are tested twice",
    ),
    ("group", [Fold(rows_of(0), rows_of(3, 3))], r"1 row\(s\) are tested twice"),
    ("group", [Fold(rows_of(0), rows_of())], "fold 1: test is empty"),
    ("group", [Fold(rows_of(), rows_of(0))], "fold 1: train is empty"),
    ("group", [Fold(rows_of(0), rows_of(9))], "fold 1: test is empty, or holds rows outside 0 to 3"),
    ("time", [Fold(rows_of(0), rows_of(3)), Fold(rows_of(3), rows_of(0))], "fold 2: a training row is newer"),
]


@pytest.mark.parametrize(("method", "folds", "message"), LEAKS)
def test_a_leak_is_found(method: str, folds: list[Fold], message: str) -> None:
    outcomes = of_groups(["a", "b", "b", "c"], [0, 1, 2, 3])
    with pytest.raises(ValueError, match=message):
        require_no_leak(Plan(tuple(folds), method, ""), outcomes)


def test_a_plan_by_time_needs_times() -> None:
    with pytest.raises(ValueError, match="not every row has a time"):
        require_no_leak(Plan((Fold(rows_of(0), rows_of(1)),), "time", ""), of_groups(["a", "b"]))


def memorise(train: Design, test: Design, seed: int) -> NDArray[np.float64]:  # noqa: ARG001
    """Answer with the outcome of the one nearest row: exact for a row that has a copy in training."""
    nearest = (test.X @ train.X.T).argmax(axis=1)
    return train.passed[nearest].astype(np.float64)


def test_a_memoriser_closes_no_gap_with_these_folds_and_nearly_all_of_it_with_folds_by_row() -> None:
    # 400 groups of four copies. Whether the cheap tier passes is a coin per group, so nothing can be learnt.
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(400), 4)
    passed = np.ones((1600, 2), np.float32)
    passed[:, 0] = rng.integers(0, 2, 400)[group]
    outcomes = of_groups([f"g{i}" for i in group], passed=passed)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    design = Design(vectors[group], 16, strings(["same"] * 1600), passed, outcomes.label())

    def gap(plan: Plan) -> float:
        p: Any = score_out_of_sample(design, plan, {"memoriser": memorise})["memoriser"]
        quality, cost = outcomes.score, outcomes.cost_usd
        ends = random_curve(quality, cost), oracle_curve(quality, cost)
        return gap_closed(router_curve(p, quality, cost), *ends)

    ours = plan_folds(outcomes)
    require_no_leak(ours, outcomes)
    by_row = KFold(5, shuffle=True, random_state=0).split(group)
    leaking = Plan(tuple(Fold(train, test) for train, test in by_row), "group", "")
    with pytest.raises(ValueError, match="on both sides"):
        require_no_leak(leaking, outcomes)
    assert gap(ours) < 0.1
    assert gap(leaking) > 0.9
