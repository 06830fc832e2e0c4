"""Each member is one computation in two places: numpy and ONNX must agree, on the worst rows we know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.blend import sigmoid
from training.members import (
    FITTERS,
    MARGIN_CLIP,
    PROTOTYPE_COUNT,
    ROWS_PER_PROTOTYPE,
    Design,
    Labels,
    Linear,
    find_prototypes,
    log_odds,
    prior_margin,
)

MakeDesign = Callable[..., Design]
MakeRows = Callable[..., NDArray[np.float32]]
Export = Callable[..., NDArray[np.float32]]
SCALE = np.array([0.7, 0.2, 3.0, 1.0, 0.5])


@pytest.fixture(scope="module")
def design(make_design: MakeDesign, relabel: Callable[..., Design]) -> Design:
    """Five tiers: three that differ, one where all passed, one where all failed; a tenth is unobserved."""
    base = make_design(400, 3, n_tiers=5)
    passed = base.passed.copy()
    for k, outcome in ((1, 1.0), (3, 0.0)):
        passed[~np.isnan(passed[:, k]), k] = outcome
    return relabel(base, passed)


def extreme_rows(X: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Rows that no history holds but a prompt may bring: absent, one-hot, opposite, endless, minute."""
    rng = np.random.default_rng(8)
    width = X.shape[1]
    one_hot = np.eye(width, dtype=np.float32)
    endless = X[:40].copy()
    endless[:, dimension:] = rng.choice([0.0, 32.0, 4000.0], (40, width - dimension))
    opposite = X[:40].copy()
    opposite[:, :dimension] *= -1
    return np.vstack(
        [np.zeros((1, width), np.float32), one_hot, -one_hot, endless, opposite, X[:20] * np.float32(1e-36)]
    )


