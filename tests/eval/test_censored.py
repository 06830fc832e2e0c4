"""Censored histories: outcomes count by the inverse of their propensity, and what cannot be known is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.bounds import upper_bound
from eval.censored import MOST_WEIGHT, describe, effective_size, outcome_weights, prompts_needed
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.split import CALIBRATION_SHARE
from eval.summary import render, summarise
from router.errors import ConfigError
from router.tiers import Ladder, Tier

NAN = np.nan
LADDER = Ladder((Tier("small", ("s",), 1.0, 1.0), Tier("large", ("b",), 10.0, 10.0)))


def outcomes_of(passed: Any, propensity: Any = None) -> Outcomes:
    passed = np.asarray(passed, np.float32)
    n = len(passed)
    names = np.array([f"p{i}" for i in range(n)], dtype=object)
    nothing = np.full(n, None, dtype=object)
    return Outcomes(
        ladder=LADDER,
        prompt_ids=names,
        prompts=[f"prompt {name}" for name in names],
        groups=names,
        score=passed,
        passed=passed,
        cost_usd=np.tile([0.001, 0.01], (n, 1)),
        cost_estimated=np.zeros((n, 2), bool),
        tags={"task": nothing, "feature": nothing, "split": nothing, "source": names},
        timestamp=None,
        mean_output_tokens=(1.0, 1.0),
        dropped={},
        propensity=None if propensity is None else np.asarray(propensity, np.float64),
    )


def logged(n: int, seed: int) -> tuple[Outcomes, NDArray[np.float64]]:
    """A log whose policy gives hard prompts to the large tier, and the true pass rates."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    p = np.stack([1.0 - 0.8 * hard, 1.0 - 0.3 * hard], axis=1)
    to_large = 0.1 + 0.8 * hard
    large = rng.random(n) < to_large
    served = np.stack([~large, large], axis=1)
    passed = np.where(served, rng.random((n, 2)) < p, NAN)
    chance = np.where(served, np.stack([1.0 - to_large, to_large], axis=1), NAN)
    return outcomes_of(passed, chance), p.mean(axis=0)


def test_weights_are_inverse_propensities_of_mean_one() -> None:
    passed = [[1, NAN], [0, NAN], [NAN, 1], [NAN, 0]]
    found = outcome_weights(outcomes_of(passed, [[0.8, NAN], [0.2, NAN], [NAN, 0.5], [NAN, 0.5]]))
    assert found is not None
    np.testing.assert_allclose([0.4, 1.6], found[:2, 0])  # 1/.8 : 1/.2 = 1 : 4
    np.testing.assert_allclose([1.0, 1.0], found[2:, 1])


def test_without_a_propensity_nothing_is_weighted() -> None:
    assert outcome_weights(outcomes_of([[1, NAN], [NAN, 0]])) is None


def test_a_prompt_that_was_tried_on_every_tier_was_not_chosen_for() -> None:
    found = outcome_weights(outcomes_of([[1, 1], [0, NAN]], [[0.1, NAN], [0.5, NAN]]))
    assert found is not None
    np.testing.assert_allclose([2 / 3, 4 / 3], found[:, 0])


def test_an_unlogged_propensity_counts_at_the_rate_of_its_tier() -> None:
    passed = [[1, NAN], [0, NAN], [NAN, 1], [NAN, 1]]
    found = outcome_weights(outcomes_of(passed, [[0.5, NAN], [NAN, NAN], [NAN, 0.5], [NAN, 0.5]]))
    assert found is not None
    np.testing.assert_allclose([1.0, 1.0], found[:2, 0])  # the rate of the tier is one half


def test_a_small_propensity_is_cut_off() -> None:
    found = outcome_weights(outcomes_of([[1, NAN], [0, NAN]], [[1e-9, NAN], [1.0, NAN]]))
    assert found is not None
    assert MOST_WEIGHT == pytest.approx(found[0, 0] / found[1, 0])


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=40))
def test_weights_have_mean_one_and_are_worth_no_more_than_there_are(chances: list[float]) -> None:
    n = len(chances)
    passed = np.column_stack([np.ones(n), np.full(n, NAN)])
    found = outcome_weights(outcomes_of(passed, np.column_stack([chances, np.full(n, NAN)])))
    assert found is not None
    assert 1.0 == pytest.approx(found[:, 0].mean())
    assert effective_size(found[:, 0]) <= n + 1e-9


