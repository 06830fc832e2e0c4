"""Blend: nothing is judged by what it learned from, and the graph computes what Python does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from eval.calibration import log_loss
from eval.design import Design, count_tokens
from eval.outcomes import UNKNOWN
from router.scorer import Scorer, Scores
from training.answers import Answers
from training.blend import (
    FOLDS,
    LEAST_CURVE_ROWS,
    Blend,
    CrossValidation,
    Selection,
    build_model,
    cross_fit,
    cross_validate,
    fit_blend,
    judge,
    members_for,
    score_blend,
    select,
)
from training.members import FITTERS, Member
from training.novelty import Novelty
from training.stack import calibrate, match, shrink, sigmoid, weigh
from training.tasks import LEAST_ROWS_PER_TASK
from training.words import Words

MakeDesign = Callable[..., Design]
MakeRows = Callable[..., NDArray[np.float32]]
MakeUnseen = Callable[..., Design]
Relabel = Callable[..., Design]
Serve = Callable[..., NDArray[np.float32]]
Floats = NDArray[np.float64]
MEMBERS = tuple(FITTERS)


def in_groups(design: Design, n_groups: int) -> Design:
    """The same rows, dealt out to so many groups."""
    return replace(design, groups=np.array([f"g{i % n_groups}" for i in range(len(design))], object))


# Which members a history can have


def test_words_need_tokens_and_tasks_need_two_tasks(make_design: MakeDesign) -> None:
    design = make_design(300, 2)
    without = {"words": {"tokens": None}, "tasks": {"tasks": None}}
    assert MEMBERS == members_for(design)
    for name, lack in without.items():
        assert tuple(m for m in MEMBERS if m != name) == members_for(replace(design, **lack))
    assert not {"words", "tasks"} & set(members_for(replace(design, tokens=None, tasks=None)))


@pytest.mark.parametrize(
    ("rows", "expected"), [(LEAST_ROWS_PER_TASK, True), (LEAST_ROWS_PER_TASK - 1, False)]
)
def test_a_second_task_needs_rows_enough(rows: int, expected: bool, make_design: MakeDesign) -> None:
    tasks = np.array(["one"] * (100 - rows) + ["two"] * rows, object)
    assert expected == ("tasks" in members_for(replace(make_design(100, 2), tasks=tasks)))


# Cross-validation


@pytest.fixture(scope="module")
def secrets(
    make_design: MakeDesign, relabel: Relabel
) -> tuple[NDArray[np.float32], CrossValidation, CrossValidation]:
    """Groups of ten that share a direction and a token of their own and an outcome that only the group tells.

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
    rows = replace(base, X=X, tokens=count_tokens([[g] for g in group], 50), tasks=None)
    design = relabel(rows, np.stack([coin, np.ones(500)], axis=1))
    honest = cross_validate(replace(design, groups=np.array([f"g{g}" for g in group], object)), 0)
    leaking = cross_validate(replace(design, groups=np.array([f"r{i}" for i in range(500)], object)), 0)
    return design.passed[:, 0], honest, leaking


@pytest.mark.parametrize("name", ["trees", "prototypes", "words"])
def test_no_row_is_predicted_by_a_fit_on_its_group(
    name: str, secrets: tuple[NDArray[np.float32], CrossValidation, CrossValidation]
) -> None:
    y, honest, leaking = secrets
    assert roc_auc_score(y, honest.margins[name][:, 0]) < 0.65
    assert roc_auc_score(y, leaking.margins[name][:, 0]) > 0.8


def test_each_fold_is_predicted_by_a_fit_on_the_others(make_design: MakeDesign) -> None:
    design = in_groups(make_design(120, 2), 40)
    assert design.groups is not None
    validation = cross_validate(design, 3)
    assert set(range(FOLDS)) == set(validation.fold.tolist())
    assert members_for(design) == tuple(validation.margins)
    for group in np.unique(design.groups.astype(str)):
        assert 1 == len(np.unique(validation.fold[design.groups == group]))
    for i in range(FOLDS):
        left = validation.fold == i
        for name, fit in FITTERS.items():
            expected = fit(design.take(~left), 3).margins(design.take(left))
            np.testing.assert_array_equal(expected, validation.margins[name][left])


