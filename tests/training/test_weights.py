"""Weighted outcomes: a weight of w is w outcomes, and inverse propensities undo what a log's policy did."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.design import Design, describe
from eval.history import read_history
from eval.outcomes import tabulate
from eval.progress import Progress
from eval.rows import extract_rows
from router.tiers import parse_tiers
from training.blend import score_blend, select
from training.fit import open_embedding
from training.logistic import fit_logistic, prior_margin
from training.members import FITTERS
from training.stack import calibrate, match, sigmoid
from training.synthetic import TIERS_TOML, generate_with_truth

MakeDesign = Callable[..., Design]
Floats = NDArray[np.float64]


def test_a_weight_of_two_is_the_row_twice(make_design: MakeDesign) -> None:
    design = make_design(300, 1, n_tiers=2)
    times = np.random.default_rng(0).integers(1, 4, len(design))
    again = np.repeat(np.arange(len(design)), times)
    X = design.X.astype(np.float64)
    weights, bias = fit_logistic(X, design.passed[:, 0], 1.0, weight=times.astype(np.float64))
    expected = fit_logistic(X[again], design.passed[again, 0], 1.0)
    np.testing.assert_allclose(expected[0], weights, atol=2e-3)
    assert expected[1] == pytest.approx(bias, abs=2e-3)


def test_the_tasks_count_by_weight(make_design: MakeDesign) -> None:
    design = make_design(400, 2, unobserved=0.0)
    weight = np.where(design.passed == 1.0, 3.0, 1.0)
    odds = FITTERS["tasks"](replace(design, weight=weight), 0).margins(design) - FITTERS["tasks"](
        design, 0
    ).margins(design)
    assert 3.0 == pytest.approx(np.exp(np.median(odds)), rel=0.1)  # but for the prior


@pytest.mark.parametrize("name", sorted(FITTERS))
def test_equal_weights_are_no_weights(name: str, make_design: MakeDesign) -> None:
    design = make_design(300, 3)
    weighted = replace(design, weight=np.ones(design.passed.shape))
    found, expected = (FITTERS[name](each, 0).margins(design) for each in (weighted, design))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", sorted(FITTERS))
def test_what_weighs_nearly_nothing_teaches_nearly_nothing(name: str, make_design: MakeDesign) -> None:
    """Outcomes turned round, at a weight of one millionth: the member stays where it was."""
    design = make_design(600, 4, unobserved=0.0)
    poisoned = np.arange(len(design)) % 3 == 0
    passed = np.where(poisoned[:, None], 1.0 - design.passed, design.passed).astype(np.float32)
    weight = np.where(poisoned[:, None], 1e-6, 1.0) * np.ones_like(passed)
    turned = replace(design, passed=passed)
    ignored = FITTERS[name](replace(turned, weight=weight), 0).margins(design)
    believed = FITTERS[name](turned, 0).margins(design)
    clean = FITTERS[name](design.take(~poisoned), 0).margins(design)
    assert np.abs(ignored - clean).mean() < 0.5 * np.abs(believed - clean).mean()


def test_the_prior_counts_by_weight() -> None:
    y = np.array([1, 0, 0], np.float32)
    assert np.log(2.5 / 2.5) == pytest.approx(prior_margin(y, np.array([1.5, 0.75, 0.75])))


def test_calibration_meets_the_weighted_pass_rate() -> None:
    rng = np.random.default_rng(5)
    margin = rng.normal(size=(500, 2))
    passed = (rng.random((500, 2)) < 0.6).astype(np.float32)
    passed[rng.random(passed.shape) < 0.3] = np.nan
    weight = rng.gamma(2.0, 0.5, passed.shape)
    slope, offset = calibrate(margin, passed, weight)
    for k in range(2):
        seen = ~np.isnan(passed[:, k])
        said = sigmoid(margin[seen, k] * slope[k] + offset[k])
        rate = np.average(passed[seen, k], weights=weight[seen, k])
        assert rate == pytest.approx(np.average(said, weights=weight[seen, k]), abs=1e-9)
    assert 0.0 != match(margin[:, 0], passed[:, 0], weight[:, 0])


def test_the_blend_meets_the_weighted_pass_rate() -> None:
    rng = np.random.default_rng(6)
    truth = rng.normal(1.0, 1.0, (800, 3))
    passed = (rng.random((800, 3)) < sigmoid(truth)).astype(np.float32)
    weight = np.exp(truth)
    margins = {"trees": truth + rng.normal(0, 0.5, truth.shape), "linear": 0.5 * truth}
    p = select(margins, passed, np.tile([0.001, 0.01, 0.1], (800, 1)), weight).p_pass(margins)
    for k in range(3):
        rate = np.average(passed[:, k], weights=weight[:, k])
        assert rate == pytest.approx(np.average(p[:, k], weights=weight[:, k]), abs=1e-6)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], tuple[Floats, Floats]]:
    """What is learned from a log whose policy saw how hard prompts are, and the truth, on prompts that it had no part in."""
    history, truth = generate_with_truth(2400, 11)
    path = tmp_path_factory.mktemp("log") / "h.parquet"
    history.to_parquet(path)
    ladder = parse_tiers(tomllib.loads(TIERS_TOML))
    outcomes = tabulate(read_history(path), ladder)
    _, extractor = open_embedding(None)
    X = extract_rows(extractor, outcomes.prompts, Progress())
    truth = truth.set_index("prompt_id").loc[list(outcomes.prompt_ids)]
    p = truth[[f"p_{name}" for name in ladder.names]].to_numpy()
    hard = (truth["visible"] + truth["latent"]).to_numpy()
    z = (hard - hard.mean()) / hard.std()
    chance = np.exp(np.stack([-1.2 * z, 0.0 * z, 1.2 * z], axis=1))
    chance /= chance.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    served = np.eye(3, dtype=bool)[[rng.choice(3, p=row) for row in chance]]
    censored = replace(
        outcomes,
        passed=np.where(served, outcomes.passed, np.nan).astype(np.float32),
        propensity=np.where(served, chance, np.nan),
    )
    new = np.arange(len(outcomes)) >= 1600

    def learned(weighted: bool) -> tuple[Floats, Floats]:
        design = describe(censored, X, extractor)
        assert design.weight is not None
        known = design.take(~new) if weighted else replace(design.take(~new), weight=None)
        return score_blend(known, design.take(new).blind(), 0), p[new]

    return learned


def test_propensities_undo_what_the_policy_did(log: Callable[[bool], tuple[Floats, Floats]]) -> None:
    """The small tier was given easy prompts: unweighted, it is taken to pass 10 points more often than it does."""
    plain, truth = log(False)
    weighted, _ = log(True)
    before, after = ((p - truth).mean(axis=0) for p in (plain, weighted))
    assert before[0] > 0.08
    assert abs(after[0]) < before[0] / 3
    assert np.abs(weighted - truth).mean() < np.abs(plain - truth).mean()