def test_weighted_pass_rates_are_those_of_the_traffic() -> None:
    """The log flatters the small tier by 12 points and the large one less; weights take that back."""
    errors = []
    for seed in range(40):
        outcomes, truth = logged(1500, seed)
        found = describe(outcomes)
        assert found is not None
        for tier, rate in zip(found["tiers"], truth, strict=True):
            errors.append((tier["name"], tier["pass_rate"] - rate, tier["weighted_pass_rate"] - rate))
    for name, bias in (("small", 0.1), ("large", -0.02)):
        raw, weighted = np.array([each[1:] for each in errors if each[0] == name]).T
        assert abs(raw.mean()) > abs(bias)
        assert 0.0 == pytest.approx(weighted.mean(), abs=3 * weighted.std() / np.sqrt(len(weighted)))


def test_a_whole_history_is_not_spoken_of() -> None:
    assert describe(outcomes_of([[1, 1], [0, 1], [1, NAN]])) is None


def test_nothing_at_all_is_not_spoken_of() -> None:
    assert describe(outcomes_of([[1, NAN]]).take([])) is None


def test_it_says_what_cannot_be_learned_and_what_would_mend_it() -> None:
    outcomes, _ = logged(400, 1)
    found = describe(outcomes)
    assert found is not None
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    text = " ".join(found["sentences"])
    assert "of 400 prompts 0 have an outcome on all 2 tiers" in text
    assert "cheaper tier fails where the reference passes" in text
    exploration = found["exploration"]
    assert exploration["calls"] == exploration["prompts"] == prompts_needed(observed=0.025)
    assert f"python -m training collect --keep-answers --sample {exploration['prompts']}." in text
    assert f"That is more than the {400} prompts of this log: log more first." in text
    large = np.isnan(outcomes.passed[:, 1]).mean()
    assert exploration["usd"] == pytest.approx(exploration["prompts"] * (large * 0.01 + (1 - large) * 0.001))


def test_without_propensities_it_says_so() -> None:
    found = describe(replace(logged(400, 1)[0], propensity=None))
    assert found is not None
    assert "none" == found["propensity"]
    assert "No propensity is logged" in found["sentences"][1]
    assert "weighted_pass_rate" not in found["tiers"][0]


def test_whole_prompts_count_towards_the_exploration() -> None:
    part = logged(2000, 1)[0]
    passed = part.passed.copy()
    passed[:100] = 1.0
    found, before = describe(replace(part, passed=passed)), describe(part)
    assert found is not None
    assert before is not None
    assert 100 == before["exploration"]["prompts"] - found["exploration"]["prompts"]


def test_a_sample_holds_some_that_are_whole_and_calls_are_for_what_others_lack() -> None:
    part = logged(2000, 1)[0]
    passed = part.passed.copy()
    passed[:500] = 1.0
    found = describe(replace(part, passed=passed))
    assert found is not None
    exploration = found["exploration"]
    assert exploration["calls"] == exploration["prompts"] == prompts_needed(observed=0.025) - 500
    assert exploration["prompts"] == pytest.approx(0.75 * exploration["sample"], abs=1)
    assert f"--sample {exploration['sample']}." in found["sentences"][-1]
    assert "log more first" not in found["sentences"][-1]
    assert "if none does" not in found["sentences"][-1]  # 500 are enough for that


def test_prompts_of_one_group_certify_once() -> None:
    part = logged(2000, 1)[0]
    grouped = describe(replace(part, groups=np.array([f"g{i // 4}" for i in range(2000)], dtype=object)))
    assert grouped is not None
    assert 4 * prompts_needed(observed=0.025) == grouped["exploration"]["prompts"]


def test_tiers_that_never_served_are_counted_too() -> None:
    """The commonest log: one tier has served them all."""
    outcomes = replace(outcomes_of(np.ones((900, 2))).on([1]), mean_output_tokens=(100.0,))
    assert describe(outcomes) is None
    middle = Tier("middle", ("m",), 5.0, 5.0)
    found = describe(outcomes, replace(LADDER, tiers=(LADDER.tiers[0], middle, LADDER.tiers[1])))
    assert found is not None
    assert "of 900 prompts 0 have an outcome on all 3 tiers" in found["sentences"][0]
    assert ["small", "middle", "large"] == [tier["name"] for tier in found["tiers"]]
    assert [0, 0, 900] == [tier["observed"] for tier in found["tiers"]]
    exploration = found["exploration"]
    assert exploration["calls"] == 2 * exploration["prompts"] == 2 * prompts_needed(observed=0.025)
    tokens = 100 + np.mean([len(prompt) for prompt in outcomes.prompts]) / 4
    assert exploration["usd"] == pytest.approx(exploration["prompts"] * tokens * 6e-6)


