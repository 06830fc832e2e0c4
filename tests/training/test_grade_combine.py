"""Scores of several graders become one, and nothing unknown becomes known."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from training.grade.combine import Combine, Given, Label, combine, decides
from training.grade.grades import Grade, Why

NULL = Given(Grade(None, Why.NO_REFERENCE))
ABSENT = Given(Grade(None, Why.NOT_APPLICABLE))


def rule(score: float) -> Given:
    return Given(Grade(score))


def judge(score: float, error: float | None) -> Given:
    return Given(Grade(score), error)


GOLDEN = [
    ("all", [rule(1.0), rule(1.0)], 1.0),
    ("all", [rule(1.0), rule(0.4)], 0.4),
    ("all", [rule(0.0), NULL], 0.0),
    ("all", [rule(1.0), NULL], None),
    ("all", [rule(1.0), ABSENT], 1.0),
    ("any", [rule(0.0), rule(0.6)], 0.6),
    ("any", [rule(1.0), NULL], 1.0),
    ("any", [rule(0.0), NULL], None),
    ("mean", [rule(1.0), rule(0.0)], 0.5),
    ("mean", [rule(1.0), NULL], None),
    ("mean", [rule(1.0), ABSENT], 1.0),
    ("first", [NULL, rule(0.25), rule(1.0)], 0.25),
    ("first", [NULL, NULL], None),
    ("majority", [rule(1.0), rule(1.0), rule(0.0)], 1.0),
    ("majority", [rule(1.0), rule(0.0)], 0.0),
    ("majority", [rule(1.0), rule(1.0), NULL], 1.0),
    ("majority", [rule(1.0), NULL, rule(0.0)], None),
    ("majority", [rule(0.0), rule(0.0), NULL], 0.0),
    ("all", [ABSENT], None),
]


@pytest.mark.parametrize(("how", "given_", "expected"), GOLDEN)
def test_golden(how: str, given_: list[Given], expected: float | None) -> None:
    label = combine(Combine(how), given_)
    assert expected == label.score
    assert (label.score is None) is (label.why is not None)
    assert label.error == (None if expected is None else 0.0)


def test_weights_count_only_for_graders_that_apply() -> None:
    label = combine(Combine.WEIGHTED, [rule(1.0), ABSENT, rule(0.0)], [3.0, 5.0, 1.0])
    assert label.score == 0.75


def test_a_judge_beside_rules_that_pass_keeps_its_own_numbers() -> None:
    label = combine(Combine.ALL, [rule(1.0), judge(0.875, 0.125)])
    assert label == Label(0.875, None, 0.125)


def test_a_rule_that_fails_leaves_nothing_to_a_judge() -> None:
    assert combine(Combine.ALL, [rule(0.0), judge(0.875, 0.125)]) == Label(0.0, None, 0.0)
    assert combine(Combine.ALL, [rule(0.0), judge(1.0, None)]) == Label(0.0, None, 0.0)
    assert combine(Combine.ANY, [rule(1.0), judge(0.1, 0.1)]) == Label(1.0, None, 0.0)


def test_a_judge_that_nobody_measured_leaves_the_error_unknown() -> None:
    assert combine(Combine.ALL, [rule(1.0), judge(1.0, None)]) == Label(1.0, None, None)
    assert combine(Combine.MAJORITY, [rule(1.0), rule(1.0), judge(0.0, None)]) == Label(1.0, None, 0.0)


def test_two_judges_under_all_are_two_coins() -> None:
    label = combine(Combine.ALL, [judge(0.9, 0.1), judge(0.8, 0.2)])
    assert label.score == pytest.approx(0.72)
    assert label.error == pytest.approx(0.28)


SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
GIVEN = st.one_of(
    SCORES.map(rule),
    st.floats(0.01, 0.99).map(lambda p: judge(p, min(p, 1 - p))),
    SCORES.map(lambda score: judge(score, None)),
    st.just(NULL),
    st.just(ABSENT),
)
HOWS = [how for how in Combine if how is not Combine.WEIGHTED]


@given(st.sampled_from(HOWS), st.lists(GIVEN, min_size=1, max_size=4))
def test_scores_and_errors_are_probabilities(how: Combine, parts: list[Given]) -> None:
    label = combine(how, parts)
    assert (label.score is None) is (label.why is not None)
    assert label.score is None or -1e-12 <= label.score <= 1 + 1e-12
    assert label.error is None or -1e-12 <= label.error <= 1 + 1e-12


@given(st.sampled_from(HOWS), st.lists(SCORES.map(rule), min_size=1, max_size=4), st.data())
def test_a_null_never_makes_a_score_that_it_could_overturn(
    how: Combine, parts: list[Given], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(parts)))
    label = combine(how, [*parts[:at], NULL, *parts[at:]])
    assume(label.score is not None and how is not Combine.FIRST)
    for score in (0.0, 1.0):
        whole = combine(how, [*parts[:at], rule(score), *parts[at:]])
        assert (whole.score or 0) >= 0.5 if (label.score or 0) >= 0.5 else (whole.score or 0) < 0.5


@given(st.sampled_from(HOWS), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3))
def test_the_mean_of_scores_is_that_of_the_truth(how: Combine, chances: list[float]) -> None:
    label = combine(how, [judge(p, min(p, 1 - p)) for p in chances])
    truth = 0.0
    for sides in product((0.0, 1.0), repeat=len(chances)):
        chance = 1.0
        for side, p in zip(sides, chances, strict=True):
            chance *= p if side else 1 - p
        truth += chance * (combine(how, [rule(side) for side in sides]).score or 0.0)
    assert label.score == pytest.approx(truth)


@given(
    st.sampled_from([Combine.ALL, Combine.ANY, Combine.FIRST]),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, None]), max_size=3),
    SCORES,
)
def test_what_rules_decide_no_judge_could_change(
    how: Combine, scores: list[float | None], verdict: float
) -> None:
    parts = [NULL if score is None else rule(score) for score in scores]
    assume(decides(how, scores))
    assert combine(how, parts) == combine(how, [*parts, judge(verdict, 0.3)])
