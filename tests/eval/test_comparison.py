"""The comparison: parity with the curves, hand-made contenders, and that noise closes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_metrics import outcomes_of

from eval.comparison import compare
from eval.curve import gap_closed, oracle_curve, random_curve, router_curve
from eval.outcomes import Outcomes
from eval.scene import price_settings
from eval.two_tiers import apgr, cpt
from eval.verdict import decide

PRICES = (1e-4, 3e-4, 15e-4)


def toy(n: int, seed: int, tiers: tuple[int, ...] = (0, 1, 2), per_group: int = 1) -> tuple[Outcomes, Any]:
    """Prompts whose difficulty scores know, and those scores."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=(n, 1))
    p = 1 / (1 + np.exp(-(np.array([-0.4, 0.3, 1.0]) + ease * np.array([1.4, 1.1, 0.8]))))
    score = (rng.random((n, 3)) < p).astype(float)
    cost = np.array(PRICES) * rng.lognormal(0, 0.4, (n, 1))
    kept = list(tiers)
    groups = [f"g{i // per_group}" for i in range(n)]
    return outcomes_of(score[:, kept], cost[:, kept], groups), p[:, kept]


def entry(document: Any, name: str) -> Any:
    return next(entry for entry in document["contenders"] if entry["name"] == name)


@pytest.fixture(scope="module")
def document() -> Any:
    outcomes, p = toy(600, 0)
    rng = np.random.default_rng(0)
    scores = {"half": np.clip(p + rng.normal(0, 0.05, p.shape), 0, 1), "ours": p, "noise": rng.permutation(p)}
    choices = {"always-middle": np.full(600, 1), "top": np.full(600, 2)}
    return compare(outcomes, scores, choices, "ours", {"ours": "our router"}, n_boot=100)


def test_it_is_json_and_in_order(document: Any) -> None:
    json.dumps(document, allow_nan=False)
    kinds = [entry["kind"] for entry in document["contenders"]]
    assert ["subject", *["baseline"] * 2, *["fixed"] * 2, *["tier"] * 3, "random", "oracle"] == kinds
    assert ["ours", "half", "noise"] == [entry["name"] for entry in document["contenders"][:3]]
    assert ("our router", "half", "always 1") == tuple(
        entry(document, name)["label"] for name in ("ours", "half", "tier:1")
    )
    assert (600, 600, 100) == tuple(document[key] for key in ("prompts", "groups", "n_boot"))


def test_curves_and_the_published_figure_are_those_of_eval_curve(document: Any) -> None:
    outcomes, p = toy(600, 0)
    quality, cost = outcomes.score.astype(float), outcomes.cost_usd
    published = gap_closed(
        router_curve(p, quality, cost, max_points=97),
        random_curve(quality, cost),
        oracle_curve(quality, cost),
    )
    ours = entry(document, "ours")
    assert published == pytest.approx(ours["hull_gap_closed"], abs=1e-9)
    assert 100 >= len(ours["points"]["cost_usd"]) == len(ours["points"]["quality"]) > 50
    for name in ("cost_usd", "quality"):
        assert sorted(ours["points"]["cost_usd"]) == ours["points"]["cost_usd"]
        assert set(ours["hull"][name]) <= set(ours["points"][name])
    assert 100 >= len(entry(document, "oracle")["points"]["quality"])


def test_what_must_be_0_and_1_is(document: Any) -> None:
    assert {"value": 0.0, "low": 0.0, "high": 0.0} == entry(document, "random-mix")["gap_closed"]
    assert {"value": 1.0, "low": 1.0, "high": 1.0} == entry(document, "oracle")["gap_closed"]
    assert all(entry(document, name)["lead"] is None for name in ("ours", "oracle"))
    assert entry(document, "ours")["gap_closed"] == entry(document, "random-mix")["lead"]


def test_a_fixed_choice_is_the_tier_that_it_chooses(document: Any) -> None:
    fixed, alone = entry(document, "always-middle"), entry(document, "tier:1")
    assert {k: v for k, v in alone.items() if k not in ("name", "label", "kind")} == {
        k: v for k, v in fixed.items() if k not in ("name", "label", "kind")
    }
    top = entry(document, "top")["at_97"]
    assert [0.0] * 3 == pytest.approx(list(top["saving"].values()), abs=1e-12)
    assert 0.0 == top["regret"]["value"]
    assert document["tiers"][2]["quality"] == pytest.approx(top["quality"]["value"])


