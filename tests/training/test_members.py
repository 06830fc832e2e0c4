"""Each member is one computation in two places: numpy and ONNX must agree, on the worst rows we know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from eval.design import Design, count_tokens
from eval.outcomes import UNKNOWN
from training.logistic import MARGIN_CLIP, log_odds, prior_margin
from training.members import (
    FITTERS,
    LEAST_SPREAD,
    LINEAR_C,
    PROTOTYPE_COUNT,
    ROWS_PER_PROTOTYPE,
    Linear,
    Trees,
    find_prototypes,
)
from training.stack import sigmoid

MakeDesign = Callable[..., Design]
MakeUnseen = Callable[..., Design]
Relabel = Callable[..., Design]
Export = Callable[..., NDArray[np.float32]]
SCALE = np.array([0.7, 0.2, 3.0, 1.0, 0.5])


@pytest.fixture(scope="module")
def design(make_design: MakeDesign, relabel: Relabel) -> Design:
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
    name: str,
    kind: str,
    design: Design,
    make_design: MakeDesign,
    make_unseen: MakeUnseen,
    export: Export,
) -> None:
    member = FITTERS[name](design, 0)
    rows = {
        "training": design,
        "new": make_unseen(make_design(500, 99).X, 1, n_tiers=5),
        "extreme": make_unseen(extreme_rows(design.X, design.dimension), 2, n_tiers=5),
    }[kind]
    margins = member.margins(rows)
    assert margins.shape == (len(rows), design.n_tiers)
    assert margins.dtype == np.float64
    np.testing.assert_allclose(
        sigmoid(margins * SCALE), sigmoid(export(member, rows, SCALE)), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", FITTERS)
def test_export_differs_where_the_scale_does(name: str, design: Design, export: Export) -> None:
    member = FITTERS[name](design, 0)
    wrong = sigmoid(export(member, design, SCALE * 1.5))
    assert np.abs(sigmoid(member.margins(design) * SCALE) - wrong).max() > 1e-3


@pytest.mark.parametrize("name", FITTERS)
def test_rows_far_outside_the_training_data_stay_finite(
    name: str, design: Design, make_unseen: MakeUnseen, export: Export
) -> None:
    member = FITTERS[name](design, 0)
    X = (np.random.default_rng(1).normal(size=(50, design.X.shape[1])) * 1e6).astype(np.float32)
    rows = make_unseen(X, 1, n_tiers=5)
    assert np.isfinite(member.margins(rows)).all()
    assert np.isfinite(export(member, rows, SCALE)).all()


@pytest.mark.parametrize("name", FITTERS)
def test_what_is_known_of_a_prompt_but_its_text_plays_no_part(
    name: str, design: Design, make_unseen: MakeUnseen
) -> None:
    """At serving there is no outcome, task or group; rows that have them are scored as rows without."""
    member = FITTERS[name](design, 0)
    bare = replace(
        design,
        passed=np.full_like(design.passed, np.nan),
        label=np.full_like(design.label, UNKNOWN),
        tasks=None,
        groups=None,
    )
    np.testing.assert_array_equal(member.margins(design), member.margins(bare))
    others = make_unseen(design.X[::-1], 5, n_tiers=5)
    assert np.abs(member.margins(design) - member.margins(others)).max() > 1e-3  # the rows do


@pytest.mark.parametrize("name", FITTERS)
def test_the_same_design_and_seed_give_the_same_member(name: str, design: Design, export: Export) -> None:
    first, again = (FITTERS[name](design, 5) for _ in range(2))
    np.testing.assert_array_equal(first.margins(design), again.margins(design))
    np.testing.assert_array_equal(export(first, design, SCALE), export(again, design, SCALE))


@pytest.mark.parametrize("name", ["trees", "prototypes"])
def test_another_seed_gives_another_member(name: str, design: Design) -> None:
    one, other = FITTERS[name](design, 0), FITTERS[name](design, 1)
    assert np.abs(one.margins(design) - other.margins(design)).max() > 1e-6


@pytest.mark.parametrize("name", FITTERS)
def test_a_member_learns(name: str, make_design: MakeDesign) -> None:
    train, fresh = make_design(1500, 3, unobserved=0.0), make_design(1500, 50, unobserved=0.0)
    margins = FITTERS[name](train, 0).margins(fresh)
    passed = fresh.passed == 1.0
    assert (margins[passed[:, 0], 0].mean() - margins[~passed[:, 0], 0].mean()) > 0.02


@pytest.mark.parametrize("name", FITTERS)
def test_a_fit_leaves_its_design_alone(name: str, make_design: MakeDesign) -> None:
    design, untouched = make_design(200, 3), make_design(200, 3)
    FITTERS[name](design, 0).margins(design)
    for field in ("X", "passed", "label", "tasks", "groups"):
        np.testing.assert_array_equal(getattr(untouched, field), getattr(design, field))
    assert design.tokens is not None
    assert untouched.tokens is not None
    np.testing.assert_array_equal(untouched.tokens.toarray(), design.tokens.toarray())


@pytest.mark.parametrize("name", FITTERS)
def test_unobserved_outcomes_teach_nothing(name: str, make_design: MakeDesign, relabel: Any) -> None:
    """Rows without any outcome count for clusters, tasks and words alone; their outcomes teach nobody."""
    full = make_design(300, 4, unobserved=0.0)
    passed = full.passed.copy()
    passed[200:, 0] = np.nan
    gaps = relabel(full, passed)
    margins = FITTERS[name](gaps, 0).margins(full)
    assert np.isfinite(margins).all()
    passed[200:, 0] = 1.0 - full.passed[200:, 0]
    if name in ("trees", "linear", "length", "words"):
        alone = FITTERS[name](full.take(np.arange(300) < 200), 0).margins(full)
        # Spreads and document frequencies are those of all rows, whatever was observed.
        tolerance = {"trees": 0.0, "words": 0.25}.get(name, 0.1)
        np.testing.assert_allclose(alone[:, 0], margins[:, 0], rtol=0, atol=tolerance)
    flipped = FITTERS[name](relabel(full, passed), 0).margins(full)
    assert np.abs(flipped[:, 0] - margins[:, 0]).max() > (0.3 if name == "words" else 1e-3)


@pytest.mark.parametrize("unobserved", [0.0, 0.2])
def test_trees_of_one_tier_are_those_of_a_fit_of_that_tier_alone(
    unobserved: float, make_design: MakeDesign, relabel: Relabel
) -> None:
    """Tiers share binned rows where they were observed on the same ones; none may learn another's outcomes."""
    design = make_design(300, 4, unobserved=unobserved)
    passed = design.passed.copy()
    passed[:, 2] = np.where(np.isnan(passed[:, 0]), np.nan, 1.0 - np.nan_to_num(passed[:, 0]))
    design = relabel(design, passed)
    together = Trees.fit(design, 0).margins(design)
    for k in range(3):
        alone = Trees.fit(relabel(design, passed[:, [k]]), 0).margins(design)
        np.testing.assert_array_equal(alone[:, 0], together[:, k])