@pytest.mark.parametrize("name", FITTERS)
@pytest.mark.parametrize("kind", ["training", "new", "extreme"])
def test_export_equals_margins(
    name: str, kind: str, design: Design, make_rows: MakeRows, export: Export
) -> None:
    member = FITTERS[name](design, 0)
    X = {
        "training": design.X,
        "new": make_rows(500, 99),
        "extreme": extreme_rows(design.X, design.dimension),
    }[kind]
    margins = member.margins(X)
    assert margins.shape == (len(X), design.n_tiers)
    assert margins.dtype == np.float64
    np.testing.assert_allclose(sigmoid(margins * SCALE), sigmoid(export(member, X, SCALE)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FITTERS)
def test_export_differs_where_the_scale_does(name: str, design: Design, export: Export) -> None:
    member = FITTERS[name](design, 0)
    wrong = sigmoid(export(member, design.X, SCALE * 1.5))
    assert np.abs(sigmoid(member.margins(design.X) * SCALE) - wrong).max() > 1e-3


@pytest.mark.parametrize("name", FITTERS)
def test_rows_far_outside_the_training_data_stay_finite(name: str, design: Design, export: Export) -> None:
    member = FITTERS[name](design, 0)
    X = (np.random.default_rng(1).normal(size=(50, design.X.shape[1])) * 1e6).astype(np.float32)
    assert np.isfinite(member.margins(X)).all()
    assert np.isfinite(export(member, X, SCALE)).all()


@pytest.mark.parametrize("name", FITTERS)
def test_the_same_design_and_seed_give_the_same_member(name: str, design: Design, export: Export) -> None:
    first, again = (FITTERS[name](design, 5) for _ in range(2))
    np.testing.assert_array_equal(first.margins(design.X), again.margins(design.X))
    np.testing.assert_array_equal(export(first, design.X, SCALE), export(again, design.X, SCALE))


@pytest.mark.parametrize("name", ["trees", "prototypes", "labels"])
def test_another_seed_gives_another_member(name: str, design: Design) -> None:
    one, other = FITTERS[name](design, 0), FITTERS[name](design, 1)
    assert np.abs(one.margins(design.X) - other.margins(design.X)).max() > 1e-6


@pytest.mark.parametrize("name", FITTERS)
def test_a_member_learns(name: str, make_design: MakeDesign) -> None:
    train, fresh = make_design(1500, 3, unobserved=0.0), make_design(1500, 50, unobserved=0.0)
    margins = FITTERS[name](train, 0).margins(fresh.X)
    passed = fresh.passed == 1.0
    assert (margins[passed[:, 0], 0].mean() - margins[~passed[:, 0], 0].mean()) > 0.02


@pytest.mark.parametrize("name", FITTERS)
def test_unobserved_outcomes_teach_nothing(name: str, make_design: MakeDesign, relabel: Any) -> None:
    """Rows without any outcome count for clusters alone, so trees, linear and length ignore their outcomes."""
    full = make_design(300, 4, unobserved=0.0)
    passed = full.passed.copy()
    passed[200:, 0] = np.nan
    gaps = relabel(full, passed)
    margins = FITTERS[name](gaps, 0).margins(full.X)
    assert np.isfinite(margins).all()
    passed[200:, 0] = 1.0 - full.passed[200:, 0]
    if name in ("trees", "linear", "length"):
        alone = FITTERS[name](full.take(np.arange(300) < 200), 0).margins(full.X)
        # The standardisation of the linear members sees all rows, whatever was observed.
        tolerance = 0.0 if name == "trees" else 0.1
        np.testing.assert_allclose(alone[:, 0], margins[:, 0], rtol=0, atol=tolerance)
    flipped = FITTERS[name](relabel(full, passed), 0).margins(full.X)
    assert np.abs(flipped[:, 0] - margins[:, 0]).max() > 1e-3


# Degenerate designs


def _degenerate(kind: str, make_design: MakeDesign, relabel: Callable[..., Design]) -> Design:
    base = make_design(60, 6, unobserved=0.0)
    n, k = base.passed.shape
    X = base.X.copy()
    ones, zeros, nothing = np.ones((n, k)), np.zeros((n, k)), np.full((n, k), np.nan)
    if kind.startswith("tiny"):
        return base.take(np.arange(int(kind.split()[1])))
    if kind == "many duplicates":  # more rows than a shortcut would count
        many = make_design(700, 6, unobserved=0.0)
        return Design(np.repeat(many.X[:1], 700, axis=0), many.dimension, many.passed, many.label)
    if kind == "few distinct":
        many = make_design(700, 6, unobserved=0.0)
        return Design(many.X[np.arange(700) % 9], many.dimension, many.passed, many.label)
    if kind == "constant rows":
        X[:] = X[0]
    elif kind == "duplicate rows":
        X = X[np.arange(n) // 2]
    elif kind == "zero vectors":
        X[:, : base.dimension] = 0.0
    elif kind == "zero rows":
        X[:] = 0.0
    elif kind == "opposite vectors":  # their mean has no direction
        X[:, : base.dimension] = X[0, : base.dimension] * np.where(np.arange(n) % 2, 1, -1)[:, None]
        return Design(X, base.dimension, base.passed, base.label).take(np.arange(12))
    elif kind == "one huge value":
        X[7, -1] = 1e6
    outcomes = {
        "all pass": ones,
        "all fail": zeros,
        "nothing observed": nothing,
        "one tier unobserved": np.where(np.arange(k) == 1, np.nan, base.passed),
        "labels unknown": np.where(np.arange(k) == 0, np.nan, base.passed),
        "one pass": np.where(np.arange(n * k).reshape(n, k) == 4, 1.0, 0.0),
    }.get(kind, base.passed)
    return relabel(Design(X, base.dimension, base.passed, base.label), outcomes)


DEGENERATE = (
    "all pass",
    "all fail",
    "one pass",
    "nothing observed",
    "one tier unobserved",
    "labels unknown",
    "constant rows",
    "duplicate rows",
    "many duplicates",
    "few distinct",
    "zero vectors",
    "zero rows",
    "opposite vectors",
    "one huge value",
    "tiny 1",
    "tiny 2",
    "tiny 3",
    "tiny 7",
)


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("name", FITTERS)
def test_degenerate_designs_fit_in_silence(
    name: str,
    kind: str,
    make_design: MakeDesign,
    relabel: Callable[..., Design],
    make_rows: MakeRows,
    export: Export,
    capfd: pytest.CaptureFixture[str],
) -> None:
    design = _degenerate(kind, make_design, relabel)
    member = FITTERS[name](design, 0)
    X = np.vstack([design.X, make_rows(20, 1)])
    margins, scale = member.margins(X), np.ones(design.n_tiers)
    assert np.isfinite(margins).all()
    np.testing.assert_allclose(sigmoid(margins), sigmoid(export(member, X, scale)), rtol=0, atol=1e-5)
    assert ("", "") == capfd.readouterr()  # LightGBM warns past Python


@pytest.mark.parametrize("name", ["trees", "linear", "prototypes", "length"])
def test_a_tier_whose_outcomes_are_all_alike_stands_at_its_prior(name: str, design: Design) -> None:
    margins = FITTERS[name](design, 0).margins(design.X)
    n_pass, n_fail = ((~np.isnan(design.passed[:, k])).sum() for k in (1, 3))
    np.testing.assert_allclose(np.log(n_pass + 1), margins[:, 1])
    np.testing.assert_allclose(-np.log(n_fail + 1), margins[:, 3])


def test_the_prior_is_smoothed_by_one_pass_and_one_failure() -> None:
    assert 0.0 == pytest.approx(prior_margin(np.array([], np.float32)))
    assert np.log(4 / 1) == pytest.approx(prior_margin(np.ones(3, np.float32)))
    assert np.log(2 / 3) == pytest.approx(prior_margin(np.array([1, 0, 0], np.float32)))


def test_log_odds_are_finite_at_both_ends() -> None:
    end = np.log((1 - MARGIN_CLIP) / MARGIN_CLIP)
    np.testing.assert_allclose([-end, 0.0, end], log_odds(np.array([0.0, 0.5, 1.0])))


def test_labels_alike_need_no_booster(make_design: MakeDesign, relabel: Callable[..., Design]) -> None:
    base = make_design(40, 2, unobserved=0.0)
    cheap_enough = relabel(base, np.ones_like(base.passed))
    none_enough = relabel(base, np.zeros_like(base.passed))
    unknown = relabel(base, np.full_like(base.passed, np.nan))
    end = np.log((1 - MARGIN_CLIP) / MARGIN_CLIP)
    for design, expected in ((cheap_enough, end), (none_enough, -end), (unknown, 0.0)):
        member = Labels.fit(design, 0)
        assert isinstance(member, Linear)
        np.testing.assert_allclose(np.full((40, 3), expected), member.margins(base.X))


def test_labels_rise_with_the_tier(design: Design) -> None:
    margins = FITTERS["labels"](design, 0).margins(design.X)
    assert (np.diff(margins, axis=1) >= -1e-9).all()


def test_length_sees_only_the_length(design: Design) -> None:
    member = FITTERS["length"](design, 0)
    X = design.X.copy()
    X[:, : design.dimension] = 0.0
    X[:, design.dimension + 1 :] = 0.0
    np.testing.assert_array_equal(member.margins(design.X), member.margins(X))


# Prototypes


def test_prototypes_are_unit_columns_on_the_embedding_alone(design: Design) -> None:
    centers = find_prototypes(design, 0)
    expected = min(
        PROTOTYPE_COUNT, (np.abs(design.X[:, : design.dimension]).sum(1) > 0).sum() // ROWS_PER_PROTOTYPE
    )
    assert (design.X.shape[1], expected) == centers.shape
    np.testing.assert_allclose(np.linalg.norm(centers, axis=0), 1.0)
    assert not centers[design.dimension :].any()


def test_prototypes_are_at_most_the_distinct_vectors(make_design: MakeDesign) -> None:
    base = make_design(900, 1, unobserved=0.0)
    vectors = np.abs(base.X[:, : base.dimension]).sum(1) > 0
    few = base.X[np.flatnonzero(vectors)[np.arange(900) % 5]]
    centers = find_prototypes(Design(few, base.dimension, base.passed, base.label), 0)
    assert (base.X.shape[1], 5) == centers.shape
    np.testing.assert_allclose(np.linalg.norm(centers, axis=0), 1.0)
    assert np.abs(few[:, : base.dimension] @ centers[: base.dimension]).max() == pytest.approx(1.0)


def test_without_a_known_token_there_is_one_prototype_without_direction(make_design: MakeDesign) -> None:
    base = make_design(50, 1)
    X = base.X.copy()
    X[:, : base.dimension] = 0.0
    centers = find_prototypes(Design(X, base.dimension, base.passed, base.label), 0)
    np.testing.assert_array_equal(np.zeros((X.shape[1], 1)), centers)