def test_members_are_those_of_the_whole_history_in_every_fold(make_design: MakeDesign) -> None:
    """A second task with just enough rows is too small without a fold; its member stands in all the same."""
    tasks = np.array(["one", "two"], object)[(np.arange(150) < LEAST_ROWS_PER_TASK).astype(int)]
    validation = cross_validate(replace(make_design(150, 2), tasks=tasks), 0)
    assert MEMBERS == tuple(validation.margins)
    assert np.isfinite(validation.margins["tasks"]).all()
    assert "tasks" not in cross_validate(replace(make_design(60, 2), tasks=None), 0).margins
    assert "words" not in cross_validate(replace(make_design(60, 2), tokens=None), 0).margins


@pytest.mark.parametrize("n_groups", [2, 3])
def test_folds_are_no_more_than_the_groups(n_groups: int, make_design: MakeDesign) -> None:
    validation = cross_validate(in_groups(make_design(30, 2), n_groups), 0)
    assert set(range(n_groups)) == set(validation.fold.tolist())


def test_cross_validation_is_repeatable_and_seeded(make_design: MakeDesign) -> None:
    design = in_groups(make_design(40, 2), 20)
    first, again, other = (cross_validate(design, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.fold, again.fold)
    for name in members_for(design):
        np.testing.assert_array_equal(first.margins[name], again.margins[name])
    assert (first.fold != other.fold).any()


def test_every_fit_is_announced(make_design: MakeDesign) -> None:
    said: list[str] = []
    design = make_design(30, 2)
    cross_validate(design, 0, said.append)
    names = members_for(design)
    assert [f"fold {i}/{FOLDS}: {name}" for i in range(1, FOLDS + 1) for name in names] == said


# Selection


def outcomes_of(margin: Floats, seed: int) -> NDArray[np.float32]:
    """Outcomes drawn with the log odds given."""
    return (np.random.default_rng(seed).random(margin.shape) < sigmoid(margin)).astype(np.float32)


def routable(n: int, seed: int) -> tuple[Floats, NDArray[np.float32], Floats]:
    """Log odds of three tiers, the outcomes drawn from them, and prices a decade apart.

    Prompts differ in how hard they are for all tiers, and in which tier is worth it.
    """
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.0, 1.5, (n, 1)) + rng.normal(0.0, 1.5, (n, 3)) + np.array([-0.5, 0.5, 1.5])
    return truth, outcomes_of(truth, seed + 1), np.tile([0.001, 0.01, 0.1], (n, 1))


def validation_of(margins: dict[str, Floats]) -> CrossValidation:
    n = len(next(iter(margins.values())))
    return CrossValidation(margins, np.arange(n) % FOLDS)


