"""Metrics: one small case by hand, then what holds of all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_bootstrap import bootstrap

from eval.comparison import compare
from eval.metrics import measure, render_metrics
from eval.outcomes import Outcomes
from router.tiers import Ladder, Tier

NAN = float("nan")


def outcomes_of(score: Any, cost_usd: Any, groups: list[str] | None = None, names: Any = None) -> Outcomes:
    score = np.asarray(score, np.float32)
    n, k = score.shape
    ids = np.array([f"p{i}" for i in range(n)], dtype=object)
    return Outcomes(
        ladder=Ladder(tuple(Tier(str(name), (f"m-{name}",), 1.0, 1.0) for name in names or range(k))),
        prompt_ids=ids,
        prompts=list(ids),
        groups=ids if groups is None else np.array(groups, dtype=object),
        score=score,
        passed=np.where(np.isnan(score), np.nan, score >= 0.5).astype(np.float32),
        cost_usd=np.broadcast_to(np.asarray(cost_usd, dtype=np.float64), (n, k)).copy(),
        cost_estimated=np.zeros((n, k), dtype=bool),
        tags={"source": ids},
        timestamp=None,
        mean_output_tokens=(1.0,) * k,
        dropped={},
    )


def choose(p: NDArray[Any], gap: float) -> NDArray[np.intp]:
    """The cheapest tier that is no more than a gap behind the best: a rule as good as any to measure."""
    return np.asarray((p.max(axis=1, keepdims=True) - p <= gap).argmax(axis=1))


# Four prompts that both tiers answered, and one that the dear tier did not. At a gap of 0 the cheap tier is
# chosen for all but the second; it fails on the last, where the dear one passes.
HAND = outcomes_of([[1, 1], [0, 1], [1, 1], [0, 1], [0, NAN]], [1.0, 10.0], names=["small", "large"])
P = np.array([[0.75, 0.75], [0.25, 0.75], [0.75, 0.75], [0.75, 0.75], [0.5, 0.5]], np.float32)


@pytest.fixture(scope="module")
def hand() -> dict[str, Any]:
    return measure(P, HAND, choose(P, 0.0), 0.0, n_boot=50)


def test_the_operating_point_by_hand(hand: dict[str, Any]) -> None:
    point = hand["operating_point"]
    assert (4, 4, 0.0) == (hand["prompts"], hand["groups"], point["epsilon"])
    assert 1 - (1 + 10 + 1 + 1) / 40 == pytest.approx(point["saving"]["value"])
    assert 3 / 4 == pytest.approx(point["quality_relative_to_top"]["value"])
    assert 1 / 4 == pytest.approx(point["regret"]["value"])
    assert {"small": 0.75, "large": 0.25} == point["share_per_tier"]


def test_tiers_by_hand(hand: dict[str, Any]) -> None:
    expected = [
        {"name": "small", "quality": 0.5, "cost_usd": 1.0},
        {"name": "large", "quality": 1.0, "cost_usd": 10.0},
    ]
    assert expected == hand["tiers"]


def test_the_gap_is_cross_fitted_and_savings_are_read_off_the_same_line() -> None:
    p, outcomes = drawn(400, 3)
    whole = outcomes.take(outcomes.complete)
    measured = measure(p, outcomes, choose(p, 0.1), 0.1, n_boot=100, seed=2)
    comparison = compare(whole, {"router": p[outcomes.complete]}, {}, "router", {}, 100, 2)
    subject = comparison["contenders"][0]
    for key in ("gap_closed", "saving_at_quality"):
        assert subject[key] == measured[key]


def test_calibration_counts_every_observed_outcome(hand: dict[str, Any]) -> None:
    small, large = hand["calibration"]["small"], hand["calibration"]["large"]
    assert (5, 4) == (small["observed"], large["observed"])
    losses = [-np.log(0.75), -np.log(0.75), -np.log(0.75), -np.log(0.25), -np.log(0.5)]
    assert np.mean(losses) == pytest.approx(small["log_loss"])
    # Passes score 0.75, 0.75; failures 0.25, 0.75, 0.5: of six pairs four are in order and two are tied.
    assert 5 / 6 == pytest.approx(small["auc"])
    assert -np.log(0.75) == pytest.approx(large["log_loss"])
    assert large["auc"] is None  # nothing failed, so nothing can be ranked
    assert 0.25 == pytest.approx(large["ece"])


def test_without_a_complete_row_only_calibration_is_measured() -> None:
    outcomes = outcomes_of([[1, NAN], [NAN, 0]], [1.0, 10.0])
    measured = measure(np.full((2, 2), 0.5), outcomes, np.zeros(2, int), 0.1)
    assert {"prompts", "groups", "calibration"} == set(measured)
    assert (0, 0) == (measured["prompts"], measured["groups"])
    assert "no prompt was tried on every tier" in render_metrics({"router": measured, "length": measured})


def test_without_a_row_nothing_is_known() -> None:
    measured = measure(np.empty((0, 2)), outcomes_of(np.empty((0, 2)), [1.0, 10.0]), np.empty(0, int), 0.1)
    assert 0 == measured["prompts"]
    assert [{"observed": 0, "ece": None, "log_loss": None, "auc": None}] * 2 == list(
        measured["calibration"].values()
    )


def test_one_group_has_no_interval() -> None:
    outcomes = outcomes_of([[1, 1], [0, 1]], [1.0, 10.0], groups=["a", "a"])
    point = measure(np.full((2, 2), 0.5), outcomes, np.zeros(2, int), 0.0)["operating_point"]
    assert {"value": 0.5, "low": None, "high": None} == point["regret"]


def drawn(n: int, seed: int, k: int = 3, names: Any = None) -> tuple[NDArray[np.float64], Outcomes]:
    """Scores that say something, outcomes with gaps, groups of one to four, and costs that vary."""
    rng = np.random.default_rng(seed)
    truth = np.sort(rng.random((n, k)), axis=1)
    score = np.where(rng.random((n, k)) < truth, rng.uniform(0.5, 1, (n, k)), rng.uniform(0, 0.49, (n, k)))
    score[rng.random((n, k)) < 0.05] = np.nan
    cost = rng.gamma(2.0, 0.001, (n, k)) * 10.0 ** np.arange(k)
    groups = [f"g{i}" for i in rng.integers(0, n // 2, n)]
    return np.clip(truth + rng.normal(0, 0.2, (n, k)), 0, 1), outcomes_of(score, cost, groups, names)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
def test_values_lie_in_their_intervals(epsilon: float, seed: int) -> None:
    p, outcomes = drawn(200, seed)
    measured = measure(p, outcomes, choose(p, epsilon), epsilon, seed=seed)
    point = measured["operating_point"]
    for interval in (
        measured["gap_closed"],
        *(point[k] for k in ("saving", "quality_relative_to_top", "regret")),
    ):
        assert interval["low"] <= interval["value"] <= interval["high"]
    assert 1.0 == pytest.approx(sum(point["share_per_tier"].values()))


def test_intervals_are_those_of_the_bootstrap_over_groups() -> None:
    """Other draws, so other bounds, but as far from the value within a fifth of the width."""
    p, outcomes = drawn(300, 9)
    point = measure(p, outcomes, choose(p, 0.2), 0.2, n_boot=1000, seed=1)["operating_point"]
    whole = outcomes.take(outcomes.complete)
    chosen = choose(p[outcomes.complete], 0.2)
    top = whole.passed.shape[1] - 1
    statistics = {
        "saving": lambda r: 1 - whole.cost_usd[r, chosen[r]].sum() / whole.cost_usd[r, top].sum(),
        "quality_relative_to_top": lambda r: (
            whole.score[r, chosen[r]].astype(float).sum() / whole.score[r, top].astype(float).sum()
        ),
        "regret": lambda r: ((whole.passed[r, top] == 1) & (whole.passed[r, chosen[r]] == 0)).mean(),
    }
    for name, statistic in statistics.items():
        expected = bootstrap(whole.groups, statistic, n_boot=1000, seed=1)
        width = expected.high - expected.low
        assert expected.value == pytest.approx(point[name]["value"])
        assert expected.low == pytest.approx(point[name]["low"], abs=0.2 * width)
        assert expected.high == pytest.approx(point[name]["high"], abs=0.2 * width)


def test_the_same_seed_measures_the_same() -> None:
    p, outcomes = drawn(100, 4)
    chosen = choose(p, 0.1)
    one, again, other = (measure(p, outcomes, chosen, 0.1, seed=seed) for seed in (3, 3, 4))
    assert one == again != other


def test_order_of_rows_moves_no_value() -> None:
    p, outcomes = drawn(100, 5)
    order = np.random.default_rng(0).permutation(100)
    chosen = choose(p, 0.1)
    one = measure(p, outcomes, chosen, 0.1)
    other = measure(p[order], outcomes.take(order), chosen[order], 0.1)
    assert one["gap_closed"]["value"] == pytest.approx(other["gap_closed"]["value"])
    for key in ("saving", "quality_relative_to_top", "regret"):
        assert one["operating_point"][key]["value"] == pytest.approx(other["operating_point"][key]["value"])


def test_hindsight_closes_the_gap_and_a_constant_does_not() -> None:
    _, outcomes = drawn(400, 6)
    whole = outcomes.take(outcomes.complete)
    whole.cost_usd[:] = [0.001, 0.01, 0.1]
    hindsight, constant = whole.score.astype(float), np.tile([0.5, 0.6, 0.7], (len(whole), 1))
    oracle, blind = (
        measure(p, whole, choose(p, 0.0), 0.0)["gap_closed"]["value"] for p in (hindsight, constant)
    )
    assert 0.95 < oracle <= 1.0
    assert 0.0 == pytest.approx(blind, abs=1e-9)


def test_free_and_worthless_tiers_divide_by_nothing() -> None:
    for score, cost in (([[1, 1], [0, 1]], [0.0, 0.0]), ([[0, 0], [0, 0]], [1.0, 10.0])):
        metrics = {
            name: measure(np.full((2, 2), 0.5), outcomes_of(score, cost), np.zeros(2, int), 0.0)
            for name in ("router", "length")
        }
        json.dumps(metrics, allow_nan=False)
        assert "tierwise" in render_metrics(metrics)


# What is shown


@pytest.mark.parametrize(
    "names",
    [
        ("small", "large"),
        ("small", "medium", "large"),
        [f"tier-number-{i}" for i in range(6)],
        ["x" * 40, "y" * 40],
    ],
    ids=["two", "three", "six", "long names"],
)
def test_what_is_shown_fits_a_terminal_of_100_columns(names: Any) -> None:
    # Bad at everything, so that the numbers are long.
    p, outcomes = drawn(3000, 7, k=len(names), names=names)
    metrics = {
        name: measure(1 - p, outcomes, choose(1 - p, 0.3), 0.3, n_boot=20) for name in ("router", "length")
    }
    for key in ("gap_closed",):
        for part in metrics.values():
            part[key] = {"value": -1.2345, "low": -2.3456, "high": -0.1234}
    text = render_metrics(metrics)
    assert max(map(len, text.splitlines())) <= 100, text
    assert text.isprintable() or "\n" in text
    for name in names:
        assert name[:12] in text


def test_what_is_shown_is_what_was_measured(hand: dict[str, Any]) -> None:
    text = render_metrics({"router": hand, "length": hand})
    lines = {line[:26].strip(): line[26:].split() for line in text.splitlines()[1:5]}
    assert ["0.500", "1000.0000", "90.0%"] == lines["always small"]
    assert ["1.000", "10000.0000", "0.0%"] == lines["always large"]
    assert ["0.750", "3250.0000", "67.5%"] == lines["tierwise"]
    assert "small 75%, large 25%" in text
    assert "25.0% [" in text


def test_measurements_are_json() -> None:
    p, outcomes = drawn(80, 8)
    measured = measure(p, outcomes, choose(p, 0.1), 0.1)
    assert measured == json.loads(json.dumps(measured, allow_nan=False))