def test_leads_are_paired_and_tell_apart_what_intervals_do_not(document: Any) -> None:
    ours, half = (entry(document, name) for name in ("ours", "half"))
    lead = half["lead"]
    assert ours["gap_closed"]["value"] - half["gap_closed"]["value"] == pytest.approx(lead["value"])
    assert lead["low"] < lead["value"] < lead["high"]
    assert lead["high"] - lead["low"] < sum(
        e["gap_closed"]["high"] - e["gap_closed"]["low"] for e in (ours, half)
    )


def test_savings_rise_as_quality_is_given_up(document: Any) -> None:
    for contender in document["contenders"]:
        savings = [contender["saving_at_quality"][share]["value"] for share in ("1", "0.99", "0.97", "0.95")]
        assert sorted(savings) == savings
        assert savings[0] >= 0
    point = entry(document, "ours")["at_97"]
    assert point["quality"]["value"] >= 0.97 * document["tiers"][2]["quality"]
    assert 0 < point["regret"]["value"] < 1


# Expected costs


def test_who_knows_outcomes_and_costs_reaches_the_oracle() -> None:
    outcomes, _ = toy(400, 4)
    outcomes = replace(outcomes, expected_cost_usd=outcomes.cost_usd)
    document = compare(outcomes, {"knows": outcomes.score}, {}, "knows", {}, n_boot=20)
    assert 0.95 < entry(document, "knows")["gap_closed"]["value"] <= 1.0 + 1e-9
    assert [1.0] * 3 == [tier["cost_explained"] for tier in document["tiers"]]


def test_knowing_what_a_call_will_cost_is_worth_something_and_the_wrong_cost_is_not() -> None:
    outcomes, p = toy(600, 0)
    rng = np.random.default_rng(0)
    gaps = [
        entry(compare(replace(outcomes, expected_cost_usd=cost), {"p": p}, {}, "p", {}, n_boot=20), "p")[
            "gap_closed"
        ]["value"]
        for cost in (outcomes.cost_usd, None, rng.permutation(outcomes.cost_usd))
    ]
    assert gaps[0] > gaps[1] > gaps[2]


def test_expecting_nothing_is_expecting_the_mean_of_each_tier() -> None:
    outcomes, p = toy(300, 5)
    outcomes.score[::10, 1] = outcomes.passed[::10, 1] = np.nan
    # Those that a tier did not answer have no part in the mean.
    mean = outcomes.cost_usd[outcomes.complete].mean(axis=0)
    fixed = {"fixed": np.full(300, 1)}
    none, same = (
        compare(replace(outcomes, expected_cost_usd=cost), {"p": p, "q": 1 - p}, fixed, "p", {}, n_boot=50)
        for cost in (None, np.tile(mean, (300, 1)))
    )
    assert [None] * 3 == [tier.pop("cost_explained") for tier in none["tiers"]]
    assert [0.0] * 3 == pytest.approx([tier.pop("cost_explained") for tier in same["tiers"]], abs=1e-12)
    assert none == same


def test_the_cost_explained_by_hand() -> None:
    cost = np.tile([[1.0, 10.0, 5.0], [3.0, 20.0, 5.0]], (20, 1))
    said = np.tile([[1.5, 20.0, 5.0], [2.5, 10.0, 4.0]], (20, 1))
    outcomes = replace(outcomes_of(np.tile([0.0, 1.0, 1.0], (40, 1)), cost), expected_cost_usd=said)
    document = compare(outcomes, {"s": np.full((40, 3), 0.5)}, {}, "s", {}, n_boot=20)
    # Missed by 0.5 of 1; by 10 of 5, worse than the mean; and a cost that does not vary needs no explaining.
    assert [0.75, -3.0, None] == [tier["cost_explained"] for tier in document["tiers"]]
    json.dumps(document, allow_nan=False)


