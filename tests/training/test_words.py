"""The words member: weights of tokens that serving can sum, by hand and against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from eval.calibration import auc
from eval.design import Design, count_tokens
from training.logistic import fit_logistic, prior_margin
from training.words import LEAST_PROMPTS_PER_TOKEN, WORDS_C, Words

MakeDesign = Callable[..., Design]


def test_the_lexicon_by_hand(make_design: MakeDesign) -> None:
    """Document frequencies, norms and weights, each computed the long way, by position."""
    design = make_design(200, 1)
    assert design.tokens is not None
    counts = design.tokens.toarray()
    n, spread = len(counts), (counts > 0).sum(axis=0)
    idf = np.where(spread >= LEAST_PROMPTS_PER_TOKEN, np.log((1 + n) / (1 + spread)) + 1.0, 0.0)
    rows = np.zeros(counts.shape)
    for row, count in zip(rows, counts, strict=True):
        positions = np.repeat(np.arange(len(count)), count.astype(int))
        norm = np.sqrt(sum(idf[i] ** 2 for i in positions))
        for i in positions:
            row[i] += idf[i] / norm if norm else 0.0
    words = Words.fit(design, 0)
    assert (np.float32, (50, 4)) == (words.lexicon.dtype, words.lexicon.shape)
    assert design.X.shape[1] == words.column
    np.testing.assert_allclose(idf**2, words.lexicon[:, 0], rtol=1e-6)
    for k, y in enumerate(design.passed.T):
        seen = ~np.isnan(y)
        oracle = LogisticRegression(C=WORDS_C, solver="liblinear", max_iter=1000)
        oracle.fit(rows[seen], y[seen])
        np.testing.assert_allclose(oracle.coef_[0] * idf, words.lexicon[:, 1 + k], rtol=0, atol=1e-3)
        np.testing.assert_allclose(oracle.decision_function(rows), words.margins(design)[:, k], atol=2e-3)


def test_words_find_the_tokens_that_tell(make_design: MakeDesign) -> None:
    """In this design the first ten tokens occur in hard prompts and the next ten in easy ones."""
    train, fresh = make_design(1500, 3, unobserved=0.0), make_design(1500, 60, unobserved=0.0)
    words = Words.fit(train, 0)
    hard, easy, neither = (words.lexicon[rows, 1:] for rows in (slice(0, 10), slice(10, 20), slice(20, 40)))
    assert (hard.mean(axis=0) < -0.2).all()
    assert (easy.mean(axis=0) > 0.2).all()
    assert (np.abs(neither.mean(axis=0)) < 0.2).all()
    for k in range(3):
        assert auc(words.margins(fresh)[:, k], fresh.passed[:, k]) > 0.57


def test_tokens_of_one_prompt_or_none_have_no_weight(make_design: MakeDesign) -> None:
    words = Words.fit(make_design(300, 3), 0)
    assert not words.lexicon[40:].any()
    assert words.lexicon[:40, 0].all()


def test_words_read_tokens_alone(make_design: MakeDesign) -> None:
    design = make_design(200, 3)
    other = replace(
        design, X=np.zeros_like(design.X), tasks=None, groups=None, texts=np.full(200, "", object)
    )
    one, two = Words.fit(design, 0), Words.fit(other, 0)
    np.testing.assert_array_equal(one.lexicon, two.lexicon)
    np.testing.assert_array_equal(one.margins(design), one.margins(other))


def test_a_prompt_without_known_tokens_stands_at_the_bias(make_design: MakeDesign) -> None:
    words = Words.fit(make_design(200, 3), 0)
    strangers = replace(make_design(3, 1), tokens=count_tokens([[], [45], [49, 49, 44]], 50))
    np.testing.assert_array_equal(np.tile(words.bias, (3, 1)), words.margins(strangers))


def test_strangers_beside_known_tokens_change_nothing(make_design: MakeDesign) -> None:
    words, rows = Words.fit(make_design(200, 3), 0), make_design(2, 1)
    known = words.margins(replace(rows, tokens=count_tokens([[1, 12], [3, 3]], 50)))
    beside = words.margins(replace(rows, tokens=count_tokens([[1, 45, 12], [49, 3, 3, 44]], 50)))
    np.testing.assert_array_equal(known, beside)


@pytest.mark.parametrize("ids", [[[]] * 60, [[i] for i in range(60)]], ids=["no tokens", "none twice"])
def test_without_tokens_to_learn_from_words_stand_at_the_prior(
    ids: list[list[int]], make_design: MakeDesign
) -> None:
    """A history in a script that the embedding does not know."""
    design = replace(make_design(60, 3), tokens=count_tokens(ids, 60))
    words = Words.fit(design, 0)
    assert not words.lexicon.any()
    expected = [prior_margin(y[~np.isnan(y)]) for y in design.passed.T]
    np.testing.assert_allclose(np.tile(expected, (60, 1)), words.margins(design))


def test_words_need_tokens(make_design: MakeDesign) -> None:
    design = make_design(60, 3)
    bare = replace(design, tokens=None)
    with pytest.raises(AssertionError, match="words need tokens"):
        Words.fit(bare, 0)
    with pytest.raises(AssertionError, match="words need tokens"):
        Words.fit(design, 0).margins(bare)


@pytest.mark.parametrize("ids", [[[1] * 5000], [[1, 2] * 2500], [list(range(50)) * 100]])
def test_endless_prompts_stay_finite(ids: list[list[int]], make_design: MakeDesign) -> None:
    words = Words.fit(make_design(200, 3), 0)
    assert np.isfinite(words.margins(replace(make_design(1, 1), tokens=count_tokens(ids, 50)))).all()


def test_no_column_leaves_the_prior() -> None:
    y = np.array([1, 0, 1, np.nan], np.float32)
    weights, bias = fit_logistic(np.empty((4, 0)), y, 1.0)
    assert (0,) == weights.shape
    assert np.log(3 / 2) == pytest.approx(bias)
