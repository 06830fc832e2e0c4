"""Expected costs: by hand, learned from other rows than those that they are of, and worth what the rows tell."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.design import Design, describe
from eval.estimators import answers as our_answers
from eval.expected import expect_costs, expected_cost
from eval.folds import Fold, Plan
from eval.outcomes import Outcomes
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.prompt import read_prompt
from router.tiers import Ladder, Tier

Floats = NDArray[np.float64]

# USD per million tokens in and out; answers of 100 and 200 tokens in the mean cost 0.001 and 0.006 USD.
LADDER = Ladder((Tier("small", ("s",), 1.0, 10.0), Tier("large", ("l",), 4.0, 30.0)))
MEAN_TOKENS = (100.0, 200.0)
USD_PER_ANSWER = np.array([0.001, 0.006])
USD_PER_CHAR = np.array([0.25e-6, 1e-6])

WORDS = ("hello", "sum", "the", "list", "code", "please")
IMAGE = {"type": "image_url", "image_url": {"url": "data:," + "x" * 500}}


def outcomes_of(prompts: list[Any], answer: Floats) -> Outcomes:
    """Outcomes on both tiers, whose answers cost so many times the tier's mean one."""
    n = len(prompts)
    ids = np.array([f"p{i}" for i in range(n)], dtype=object)
    texts = np.empty(n, dtype=object)
    texts[:] = prompts
    chars = np.array([read_prompt(prompt).n_chars for prompt in prompts])
    passed = np.ones((n, 2), np.float32)
    return Outcomes(
        ladder=LADDER,
        prompt_ids=ids,
        prompts=list(prompts),
        groups=ids,
        score=passed,
        passed=passed,
        cost_usd=chars[:, None] * USD_PER_CHAR + answer * USD_PER_ANSWER,
        cost_estimated=np.zeros((n, 2), dtype=bool),
        tags={"source": ids},
        timestamp=None,
        mean_output_tokens=MEAN_TOKENS,
        dropped={},
    )


