"""The head for answers: learns what answers cost, stays within its range, and says a tier's mean where it cannot know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.design import Design
from router.scorer import ANSWER, INPUT
from training.answers import LEAST_ANSWERS, RANGE, Answers, predict_answers
from training.graph import Graph

MakeDesign = Callable[..., Design]


def explained(truth: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    seen = ~np.isnan(truth)
    return float(1.0 - np.square(truth - said)[seen].sum() / np.square(truth - np.nanmean(truth))[seen].sum())


def test_it_predicts_answers_that_follow_the_prompt(make_design: MakeDesign) -> None:
    train, test = make_design(800, 1), make_design(400, 2)
    assert test.answer is not None
    assert explained(test.answer, predict_answers(train, test)) > 0.3


def test_answers_that_follow_nothing_stay_near_the_mean(make_design: MakeDesign) -> None:
    train, test = make_design(800, 1), make_design(400, 2)
    assert train.answer is not None
    order = np.random.default_rng(3).permutation(len(train))
    said = predict_answers(replace(train, answer=train.answer[order]), test)
    assert abs(said.mean() - 1.0) < 0.1
    assert said.std() < 0.35 * np.nanstd(train.answer)


def test_the_answers_of_the_rows_asked_about_play_no_part(make_design: MakeDesign) -> None:
    train, test = make_design(300, 1), make_design(100, 2)
    blind = replace(test, answer=None, cost_usd=None)
    np.testing.assert_array_equal(predict_answers(train, test), predict_answers(train, blind))


@pytest.mark.parametrize("answer", ["none", "no column", "too few"])
def test_a_tier_of_few_answers_stands_at_its_mean(make_design: MakeDesign, answer: str) -> None:
    design = make_design(300, 1)
    assert design.answer is not None
    few = np.array(design.answer)
    few[:, 1] = np.nan
    few[: LEAST_ANSWERS - 1, 1] = 7.0
    nothing = np.full_like(few, np.nan)
    given = {"none": nothing, "no column": None, "too few": few}[answer]
    said = predict_answers(replace(design, answer=given), design)
    assert (said[:, 1] == 1.0).all()
    assert (answer == "too few") == bool((said[:, 0] != 1.0).any())


def test_one_answer_more_is_enough(make_design: MakeDesign) -> None:
    design = make_design(300, 1)
    assert design.answer is not None
    enough = np.full_like(design.answer, np.nan)
    enough[:LEAST_ANSWERS, 1] = 7.0
    said = predict_answers(replace(design, answer=enough), design)
    np.testing.assert_allclose(7.0, said[:, 1])


def test_no_row_leaves_the_range_and_the_graph_says_the_same(make_design: MakeDesign) -> None:
    import onnxruntime

    design = make_design(500, 1)
    answers, width = Answers.fit(design), design.X.shape[1]
    graph = Graph(width + 2)  # a lexicon's columns beside, which are none of its business
    answers.export(graph, INPUT)
    model = graph.build(INPUT, {ANSWER: design.n_tiers}).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(5)
    far = (rng.normal(size=(200, width)) * np.geomspace(0.1, 1e4, 200)[:, None]).astype(np.float32)
    rows = np.vstack([design.X, far, np.zeros((1, width), np.float32)])
    said = answers.predict(rows)
    assert RANGE == pytest.approx((said.min(), said.max()))
    beside = np.hstack([rows, rng.normal(size=(len(rows), 2)).astype(np.float32)])
    np.testing.assert_allclose(said, session.run([ANSWER], {INPUT: beside})[0], rtol=1e-4, atol=1e-4)


def test_unseen_answers_of_other_rows_do_not_count(make_design: MakeDesign) -> None:
    design = make_design(400, 1)
    assert design.answer is not None
    seen = ~np.isnan(design.answer[:, 0])
    alone = Answers.fit(design.take(seen))
    whole = Answers.fit(design)
    # Only where a column's origin and unit are: those are of all rows.
    np.testing.assert_allclose(alone.predict(design.X)[:, 0], whole.predict(design.X)[:, 0], atol=0.02)
