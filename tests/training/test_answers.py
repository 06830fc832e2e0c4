"""The head for answers: learns what answers cost, stays within its range, and says a tier's mean where it cannot know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from eval.design import Design
from router.embedding import to_unit
from router.scorer import ANSWER, INPUT
from training.answers import LEAST_ANSWERS, RANGE, Answers, predict_answers
from training.graph import Graph

MakeDesign = Callable[..., Design]


def paid(design: Design) -> NDArray[np.float64]:
    assert design.answer_usd is not None
    return design.answer_usd


def explained(design: Design, said: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per tier, the share of the variance."""
    truth = paid(design)
    missed = np.square(truth - said).sum(axis=0)
    return np.asarray(1.0 - missed / np.square(truth - truth.mean(axis=0)).sum(axis=0))


def test_it_predicts_answers_that_follow_the_prompt(make_design: MakeDesign) -> None:
    train, test = make_design(3000, 1), make_design(1000, 2)
    assert (explained(test, predict_answers(train, test)) > 0.3).all()


def test_answers_that_follow_nothing_stay_near_the_mean(make_design: MakeDesign) -> None:
    train, test = make_design(800, 1), make_design(400, 2)
    order = np.random.default_rng(3).permutation(len(train))
    said = predict_answers(replace(train, answer_usd=paid(train)[order]), test)
    np.testing.assert_allclose(paid(train).mean(axis=0), said.mean(axis=0), rtol=0.1)
    assert (said.std(axis=0) < 0.35 * paid(train).std(axis=0)).all()


def test_it_says_in_sum_what_was_paid(make_design: MakeDesign) -> None:
    design = make_design(500, 1)
    assert design.answer_seen is not None
    said = predict_answers(design, design)
    for k, seen in enumerate(design.answer_seen.T):
        assert paid(design)[seen, k].mean() == pytest.approx(said[seen, k].mean(), rel=0.01)


def test_what_happened_on_the_rows_asked_about_plays_no_part(make_design: MakeDesign) -> None:
    train, test = make_design(300, 1), make_design(100, 2)
    np.testing.assert_array_equal(predict_answers(train, test), predict_answers(train, test.blind()))


@pytest.mark.parametrize("n", [0, 1, LEAST_ANSWERS - 1])
def test_a_tier_of_few_answers_stands_at_their_mean(make_design: MakeDesign, n: int) -> None:
    design = make_design(300, 1)
    assert design.answer_seen is not None
    seen, cost = design.answer_seen.copy(), paid(design).copy()
    seen[:, 1] = np.arange(len(seen)) < n
    cost[:n, 1] = 7.0
    said = predict_answers(replace(design, answer_usd=cost, answer_seen=seen), design)
    # With none seen, the mean of what was estimated.
    np.testing.assert_allclose(7.0 if n else cost[:, 1].mean(), said[:, 1])
    assert said[:, 0].std() > 0.01


def test_one_answer_more_is_enough(make_design: MakeDesign) -> None:
    design = make_design(300, 1)
    seen = np.zeros((300, 3), dtype=bool)
    seen[:LEAST_ANSWERS] = True
    assert predict_answers(replace(design, answer_seen=seen), design)[:, 1].std() > 0


def test_answers_that_are_free_or_all_alike(make_design: MakeDesign) -> None:
    design = make_design(300, 1)
    cost = np.tile([0.0, 0.002, 1e9], (300, 1))
    said = predict_answers(replace(design, answer_usd=cost), design)
    np.testing.assert_allclose(cost, said, rtol=1e-9)


def test_answers_not_seen_do_not_count(make_design: MakeDesign) -> None:
    design = make_design(400, 1)
    assert design.answer_seen is not None
    other = np.where(design.answer_seen, paid(design), 1e6)
    np.testing.assert_array_equal(
        predict_answers(design, design), predict_answers(replace(design, answer_usd=other), design)
    )


@pytest.mark.parametrize("missing", ["answer_usd", "answer_seen"])
def test_without_costs_there_is_nothing_to_learn_from(make_design: MakeDesign, missing: str) -> None:
    nothing: dict[str, Any] = {missing: None}
    with pytest.raises(ValueError, match="expected answer_usd and answer_seen, found None"):
        Answers.fit(replace(make_design(100, 1), **nothing))


def test_no_row_leaves_the_range_and_the_graph_says_the_same(make_design: MakeDesign) -> None:
    design = make_design(500, 1)
    answers, width = Answers.fit(design), design.X.shape[1]
    graph = Graph(
        INPUT, width + 2, design.dimension
    )  # a lexicon's columns beside, which are none of its business
    answers.export(graph)
    model = graph.build({ANSWER: design.n_tiers}).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(5)
    far = (rng.normal(size=(200, width)) * np.geomspace(0.1, 1e4, 200)[:, None]).astype(np.float32)
    to_unit(far[:, : design.dimension])  # embeddings cannot be far
    rows = np.vstack([design.X, far, np.zeros((1, width), np.float32)])
    said = answers.multiples(rows)
    assert RANGE == (said.min(), said.max())
    beside = np.hstack([rows, rng.normal(size=(len(rows), 2)).astype(np.float32)])
    np.testing.assert_allclose(said, session.run([ANSWER], {INPUT: beside})[0], rtol=1e-4, atol=1e-4)