@pytest.mark.parametrize(("name", "c"), [("linear", LINEAR_C), ("length", 1.0)])
def test_linear_members_are_scikit_learns_on_standardised_shapes(
    name: str, c: float, make_design: MakeDesign
) -> None:
    design = make_design(300, 4)
    d = design.dimension
    X = design.X.astype(np.float64)
    X[:, d:] = (X[:, d:] - X[:, d:].mean(axis=0)) / np.maximum(X[:, d:].std(axis=0), LEAST_SPREAD)
    if name == "length":
        X = X[:, d : d + 1]
    margins = FITTERS[name](design, 0).margins(design)
    for k, y in enumerate(design.passed.T):
        seen = ~np.isnan(y)
        oracle = LogisticRegression(C=c, max_iter=1000).fit(X[seen], y[seen])
        np.testing.assert_allclose(oracle.decision_function(X), margins[:, k], rtol=0, atol=1e-3)


def test_the_linear_member_takes_the_embedding_as_it_is(make_design: MakeDesign) -> None:
    """Its columns are on one scale; a shape feature's unit does not matter, a column's of the embedding does."""
    design = make_design(300, 4)
    expected = Linear.fit(design, 0).margins(design)
    for column, same in ((0, False), (design.dimension, True)):
        X = design.X.copy()
        X[:, column] *= 4.0
        scaled = replace(design, X=X)
        gap = np.abs(expected - Linear.fit(scaled, 0).margins(scaled)).max()
        assert gap < 1e-3 if same else gap > 0.1


# Degenerate designs


