"""Blend: nothing is judged by what it learned from, and the graph computes what Python does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from eval.calibration import log_loss
from router.scorer import Scorer
from training.blend import (
    CANDIDATES,
    FOLDS,
    LEAST_CURVE_ROWS,
    MATERIAL,
    PREFERRED,
    SLOPE_RANGE,
    Blend,
    CrossValidation,
    Selection,
    build_model,
    calibrate,
    cross_validate,
    select,
    sigmoid,
)
from training.members import FITTERS, Design, Member, find_prototypes

MakeDesign = Callable[..., Design]
MakeRows = Callable[..., NDArray[np.float32]]
MEMBERS = tuple(FITTERS)


# Cross-validation


@pytest.fixture(scope="module")
def secrets(
    make_design: MakeDesign, relabel: Callable[..., Design]
) -> tuple[NDArray[np.float32], CrossValidation, CrossValidation]:
    """Groups of ten that share a direction of their own and an outcome that only the group tells.

    The outcomes, an honest cross-validation, and a leaking one: its folds are by row, so a group's other rows
    tell its secret. The second shows that the test can fail.
    """
    base = make_design(500, 1, n_tiers=2, unobserved=0.0)
    rng = np.random.default_rng(17)
    group = rng.permutation(np.arange(500) % 50)
    direction = rng.normal(size=(50, base.dimension))
    X = base.X.copy()
    X[:, : base.dimension] = direction[group] / np.linalg.norm(direction[group], axis=1, keepdims=True)
    coin = rng.permutation(np.arange(50) % 2)[group]
    design = relabel(
        Design(X, base.dimension, base.passed, base.label), np.stack([coin, np.ones(500)], axis=1)
    )
    honest = cross_validate(design, np.array([f"g{g}" for g in group], object), 0)
    leaking = cross_validate(design, np.array([f"r{i}" for i in range(500)], object), 0)
    return design.passed[:, 0], honest, leaking


@pytest.mark.parametrize("name", ["trees", "prototypes", "labels"])
def test_no_row_is_predicted_by_a_fit_on_its_group(
    name: str, secrets: tuple[NDArray[np.float32], CrossValidation, CrossValidation]
) -> None:
    y, honest, leaking = secrets
    assert roc_auc_score(y, honest.margins[name][:, 0]) < 0.65
    assert roc_auc_score(y, leaking.margins[name][:, 0]) > 0.8


def test_each_fold_is_predicted_by_a_fit_on_the_others(make_design: MakeDesign) -> None:
    design = make_design(120, 2)
    groups = np.array([f"u{i % 40}" for i in range(120)], object)
    validation = cross_validate(design, groups, 3)
    assert set(range(FOLDS)) == set(validation.fold.tolist())
    for group in np.unique(groups.astype(str)):
        assert 1 == len(np.unique(validation.fold[groups == group]))
    for i in range(FOLDS):
        left = validation.fold == i
        for name, fit in FITTERS.items():
            expected = fit(design.take(~left), 3).margins(design.X[left])
            np.testing.assert_array_equal(expected, validation.margins[name][left])


@pytest.mark.parametrize("n_groups", [2, 3])
def test_folds_are_no_more_than_the_groups(n_groups: int, make_design: MakeDesign) -> None:
    groups = np.array([f"g{i % n_groups}" for i in range(30)], object)
    validation = cross_validate(make_design(30, 2), groups, 0)
    assert set(range(n_groups)) == set(validation.fold.tolist())


def test_cross_validation_is_repeatable_and_seeded(make_design: MakeDesign) -> None:
    design = make_design(40, 2)
    groups = np.array([f"g{i % 20}" for i in range(40)], object)
    first, again, other = (cross_validate(design, groups, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.fold, again.fold)
    for name in MEMBERS:
        np.testing.assert_array_equal(first.margins[name], again.margins[name])
    assert (first.fold != other.fold).any()


def test_every_fit_is_announced(make_design: MakeDesign) -> None:
    said: list[str] = []
    cross_validate(make_design(30, 2), np.arange(30).astype(object), 0, said.append)
    assert [f"fold {i}/{FOLDS}: {name}" for i in range(1, FOLDS + 1) for name in MEMBERS] == said


# Calibration


def outcomes_of(margin: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """Outcomes drawn with the log odds given."""
    return (np.random.default_rng(seed).random(margin.shape) < sigmoid(margin)).astype(np.float32)


@pytest.mark.parametrize("factor", [-3.0, 0.0, 0.01, 0.5, 1.0, 2.0, 50.0])
def test_calibration_keeps_order_and_meets_the_pass_rate(factor: float) -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(0.5, 1.5, (400, 2))
    passed = outcomes_of(truth, 3)
    passed[rng.random(passed.shape) < 0.2] = np.nan
    # A member that says the truth times a factor, and so is over-sure, unsure, blind or wrong.
    margin = truth * factor + rng.normal(0, 1e-3, truth.shape)
    slope, offset = calibrate(margin, passed)
    assert ((slope >= SLOPE_RANGE[0]) & (slope <= SLOPE_RANGE[1])).all()
    p = sigmoid(margin * slope + offset)
    for k in range(2):
        seen = ~np.isnan(passed[:, k])
        assert passed[seen, k].mean() == pytest.approx(p[seen, k].mean(), abs=1e-9)
        order = np.argsort(margin[:, k])
        assert (np.diff(p[order, k]) >= 0).all()


def test_calibration_mends_margins_that_are_too_sure() -> None:
    truth = np.random.default_rng(5).normal(0.0, 1.5, (4000, 1))
    passed = outcomes_of(truth, 6)
    slope, offset = calibrate(truth * 2.0 + 1.0, passed)
    assert 0.5 == pytest.approx(slope[0], abs=0.05)
    assert -0.5 == pytest.approx(offset[0], abs=0.12)
    before, after = (
        log_loss(sigmoid(z[:, 0]), passed[:, 0]) for z in (truth * 2 + 1, (truth * 2 + 1) * slope + offset)
    )
    assert after < before


@pytest.mark.parametrize("outcome", [0.0, 1.0, np.nan])
def test_a_tier_whose_outcomes_are_all_alike_keeps_its_margin(outcome: float) -> None:
    margin = np.random.default_rng(0).normal(size=(50, 2))
    passed = outcomes_of(margin, 1)
    passed[:, 1] = outcome
    slope, offset = calibrate(margin, passed)
    assert (1.0, 0.0) == (slope[1], offset[1])
    assert (1.0, 0.0) != (slope[0], offset[0])


def test_tiers_share_one_slope() -> None:
    truth = np.random.default_rng(1).normal(size=(300, 3))
    slope, offset = calibrate(truth, outcomes_of(truth * [0.5, 1.0, 1.5], 2))
    assert 1 == len(set(slope.tolist()))
    assert 3 == len(set(offset.tolist()))


@pytest.mark.parametrize("margin", [0.0, 0.3, -9.0])
def test_a_constant_margin_becomes_the_pass_rate(margin: float) -> None:
    passed = np.repeat([[1, 0], [1, 1], [0, 1], [1, 0]], 10, axis=0).astype(np.float32)
    slope, offset = calibrate(np.full(passed.shape, margin), passed)
    p = sigmoid(np.full(passed.shape, margin) * slope + offset)
    np.testing.assert_allclose(np.tile([0.75, 0.5], (40, 1)), p)


def test_a_margin_that_knows_all_is_kept_moderate() -> None:
    passed = outcomes_of(np.zeros((200, 2)), 4)
    slope, offset = calibrate(np.where(passed == 1.0, 0.3, -0.3), passed)
    assert [SLOPE_RANGE[1]] * 2 == slope.tolist()
    assert np.isfinite(offset).all()


# Selection


def routable(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    """Log odds of three tiers, the outcomes drawn from them, and prices a decade apart."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.0, 2.0, (n, 1)) + np.array([-0.5, 0.5, 1.5])
    return truth, outcomes_of(truth, seed + 1), np.tile([0.001, 0.01, 0.1], (n, 1))