@pytest.mark.parametrize("observed", [0.0, 0.01, 0.025, 0.04])
def test_as_many_prompts_as_a_certificate_takes(observed: float) -> None:
    n = int(prompts_needed(0.05, 0.05, observed) * CALIBRATION_SHARE)
    assert upper_bound(np.floor(observed * n), n, 0.05) <= 0.05
    fewer = int(0.9 * n)
    assert upper_bound(np.ceil(observed * fewer), fewer, 0.05) > 0.05


def test_the_summary_prints_it_within_a_terminal() -> None:
    text = render(summarise(logged(300, 2)[0]))
    assert "Censored: of 300 prompts" in text
    assert max(map(len, text.splitlines())) <= 100


# From the file


def write(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path / "h.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(number: int, model: str, **more: Any) -> dict[str, Any]:
    return {"prompt_id": f"p{number}", "prompt": f"prompt {number}", "model": model, "score": 1.0} | more


def test_propensities_come_with_the_outcome_of_the_tier(tmp_path: Path) -> None:
    path = write(tmp_path, [row(1, "s", propensity=0.25), row(2, "b", propensity=1), row(3, "b")])
    found = tabulate(read_history(path), LADDER).propensity
    np.testing.assert_array_equal([[0.25, NAN], [NAN, 1.0], [NAN, NAN]], found)


def test_no_propensity_at_all_is_none(tmp_path: Path) -> None:
    outcomes = tabulate(read_history(write(tmp_path, [row(1, "s"), row(1, "b")])), LADDER)
    assert outcomes.propensity is None
    assert outcomes.representative is None


@pytest.mark.parametrize(
    ("column", "value"),
    [("propensity", 0), ("propensity", 1.5), ("propensity", "often"), ("weight", 0), ("weight", -1)],
)
def test_what_is_no_probability_or_no_weight_is_refused(tmp_path: Path, column: str, value: object) -> None:
    path = write(tmp_path, [row(1, "s"), row(1, "b", **{column: value})])
    with pytest.raises(ConfigError, match=rf"line 2, column {column}: expected a .*above 0"):
        read_history(path)


def test_one_weight_per_prompt(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one weight per prompt_id"):
        read_history(write(tmp_path, [row(1, "s", weight=2), row(1, "b", weight=3)]))


# Weighted samples


def sample(tmp_path: Path, weights: list[float | None]) -> Outcomes:
    rows = [
        row(i, model, **({} if weight is None else {"weight": weight}))
        for i, weight in enumerate(weights)
        for model in ("s", "b")
    ]
    rows.append(row(10**6, "s"))
    rows.append(row(10**6, "b"))
    return tabulate(read_history(write(tmp_path, rows)), LADDER)


def test_equal_weights_change_nothing(tmp_path: Path) -> None:
    assert sample(tmp_path, [1.0] * 20).representative is None


def test_prompts_that_stand_for_many_are_kept_and_of_the_others_a_share(tmp_path: Path) -> None:
    outcomes = sample(tmp_path, [4.0] * 1000 + [1.0] * 1000 + [2.0] * 1000)
    assert outcomes.representative is not None
    kept = outcomes.representative
    assert kept[:1000].all()
    assert 0.25 == pytest.approx(kept[1000:2000].mean(), abs=0.05)
    assert 0.5 == pytest.approx(kept[2000:3000].mean(), abs=0.05)
    np.testing.assert_array_equal(kept, outcomes.complete)  # what figures and certificates are taken over
    part = outcomes.take(np.arange(500, 1500))
    np.testing.assert_array_equal(kept[500:1500], part.complete)


def test_who_stands_for_the_traffic_does_not_depend_on_the_order(tmp_path: Path) -> None:
    weights = [1.0, 3.0] * 100
    whole = sample(tmp_path, weights)
    assert whole.representative is not None
    rows = [row(i, m, weight=weights[i]) for i in reversed(range(200)) for m in ("s", "b")]
    turned = tabulate(read_history(write(tmp_path, rows)), LADDER)
    assert turned.representative is not None
    assert (
        dict(zip(turned.prompt_ids, turned.representative, strict=True)).items()
        <= dict(zip(whole.prompt_ids, whole.representative, strict=True)).items()
    )


def test_the_summary_says_how_many_stand_for_the_traffic(tmp_path: Path) -> None:
    summary = summarise(sample(tmp_path, [1.0, 3.0] * 100))
    assert 0 < summary["representative"] < 201
    assert f"a weighted sample: {summary['representative']:,} of its prompts" in render(summary)
