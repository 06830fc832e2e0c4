"""Each baseline learns what it can see, copes with what it cannot, and repeats itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_comparison import entry
from test_metrics import outcomes_of

from eval.baselines import BASELINES, LABELS, always_middle, hand_rule
from eval.calibration import auc
from eval.comparison import compare
from eval.design import Design
from eval.outcomes import UNKNOWN
from router.features import FEATURE_NAMES

DIMENSION = 8
LOG_CHARS = DIMENSION + FEATURE_NAMES.index("log_chars")
WIDTH = DIMENSION + len(FEATURE_NAMES)


def strings(values: list[str]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def labels_of(passed: NDArray[np.float32]) -> NDArray[np.int8]:
    """Walk up the ladder: the first pass is the label, an unobserved tier before it makes it unknown."""
    labels = []
    for row in passed.tolist():
        label = len(row)
        for k, outcome in enumerate(row):
            if outcome != 0.0:
                label = k if outcome == 1.0 else UNKNOWN
                break
        labels.append(label)
    return np.array(labels, np.int8)


def design_of(X: NDArray[np.float32], passed: NDArray[np.float32], texts: list[str] | None = None) -> Design:
    return Design(X, DIMENSION, strings(texts or [""] * len(X)), passed, labels_of(passed))


def draw(n: int, seed: int = 0, n_tiers: int = 3, unobserved: float = 0.2) -> Design:
    """Hard prompts are long, point one way and talk of proofs; the dearer a tier, the more it passes."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    X = rng.normal(size=(n, WIDTH)).astype(np.float32)
    X[:, 0] += 4 * (hard - 0.5)
    X[:, :DIMENSION] /= np.linalg.norm(X[:, :DIMENSION], axis=1, keepdims=True)
    X[:, LOG_CHARS] = 4 + 3 * hard
    chance = np.clip(1.2 - 1.4 * hard[:, None] + np.linspace(0, 0.6, n_tiers), 0.02, 0.98)
    passed = (rng.random((n, n_tiers)) < chance).astype(np.float32)
    passed[rng.random((n, n_tiers)) < unobserved] = np.nan
    words = [["sum", "colour"], ["proof", "lemma"]]
    texts = [" ".join(rng.choice(words[int(h > rng.random())], 6)) for h in hard]
    return design_of(X, passed, texts)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("n_tiers", [2, 3])
def test_every_baseline_ranks_what_its_features_tell(name: str, n_tiers: int) -> None:
    train, test = draw(400, 1, n_tiers), draw(300, 2, n_tiers)
    p = BASELINES[name](train, test, 0)
    assert (300, n_tiers) == p.shape
    assert np.dtype(np.float64) == p.dtype
    assert np.isfinite(p).all()
    assert p.min() >= 0.0
    assert p.max() <= 1.0
    ranked = auc(p[:, 0], test.passed[:, 0])
    assert ranked == 0.5 if name == "cost-only" else ranked > 0.65  # it tells no prompt from another


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_repeats_itself_and_reads_no_outcome_of_what_it_predicts(name: str) -> None:
    train, test = draw(150, 1), draw(40, 2)
    blind = design_of(test.X, np.full_like(test.passed, np.nan), list(test.texts))
    expected = BASELINES[name](train, test, 7)
    assert np.array_equal(expected, BASELINES[name](train, blind, 7))
    half = BASELINES[name](train, test.take(np.arange(20)), 7)
    assert np.allclose(expected[:20], half, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "label-classifier"])
def test_a_tier_that_tells_nothing_stands_at_its_smoothed_prior(name: str) -> None:
    train, test = draw(60, 1), draw(9, 2)
    train.passed[:, 0] = np.nan
    train.passed[:, 2] = 1.0
    train.passed[:10, 2] = np.nan
    p = BASELINES[name](train, test, 0)
    assert np.allclose(0.5, p[:, 0])
    assert np.allclose(51 / 52, p[:, 2])


def test_the_label_classifier_takes_passing_to_go_up_the_ladder() -> None:
    train, test = draw(200, 1), draw(50, 2)
    p = BASELINES["label-classifier"](train, test, 0)
    assert (np.diff(p, axis=1) >= -1e-12).all()
    alike = design_of(train.X, np.tile(np.array([0, 1, 0], np.float32), (200, 1)))
    assert np.allclose([1 / 202, 201 / 202, 201 / 202], BASELINES["label-classifier"](alike, test, 0))
    unknown = design_of(train.X, np.full((200, 3), np.nan, np.float32))
    assert np.allclose(0.5, BASELINES["label-classifier"](unknown, test, 0))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_rows_is_enough_to_answer(name: str, n: int) -> None:
    train = draw(n, 1, unobserved=0.0)
    p = BASELINES[name](train, draw(4, 2), 0)
    assert (4, 3) == p.shape
    assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("name", BASELINES)
def test_prompts_without_words_or_direction_are_answered(name: str) -> None:
    train, test = draw(40, 1), draw(5, 2)
    for design in (train, test):
        design.X[:] = 0.0
        design.texts[:] = ""
    p = BASELINES[name](train, test, 0)
    assert ((p >= 0) & (p <= 1)).all()
    assert np.allclose(p, p[:1])