def validation_of(margins: dict[str, NDArray[np.float64]]) -> CrossValidation:
    n = len(margins["trees"])
    return CrossValidation(margins, np.arange(n) % FOLDS)


def noise(n: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0.0, 2.0, (n, 3))


@pytest.mark.parametrize("knowing", MEMBERS)
@pytest.mark.parametrize("n", [60, 600])
def test_the_member_that_knows_is_chosen(knowing: str, n: int) -> None:
    truth, passed, cost = routable(n, 1)
    # The others are wrong rather than blind, since a mean with a third of the truth in it still ranks.
    margins = {name: noise(n, i) - truth for i, name in enumerate(MEMBERS)} | {knowing: truth}
    assert (knowing,) == select(validation_of(margins), passed, passed, cost).members


def test_members_whose_errors_cancel_are_chosen_together() -> None:
    truth, passed, cost = routable(600, 1)
    error = noise(600, 0)
    blind = {name: noise(600, i) for i, name in enumerate(MEMBERS, start=1)}
    margins = blind | {"trees": truth + error, "prototypes": truth - error}
    assert ("trees", "prototypes") == select(validation_of(margins), passed, passed, cost).members


def test_members_are_chosen_by_the_loss_after_calibration() -> None:
    """Ten times too sure and off by five is the truth, once calibrated; half the truth is not."""
    truth, passed, cost = routable(600, 1)
    margins = {name: noise(600, i) - truth for i, name in enumerate(MEMBERS)}
    margins |= {"labels": 4.0 * truth + 5.0, "length": 0.5 * truth + noise(600, 9)}
    assert ("labels",) == select(validation_of(margins), passed, passed, cost).members