def noise(n: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(0.0, 2.0, (n, 3))


@pytest.mark.parametrize("knowing", MEMBERS)
def test_the_member_that_knows_is_chosen(knowing: str) -> None:
    truth, passed, cost = routable(20_000, 1)
    margins = {name: noise(20_000, i) for i, name in enumerate(MEMBERS)} | {knowing: truth}
    weights = select(margins, passed, cost).weights
    assert weights[knowing] > 0.9


def test_what_is_left_out_has_no_part() -> None:
    truth, passed, cost = routable(20_000, 1)
    margins = {"trees": truth, "linear": -5.0 * truth, "length": noise(20_000, 2)}
    selection = select(margins, passed, cost)
    assert "linear" not in selection.members
    assert set(selection.members) == set(selection.weights) == set(selection.scale) == set(selection.own)
    assert 1.0 == pytest.approx(sum(selection.weights.values()))
    assert min(selection.weights.values()) > 0.0
    kept = {name: margins[name] for name in selection.members}
    np.testing.assert_array_equal(selection.p_pass(kept), selection.p_pass(margins))


def test_members_are_weighed_after_their_calibration() -> None:
    """Three times too sure and off by five is the truth, once calibrated."""
    truth, passed, cost = routable(4000, 1)
    honest = select({"trees": truth, "length": noise(4000, 9)}, passed, cost)
    loud = select({"trees": 3.0 * truth + 5.0, "length": noise(4000, 9)}, passed, cost)
    assert honest.weights["trees"] == pytest.approx(loud.weights["trees"], abs=1e-3)
    np.testing.assert_allclose(honest.scale["trees"], 3.0 * loud.scale["trees"], rtol=0.01)


def test_the_selection_by_hand() -> None:
    """Calibrate each, weigh them, take the mean of their log odds, calibrate that, draw the tiers together."""
    truth, passed, cost = routable(800, 3)
    passed[::7, 1] = np.nan
    margins = {"trees": truth + 0.5 * noise(800, 1), "linear": 0.5 * truth - 1.0, "length": -truth}
    selection = select(margins, passed, cost)
    z = {}
    for name, margin in margins.items():
        slope, offset = calibrate(margin, passed)
        z[name] = margin * slope + offset
        if name in selection.own:
            np.testing.assert_array_equal([slope, offset], selection.own[name])
    weights = weigh([sigmoid(each) for each in z.values()], passed, cost.mean(axis=0))
    mean = sum(w * each for w, each in zip(weights, z.values(), strict=True))
    slope, offset = calibrate(np.asarray(mean), passed)
    kept = {name: w for name, w in zip(margins, weights.tolist(), strict=True) if w}
    assert kept == pytest.approx(selection.weights)
    assert ["trees", "linear"] == list(kept)
    whole = mean * slope + offset
    believed = shrink(sigmoid(whole), passed, cost.mean(axis=0))
    assert 0.5 < believed < 1.0
    common = whole.mean(axis=1, keepdims=True)
    usual = (whole - common).mean(axis=0)
    drawn = common + usual + believed * (whole - common - usual)
    for k in range(3):
        drawn[:, k] += match(drawn[:, k], passed[:, k])
    np.testing.assert_allclose(sigmoid(drawn), selection.p_pass(margins), rtol=0, atol=1e-12)


def test_differences_that_nothing_bears_out_are_not_believed() -> None:
    """Tiers differ in their pass rates alone: what is said to differ from prompt to prompt nearly disappears."""
    rng = np.random.default_rng(4)
    passed = (rng.random((400, 3)) < [0.4, 0.6, 0.8]).astype(np.float32)
    margins = {"trees": noise(400, 1) + np.array([0.0, 1.0, 2.0]), "linear": noise(400, 2)}
    p = select(margins, passed, np.tile([0.001, 0.01, 0.1], (400, 1))).p_pass(margins)
    np.testing.assert_allclose(passed.mean(axis=0), p.mean(axis=0), rtol=0, atol=1e-9)
    assert (np.diff(p, axis=1).std(axis=0) < 0.03).all()


def test_the_blend_is_calibrated() -> None:
    truth, passed, cost = routable(900, 3)
    passed[np.random.default_rng(1).random(passed.shape) < 0.2] = np.nan
    margins = {name: 3.0 * truth + noise(900, i) for i, name in enumerate(MEMBERS)}
    p = select(margins, passed, cost).p_pass(margins)
    for k in range(3):
        seen = ~np.isnan(passed[:, k])
        assert passed[seen, k].mean() == pytest.approx(p[seen, k].mean(), abs=1e-9)


def test_unobserved_outcomes_do_not_choose() -> None:
    truth, passed, cost = routable(600, 1)
    gaps = passed.copy()
    gaps[300:] = np.nan
    margins = {name: noise(600, i) for i, name in enumerate(MEMBERS)} | {"linear": truth}
    some, half = (
        select(margins, gaps, cost),
        select({n: z[:300] for n, z in margins.items()}, passed[:300], cost[:300]),
    )
    assert some.weights == pytest.approx(half.weights)
    np.testing.assert_allclose(some.offset, half.offset)


@pytest.mark.parametrize("outcome", [0.0, 1.0, np.nan])
def test_outcomes_all_alike_are_taken_as_they_are(outcome: float) -> None:
    margins = {"trees": np.full((100, 3), -2.0), "linear": np.full((100, 3), 1.0)}
    selection = select(margins, np.full((100, 3), outcome, np.float32), np.ones((100, 3)))
    assert {"trees": 0.5, "linear": 0.5} == selection.weights
    np.testing.assert_allclose(np.full((100, 3), sigmoid(np.array(-0.5))), selection.p_pass(margins))


# Judged by nothing that it learned from


def test_no_outcome_of_a_fold_is_a_part_of_its_scores() -> None:
    """Given the margins. Choosing and calibrating on all rows, which leaks, shows that the test can fail."""
    truth, passed, cost = routable(400, 2)
    margins = {"trees": truth + noise(400, 1), "linear": truth - noise(400, 2), "length": noise(400, 3)}
    validation = validation_of(margins)
    names = tuple(margins)
    before = cross_fit(validation, passed, cost, names)
    for i in range(FOLDS):
        left = validation.fold == i
        flipped = passed.copy()
        flipped[left] = 1.0 - flipped[left]
        after = cross_fit(validation, flipped, cost, names)
        np.testing.assert_array_equal(before[left], after[left])
        assert np.abs(before[~left] - after[~left]).max(axis=1).min() > 1e-4  # the others learn from it
        unobserved = flipped.copy()
        unobserved[left] = np.nan
        np.testing.assert_array_equal(before[left], cross_fit(validation, unobserved, cost, names)[left])
        leaking = [select(margins, y, cost).p_pass(margins)[left] for y in (passed, flipped)]
        assert np.abs(leaking[0] - leaking[1]).max() > 1e-3


def test_what_is_overfitted_to_all_rows_does_not_look_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty members of noise: the best mix of them fits these rows, and is worth nothing on rows left out."""
    monkeypatch.setattr("training.stack.LEAST_WEIGHT", 0.0)  # of forty, hardly one has a tenth
    n = 200
    passed, cost = outcomes_of(np.zeros((n, 3)), 4), np.ones((n, 3))
    margins = {f"noise {i}": noise(n, i) for i in range(40)}
    validation = validation_of(margins)
    in_sample, honest = (
        select(margins, passed, cost).p_pass(margins),
        cross_fit(validation, passed, cost, tuple(margins)),
    )
    loss = [np.mean([log_loss(p[:, k], passed[:, k]) for k in range(3)]) for p in (in_sample, honest)]
    assert loss[0] < np.log(2) < loss[1]
    gain = [np.corrcoef(p[:, 2] - p[:, 0], passed[:, 2] - passed[:, 0])[0, 1] for p in (in_sample, honest)]
    assert gain[0] > 0.1
    assert gain[1] < 0.05


def test_each_fold_is_scored_by_a_selection_on_the_others() -> None:
    truth, passed, cost = routable(300, 2)
    margins = {"trees": truth + noise(300, 1), "linear": truth - noise(300, 2), "length": noise(300, 3)}
    validation = CrossValidation(margins, np.random.default_rng(0).integers(0, 3, 300))
    p = cross_fit(validation, passed, cost, ("trees", "length"))  # linear is not asked
    for i in range(3):
        left = validation.fold == i
        kept = select(
            {name: margins[name][~left] for name in ("trees", "length")}, passed[~left], cost[~left]
        )
        expected = kept.p_pass({name: margins[name][left] for name in ("trees", "length")})
        np.testing.assert_array_equal(expected, p[left])


def test_losses_by_hand() -> None:
    """A blind member says the pass rate of each tier: its loss is the entropy, its gap closed nothing."""
    n = 40 * FOLDS
    passed = np.tile([[1, 1], [0, 1], [0, 1], [0, 0]], (n // 4, 1)).astype(np.float32)
    validation = CrossValidation(dict.fromkeys(MEMBERS, np.zeros((n, 2))), np.arange(n) // 40)
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    for row in judge(validation, passed, passed, np.tile([1.0, 10.0], (n, 1))):
        assert entropy == pytest.approx(row["log_loss"])
        assert [0.0] * 3 == pytest.approx(
            [row[key] for key in ("log_loss_standard_error", "gap_closed", "gap_closed_standard_error")]
        )


def test_each_member_alone_is_judged_and_all_together_last() -> None:
    truth, passed, cost = routable(600, 1)
    margins = {name: truth + noise(600, i) for i, name in enumerate(MEMBERS)} | {"linear": noise(600, 99)}
    validation = validation_of(margins)
    table = judge(validation, passed, passed, cost)
    assert [[name] for name in MEMBERS] + [list(MEMBERS)] == [row["members"] for row in table]
    rows = {tuple(row["members"]): row for row in table}
    assert rows[MEMBERS]["log_loss"] == min(row["log_loss"] for row in table)
    assert rows["linear",]["log_loss"] == max(row["log_loss"] for row in table)
    assert rows[MEMBERS]["gap_closed"] > rows["linear",]["gap_closed"] + 0.2
    p = cross_fit(validation, passed, cost, MEMBERS)
    losses = [
        np.mean([log_loss(p[fold, k], passed[fold, k]) for k in range(3)])
        for fold in (validation.fold == i for i in range(FOLDS))
    ]
    assert np.mean(losses) == pytest.approx(rows[MEMBERS]["log_loss"])
    assert np.std(losses, ddof=1) / np.sqrt(FOLDS) == pytest.approx(rows[MEMBERS]["log_loss_standard_error"])


def test_with_too_few_complete_rows_the_gap_is_unknown() -> None:
    n = FOLDS * LEAST_CURVE_ROWS
    truth, passed, cost = routable(n, 1)
    validation = validation_of(dict.fromkeys(("trees", "length"), truth))
    assert all(row["gap_closed"] > 0.0 for row in judge(validation, passed, passed, cost))
    gap = passed.copy()
    gap[0, 2] = np.nan  # leaves its fold a complete row short
    for row in judge(validation, gap, gap, cost):
        assert row["gap_closed"] is row["gap_closed_standard_error"] is None
        assert np.isfinite(row["log_loss"])


# Fitting and scoring


def test_the_chosen_members_alone_are_fitted(make_design: MakeDesign) -> None:
    design = make_design(200, 3)
    selection = Selection({"words": 0.4, "length": 0.6}, {}, np.eye(3), np.zeros(3), {})
    blend = fit_blend(design, selection, 5)
    assert ("words", "length") == tuple(blend.members)
    for name, member in blend.members.items():
        np.testing.assert_array_equal(FITTERS[name](design, 5).margins(design), member.margins(design))


def test_the_lexicon_of_a_blend_is_that_of_its_words(make_design: MakeDesign) -> None:
    design = make_design(200, 3)
    words = fit_blend(design, Selection({"words": 1.0}, {}, np.eye(3), np.zeros(3), {}), 0)
    assert isinstance(words.members["words"], Words)
    assert words.lexicon is words.members["words"].lexicon
    assert fit_blend(design, Selection({"length": 1.0}, {}, np.eye(3), np.zeros(3), {}), 0).lexicon is None


@pytest.mark.parametrize(
    "lack", [{}, {"tokens": None}, {"tasks": None}], ids=["all", "no tokens", "no tasks"]
)
def test_rows_left_out_are_scored_as_by_hand(lack: dict[str, None], make_design: MakeDesign) -> None:
    design = replace(make_design(260, 3), **lack)
    train, test = design.take(np.arange(200)), design.take(np.arange(200, 260))
    validation = cross_validate(train, 7)
    selection = select(validation.margins, train.passed, train.cost_usd)
    total = sum(FITTERS[name](train, 7).margins(test) * scale for name, scale in selection.scale.items())
    z = total @ selection.mix + selection.offset
    p = score_blend(train, test, 7)
    assert ((60, 3), np.float64) == (p.shape, p.dtype)
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-z)), p)


def test_scores_need_no_outcome_task_or_group_of_the_rows(make_design: MakeDesign) -> None:
    train, test = make_design(200, 3), make_design(80, 9)
    bare = replace(
        test,
        passed=np.full_like(test.passed, np.nan),
        label=np.full_like(test.label, UNKNOWN),
        tasks=None,
        groups=None,
        cost_usd=None,
    )
    p = score_blend(train, test, 0)
    np.testing.assert_array_equal(p, score_blend(train, bare, 0))
    assert (np.ptp(p, axis=0) > 0.05).all()


def test_without_costs_tiers_are_taken_to_cost_the_same(make_design: MakeDesign) -> None:
    train, test = make_design(200, 3), make_design(30, 9)
    free = replace(train, cost_usd=None)
    even = replace(train, cost_usd=np.tile([0.0, 1.0, 2.0], (200, 1)))
    np.testing.assert_allclose(score_blend(free, test, 0), score_blend(even, test, 0), rtol=0, atol=1e-9)
    assert np.abs(score_blend(train, test, 0) - score_blend(even, test, 0)).max() > 1e-6


def test_rows_are_scored_each_by_itself(make_design: MakeDesign) -> None:
    train, test = make_design(200, 3), make_design(30, 9)
    few = np.array([3, 17, 29])
    np.testing.assert_allclose(score_blend(train, test, 0)[few], score_blend(train, test.take(few), 0))


def test_the_blend_learns(make_design: MakeDesign) -> None:
    train, fresh = make_design(1200, 3), make_design(1200, 70, unobserved=0.0)
    p = score_blend(train, fresh, 0)
    for k in range(3):
        blind = log_loss(np.full(1200, np.nanmean(train.passed[:, k])), fresh.passed[:, k])
        assert log_loss(p[:, k], fresh.passed[:, k]) < blind - 0.02
        assert roc_auc_score(fresh.passed[:, k], p[:, k]) > 0.65


# The graph


@pytest.fixture(scope="module")
def fitted_members(make_design: MakeDesign) -> tuple[Design, dict[str, Member]]:
    design = make_design(400, 3)
    return design, {name: fit(design, 0) for name, fit in FITTERS.items()}


MIX = 0.7 * np.eye(3) + 0.1  # as shrunk differences have it


def blend_of(members: dict[str, Member], names: tuple[str, ...]) -> Blend:
    slope = np.array([0.2, 1.3, 5.0])
    scale = {name: slope * (1 + i) / len(names) for i, name in enumerate(names)}
    own = {name: (0.5 + slope / (2 + i), np.array([0.2, -0.1 * i, 0.0])) for i, name in enumerate(names)}
    return Blend(
        {name: members[name] for name in names},
        Selection(dict.fromkeys(names, 1 / len(names)), scale, MIX, np.array([-1.0, 0.3, 2.0]), own),
    )


def width_of(design: Design, blend: Blend) -> int:
    return design.X.shape[1] + (design.n_tiers if blend.lexicon is not None else 0)


def assert_said(said: Scores, blend: Blend, answers: Answers, novelty: Novelty, rows: Design) -> None:
    """A graph with the dearest tier as its reference says what numpy says."""
    np.testing.assert_allclose(blend.p_pass(rows), said.p_pass, rtol=0, atol=1e-5)
    spread = blend.selection.spread(blend.margins(rows), 2)
    np.testing.assert_allclose(spread, said.spread, rtol=0, atol=1e-5)
    np.testing.assert_allclose(answers.multiples(rows.X), said.answer, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(novelty.score(rows.X), said.novelty, rtol=1e-4, atol=1e-5)


BLENDS = [
    *((name,) for name in MEMBERS),
    MEMBERS,
    MEMBERS[::-1],
    tuple(name for name in MEMBERS if name != "words"),
    tuple(name for name in MEMBERS if name != "tasks"),
    ("words", "tasks"),
    ("trees", "words"),
]


@pytest.mark.parametrize("names", BLENDS, ids="+".join)
def test_the_graph_equals_the_blend(
    names: tuple[str, ...],
    fitted_members: tuple[Design, dict[str, Member]],
    make_rows: MakeRows,
    make_unseen: MakeUnseen,
    serve: Serve,
) -> None:
    design, members = fitted_members
    blend, novelty = blend_of(members, names), Novelty.fit(design, 0)
    answers = Answers.fit(design)
    width = width_of(design, blend)
    assert (blend.lexicon is not None) == ("words" in names)
    model, again = (
        build_model(blend, answers, novelty, 2, width, design.dimension).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert model == again
    strange = np.vstack([make_rows(300, 41), np.zeros((1, design.X.shape[1]), np.float32)])
    for rows in (design, make_unseen(strange, 6)):
        served = serve(members["words"], rows)[:, :width]
        said = Scorer(model, width, 3).score(np.ascontiguousarray(served))
        assert {np.dtype(np.float32)} == {output.dtype for output in said}
        assert_said(said, blend, answers, novelty, rows)
        assert ((said.p_pass >= 0) & (said.p_pass <= 1)).all()


@pytest.mark.parametrize("factor", [0.01, 1.0, 300.0])
def test_no_length_of_the_embedding_matters_to_the_graph(
    factor: float,
    fitted_members: tuple[Design, dict[str, Member]],
    make_rows: MakeRows,
    make_unseen: MakeUnseen,
    serve: Serve,
) -> None:
    """All members together, on rows as serving sends them: not of unit length."""
    design, members = fitted_members
    blend, novelty, answers = blend_of(members, MEMBERS), Novelty.fit(design, 0), Answers.fit(design)
    width = width_of(design, blend)
    model = build_model(blend, answers, novelty, 2, width, design.dimension).SerializeToString()
    rows = make_unseen(make_rows(300, 43), 6)
    served = serve(members["words"], rows)
    served[:, : design.dimension] *= np.float32(factor)
    assert_said(Scorer(model, width, 3).score(served), blend, answers, novelty, rows)


NUMERIC = tuple(name for name in MEMBERS if name != "words")


@pytest.fixture(scope="module")
def scorer(fitted_members: tuple[Design, dict[str, Member]]) -> Scorer:
    design, members = fitted_members
    model = build_model(
        blend_of(members, NUMERIC),
        Answers.fit(design),
        Novelty.fit(design, 0),
        2,
        design.X.shape[1],
        design.dimension,
    )
    return Scorer(model.SerializeToString(deterministic=True), design.X.shape[1], 3)


def test_a_row_scores_the_same_alone_and_in_any_batch(scorer: Scorer, make_rows: MakeRows) -> None:
    X = make_rows(257, 30)
    together = scorer.score(X)
    alone = Scores(
        *map(np.concatenate, zip(*(scorer.score(X[i : i + 1]) for i in range(len(X))), strict=True))
    )
    backwards = scorer.score(np.ascontiguousarray(X[::-1]))
    # Not bitwise: ONNX Runtime adds up one row in another order than many.
    for name, atol in (("p_pass", 5e-7), ("spread", 5e-7), ("answer", 5e-6), ("novelty", 5e-7)):
        expected = getattr(together, name)
        np.testing.assert_allclose(expected, getattr(alone, name), rtol=0, atol=atol)
        np.testing.assert_allclose(expected, getattr(backwards, name)[::-1], rtol=0, atol=atol)
