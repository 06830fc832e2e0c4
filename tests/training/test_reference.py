"""Reference statistics: deciles by hand, and nothing that JSON lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.drift_chance import Binned
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from router.features import FEATURE_NAMES
from router.scorer import Scores
from router.tiers import read_tiers
from training.reference import describe_held, describe_reference


def reference_of(X: NDArray[np.float32], tiers: tuple[str, ...] = ("small", "large")) -> dict[str, Any]:
    n = len(X)
    p_pass = np.linspace(0.0, 1.0, n)[:, None] * np.ones(len(tiers))
    return describe_reference(X, p_pass, np.full(n, 0.25, np.float32), tiers)


def test_deciles_by_hand() -> None:
    X = np.zeros((11, 2 + len(FEATURE_NAMES)), np.float32)
    X[:, 0] = 1.0
    X[:, 2] = np.random.default_rng(0).permutation(11)
    found = reference_of(X)
    assert 11 == found["prompts"]
    assert [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] == found["quantiles"]
    assert list(map(float, range(11))) == found["features"][FEATURE_NAMES[0]]
    assert [0.0] * 11 == found["features"][FEATURE_NAMES[1]]
    assert found["quantiles"] == found["p_pass"]["small"] == found["p_pass"]["large"]
    assert [0.25] * 11 == found["novelty"]
    assert [1.0, 0.0] == found["mean_embedding"]


@pytest.mark.parametrize("n", [1, 2, 500])
def test_every_feature_and_tier_has_its_deciles(
    n: int, make_rows: Callable[..., NDArray[np.float32]]
) -> None:
    found = reference_of(make_rows(n, 1), ("a", "b", "c"))
    assert list(FEATURE_NAMES) == list(found["features"])
    assert ["a", "b", "c"] == list(found["p_pass"])
    for deciles in (*found["features"].values(), *found["p_pass"].values(), found["novelty"]):
        assert sorted(deciles) == deciles
        assert 11 == len(deciles)
    assert found == json.loads(json.dumps(found, allow_nan=False))


def test_order_of_rows_does_not_matter(make_rows: Callable[..., NDArray[np.float32]]) -> None:
    X = make_rows(200, 2)
    p_pass, novelty = np.random.default_rng(3).random((200, 2)), np.random.default_rng(4).random(200)
    order = np.random.default_rng(5).permutation(200)
    one = describe_reference(X, p_pass, novelty.astype(np.float32), ("a", "b"))
    other = describe_reference(X[order], p_pass[order], novelty[order].astype(np.float32), ("a", "b"))
    np.testing.assert_allclose(one.pop("mean_embedding"), other.pop("mean_embedding"), rtol=0, atol=1e-5)
    assert one == other


def test_groups_bring_bins_that_hold_all_rows(make_rows: Callable[..., NDArray[np.float32]]) -> None:
    X = make_rows(300, 6)
    novelty, p_pass = np.zeros(300, np.float32), np.full((300, 2), 0.5)
    groups = np.array([f"g{i // 3}" for i in range(300)], object)
    found = describe_reference(X, p_pass, novelty, ("a", "b"), groups)
    assert 100 == found["groups"]
    assert list(FEATURE_NAMES) == list(found["bins"])
    for bins in found["bins"].values():
        read = Binned.read(bins)
        assert len(read.edges) + 1 == len(read.shares)
        np.testing.assert_allclose(1.0, read.shares.sum(), atol=1e-5)
        assert 1.0 <= read.effective <= 300.0
    assert found == json.loads(json.dumps(found, allow_nan=False))
    plain = describe_reference(X, p_pass, novelty, ("a", "b"))
    assert plain == {key: value for key, value in found.items() if key not in ("groups", "bins")}


@pytest.fixture(scope="module")
def outcomes(history_files: tuple[Path, Path]) -> Outcomes:
    history, tiers = history_files
    return tabulate(read_history([history]), read_tiers(tiers))


def scores_of(outcomes: Outcomes, p: float) -> Scores:
    shape = outcomes.passed.shape
    novelty = np.linspace(0.0, 1.0, len(outcomes), dtype=np.float32)
    return Scores(
        np.full(shape, p, np.float32), np.zeros(shape, np.float32), np.ones(shape, np.float32), novelty
    )


def test_prompts_held_out_by_hand(outcomes: Outcomes) -> None:
    found = describe_held(outcomes, scores_of(outcomes, 0.5), 0.75)
    assert (len(outcomes), len(set(outcomes.groups))) == (found["prompts"], found["groups"])
    np.testing.assert_allclose(0.25, found["novel"]["share"], atol=0.01)
    for k, tier in enumerate(outcomes.ladder.names):
        seen = ~np.isnan(outcomes.passed[:, k])
        rate = outcomes.passed[seen, k].mean()
        np.testing.assert_allclose(rate, found["passed"][tier]["share"], atol=1e-6)
        np.testing.assert_allclose(rate - 0.5, found["calibration"][tier]["gap"], atol=1e-6)
        np.testing.assert_allclose(outcomes.cost_usd[seen, k].mean(), found["cost"][tier]["mean_usd"])
        assert found["cost"][tier]["error_usd"] > 0.0
    assert found == json.loads(json.dumps(found, allow_nan=False))


def test_a_tier_without_outcomes_and_no_prompts_at_all_are_left_out(outcomes: Outcomes) -> None:
    passed = outcomes.passed.copy()
    passed[:, 0] = np.nan
    found = describe_held(replace(outcomes, passed=passed), scores_of(outcomes, 0.5), 0.75)
    first = outcomes.ladder.names[0]
    assert first in found["p_pass"]
    assert not any(first in found[part] for part in ("passed", "cost", "calibration"))
    none = outcomes.take([])
    assert {} == describe_held(none, scores_of(none, 0.5), 0.75)