def test_unobserved_outcomes_do_not_choose() -> None:
    truth, passed, cost = routable(600, 1)
    margins = {name: noise(600, i) - truth for i, name in enumerate(MEMBERS)} | {"linear": truth}
    gaps = passed.copy()
    gaps[np.random.default_rng(0).random(gaps.shape) < 0.5] = np.nan
    selection = select(validation_of(margins), gaps, gaps, cost)
    assert ("linear",) == selection.members
    assert np.isfinite(selection.p_pass).all()


def test_losses_by_hand() -> None:
    """A blind member says the pass rate of each tier: its loss is the entropy, its gap closed nothing."""
    n = 40 * FOLDS
    passed = np.tile([[1, 1], [0, 1], [0, 1], [0, 0]], (n // 4, 1)).astype(np.float32)
    validation = CrossValidation(dict.fromkeys(MEMBERS, np.zeros((n, 2))), np.arange(n) // 40)
    selection = select(validation, passed, passed, np.tile([1.0, 10.0], (n, 1)))
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    for row in selection.table:
        assert entropy == pytest.approx(row["log_loss"])
        assert [0.0] * 3 == pytest.approx(
            [row[key] for key in ("log_loss_standard_error", "gap_closed", "gap_closed_standard_error")]
        )
    np.testing.assert_allclose(np.tile([0.25, 0.75], (n, 1)), selection.p_pass)


def test_with_too_few_complete_rows_the_gap_is_unknown() -> None:
    n = FOLDS * LEAST_CURVE_ROWS
    truth, passed, cost = routable(n, 1)
    validation = validation_of(dict.fromkeys(MEMBERS, truth))
    assert all(row["gap_closed"] > 0.0 for row in select(validation, passed, passed, cost).table)
    gap = passed.copy()
    gap[0, 2] = np.nan  # leaves its fold a complete row short
    for row in select(validation, gap, gap, cost).table:
        assert row["gap_closed"] is row["gap_closed_standard_error"] is None
        assert np.isfinite(row["log_loss"])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("error", [0.0, 0.3, 0.6, 1.5])
def test_the_preferred_members_stand_unless_another_subset_is_materially_better(
    seed: int, error: float
) -> None:
    """The labels member knows more than the preferred ones, by an error that grows."""
    truth, passed, cost = routable(600, seed)
    margins = {name: truth + error * noise(600, i) for i, name in enumerate(MEMBERS)} | {"labels": truth}
    selection = select(validation_of(margins), passed, passed, cost)
    losses = {tuple(row["members"]): row["log_loss"] for row in selection.table}
    best = min(losses, key=lambda members: losses[members])
    materially = losses[best] < (1.0 - MATERIAL) * losses[PREFERRED]
    assert (best if materially else PREFERRED) == selection.members
    if error == 0.0:
        assert PREFERRED == selection.members
    if error == 1.5:
        assert "labels" in selection.members


def test_selection_holds_what_it_chose() -> None:
    truth, passed, cost = routable(500, 3)
    margins = {name: truth + 0.5 * noise(500, i) for i, name in enumerate(MEMBERS)}
    validation = validation_of(margins)
    selection = select(validation, passed, passed, cost)
    assert isinstance(selection, Selection)
    z = validation.blend(selection.members) * selection.slope + selection.offset
    np.testing.assert_allclose(sigmoid(z), selection.p_pass)
    assert [list(members) for members in CANDIDATES] == [row["members"] for row in selection.table]
    losses = {tuple(row["members"]): row["log_loss"] for row in selection.table}
    folds = [validation.fold == i for i in range(FOLDS)]
    by_fold = [
        np.mean([log_loss(selection.p_pass[rows, k], passed[rows, k]) for k in range(3)]) for rows in folds
    ]
    assert np.mean(by_fold) == pytest.approx(losses[selection.members])


def test_blend_is_the_mean_of_margins() -> None:
    validation = validation_of({name: np.full((5, 3), float(i)) for i, name in enumerate(MEMBERS)})
    np.testing.assert_array_equal(np.full((5, 3), 0.5), validation.blend(MEMBERS[:2]))


def test_candidates_are_the_subsets_that_were_promised() -> None:
    assert len(set(CANDIDATES)) == len(CANDIDATES) == 16
    assert {("trees",), ("trees", "linear", "prototypes"), ("length",)} <= set(CANDIDATES)
    assert {name for members in CANDIDATES for name in members} == set(FITTERS)


# The graph


@pytest.fixture(scope="module")
def fitted_members(make_design: MakeDesign) -> tuple[Design, dict[str, Member]]:
    design = make_design(400, 3)
    return design, {name: fit(design, 0) for name, fit in FITTERS.items()}


def blend_of(members: dict[str, Member], names: tuple[str, ...]) -> Blend:
    return Blend(
        {name: members[name] for name in names}, np.array([0.2, 1.3, 5.0]), np.array([-1.0, 0.3, 2.0])
    )


@pytest.mark.parametrize("names", CANDIDATES, ids="+".join)
def test_the_graph_equals_the_blend(
    names: tuple[str, ...], fitted_members: tuple[Design, dict[str, Member]], make_rows: MakeRows
) -> None:
    design, members = fitted_members
    blend, prototypes = blend_of(members, names), find_prototypes(design, 0)
    model = build_model(blend, prototypes, design.X.shape[1]).SerializeToString(deterministic=True)
    again = build_model(blend, prototypes, design.X.shape[1]).SerializeToString(deterministic=True)
    assert model == again
    X = np.vstack([design.X, make_rows(300, 41), np.zeros((1, design.X.shape[1]), np.float32)])
    p_pass, novelty = Scorer(model, design.X.shape[1], 3).score(X)
    assert (np.float32, np.float32) == (p_pass.dtype, novelty.dtype)
    np.testing.assert_allclose(blend.p_pass(X), p_pass, rtol=0, atol=1e-5)
    assert ((p_pass >= 0) & (p_pass <= 1)).all()


@pytest.fixture(scope="module")
def scorer(fitted_members: tuple[Design, dict[str, Member]]) -> Scorer:
    design, members = fitted_members
    blend = blend_of(members, ("trees", "linear", "prototypes", "labels"))
    model = build_model(blend, find_prototypes(design, 0), design.X.shape[1])
    return Scorer(model.SerializeToString(deterministic=True), design.X.shape[1], 3)


def test_novelty_is_a_cosine_distance_to_the_nearest_prototype(
    fitted_members: tuple[Design, dict[str, Member]], scorer: Scorer, make_rows: MakeRows
) -> None:
    design, _ = fitted_members
    prototypes = find_prototypes(design, 0)
    X = make_rows(500, 12)
    _, novelty = scorer.score(X)
    np.testing.assert_allclose(1 - (X @ prototypes).max(axis=1), novelty, rtol=0, atol=1e-5)
    assert ((novelty >= -1e-6) & (novelty <= 2 + 1e-6)).all()
    zero = np.zeros((1, X.shape[1]), np.float32)
    zero[0, design.dimension :] = 3.0
    assert [1.0] == scorer.score(zero)[1].tolist()
    np.testing.assert_allclose(0.0, scorer.score(prototypes.T.astype(np.float32))[1], rtol=0, atol=1e-6)


def test_novelty_reaches_two_opposite_the_only_prototype(
    fitted_members: tuple[Design, dict[str, Member]],
) -> None:
    design, members = fitted_members
    only = find_prototypes(design.take(np.arange(10)), 0)
    model = build_model(blend_of(members, ("length",)), only, design.X.shape[1]).SerializeToString()
    _, novelty = Scorer(model, design.X.shape[1], 3).score(-only.T.astype(np.float32))
    assert [2.0] == pytest.approx(novelty.tolist(), abs=1e-6)


def test_a_row_scores_the_same_alone_and_in_any_batch(scorer: Scorer, make_rows: MakeRows) -> None:
    X = make_rows(257, 30)
    p_pass, novelty = scorer.score(X)
    alone = [scorer.score(X[i : i + 1]) for i in range(len(X))]
    # Not bitwise: ONNX Runtime adds up one row in another order than many.
    np.testing.assert_allclose(np.vstack([p for p, _ in alone]), p_pass, rtol=0, atol=5e-7)
    np.testing.assert_allclose(np.concatenate([u for _, u in alone]), novelty, rtol=0, atol=5e-7)
    backwards, _ = scorer.score(np.ascontiguousarray(X[::-1]))
    np.testing.assert_allclose(backwards[::-1], p_pass, rtol=0, atol=5e-7)