def drawn(n: int = 240, seed: int = 0, follows: bool = True) -> Outcomes:
    """Prompts whose answers are long where they speak of code, or follow nothing."""
    rng = np.random.default_rng(seed)
    prompts = [" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(n)]
    long = np.array(["code" in prompt for prompt in prompts])
    long = long if follows else rng.permutation(long)
    level = np.where(long, 1.6, 0.4)[:, None] * rng.lognormal(0, 0.2, (n, 2))
    return outcomes_of(prompts, level / level.mean(axis=0))


def plan_of(n: int, n_folds: int = 3, first: int = 0) -> Plan:
    """Contiguous folds; `first` leaves out that many of them, as windows of time do."""
    parts = np.array_split(np.arange(n), n_folds)[first:]
    return Plan(tuple(Fold(np.setdiff1d(np.arange(n), part), part) for part in parts), "group", "")


@pytest.fixture(scope="module")
def extractor(toy_embedding: Path) -> Extractor:
    return Extractor(StaticEmbedding.load(toy_embedding))


def design_of(outcomes: Outcomes, extractor: Extractor) -> Design:
    return describe(outcomes, extractor.extract_many(outcomes.prompts), extractor)


def expected(outcomes: Outcomes, extractor: Extractor, plan: Plan | None = None) -> Floats:
    """What our own estimator of answers expects calls to cost."""
    design = design_of(outcomes, extractor)
    plan = plan_of(len(outcomes)) if plan is None else plan
    found = expect_costs(outcomes, design, plan, our_answers()).expected_cost_usd
    assert found is not None
    return found


def explained(outcomes: Outcomes, found: Floats) -> Floats:
    """Per tier, the share of the variance of cost."""
    cost = outcomes.cost_usd
    missed = np.square(cost - found).sum(axis=0)
    return np.asarray(1.0 - missed / np.square(cost - cost.mean(axis=0)).sum(axis=0))


# From answers to costs


def test_expected_cost_by_hand() -> None:
    prompts: list[Any] = ["12345678", "", "x" * 4000]
    outcomes = outcomes_of(prompts, np.ones((3, 2)))
    found = expected_cost(outcomes, np.array([[1.0, 0.5], [2.0, 0.0], [0.0, 3.0]]))
    # 8 characters are 2 tokens: 2e-6 and 8e-6 USD; 4,000 are 1,000 tokens: 0.001 and 0.004 USD.
    by_hand = [[0.001002, 0.003008], [0.002, 0.0], [0.001, 0.022]]
    assert np.dtype(np.float64) == found.dtype
    np.testing.assert_allclose(by_hand, found, rtol=1e-12)


def test_messages_count_by_their_text_and_images_count_for_nothing() -> None:
    chat = [{"role": "system", "content": "1234"}, {"role": "user", "content": "5678"}]
    seen = [{"role": "user", "content": [IMAGE, {"type": "text", "text": "12345678"}]}]
    image = [{"role": "user", "content": [IMAGE]}]
    answer = np.ones((4, 2))
    found = expected_cost(outcomes_of(["12345678", chat, seen, image], answer), answer)
    np.testing.assert_allclose(np.tile([0.001002, 0.006008], (3, 1)), found[:3], rtol=1e-12)
    np.testing.assert_allclose(USD_PER_ANSWER, found[3], rtol=1e-12)


def test_what_answers_are_not_known_has_no_cost_and_float32_is_taken() -> None:
    outcomes = outcomes_of(["a", "b"], np.ones((2, 2)))
    found = expected_cost(outcomes, np.array([[1.0, np.nan], [2.0, 1.0]], np.float32))
    assert [[False, True], [False, False]] == np.isnan(found).tolist()
    assert np.dtype(np.float64) == found.dtype


def test_the_true_answers_give_the_true_costs(extractor: Extractor) -> None:
    outcomes = drawn(30)
    design = design_of(outcomes, extractor)
    assert design.answer is not None
    np.testing.assert_allclose(outcomes.cost_usd, expected_cost(outcomes, design.answer), rtol=1e-12)


# Out of fold


def test_it_learns_from_the_rows_of_training_and_is_shown_no_cost_of_others(extractor: Extractor) -> None:
    outcomes = drawn(60)
    design, plan = design_of(outcomes, extractor), plan_of(60)
    seen: list[tuple[Design, Design]] = []

    def spy(train: Design, test: Design) -> Floats:
        seen.append((train, test))
        return np.full((len(test), 2), float(len(seen)))

    found = expect_costs(outcomes, design, plan, spy).expected_cost_usd
    assert design.answer is not None
    assert design.cost_usd is not None
    assert found is not None
    assert 3 == len(seen)
    for number, (fold, (train, test)) in enumerate(zip(plan.folds, seen, strict=True), 1):
        assert design.texts[fold.train].tolist() == train.texts.tolist()
        np.testing.assert_array_equal(design.answer[fold.train], train.answer)
        np.testing.assert_array_equal(design.cost_usd[fold.train], train.cost_usd)
        assert design.texts[fold.test].tolist() == test.texts.tolist()
        np.testing.assert_array_equal(design.X[fold.test], test.X)
        assert (None, None) == (test.cost_usd, test.answer)
        by_hand = expected_cost(outcomes.take(fold.test), np.full((len(fold.test), 2), float(number)))
        np.testing.assert_array_equal(by_hand, found[fold.test])


def test_what_rows_cost_changes_nothing_in_what_they_are_expected_to_cost(extractor: Extractor) -> None:
    outcomes, plan = drawn(), plan_of(240)
    honest = expected(outcomes, extractor)
    own = plan.folds[1].test
    for change in (np.random.default_rng(1).permutation, lambda rows: rows * 7.0, lambda rows: rows * 0.0):
        cost = outcomes.cost_usd.copy()
        cost[own] = change(cost[own])
        other = expected(replace(outcomes, cost_usd=cost), extractor)
        np.testing.assert_array_equal(honest[own], other[own])
        # Or the test could not fail: other rows learn from these.
        assert (honest[plan.folds[0].test] != other[plan.folds[0].test]).any()


def test_nor_does_whether_they_were_answered(extractor: Extractor) -> None:
    outcomes, plan = drawn(), plan_of(240)
    own = plan.folds[2].test
    passed = outcomes.passed.copy()
    passed[own[::2], 0] = np.nan
    passed[own[::3], 1] = 0.0
    other = expected(replace(outcomes, passed=passed, score=passed), extractor)
    np.testing.assert_array_equal(expected(outcomes, extractor)[own], other[own])


def test_rows_in_no_fold_have_no_expected_cost(extractor: Extractor) -> None:
    outcomes = drawn(90)
    found = expected(outcomes, extractor, plan_of(90, first=1))
    assert np.isnan(found[:30]).all()
    assert np.isfinite(found[30:]).all()
    assert (found[30:] > 0).all()


def test_the_rest_of_the_outcomes_stays_and_so_does_what_was_given(extractor: Extractor) -> None:
    outcomes = drawn(60)
    design = design_of(outcomes, extractor)
    before = {field.name: getattr(design, field.name) for field in fields(Design)}
    found = expect_costs(outcomes, design, plan_of(60), our_answers())
    assert outcomes.expected_cost_usd is None
    assert all(before[name] is getattr(design, name) for name in before)
    for field in fields(Outcomes):
        if field.name != "expected_cost_usd":
            assert getattr(outcomes, field.name) is getattr(found, field.name)


def test_what_follows_the_prompt_is_expected_and_what_follows_nothing_is_not(extractor: Extractor) -> None:
    outcomes = drawn()
    assert (explained(outcomes, expected(outcomes, extractor)) > 0.25).all()
    noise = drawn(follows=False)
    found = expected(noise, extractor)
    assert (explained(noise, found) < 0.1).all()
    # Though it knows nothing of a prompt, it knows the mean.
    np.testing.assert_allclose(noise.cost_usd.mean(axis=0), found.mean(axis=0), rtol=0.1)


def test_chats_and_images_are_expected_to_cost_something_too(extractor: Extractor) -> None:
    outcomes = drawn(120)
    prompts: list[Any] = list(outcomes.prompts)
    prompts[0] = [{"role": "user", "content": [IMAGE]}]
    prompts[1] = [{"role": "user", "content": prompts[1]}]
    prompts[2] = [
        {"role": "system", "content": "code"},
        {"role": "user", "content": [IMAGE, {"type": "text", "text": "sum"}]},
    ]
    found = expected(replace(outcomes, prompts=prompts), extractor)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    # One user message reads like the string that it holds.
    as_text = [*prompts[:1], outcomes.prompts[1], *prompts[2:]]
    np.testing.assert_array_equal(found, expected(replace(outcomes, prompts=as_text), extractor))


def test_without_a_logged_answer_a_call_costs_the_mean_answer(extractor: Extractor) -> None:
    outcomes = replace(drawn(60), cost_estimated=np.ones((60, 2), dtype=bool))
    by_hand = expected_cost(outcomes, np.ones((60, 2)))
    np.testing.assert_allclose(by_hand, expected(outcomes, extractor), rtol=1e-12)
