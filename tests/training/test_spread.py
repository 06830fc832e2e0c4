"""Spread: how far members differ on a tier's distance from the reference tier, in numpy and in the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.design import Design
from router.scorer import Scorer, Scores
from training.answers import Answers
from training.blend import Blend, Selection, build_model, cross_validate, fit_blend, select
from training.novelty import Novelty
from training.stack import sigmoid

Floats = NDArray[np.float64]
ONES, ZEROS = np.ones(3), np.zeros(3)


def selection_of(weights: dict[str, float]) -> Selection:
    """Members that are calibrated as they are."""
    scale = {name: weight * ONES for name, weight in weights.items()}
    return Selection(weights, scale, np.eye(3), ZEROS, dict.fromkeys(weights, (ONES, ZEROS)))


def margins_of(p: dict[str, list[list[float]]]) -> dict[str, Floats]:
    return {name: np.log(np.array(rows) / (1.0 - np.array(rows))) for name, rows in p.items()}


def test_spread_by_hand() -> None:
    """Two members with weights of 1/4 and 3/4 that differ by d: sqrt(1/4 * 3/4) * d."""
    margins = margins_of({"trees": [[0.2, 0.5, 0.9]], "length": [[0.4, 0.6, 0.8]]})
    half = np.sqrt(3.0) / 4.0
    selection = selection_of({"trees": 0.25, "length": 0.75})
    # Leads of the last tier: 0.7 and 0.4 over the first, 0.4 and 0.2 over the second.
    np.testing.assert_allclose([[0.3 * half, 0.2 * half, 0.0]], selection.spread(margins, 2), atol=1e-12)
    # Of the first: 0, then -0.3 and -0.2, then -0.7 and -0.4.
    np.testing.assert_allclose([[0.0, 0.1 * half, 0.3 * half]], selection.spread(margins, 0), atol=1e-12)


def test_each_member_is_calibrated_first() -> None:
    """Twice too sure and off by one is agreement, once calibrated."""
    z = np.random.default_rng(3).normal(0.0, 2.0, (50, 3))
    selection = replace(
        selection_of({"trees": 0.5, "length": 0.5}),
        own={"trees": (ONES, ZEROS), "length": (0.5 * ONES, -0.5 * ONES)},
    )
    np.testing.assert_allclose(0.0, selection.spread({"trees": z, "length": 2.0 * z + 1.0}, 2), atol=1e-12)
    assert (selection.spread({"trees": z, "length": z}, 2)[:, :2] > 0.0).all()


def test_who_disagrees_more_spreads_more() -> None:
    rng = np.random.default_rng(5)
    truth, other = rng.normal(0.0, 1.0, (400, 3)), rng.normal(0.0, 1.0, (400, 3))
    selection = selection_of({"trees": 0.5, "linear": 0.5})
    means = [
        selection.spread({"trees": truth, "linear": (1.0 - apart) * truth + apart * other}, 2).mean(axis=0)
        for apart in (0.0, 0.2, 0.5, 1.0)
    ]
    assert [0.0, 0.0, 0.0] == means[0].tolist()
    assert (np.diff(means, axis=0)[:, :2] > 0.0).all()
    assert [0.0] * 4 == [float(mean[2]) for mean in means]


@pytest.mark.parametrize("reference", [0, 1, 2])
def test_it_is_the_weighted_standard_deviation_of_the_lead(reference: int) -> None:
    rng = np.random.default_rng(reference)
    weights = {"trees": 0.5, "linear": 0.3, "length": 0.2}
    margins = {name: rng.normal(0.0, 2.0, (30, 3)) for name in weights}
    found = selection_of(weights).spread(margins, reference)
    for row in range(30):
        for k in range(3):
            leads = [float(sigmoid(z)[row, reference] - sigmoid(z)[row, k]) for z in margins.values()]
            mean = sum(w * lead for w, lead in zip(weights.values(), leads, strict=True))
            variance = sum(w * (lead - mean) ** 2 for w, lead in zip(weights.values(), leads, strict=True))
            assert pytest.approx(variance**0.5, abs=1e-12) == found[row, k]


# The graph


@pytest.fixture(scope="module")
def design(make_design: Callable[..., Design]) -> Design:
    return make_design(400, 3)


@pytest.fixture(scope="module")
def blend(design: Design) -> Blend:
    """As a fit makes it: weighed and calibrated out of fold."""
    whole = replace(design, tokens=None)
    assert whole.cost_usd is not None
    selection = select(cross_validate(whole, 0).margins, whole.passed, whole.cost_usd)
    assert len(selection.members) > 1
    return fit_blend(whole, selection, 0)


def run(blend: Blend, design: Design, reference: int, X: NDArray[np.float32]) -> Scores:
    width = design.X.shape[1]
    model = build_model(
        blend, Answers.fit(design), Novelty.fit(design, 0), reference, width, design.dimension
    )
    return Scorer(model.SerializeToString(), width, 3).score(X)


@pytest.mark.parametrize("reference", [0, 1, 2])
def test_the_graph_says_it_of_any_reference(
    reference: int,
    blend: Blend,
    design: Design,
    make_rows: Callable[..., NDArray[np.float32]],
    make_unseen: Callable[..., Design],
) -> None:
    rows = make_unseen(make_rows(300, 41), 6)
    said = run(blend, design, reference, rows.X)
    expected = blend.selection.spread(blend.margins(rows), reference)
    assert ((300, 3), np.float32) == (said.spread.shape, said.spread.dtype)
    np.testing.assert_allclose(expected, said.spread, rtol=0, atol=1e-5)
    assert {0.0} == {*said.spread[:, reference].tolist()}
    others = [k for k in range(3) if k != reference]
    assert (said.spread[:, others] > 0.0).mean() > 0.9
    assert said.spread.max() > 0.01


def test_pass_probabilities_are_the_same_whatever_the_reference(blend: Blend, design: Design) -> None:
    found = [run(blend, design, reference, design.X).p_pass for reference in (0, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(blend.p_pass(replace(design, tokens=None)), found[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["trees", "linear", "length"])
def test_one_member_agrees_with_itself(name: str, design: Design) -> None:
    alone = fit_blend(design, selection_of({name: 1.0}), 0)
    assert {0.0} == {*alone.selection.spread(alone.margins(design), 2).ravel().tolist()}
    said = run(alone, design, 2, design.X)
    assert {0.0} == {*said.spread.ravel().tolist()}
    np.testing.assert_allclose(alone.p_pass(design), said.p_pass, rtol=0, atol=1e-5)


def test_it_is_larger_where_members_disagree(blend: Blend, design: Design) -> None:
    """Row by row, the graph's spread ranks as the distance between the members does."""
    margins = blend.margins(design)
    alone = [sigmoid(margins[name] * slope + offset) for name, (slope, offset) in blend.selection.own.items()]
    lead = np.stack([p[:, 2] - p[:, 0] for p in alone])
    apart = lead.max(axis=0) - lead.min(axis=0)
    spread = run(blend, design, 2, design.X).spread[:, 0]
    close, far = (spread[order] for order in np.array_split(np.argsort(apart), 2))
    assert far.mean() > 1.5 * close.mean()
