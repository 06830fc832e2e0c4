"""Expected costs: by hand, learned from other rows than those that they are of, and worth what the rows tell."""

from __future__ import annotations

import json
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
from eval.history import read_history
from eval.outcomes import UNKNOWN, Outcomes, tabulate
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
    found = expected_cost(outcomes, np.array([[0.001, 0.003], [0.002, 0.0], [0.0, 0.018]]))
    # 8 characters are 2 tokens: 2e-6 and 8e-6 USD; 4,000 are 1,000 tokens: 0.001 and 0.004 USD.
    by_hand = [[0.001002, 0.003008], [0.002, 0.0], [0.001, 0.022]]
    assert np.dtype(np.float64) == found.dtype
    np.testing.assert_allclose(by_hand, found, rtol=1e-12)


def test_messages_count_by_their_text_and_images_count_for_nothing() -> None:
    chat = [{"role": "system", "content": "1234"}, {"role": "user", "content": "5678"}]
    seen = [{"role": "user", "content": [IMAGE, {"type": "text", "text": "12345678"}]}]
    image = [{"role": "user", "content": [IMAGE]}]
    outcomes = outcomes_of(["12345678", chat, seen, image], np.ones((4, 2)))
    found = expected_cost(outcomes, np.tile(USD_PER_ANSWER, (4, 1)))
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
    assert design.answer_usd is not None
    np.testing.assert_allclose(outcomes.cost_usd, expected_cost(outcomes, design.answer_usd), rtol=1e-12)


# Out of fold


def test_it_learns_from_the_rows_of_training_and_is_shown_nothing_that_happened_on_others(
    extractor: Extractor,
) -> None:
    outcomes = drawn(60)
    design, plan = design_of(outcomes, extractor), plan_of(60)
    seen: list[tuple[Design, Design]] = []

    def spy(train: Design, test: Design) -> Floats:
        seen.append((train, test))
        return np.full((len(test), 2), float(len(seen)))

    found = expect_costs(outcomes, design, plan, spy).expected_cost_usd
    assert found is not None
    assert 3 == len(seen)
    for number, (fold, (train, test)) in enumerate(zip(plan.folds, seen, strict=True), 1):
        assert design.texts[fold.train].tolist() == train.texts.tolist()
        for name in ("passed", "label", "cost_usd", "answer_usd", "answer_seen"):
            np.testing.assert_array_equal(getattr(design, name)[fold.train], getattr(train, name))
        assert design.texts[fold.test].tolist() == test.texts.tolist()
        np.testing.assert_array_equal(design.X[fold.test], test.X)
        assert (None, None, None) == (test.cost_usd, test.answer_usd, test.answer_seen)
        assert np.isnan(test.passed).all()
        assert (test.label == UNKNOWN).all()
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
    # Many prompts, since the head is held close to the mean on few.
    outcomes, noise = drawn(1200), drawn(1200, follows=False)
    assert (explained(outcomes, expected(outcomes, extractor)) > 0.15).all()
    found = expected(noise, extractor)
    assert (np.abs(explained(noise, found)) < 0.05).all()
    # Though it knows nothing of a prompt, it knows the mean.
    np.testing.assert_allclose(noise.cost_usd.mean(axis=0), found.mean(axis=0), rtol=0.01)


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


# Answers that were not seen, and prices that are not those that were paid


def mean_taught(outcomes: Outcomes, counted: NDArray[np.bool_], plan: Plan) -> Floats:
    """Each call at the mean answer of those rows of training that count, (n, k)."""
    beyond = outcomes.cost_usd - expected_cost(outcomes, np.zeros(outcomes.passed.shape))
    usd = np.full(beyond.shape, np.nan)
    for fold in plan.folds:
        usd[fold.test] = np.mean(beyond[fold.train], axis=0, where=counted[fold.train])
    return expected_cost(outcomes, usd)


