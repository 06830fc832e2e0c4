"""What a label report measures, against numbers worked out by hand; and laws that hold for any history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_labels import (
    censored_rows,
    document,
    labels_of,
    plausible_rows,
    row,
    sampled_rows,
    shuffled,
    table,
)

from eval.bounds import groups_needed, upper_bound
from eval.labels_agreement import compare_graders, count_graders
from eval.labels_counts import count_labels, count_usd
from eval.labels_document import describe_labels
from eval.labels_human import with_human
from eval.labels_monotone import expect_by_noise, find_inversions, inverted
from eval.labels_more import groups_for, price_more
from eval.labels_noise import measure_noise
from eval.labels_rates import measure_rates
from eval.labels_slices import OTHER, cut
from router.errors import ConfigError

FIVE = {"a": "011", "b": "111", "c": "001", "d": "101", "e": "000"}


def bounds(share: dict[str, Any]) -> tuple[float, float, float]:
    return share["value"], share["low"], share["high"]


def test_rates_of_five_prompts(tmp_path: Path) -> None:
    rates = measure_rates(labels_of(table(FIVE), tmp_path), [])
    small, medium, large = (tier["rate"] for tier in rates["all"]["tiers"])
    for rate in (small, medium):
        assert (0.4, 0.0527, 0.8534) == pytest.approx(bounds(rate), abs=1e-4)
    assert (0.8, 0.2836, 0.9949) == pytest.approx(bounds(large), abs=1e-4)
    assert rates["whole"] is None
    assert all(tier["mean_score"] is None for tier in rates["all"]["tiers"])


def test_rates_count_prompts_by_their_weight(tmp_path: Path) -> None:
    weight = {"a": 6.0, "b": 1.0, "c": 1.0, "d": 1.0, "e": 1.0}
    rows = [each | {"weight": weight[each["prompt_id"]]} for each in table(FIVE)]
    labels = labels_of(rows, tmp_path)
    rates = [tier["rate"]["value"] for tier in measure_rates(labels, [])["all"]["tiers"]]
    assert [0.2, 0.7, 0.9] == pytest.approx(rates)
    assert labels.weighted


def test_a_chosen_tier_is_weighed_by_its_chance(tmp_path: Path) -> None:
    """Hájek: of prompts passed at chance .9, and failed at chance .1, one in ten stands for one in two."""
    rows = [row(f"easy-{i}", 0, 1.0, propensity=0.9) for i in range(9)] + [
        row("hard", 0, 0.0, propensity=0.1)
    ]
    rows += [row(f"{i}", 1, 1.0, propensity=0.5) for i in range(10)]
    tiers = measure_rates(labels_of(rows, tmp_path), [])["all"]["tiers"]
    assert 0.5 == pytest.approx(tiers[0]["rate"]["value"])
    assert 1.0 == tiers[1]["rate"]["value"]


def test_mean_scores_stand_beside_verdicts(tmp_path: Path) -> None:
    rows = [row(name, 0, score) for name, score in {"a": 0.9, "b": 0.9, "c": 0.2, "d": 0.2}.items()]
    (tier,) = measure_rates(labels_of(rows, tmp_path), [])["all"]["tiers"]
    assert 0.5 == tier["rate"]["value"]
    assert 0.55 == pytest.approx(tier["mean_score"]["value"])


def test_tiers_on_different_prompts_are_said_to_be(tmp_path: Path) -> None:
    rates = measure_rates(labels_of(table({"a": "011", "b": "11-", "c": "0-1"}), tmp_path), [])
    assert 3 == rates["all"]["prompts"]
    assert 1 == rates["whole"]["prompts"]


def test_inversions_of_five_prompts(tmp_path: Path) -> None:
    found = find_inversions(labels_of(table(FIVE), tmp_path), [])
    assert (5, 1, ["d"]) == (found["prompts"], found["count"], found["prompt_ids"])
    assert (0.2, 0.0051, 0.7164) == pytest.approx(bounds(found["share"]), abs=1e-4)
    assert [("small", "medium", 1, 1), ("small", "large", 0, 2), ("medium", "large", 0, 2)] == [
        (pair["cheap"], pair["dear"], pair["count"], pair["reverse"]) for pair in found["pairs"]
    ]
    assert [None] * 3 == [pair["expected"] for pair in found["pairs"]]


def test_one_tier_inverts_nothing() -> None:
    passed = np.array([[1.0, np.nan, 0.0], [np.nan, 1.0, np.nan], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    assert [True, False, False, True] == inverted(passed).tolist()


def test_noise_makes_inversions_by_hand() -> None:
    cheap = np.repeat([1.0, 0.0, 0.0, 1.0], [40, 30, 20, 10])
    dear = np.repeat([1.0, 1.0, 0.0, 0.0], [40, 30, 20, 10])
    error = np.full(100, 0.1)
    # 3 failures of the dear tier are none, 40/70 of them where the cheap one passes; 5 passes of the cheap, 20/50.
    assert 3 * 40 / 70 + 5 * 20 / 50 == pytest.approx(expect_by_noise(cheap, dear, error, error))


def test_noise_alone_makes_what_is_expected_of_it() -> None:
    """A ladder without a true inversion, whose labels are turned at random: what is seen is what is expected."""
    seen = expected = 0.0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        hard = rng.random(500)
        truth = np.stack([hard < 0.5, hard < 0.8], axis=1)
        cheap, dear = (truth ^ (rng.random((500, 2)) < 0.06)).T
        # P(wrong | verdict) by Bayes, from rates .5 and .8 and labels that turn by .06.
        wrong = {
            (k, verdict): 0.06 * (1 - rate if verdict else rate) / (rate * 0.94 + (1 - rate) * 0.06 if verdict else (1 - rate) * 0.94 + rate * 0.06)
            for k, rate in ((0, 0.5), (1, 0.8))
            for verdict in (True, False)
        }  # fmt: skip
        errors = [
            np.array([wrong[k, bool(verdict)] for verdict in verdicts])
            for k, verdicts in enumerate((cheap, dear))
        ]
        seen += float((cheap & ~dear).sum())
        expected += expect_by_noise(cheap.astype(float), dear.astype(float), *errors)
    assert seen == pytest.approx(expected, rel=0.08)


def test_noise_of_labels_by_hand(tmp_path: Path) -> None:
    rows = table({"a": "01", "b": "11", "c": "00", "d": "10"})
    for each, error in zip(rows, (0.0, 0.1, 0.2, 0.1, 0.0, 0.3, 0.4, 0.1), strict=True):
        each["label_error"] = error
    found = measure_noise(labels_of(rows, tmp_path, ("small", "large")), 1)
    assert found is not None
    small, large = found["tiers"]
    assert (0.15, 0.15, 0.0) == pytest.approx((small["mean"], small["false_passes"], small["false_failures"]))
    assert (0.15, 0.05, 0.1) == pytest.approx((large["mean"], large["false_passes"], large["false_failures"]))
    assert 0.1 + 0.15 == pytest.approx(
        found["added"]
    )  # failures of large that are none, passes of small that are none


def test_noise_is_unknown_where_nobody_says(tmp_path: Path) -> None:
    assert measure_noise(labels_of(table(FIVE), tmp_path), 2) is None
    some = [each | ({"label_error": 0.1} if each["model"] == "m-0" else {}) for each in table(FIVE)]
    found = measure_noise(labels_of(some, tmp_path), 2)
    assert found is not None
    assert found["added"] is None
    assert 1 / 3 == pytest.approx(found["known_share"])


def test_what_noise_adds_bounds_the_truth_whatever_is_routed(tmp_path: Path) -> None:
    """Labels that turn at random, and error probabilities by Bayes: in truth, no router loses more than labels and noise say."""
    truly = by_labels = added = 0.0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        hard = rng.random(400)
        rates, turned = (0.4, 0.65, 0.9), (0.1, 0.05, 0.08)
        truth = np.stack([hard < rate for rate in rates], axis=1)
        labels = truth ^ (rng.random(truth.shape) < np.array(turned))
        rows = []
        for i, k in np.ndindex(400, 3):
            right = rates[k] if labels[i, k] else 1.0 - rates[k]
            error = turned[k] * (1.0 - right) / (turned[k] * (1.0 - right) + (1.0 - turned[k]) * right)
            rows.append(row(f"p{i}", k, float(labels[i, k]), label_error=error))
        found = measure_noise(labels_of(rows, tmp_path), 2)
        assert found is not None
        added += found["added"] / 12
        chosen = np.where(
            labels[:, 0], 0, 1
        )  # the worst of routers: it looks at the label, and takes every false pass
        at = np.arange(400), chosen
        truly += float((truth[:, 2] & ~truth[at]).mean()) / 12
        by_labels += float((labels[:, 2] & ~labels[at]).mean()) / 12
    assert by_labels < truly <= by_labels + added


def cohen(folder: Path) -> Any:
    """The example of fifty grant proposals: 20 both, 5 only a, 10 only b, 15 neither."""
    cells = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    rows = [
        row(f"p{i}", 0, float(a), grades=json.dumps({"a": {"score": a}, "b": {"score": b}}))
        for i, (a, b) in enumerate(cells)
    ]
    return labels_of(rows, folder)


def test_agreement_of_the_textbook(tmp_path: Path) -> None:
    labels = cohen(tmp_path)
    (pair,) = compare_graders(labels)["pairs"]
    assert (0.7, 0.4) == pytest.approx((pair["share"], pair["kappa"]))
    assert (20, 5, 10, 15) == tuple(pair[key] for key in ("both_pass", "only_a", "only_b", "both_fail"))
    assert pair["kappa_low"] < 0.4 < pair["kappa_high"]
    assert [("a", 0.5), ("b", 0.6)] == [
        (each["grader"], each["rate"]["value"]) for each in count_graders(labels)
    ]


def test_people_are_compared_with_the_label_too(tmp_path: Path) -> None:
    labels = cohen(tmp_path)
    path = tmp_path / "human.csv"
    path.write_text(
        "prompt_id,model,passed\n" + "".join(f"p{i},m-0,{i < 25}\n" for i in range(50)), encoding="utf-8"
    )
    pairs = compare_graders(with_human(labels, path))["pairs"]
    assert [("a", "human"), ("b", "human"), ("label", "human"), ("a", "b")] == [
        (pair["a"], pair["b"]) for pair in pairs
    ]
    assert 1.0 == pairs[0]["share"] == pairs[2]["share"]


def test_graders_that_share_few_answers_are_not_compared(tmp_path: Path) -> None:
    said = {"a": {"score": 1}, "b": {"score": 1}}
    rows = [
        row(f"p{i}", 0, 1.0, grades=json.dumps(said if i < 9 else {"a": {"score": 0}})) for i in range(40)
    ]
    assert {"pairs": [], "looked_at": 0, "left_out": 1} == compare_graders(labels_of(rows, tmp_path))


def test_counts_say_what_each_row_is(tmp_path: Path) -> None:
    null = json.dumps({"a": {"score": None, "why": "no reference"}})
    rows = [
        row("a", 0, 1.0, status="answered", grades=json.dumps({"a": {"score": 1}})),
        row("b", 0, None, status="timeout"),
        row("c", 0, None, status="answered", grades=null),
        row("d", 0, None, status="answered"),
        row("d", 1, 0.0, status="tool_call"),
        row("d", 2, 1.0),
        row("d", 9, 1.0),
    ]
    found = count_labels(labels_of(rows, tmp_path))
    assert (4, 2, 0, 7, 3) == tuple(
        found[key] for key in ("prompts", "prompts_with_label", "prompts_whole", "rows", "labels")
    )
    assert {"answered": 3, "none": 1, "timeout": 1, "tool_call": 1} == found["status"]
    assert {"no grader applied": 1, "no reference": 1, "timeout": 1} == found["ungraded"]
    assert {"m-9": 1} == found["strangers"]
    plain = count_labels(labels_of([*table({"a": "1"}), row("b", 0, None)], tmp_path))
    assert ({}, {"not graded yet": 1}) == (plain["status"], plain["ungraded"])


def test_costs_by_hand(tmp_path: Path) -> None:
    rows = [each | {"grading_usd": 0.002} for each in table({"a": "011", "b": "111"})]
    rows.append(row("b", 3, None) | {"model": "other", "cost_usd": 99.0})
    rows.append(row("c", 0, None, status="refused"))  # billed, and no label
    found = count_usd(labels_of(rows, tmp_path))
    assert 2 * 0.111 + 0.001 == pytest.approx(found["collection_usd"])
    assert 0.012 == pytest.approx(found["grading_usd"])
    assert (0.235 / 6, 0.235 / 2) == pytest.approx((found["per_label_usd"], found["per_prompt_usd"]))
    assert 0.111 + 0.004 + 0.004 / 3 == pytest.approx(found["whole_prompt_usd"])  # of 3 calls, 2 have labels
    assert 1.0 == found["logged_share"]


def test_a_tier_that_never_answered_cost_what_it_cost(tmp_path: Path) -> None:
    rows = [row("a", 0, 1.0), row("a", 1, 1.0), row("a", 2, None, status="refused")]
    assert 0.111 == pytest.approx(count_usd(labels_of(rows, tmp_path))["total_usd"])


def test_as_many_more_are_as_many_as_every_tier_was_asked(tmp_path: Path) -> None:
    whole = {f"p{i:03d}": "111" for i in range(40)}
    failed = [row(f"f{i}", k, None, status="refused") for i in range(10) for k in range(3)]
    served = {f"s{i:03d}": "1--" for i in range(350)}
    rows = table(whole | served) + failed
    labels = labels_of(rows, tmp_path)
    steps = price_more(labels, 0.5)["steps"]
    assert [0, 50, 150, 450] == [step["more_prompts"] for step in steps]
    assert [50, 100, 200, 500] == [step["prompts"] for step in steps]


def test_more_labels_by_hand(tmp_path: Path) -> None:
    rows = table({f"p{i:03d}": ("011" if i % 5 == 0 else "111") for i in range(400)})
    more = price_more(labels_of(rows, tmp_path), 0.5)
    n = more["groups"]
    assert 60 <= n <= 105  # a fifth of 400 prompts, by a hash
    assert [0.2, 0.0] == [tier["regret"]["value"] for tier in more["tiers"]]
    assert [n, 2 * n, 4 * n, 10 * n] == [step["groups"] for step in more["steps"]]
    assert [0, 400, 1200, 3600] == [step["more_prompts"] for step in more["steps"]]
    assert [0.0, 200.0, 600.0, 1800.0] == [step["usd"] for step in more["steps"]]
    for step in more["steps"]:
        assert 1.0 - 0.05 ** (1 / step["groups"]) == pytest.approx(step["zero"])  # no failure out of n
        assert step["zero"] == pytest.approx(step["bounds"][1]["bound"])
        assert float(upper_bound(0.2 * step["groups"], step["groups"], 0.05)) == step["bounds"][0]["bound"]
        assert (
            step["bounds"][1]["promise"] is None or step["bounds"][1]["promise"] >= step["bounds"][1]["bound"]
        )
    needed = more["tiers"][1]["needed"]
    assert {"0.2": 14, "0.1": 29, "0.05": 59, "0.02": 149, "0.01": 299} == needed
    assert [None] * 5 == list(more["tiers"][0]["needed"].values())
    promises = {row["alpha"]: row for row in more["router"]}
    assert 59 == promises[0.05]["groups_at_least"]
    groups = promises[0.05]["groups"]
    assert (
        float(upper_bound(0.025 * groups, groups, 0.05))
        <= 0.05
        < float(upper_bound(0.025 * (groups - 1), groups - 1, 0.05))
    )
    lacking = -(-(groups - n) * 400 // n)
    assert (lacking, 0.5 * lacking) == (promises[0.05]["more_prompts"], promises[0.05]["usd"])
    assert (0, 0.0) == (promises[0.2]["more_prompts"], promises[0.2]["usd"])


@settings(deadline=None)
@given(rate=st.floats(0.0, 0.15), alpha=st.sampled_from([0.2, 0.1, 0.05]))
def test_the_groups_needed_are_enough_and_no_more_than_needed(rate: float, alpha: float) -> None:
    n = groups_for(rate, alpha, 0.05)
    if n is None:
        assert rate > 0.98 * alpha
        return
    assert float(upper_bound(rate * n, n, 0.05)) <= alpha
    assert n == groups_needed(alpha, 0.05) or float(upper_bound(rate * (n - 1), n - 1, 0.05)) > alpha


@pytest.mark.parametrize(
    ("passes", "why"),
    [
        ({"a": "0--", "b": "-1-", "c": "--1"}, "No prompt has a label on every tier"),
        ({"a": "01-", "b": "11-"}, "No answer of large has a label"),
        ({"a": "011"}, "one group"),
    ],
)
def test_what_more_labels_buy_is_not_told_where_it_cannot_be(
    passes: dict[str, str], why: str, tmp_path: Path
) -> None:
    more = price_more(labels_of(table(passes), tmp_path), 1.0)
    assert why in more["why"]
    assert [] == more["steps"] == more["curve"] == more["router"]


def test_slices_merge_what_is_small(tmp_path: Path) -> None:
    rows = [row(f"p{i}", 0, 1.0, task="big" if i < 50 else f"rare-{i % 4}") for i in range(80)]
    found = cut(labels_of(rows, tmp_path))
    assert [("task", "big", 50), ("task", OTHER, 30)] == [
        (each.by, each.value, int(each.inside.sum())) for each in found if each.by == "task"
    ]


def test_slices_by_length_share_prompts_out(tmp_path: Path) -> None:
    rows = [row(f"p{i}", 0, 1.0) | {"prompt": "x" * (i + 1)} for i in range(90)]
    found = cut(labels_of(rows, tmp_path), ["length"])
    assert [
        ("up to 30 characters", 30),
        ("31 to 60 characters", 30),
        ("more than 60 characters", 30),
    ] == [(each.value, int(each.inside.sum())) for each in found]


def test_any_column_of_tags_slices(tmp_path: Path) -> None:
    rows = [row(f"p{i}", 0, 1.0, team=("red", "blue")[i % 2]) for i in range(60)]
    labels = labels_of(rows, tmp_path)
    assert ["blue", "red"] == [each.value for each in cut(labels, ["team"])]
    assert [] == cut(labels, []) == cut(labels)
    assert [] == cut(labels, ["script"])


@pytest.mark.parametrize(
    ("name", "said"),
    [("taks", "did you mean task"), ("response", "a tag of 60 characters at most, found text of 80")],
)
def test_what_is_no_tag_does_not_slice(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--slices {name}: .*{said}"):
        cut(labels_of([row("a", 0, 1.0, response="secret " * 11 + "now")], tmp_path), [name])


def alike(one: Any, other: Any) -> bool:
    """Whether two documents say the same, but for the last digits of numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == (pytest.approx(other, rel=1e-9, abs=1e-12) if isinstance(one, float) else other))


@pytest.mark.parametrize(
    "rows", [plausible_rows(150), sampled_rows(), censored_rows(120)], ids=["plain", "sampled", "censored"]
)
def test_the_order_of_rows_does_not_matter(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    expected = describe_labels(labels_of(rows, tmp_path))
    for seed in range(3):
        assert alike(expected, describe_labels(labels_of(shuffled(rows, seed), tmp_path)))


def test_equal_weights_change_nothing(tmp_path: Path) -> None:
    rows = plausible_rows(150)
    plain = describe_labels(labels_of(rows, tmp_path))
    assert alike(plain, describe_labels(labels_of([each | {"weight": 2.5} for each in rows], tmp_path)))


def test_a_document_is_json_and_holds_no_prompt_or_answer(tmp_path: Path) -> None:
    text = json.dumps(document("plausible", tmp_path), allow_nan=False)
    assert "Question" not in text
    assert "The answer is" not in text