def _degenerate(kind: str, make_design: MakeDesign, relabel: Relabel) -> Design:
    base = make_design(60, 6, unobserved=0.0)
    n, k = base.passed.shape
    X = base.X.copy()
    ones, zeros, nothing = np.ones((n, k)), np.zeros((n, k)), np.full((n, k), np.nan)
    if kind.startswith("tiny"):
        return base.take(np.arange(int(kind.split()[1])))
    if kind == "many duplicates":  # more rows than a shortcut would count
        many = make_design(700, 6, unobserved=0.0)
        return replace(many, X=np.repeat(many.X[:1], 700, axis=0), tokens=many.tokens[np.zeros(700, np.intp)])
    if kind == "few distinct":
        many = make_design(700, 6, unobserved=0.0)
        return replace(many, X=many.X[np.arange(700) % 9])
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
        return replace(base, X=X).take(np.arange(12))
    elif kind == "one huge value":
        X[7, -1] = 1e6
    elif kind == "no tokens":  # a history in a script that the embedding does not know
        return replace(base, tokens=count_tokens([[]] * n, 50))
    elif kind == "no token twice":
        return replace(base, tokens=count_tokens([[i] for i in range(n)], 50 + n))
    elif kind == "one token":
        return replace(base, tokens=count_tokens([[i % 2] * 3 for i in range(n)], 50))
    elif kind == "one task":
        return replace(base, tasks=np.full(n, "sum", object))
    elif kind == "each its own task":
        return replace(base, tasks=np.array([f"t{i}" for i in range(n)], object))
    outcomes = {
        "all pass": ones,
        "all fail": zeros,
        "nothing observed": nothing,
        "one tier unobserved": np.where(np.arange(k) == 1, np.nan, base.passed),
        "labels unknown": np.where(np.arange(k) == 0, np.nan, base.passed),
        "one pass": np.where(np.arange(n * k).reshape(n, k) == 4, 1.0, 0.0),
    }.get(kind, base.passed)
    return relabel(replace(base, X=X), outcomes)


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
    "no tokens",
    "no token twice",
    "one token",
    "one task",
    "each its own task",
    "tiny 1",
    "tiny 2",
    "tiny 3",
    "tiny 7",
)


def unseen_beside(design: Design, make_design: MakeDesign, make_unseen: MakeUnseen) -> Design:
    """Ordinary prompts, with tokens from the same table."""
    unseen = make_unseen(make_design(40, 1).X, 1)
    tokens = sparse.csr_array(unseen.tokens)
    tokens.resize((40, design.tokens.shape[1] if design.tokens is not None else 50))
    return replace(unseen, tokens=tokens)


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("name", FITTERS)
def test_degenerate_designs_fit_in_silence(
    name: str,
    kind: str,
    make_design: MakeDesign,
    relabel: Relabel,
    make_unseen: MakeUnseen,
    export: Export,
    capfd: pytest.CaptureFixture[str],
) -> None:
    design = _degenerate(kind, make_design, relabel)
    member = FITTERS[name](design, 0)
    scale = np.ones(design.n_tiers)
    for rows in (design, unseen_beside(design, make_design, make_unseen)):
        margins = member.margins(rows)
        assert np.isfinite(margins).all()
        np.testing.assert_allclose(sigmoid(margins), sigmoid(export(member, rows, scale)), rtol=0, atol=1e-5)
    assert ("", "") == capfd.readouterr()  # LightGBM warns past Python


@pytest.mark.parametrize("name", ["trees", "linear", "prototypes", "length"])
def test_a_tier_whose_outcomes_are_all_alike_stands_at_its_prior(name: str, design: Design) -> None:
    margins = FITTERS[name](design, 0).margins(design)
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


def test_length_sees_only_the_length(design: Design) -> None:
    member = FITTERS["length"](design, 0)
    X = design.X.copy()
    X[:, : design.dimension] = 0.0
    X[:, design.dimension + 1 :] = 0.0
    np.testing.assert_array_equal(
        member.margins(design), member.margins(replace(design, X=X, tokens=None, tasks=None))
    )


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
    centers = find_prototypes(replace(base, X=few), 0)
    assert (base.X.shape[1], 5) == centers.shape
    np.testing.assert_allclose(np.linalg.norm(centers, axis=0), 1.0)
    assert np.abs(few[:, : base.dimension] @ centers[: base.dimension]).max() == pytest.approx(1.0)


def test_without_a_known_token_there_is_one_prototype_without_direction(make_design: MakeDesign) -> None:
    base = make_design(50, 1)
    X = base.X.copy()
    X[:, : base.dimension] = 0.0
    centers = find_prototypes(replace(base, X=X), 0)
    np.testing.assert_array_equal(np.zeros((X.shape[1], 1)), centers)
