"""The drifting history: the truth is what it is said to be, and what decisions come to follows from it."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import year_history
from bench.year_history import QUIET, WEEKS, conditions_of, draw_week, prompts_of, season
from bench.year_truth import Said, judge, lead_at_same_cost
from router.tiers import parse_tiers
from training import synthetic, synthetic_model
from training.synthetic_conditions import STANDING, Conditions, add_background, render_tiers
from training.synthetic_words import Drawn, Slots

P = ["p_small", "p_medium", "p_large"]
weeks = st.integers(1, WEEKS + 1)


def mean_p(week: int, n: int = 1500) -> np.ndarray[Any, Any]:
    return draw_week(week, n, 0, further=True).truth[P].to_numpy().mean(axis=0)


# The conditions that a history is drawn under.


def test_standing_conditions_are_those_of_the_demo() -> None:
    demo, truth = synthetic.generate_with_truth(2000, 5)
    history, found = _period(2000)
    assert list(demo.columns) == list(history.columns)
    assert list(truth.columns) == list(found.columns)
    assert truth[P].to_numpy().mean(axis=0) == pytest.approx(found[P].to_numpy().mean(axis=0), abs=0.03)


def _period(n: int, conditions: Conditions = STANDING) -> tuple[pd.DataFrame, pd.DataFrame]:
    return synthetic.generate_period(n, [5, 1], conditions, synthetic.START, 7, "w01-")


def test_a_period_lies_in_its_days_and_marks_its_ids() -> None:
    history, truth = synthetic.generate_period(
        300, [5, 1], STANDING, synthetic.START + np.timedelta64(14, "D"), 7, "w03-"
    )
    moments = pd.to_datetime(history["timestamp"], utc=True)
    assert pd.Timestamp("2026-01-19", tz="UTC") <= moments.min() < moments.max()
    assert moments.max() < pd.Timestamp("2026-01-26", tz="UTC")
    assert truth["prompt_id"].str.contains("/w03-").all()


def test_what_is_drawn_of_prompts_does_not_depend_on_how_models_do() -> None:
    _, before = _period(400)
    _, after = _period(400, Conditions(ability=(0.0, -0.3, 0.0), price=(1.0, 1.0, 0.5)))
    pd.testing.assert_frame_equal(before.iloc[:, :8], after.iloc[:, :8])
    assert (before["p_medium"] > after["p_medium"]).all()
    assert (before["p_large"] == after["p_large"]).all()


def test_outcomes_follow_a_changed_ability() -> None:
    worse = Conditions(ability=(0.0, -0.3, 0.0))
    history, truth = _period(3000, worse)
    medium = history[history["model"] == "synthetic-medium"]
    p = truth.set_index("prompt_id").loc[medium["prompt_id"], "p_medium"].to_numpy()
    spread = float(np.sqrt((p * (1 - p)).sum()))
    assert p.sum() == pytest.approx((medium["score"] >= 0.5).sum(), abs=4 * spread)


def test_prices_change_what_is_paid_and_the_tiers_file_says_so() -> None:
    cut = Conditions(price=(1.0, 1.0, 0.6))
    paid, _ = _period(300, cut)
    full, _ = _period(300)
    of = {name: table.groupby("model")["cost_usd"].sum() for name, table in (("cut", paid), ("full", full))}
    assert (of["full"] * [0.6, 1.0, 1.0]).tolist() == pytest.approx(of["cut"].tolist())
    assert parse_tiers(tomllib.loads(render_tiers(cut.ladder))) == cut.ladder
    assert parse_tiers(tomllib.loads(render_tiers(STANDING.ladder))) == synthetic_model.LADDER


def test_true_cost_is_what_is_paid_in_the_mean() -> None:
    history, truth = synthetic.generate_with_truth(4000, 3)
    usd = synthetic_model.true_cost_usd(truth["family"].tolist(), truth["characters"].to_numpy())
    expected = pd.DataFrame(usd, index=truth["prompt_id"])
    for tier, model in enumerate(("synthetic-small", "synthetic-medium", "synthetic-large")):
        rows = history[history["model"] == model]
        assert expected.loc[rows["prompt_id"], tier].sum() == pytest.approx(rows["cost_usd"].sum(), rel=0.02)


def test_background_makes_plain_prompts_longer_and_draws_nothing_where_there_is_none() -> None:
    drawn = Drawn("Sort this.", 2, 1)
    assert drawn is add_background(drawn, 0.0, Slots(np.random.default_rng(1)))
    longer = add_background(drawn, 1.0, Slots(np.random.default_rng(1)))
    assert str(longer.content).endswith("\n\nSort this.")
    assert longer._replace(content="Sort this.") == drawn
    chat = Drawn([{"role": "user", "content": "Sort this."}])
    assert chat is add_background(chat, 1.0, Slots(np.random.default_rng(1)))


# The year.


@given(weeks)
def test_shares_add_up_and_nothing_is_below_nothing(week: int) -> None:
    conditions = conditions_of(week)
    assert sum(conditions.shares.values()) == pytest.approx(1.0)
    assert all(0 < share < 0.5 for share in conditions.shares.values())
    assert 0.0 <= conditions.background <= 0.31


@given(weeks, weeks)
def test_the_season_never_turns_back(one: int, other: int) -> None:
    early, late = sorted((one, other))
    assert season(early) <= season(late)


def test_the_season_runs_from_nothing_to_all() -> None:
    assert (season(1), season(WEEKS)) == (0.0, pytest.approx(1.0))


def test_nothing_changes_in_the_quiet_stretch() -> None:
    first = conditions_of(QUIET[0])
    assert all(conditions_of(week) == first for week in QUIET)
    assert first != conditions_of(QUIET[0] - 1)
    assert first != conditions_of(QUIET[-1] + 1)


def test_a_feature_is_launched_and_another_retired() -> None:
    launched, retired = year_history.LAUNCH, year_history.RETIRED
    assert "agent" not in conditions_of(launched - 1).shares
    assert conditions_of(launched).shares["agent"] == pytest.approx(0.10)
    assert "legal" in conditions_of(retired - 1).shares
    assert "legal" not in conditions_of(retired).shares


def test_silent_changes_move_pass_rates_of_the_tier_that_they_are_said_of() -> None:
    before, after = mean_p(year_history.MEDIUM_WORSE - 1), mean_p(year_history.MEDIUM_WORSE)
    assert before[1] - after[1] > 0.04
    assert after[[0, 2]] == pytest.approx(before[[0, 2]], abs=0.03)
    assert mean_p(year_history.SMALL_BETTER)[0] - mean_p(year_history.SMALL_BETTER - 1)[0] > 0.02


def test_the_dearest_tier_stays_the_best() -> None:
    for week in range(1, WEEKS + 2, 6):
        assert mean_p(week, 500).argmax() == 2


def test_a_week_is_the_same_every_time_and_no_other() -> None:
    one, again = draw_week(5, 60, 1), draw_week(5, 60, 1)
    pd.testing.assert_frame_equal(one.history, again.history)
    pd.testing.assert_frame_equal(one.truth, again.truth)
    for other in (draw_week(6, 60, 1), draw_week(5, 60, 2), draw_week(5, 60, 1, further=True)):
        assert not set(one.history["prompt"].dropna()) & set(other.history["prompt"].dropna())


def test_quiet_weeks_have_little_traffic() -> None:
    assert [prompts_of(31, 600), prompts_of(32, 600), prompts_of(52, 600)] == [600, 150, 90]
    assert len(draw_week(52, 200, 0).truth) == 30
    assert len(draw_week(52, 200, 0, further=True).truth) == 200


# What decisions come to.


@pytest.fixture(scope="module")
def drawn() -> year_history.Week:
    return draw_week(3, 400, 0)


def test_always_the_reference_tier_regrets_and_saves_nothing(drawn: year_history.Week) -> None:
    found = judge(drawn.truth, drawn.conditions.ladder, np.full(len(drawn.truth), 2), 2)
    assert (found["regret"], found["saving"], found["kept"], found["always_top"]) == (0.0, 0.0, 1.0, True)


@pytest.mark.parametrize("tier", [0, 1])
def test_regret_is_what_independent_outcomes_come_to(drawn: year_history.Week, tier: int) -> None:
    found = judge(drawn.truth, drawn.conditions.ladder, np.full(len(drawn.truth), tier), 2)
    p = drawn.truth[P].to_numpy()
    passed = np.random.default_rng(0).random((4000, *p.shape)) < p
    simulated = float((passed[:, :, 2] & ~passed[:, :, tier]).mean())
    assert simulated == pytest.approx(found["regret"], abs=0.002)
    assert found["quality"] == pytest.approx(float(p[:, tier].mean()), abs=1e-4)


def test_a_dearer_choice_never_regrets_more(drawn: year_history.Week) -> None:
    chosen = np.random.default_rng(1).integers(0, 3, len(drawn.truth))
    less, more = (judge(drawn.truth, drawn.conditions.ladder, c, 2) for c in (chosen, np.maximum(chosen, 1)))
    assert more["regret"] <= less["regret"]
    assert more["saving"] <= less["saving"]


def test_what_is_spent_is_a_mean_of_true_costs(drawn: year_history.Week) -> None:
    ladder, n = drawn.conditions.ladder, len(drawn.truth)
    small, large = (judge(drawn.truth, ladder, np.full(n, tier), 2) for tier in (0, 2))
    assert small["saving"] == pytest.approx(1.0 - small["usd"] / large["usd"], abs=1e-5)


def test_scores_that_know_more_buy_a_better_quality_at_the_same_cost(drawn: year_history.Week) -> None:
    ladder, truth = drawn.conditions.ladder, drawn.truth
    usd = synthetic_model.true_cost_usd(truth["family"].tolist(), truth["characters"].to_numpy(), ladder)
    knows = Said(truth[P].to_numpy(), usd)
    guesses = Said(np.random.default_rng(0).random(usd.shape), usd)
    spent = float(usd.mean(axis=0) @ [0.2, 0.4, 0.4])
    assert lead_at_same_cost(truth, ladder, knows, guesses, spent) > 0.01
    assert lead_at_same_cost(truth, ladder, guesses, knows, spent) < -0.01
    assert lead_at_same_cost(truth, ladder, knows, knows, spent) == 0.0
    # Where everything goes to the top tier, no scores buy less than it.
    assert lead_at_same_cost(truth, ladder, knows, guesses, float(usd[:, 2].mean())) >= 0.0