def test_neighbours_by_hand() -> None:
    # Sixty rows point up and pass, sixty point down and fail, two of them unobserved.
    X = np.zeros((120, WIDTH), np.float32)
    X[:60, 0], X[60:, 0] = 1.0, -3.0
    X[:, 1] = np.tile(np.arange(60), 2) * 1e-3  # so that none is equally near
    passed = np.zeros((120, 1), np.float32)
    passed[:60] = 1.0
    passed[[1, 2]] = np.nan
    asked = np.zeros((2, WIDTH), np.float32)
    asked[0, 0], asked[1, 0] = 5.0, -0.1
    prior = 59 / 120
    expected = [[(48 + prior) / 49], [prior / 51]]
    train = design_of(X, passed)
    p = BASELINES["knn-50"](train, design_of(asked, np.full((2, 1), np.nan, np.float32)), 0)
    assert np.allclose(expected, p)


def test_many_rows_are_answered_in_parts_as_they_are_alone() -> None:
    train, test = draw(300, 1), draw(2_100, 2)
    whole = BASELINES["knn-50"](train, test, 0)
    part = BASELINES["knn-50"](train, test.take(np.arange(990, 1_010)), 0)
    assert np.allclose(whole[990:1_010], part)


def test_length_reads_the_length_alone() -> None:
    train, test = draw(200, 1), draw(50, 2)
    expected = BASELINES["length"](train, test, 0)
    other = draw(50, 3)
    other.X[:, LOG_CHARS] = test.X[:, LOG_CHARS]
    assert np.array_equal(expected, BASELINES["length"](train, other, 0))
    by_length = np.argsort(test.X[:, LOG_CHARS])
    assert (np.diff(expected[by_length, 0]) <= 0).all()


def test_expected_cost_alone_is_the_pass_rates_for_every_prompt() -> None:
    passed = np.array([[1, 0, 1], [1, np.nan, 1], [0, np.nan, 1], [1, np.nan, 1]], np.float32)
    train = design_of(draw(4, 1).X, passed)
    p = BASELINES["cost-only"](train, draw(6, 2), 0)
    assert np.allclose(np.tile([4 / 6, 1 / 3, 5 / 6], (6, 1)), p)


def test_expected_cost_alone_beats_random_mixing_where_costs_can_be_told_and_passes_cannot() -> None:
    rng, n = np.random.default_rng(0), 600
    score = (rng.random((n, 3)) < [0.4, 0.6, 0.8]).astype(float)
    # Answers to some prompts are dear on every tier, and to those it is said before.
    cost = np.array([1.0, 3.0, 10.0]) * rng.choice([0.2, 1.8], (n, 1))
    outcomes = outcomes_of(score, cost)
    train = design_of(np.zeros((n, WIDTH), np.float32), outcomes.passed)
    p = BASELINES["cost-only"](train, train, 0)
    told, blind = (
        entry(compare(given, {"cost-only": p}, {}, "cost-only", {}, n_boot=100), "random-mix")["lead"]
        for given in (replace(outcomes, expected_cost_usd=cost), outcomes)
    )
    assert told["low"] > 0.05
    assert blind["low"] <= 0.0


def test_every_name_has_a_label() -> None:
    fixed = {"tierwise", "hand-rule", "always-middle", "random-mix", "oracle"}
    assert set(BASELINES) | fixed == set(LABELS)
    assert len(set(LABELS.values())) == len(LABELS)


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("What is the capital of France?", 0),
        ("Translate to German: good morning", 0),
        ("", 0),
        ("Write a poem about a fox, in four lines, for a child who likes trains." + " More." * 100, 1),
        ("Prove that 2 + 2 = 4, step by step.", 2),
        ("Refactor this and explain why:\n```\ndef f(x):\n    return x\n```", 2),
    ],
)
def test_the_rule_by_hand_by_hand(text: str, tier: int) -> None:
    assert [tier] == hand_rule([text], 3).tolist()


@given(st.lists(st.text(max_size=200), max_size=20), st.integers(1, 6))
def test_the_rule_by_hand_stays_on_the_ladder_and_judges_each_prompt_alone(texts: list[str], k: int) -> None:
    tiers = hand_rule(texts, k)
    assert np.dtype(np.intp) == tiers.dtype
    assert [hand_rule([text], k)[0] for text in texts] == tiers.tolist()
    assert all(0 <= tier < k for tier in tiers)


def test_the_rule_by_hand_reaches_both_ends_of_any_ladder() -> None:
    hardest = "Prove, derive and analyse: $x$ ```" + " word" * 1_000
    for k in (2, 3, 4, 5, 7):
        assert [0, k - 1] == hand_rule(["hello, thanks", hardest], k).tolist()


def test_the_middle_tier() -> None:
    assert [0, 1, 1, 2, 2] == [int(always_middle(1, k)[0]) for k in (1, 2, 3, 4, 5)]
    assert [1, 1, 1] == always_middle(3, 3).tolist()
    assert 0 == len(always_middle(0, 3))