def test_a_cost_that_varies_by_rounding_alone_needs_no_explaining() -> None:
    cost = np.tile([0.1, 1e-7, 5.0], (41, 1))
    cost[::2, 1] *= 1 + 1e-6  # little, and still not rounding
    cost[::2, 2] += 1e-15
    assert (np.square(cost - cost.mean(axis=0)).sum(axis=0) > 0.0).all()  # or the test could not fail
    outcomes = replace(outcomes_of(np.tile([0.0, 1.0, 1.0], (41, 1)), cost), expected_cost_usd=cost)
    document = compare(outcomes, {"s": np.full((41, 3), 0.5)}, {}, "s", {}, n_boot=20)
    assert [None, 1.0, None] == [tier["cost_explained"] for tier in document["tiers"]]


def test_the_cost_explained_is_of_prompts_that_every_tier_answered() -> None:
    outcomes, p = toy(200, 6)
    outcomes.score[:50, 2] = outcomes.passed[:50, 2] = np.nan
    said = outcomes.cost_usd * 1.1
    said[:50] = 99.0
    given = replace(outcomes, expected_cost_usd=said)
    cost = outcomes.cost_usd[50:]
    by_hand = 1 - np.square(0.1 * cost).sum(axis=0) / np.square(cost - cost.mean(axis=0)).sum(axis=0)
    found = [tier["cost_explained"] for tier in compare(given, {"p": p}, {}, "p", {}, n_boot=20)["tiers"]]
    assert by_hand.tolist() == pytest.approx(found)


def test_what_is_expected_moves_no_tier_no_fixed_choice_and_no_bound() -> None:
    outcomes, p = toy(300, 7)
    said = np.random.default_rng(0).permutation(outcomes.cost_usd)
    documents = [
        compare(given, {"p": p}, {"fixed": np.full(300, 1)}, "p", {}, n_boot=50)
        for given in (outcomes, replace(outcomes, expected_cost_usd=said))
    ]
    for name in ("fixed", "tier:0", "tier:1", "tier:2", "random-mix", "oracle"):
        one, other = (entry(document, name) | {"lead": None} for document in documents)
        assert one == other
    assert documents[0]["gap_to_close"] == documents[1]["gap_to_close"]
    assert entry(documents[0], "p")["gap_closed"] != entry(documents[1], "p")["gap_closed"]


def test_settings_by_hand() -> None:
    # Each prompt passes with 0.2, 0.5 and 0.6; the second is expected to cost ten times the first on every tier.
    cost = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    outcomes = replace(outcomes_of(np.ones((2, 3)), [1.0, 20.0, 21.0]), expected_cost_usd=cost)
    settings = price_settings(np.tile([0.2, 0.5, 0.6], (2, 1)), outcomes)
    assert np.dtype(np.intp) == settings.dtype
    assert [[0, 0], [2, 2]] == settings[:, -2:].T.tolist()  # the ends
    # The steps up are worth 0.3 and 0.1 quality: for 1 USD each on the first prompt, for 10 on the second.
    found = {tuple(setting) for setting in settings.T.tolist()}
    assert {(0, 0), (1, 0), (2, 0), (2, 1), (2, 2)} == found
    # At the tiers' mean costs, both prompts are alike.
    alike = price_settings(np.tile([0.2, 0.5, 0.6], (2, 1)), replace(outcomes, expected_cost_usd=None))
    assert all(first == second for first, second in alike.T.tolist())


def test_settings_look_at_no_outcome_but_the_mean_cost_of_tiers() -> None:
    outcomes, p = toy(200, 8)
    given = replace(outcomes, expected_cost_usd=outcomes.cost_usd * 1.1)
    settings = price_settings(p, given)
    assert 100 >= settings.shape[1]
    order = np.random.default_rng(0).permutation(200)
    others = replace(given, score=1 - given.score, passed=1 - given.passed, cost_usd=given.cost_usd[order])
    np.testing.assert_array_equal(settings, price_settings(p, others))
    rows = order[:50]
    np.testing.assert_array_equal(
        np.unique(price_settings(p[rows], given.take(rows))[:, -2:], axis=0), [[0, 2]]
    )


def test_calibration_keeps_prompts_that_a_tier_did_not_answer() -> None:
    outcomes, p = toy(60, 1)
    outcomes.score[:10, 2] = outcomes.passed[:10, 2] = np.nan
    document = compare(outcomes, {"ours": p}, {}, "ours", {}, n_boot=20)
    assert 50 == document["prompts"]
    assert [60, 60, 50] == [tier["observed"] for tier in document["calibration"]]
    assert 50 == sum(document["calibration"][2]["reliability"]["count"])
    assert entry(document, "ours")["auc"] == pytest.approx(
        np.mean([t["auc"] for t in document["calibration"]])
    )


