"""Reference statistics: deciles by hand, and nothing that JSON lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from router.features import FEATURE_NAMES
from training.reference import describe_reference


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