def test_without_a_logged_answer_a_call_costs_the_mean_of_the_estimates(extractor: Extractor) -> None:
    outcomes = replace(drawn(240), cost_estimated=np.ones((240, 2), dtype=bool))
    by_hand = mean_taught(outcomes, np.ones((240, 2), dtype=bool), plan_of(240))
    np.testing.assert_allclose(by_hand, expected(outcomes, extractor), rtol=1e-9)


def test_a_few_logged_answers_tell_their_mean_and_estimates_have_no_part_in_it(extractor: Extractor) -> None:
    outcomes = drawn(240)
    seen = np.zeros((240, 2), dtype=bool)
    seen[::10] = True  # 16 in each fold's training
    cost = np.where(seen, outcomes.cost_usd, 50.0)
    outcomes = replace(outcomes, cost_usd=cost, answer_seen=seen)
    by_hand = mean_taught(outcomes, seen, plan_of(240))
    assert by_hand.max() < 0.1
    np.testing.assert_allclose(by_hand, expected(outcomes, extractor), rtol=1e-9)


def test_what_one_tier_logged_says_nothing_of_another(extractor: Extractor) -> None:
    whole = drawn(240)
    seen = np.tile([True, False], (240, 1))
    part = expected(replace(whole, answer_seen=seen), extractor)
    np.testing.assert_array_equal(expected(whole, extractor)[:, 0], part[:, 0])
    by_hand = mean_taught(whole, np.ones((240, 2), dtype=bool), plan_of(240))
    np.testing.assert_allclose(by_hand[:, 1], part[:, 1], rtol=1e-9)


def logged(folder: Path, ladder: Ladder, usd: Floats, **tokens: int) -> Outcomes:
    """A history that says of each call what it cost, and of its tokens what is given."""
    rng = np.random.default_rng(2)
    prompts = [" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in usd]
    lines = [
        {"prompt_id": f"p{i}", "prompt": prompt, "model": model, "score": 1.0, "cost_usd": cost} | tokens
        for i, prompt in enumerate(prompts)
        for model, cost in zip("sl", usd[i].tolist(), strict=True)
    ]
    path = folder / "history.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return tabulate(read_history(path), ladder)


FREE = Ladder((Tier("small", ("s",), 0.0, 0.0), Tier("large", ("l",), 0.0, 0.0)))


@pytest.mark.parametrize("n", [35, 120, 400])
@pytest.mark.parametrize("mean", [(0.0004, 0.003), (0.02, 0.7)], ids=["cheap", "dear"])
@pytest.mark.parametrize(
    ("ladder", "tokens"),
    [(LADDER, {}), (FREE, {}), (FREE, {"input_tokens": 9, "output_tokens": 300})],
    ids=["no tokens", "free, no tokens", "free"],
)
def test_calls_are_expected_to_cost_what_was_logged_in_the_mean_whatever_the_tiers_file_says(
    n: int,
    mean: tuple[float, float],
    ladder: Ladder,
    tokens: dict[str, int],
    tmp_path: Path,
    extractor: Extractor,
) -> None:
    usd = np.random.default_rng(n).lognormal(0, 0.5, (n, 2)) * mean
    outcomes = logged(tmp_path, ladder, usd, **tokens)
    np.testing.assert_allclose(usd, outcomes.cost_usd, rtol=1e-12)
    found = expected(outcomes, extractor)
    np.testing.assert_allclose(usd.mean(axis=0), found.mean(axis=0), rtol=0.05)
    assert (found > 0).all()
    # No call is taken to cost next to nothing, nor many times the mean, where costs follow nothing.
    assert (np.abs(np.log(found / usd.mean(axis=0))) < np.log(3)).all()


def test_calls_that_cost_nothing_are_expected_to_cost_nothing(tmp_path: Path, extractor: Extractor) -> None:
    usd = np.random.default_rng(0).lognormal(0, 0.5, (120, 2)) * (0.0, 0.003)
    found = expected(logged(tmp_path, FREE, usd), extractor)
    assert (found[:, 0] == 0).all()
    assert (found[:, 1] > 0).all()