def test_two_tier_metrics_are_those_of_two_tiers() -> None:
    outcomes, p = toy(300, 2, tiers=(0, 2))
    p = np.round(p, 1)  # ties
    document = compare(outcomes, {"ours": p}, {"fixed": np.zeros(300, int)}, "ours", {}, n_boot=50)
    gain, quality = p[:, 1] - p[:, 0], outcomes.score.astype(float)
    found = entry(document, "ours")["two_tier"]
    assert apgr(gain, quality) == pytest.approx(found["apgr"]["value"])
    assert [cpt(gain, quality, x) for x in (0.5, 0.8)] == pytest.approx(
        [found[f"cpt{x}"]["value"] for x in (50, 80)]
    )
    assert found["apgr"]["low"] < found["apgr"]["value"] < found["apgr"]["high"]
    shares = entry(document, "random-mix")["two_tier"]
    assert [0.5, 0.5, 0.8] == pytest.approx([shares[name]["value"] for name in ("apgr", "cpt50", "cpt80")])
    assert entry(document, "fixed")["two_tier"] is None


def test_groups_widen_intervals() -> None:
    widths = []
    for per_group in (1, 2):
        outcomes, p = toy(200, 3, per_group=1)
        twice = outcomes.take(np.repeat(np.arange(200), 2))
        groups = np.array([f"g{i // per_group}" for i in range(400)], dtype=object)
        document = compare(
            outcomes_of(twice.score, twice.cost_usd, list(groups)),
            {"s": np.repeat(p, 2, axis=0)},
            {},
            "s",
            {},
            200,
        )
        gap = entry(document, "s")["gap_closed"]
        widths.append(gap["high"] - gap["low"])
    assert widths[1] > 1.2 * widths[0]


@pytest.mark.parametrize("cost", [0.0, 1.0])
@pytest.mark.parametrize("score", [0.0, 1.0])
def test_nothing_divides_by_zero(cost: float, score: float) -> None:
    outcomes = outcomes_of(np.full((40, 3), score), np.full(3, cost))
    document = compare(outcomes, {"s": np.full((40, 3), 0.5)}, {"f": np.ones(40, int)}, "s", {}, n_boot=20)
    json.dumps(document, allow_nan=False)
    assert 0.0 == entry(document, "s")["gap_closed"]["value"]
    assert "CANNOT TELL" == decide(document)["word"]


@pytest.mark.parametrize("tiers", [(0, 2), (0, 1, 2)])
def test_noise_seldom_routes_and_skill_often_does(tiers: tuple[int, ...]) -> None:
    """Scores shuffled over prompts; no other baseline than the tiers, which is the hardest case."""
    noise, skill, gaps = 0, 0, []
    for seed in range(10):
        outcomes, p = toy(400, 100 + seed, tiers=tiers)
        shuffled = np.random.default_rng(seed).permutation(p)
        document = compare(outcomes, {"s": shuffled}, {}, "s", {}, n_boot=100)
        gaps.append(document["contenders"][0]["gap_closed"]["value"])
        noise += decide(document)["word"] == "ROUTE"
        skill += decide(compare(outcomes, {"s": p}, {}, "s", {}, n_boot=100))["word"] == "ROUTE"
    assert noise <= 2
    assert skill >= 4
    assert np.mean(gaps) < 0.01


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "other"},
        {"scores": {"s": np.full((40, 2), 0.5)}},
        {"scores": {"s": np.full((40, 3), np.nan)}},
        {"scores": {"s": np.full((40, 3), 1.5)}},
        {"choices": {"f": np.full(40, 3)}},
        {"choices": {"f": np.full(40, 0.5)}},
        {"choices": {"s": np.zeros(40, int)}},
        {"outcomes": outcomes_of([[1, np.nan, 1]] * 40, [1.0, 2.0, 3.0])},
    ],
)
def test_bad_input_is_refused(change: Any) -> None:
    arguments = {
        "outcomes": toy(40, 0)[0],
        "scores": {"s": np.full((40, 3), 0.5)},
        "choices": {},
        "subject": "s",
        "labels": {},
    }
    with pytest.raises(ValueError, match=r"found|why_not"):
        compare(**arguments | change)
