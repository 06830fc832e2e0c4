"""Outcomes say what was observed, price every tier, and invent no label."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eval.history import read_history
from eval.outcomes import DEFAULT_OUTPUT_TOKENS, UNKNOWN, Outcomes, strangers, tabulate
from router.errors import ConfigError
from router.tiers import Ladder, Tier

# Prices in USD per token times 1e6, so that costs are easy to compute by hand.
LADDER = Ladder((Tier("small", ("s1", "s2"), 1e6, 10e6), Tier("large", ("big",), 2e6, 20e6)))


def row(prompt_id: str, model: str, score: float | None, **more: Any) -> dict[str, Any]:
    return {"prompt_id": prompt_id, "prompt": "12345678", "model": model, "score": score} | more


def table(tmp_path: Path, rows: list[dict[str, Any]], ladder: Ladder = LADDER) -> Outcomes:
    path = tmp_path / "h.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tabulate(read_history(path), ladder)


def of_passed(passed: Any) -> Outcomes:
    passed = np.asarray(passed, dtype=np.float32)
    n, k = passed.shape
    names = np.array([f"p{i}" for i in range(n)], dtype=object)
    nothing = np.full(n, None, dtype=object)
    return Outcomes(
        ladder=Ladder(tuple(Tier(f"t{i}", (f"m{i}",), 1.0, 1.0) for i in range(k))),
        prompt_ids=names,
        prompts=list(names),
        groups=names,
        score=passed,
        passed=passed,
        cost_usd=np.arange(n * k, dtype=np.float64).reshape(n, k),
        cost_estimated=np.zeros((n, k), dtype=bool),
        tags={"task": names, "feature": nothing, "split": nothing, "source": names},
        timestamp=None,
        mean_output_tokens=(1.0,) * k,
        dropped={},
    )


def test_unobserved_stays_unobserved(tmp_path: Path) -> None:
    outcomes = table(tmp_path, [row("a", "s1", 0.5), row("a", "big", None), row("b", "big", 0.25)])
    nan = np.nan
    np.testing.assert_array_equal(np.array([[0.5, nan], [nan, 0.25]], np.float32), outcomes.score)
    np.testing.assert_array_equal(np.array([[1, nan], [nan, 0]], np.float32), outcomes.passed)
    assert [0, UNKNOWN] == outcomes.label().tolist()
    assert [False, False] == outcomes.complete.tolist()


def test_pass_is_decided_before_rounding_to_float32(tmp_path: Path) -> None:
    ladder = Ladder(LADDER.tiers, pass_score=0.7)
    outcomes = table(tmp_path, [row("a", "s1", 0.7), row("a", "big", 0.6999999999)], ladder)
    assert [[1.0, 0.0]] == outcomes.passed.tolist()


def test_first_listed_model_with_a_score_counts(tmp_path: Path) -> None:
    outcomes = table(tmp_path, [
        row("both", "s2", 1.0, cost_usd=7.0), row("both", "s1", 0.0, cost_usd=3.0), row("both", "big", 1.0),
        row("second", "s1", None, cost_usd=3.0), row("second", "s2", 1.0, cost_usd=7.0), row("second", "big", 1.0),
    ])  # fmt: skip
    assert [0.0, 1.0] == outcomes.score[:, 0].tolist()
    assert [3.0, 7.0] == outcomes.cost_usd[:, 0].tolist()
    assert [1, 0] == outcomes.label().tolist()


# Costs by hand: input and output price 1 and 10 on small, 2 and 20 on large. The prompt is 8 characters, 2 tokens.
BIG = {"input_tokens": 4, "output_tokens": 6}  # what large logs: 2 * 4 + 20 * 6 = 128, mean output 6


@pytest.mark.parametrize(("small", "cost", "estimated"), [
    ({"cost_usd": 0.5, "input_tokens": 3, "output_tokens": 2}, 0.5, False),  # the logged cost wins
    ({"cost_usd": 0.0}, 0.0, False),  # a logged nothing is logged
    ({"input_tokens": 3, "output_tokens": 2}, 3 + 20, False),
    ({"output_tokens": 2}, 4 + 20, True),  # input tokens of the other row
    ({"input_tokens": 3}, 3 + 60, True),  # small never logged output: the mean of large
    ({}, 4 + 60, True),
    ({"cost_usd": 0.5, "usage_is_estimate": True}, 0.5, True),
    ({"input_tokens": 3, "output_tokens": 2, "usage_is_estimate": True}, 23, True),
])  # fmt: skip
def test_cost_falls_back(tmp_path: Path, small: dict[str, Any], cost: float, estimated: bool) -> None:
    outcomes = table(tmp_path, [row("a", "s1", 1.0, **small), row("a", "big", 1.0, **BIG)])
    assert [[cost, 128.0]] == outcomes.cost_usd.tolist()
    assert [[estimated, False]] == outcomes.cost_estimated.tolist()


@pytest.mark.parametrize(("small", "seen"), [
    ({"cost_usd": 0.5}, True), ({"output_tokens": 2}, True), ({"input_tokens": 3}, False), ({}, False),
    ({"cost_usd": 0.5, "usage_is_estimate": True}, True),  # from the text of the answer, which says how long it was
])  # fmt: skip
def test_an_answer_is_seen_in_its_cost_or_its_tokens(
    tmp_path: Path, small: dict[str, Any], seen: bool
) -> None:
    outcomes = table(
        tmp_path, [row("a", "s1", 1.0, **small), row("a", "big", 1.0, **BIG), row("b", "s1", 1.0)]
    )
    assert [[seen, True], [False, False]] == np.asarray(outcomes.answer_seen).tolist()


def test_cost_of_a_tier_uses_its_own_mean_output(tmp_path: Path) -> None:
    outcomes = table(tmp_path, [
        row("a", "s1", 1.0, input_tokens=1, output_tokens=2), row("b", "s2", 1.0, input_tokens=1, output_tokens=4),
        row("c", "s1", 1.0), row("c", "big", 1.0, **BIG),
    ])  # fmt: skip
    assert (3.0, 6.0) == outcomes.mean_output_tokens
    assert [1 + 20, 1 + 40, 4 + 30] == outcomes.cost_usd[:, 0].tolist()
    assert [2 + 120, 2 + 120, 128] == outcomes.cost_usd[:, 1].tolist()  # unobserved tiers are priced too
    assert [[False, True], [False, True], [True, False]] == outcomes.cost_estimated.tolist()


def test_cost_with_nothing_logged_counts_characters(tmp_path: Path) -> None:
    chat = [
        {"role": "system", "content": "1234"},
        {"role": "user", "content": [{"type": "text", "text": "5678"}]},
    ]
    rows = [row("a", "s1", 1.0), row("a", "big", 1.0), row("b", "s1", 1.0, messages=chat)]
    outcomes = table(tmp_path, rows)
    assert (DEFAULT_OUTPUT_TOKENS, DEFAULT_OUTPUT_TOKENS) == outcomes.mean_output_tokens
    assert [[2 + 10 * 256.0, 4 + 20 * 256.0]] * 2 == outcomes.cost_usd.tolist()
    assert outcomes.cost_estimated.all()


def test_models_on_no_tier_are_counted(tmp_path: Path) -> None:
    rows = [row("a", "s2", 1.0), row("a", "new", 1.0), row("b", "old", 1.0), row("c", "new", None)]
    path = tmp_path / "h.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    found = strangers(read_history(path), LADDER)
    assert [("new", 2), ("old", 1)] == list(found.items())


def test_input_tokens_may_come_from_a_model_outside_the_ladder(tmp_path: Path) -> None:
    rows = [
        row("a", "other", None, input_tokens=5),
        row("a", "s1", 1.0, output_tokens=1),
        row("a", "big", 1.0, **BIG),
    ]
    assert [4.5 + 10, 128.0] == table(tmp_path, rows).cost_usd[0].tolist()  # the mean of 5 and 4


def test_blank_and_unanswered_prompts_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [
        row("kept", "s1", 0.0), row("kept", "big", 0.0), row("none", "other", 1.0), row("null", "big", None),
        row("blank", "other", 1.0, prompt=" \n"), row("chat", "big", 1.0, messages=[{"role": "user", "content": " "}]),
    ]  # fmt: skip
    outcomes = table(tmp_path, rows)
    assert ["kept"] == outcomes.prompt_ids.tolist()
    assert {"blank prompt": 2, "no outcome on any tier": 2} == outcomes.dropped
    assert [outcomes.none_passed] == outcomes.label().tolist()


def test_an_image_alone_is_no_blank_prompt(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    assert 1 == len(
        table(tmp_path, [row("a", "s1", 1.0, messages=chat), row("a", "big", 1.0, messages=chat)])
    )


def test_order_of_rows_changes_no_outcome(tmp_path: Path) -> None:
    rows = [
        row(p, model, score, input_tokens=n)
        for p, n in (("a", 3), ("b", 5))
        for model, score in (("s1", None), ("s2", 0.5), ("big", 0.0), ("other", 1.0))
    ]
    one, two = table(tmp_path, rows), table(tmp_path, rows[::-1]).take([1, 0])
    assert one.prompt_ids.tolist() == two.prompt_ids.tolist()
    np.testing.assert_array_equal(one.score, two.score)
    np.testing.assert_array_equal(one.cost_usd, two.cost_usd)


def test_tags_and_timestamp_follow_the_prompt(tmp_path: Path) -> None:
    rows = [
        row("a", "s1", 1.0, task="t", split="test"),
        row("b", "big", 1.0, timestamp="2025-01-31T12:00:00Z"),
    ]
    outcomes = table(tmp_path, rows)
    assert ["t", None] == outcomes.tags["task"].tolist()
    assert ["test", None] == outcomes.tags["split"].tolist()
    assert ["h", "h"] == outcomes.tags["source"].tolist()
    assert outcomes.timestamp is not None
    assert [True, False] == np.isnat(outcomes.timestamp).tolist()
    assert np.datetime64("2025-01-31T12:00:00", "ns") == outcomes.timestamp[1]
    assert table(tmp_path, [row("a", "s1", 1.0), row("a", "big", 1.0)]).timestamp is None


def test_no_model_of_the_ladder(tmp_path: Path) -> None:
    rows = [row("a", "S-1", 1.0), row("b", "S-1", 1.0), row("a", "other", 1.0)]
    with pytest.raises(ConfigError) as caught:
        table(tmp_path, rows)
    expected = (
        "history: expected rows of the tiers' models (s1, s2, big), found none of them but S-1 (2 rows), other (1 rows) "
        "(did you mean S-1 for s1?); name models in the tiers as the history does"
    )
    assert expected == str(caught.value)


def test_tier_without_an_outcome(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        table(tmp_path, [row("a", "s1", 1.0), row("a", "big", None), row("b", "bigg", 1.0)])
    message = str(caught.value)
    assert "expected outcomes of tier large (big), found none but the models " in message
    assert "s1 (1 rows)" in message


def test_no_prompt_left(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="blank prompt: 1, no outcome on any tier: 1"):
        table(tmp_path, [row("a", "s1", 1.0, prompt=" "), row("b", "big", None)])


@pytest.mark.parametrize(
    ("prompt", "score", "advice"), [(" ", 1.0, "fill in the prompts"), ("Sum it.", None, "score some rows")]
)
def test_advice_is_about_what_is_missing(
    tmp_path: Path, prompt: str, score: float | None, advice: str
) -> None:
    rows = [row(name, model, score, prompt=prompt) for name in "ab" for model in ("s1", "big")]
    with pytest.raises(ConfigError, match=f"; {advice}$"):
        table(tmp_path, rows)


PASSED = st.sampled_from([0.0, 1.0, np.nan])


@given(arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=PASSED))
def test_label_is_that_of_a_walk_and_never_invented(passed: np.ndarray) -> None:
    def walk(tiers: list[float]) -> int:
        for k, value in enumerate(tiers):
            if np.isnan(value):
                return UNKNOWN
            if value == 1:
                return k
        return len(tiers)

    label = of_passed(passed).label()
    assert np.int8 == label.dtype
    assert [walk(tiers) for tiers in passed.tolist()] == label.tolist()


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=PASSED), st.data())
def test_take_is_indexing(passed: np.ndarray, data: st.DataObject) -> None:
    outcomes = of_passed(passed)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(passed), max_size=len(passed))))
    index = np.flatnonzero(mask)
    for rows in (mask, index, index.tolist(), mask.tolist()):
        taken = outcomes.take(rows)
        assert len(index) == len(taken)
        assert [f"p{i}" for i in index] == taken.prompts == taken.prompt_ids.tolist() == taken.groups.tolist()
        assert outcomes.label()[index].tolist() == taken.label().tolist()
        assert outcomes.cost_usd[index].tolist() == taken.cost_usd.tolist()
        assert outcomes.tags["task"][index].tolist() == taken.tags["task"].tolist()


def test_take_and_on_keep_what_was_expected_and_seen() -> None:
    outcomes = of_passed(np.ones((4, 3)))
    for none in (outcomes.take([3, 1]), outcomes.on([0, 2])):
        assert (None, None) == (none.expected_cost_usd, none.answer_seen)
    usd, seen = np.arange(12.0).reshape(4, 3) / 7, np.arange(12).reshape(4, 3) % 5 == 0
    outcomes = replace(outcomes, expected_cost_usd=usd, answer_seen=seen)
    for rows in ([3, 1, 1], np.array([True, False, False, True]), []):
        taken, index = outcomes.take(rows), np.arange(4)[np.asarray(rows, dtype=None if len(rows) else int)]
        assert usd[index].tolist() == np.asarray(taken.expected_cost_usd).tolist()
        assert seen[index].tolist() == np.asarray(taken.answer_seen).tolist()
    ends = outcomes.on([0, 2])
    assert usd[:, [0, 2]].tolist() == np.asarray(ends.expected_cost_usd).tolist()
    assert seen[:, [0, 2]].tolist() == np.asarray(ends.answer_seen).tolist()


def test_on_some_tiers_is_what_was_measured_on_them() -> None:
    outcomes = of_passed([[0, 1, 1], [0, np.nan, 1]])
    outcomes = replace(
        outcomes, ladder=replace(outcomes.ladder, pass_score=0.75), mean_output_tokens=(1.0, 2.0, 3.0)
    )
    ends = outcomes.on([0, 2])
    assert (("t0", "t2"), (1.0, 3.0), 0.75) == (
        ends.ladder.names,
        ends.mean_output_tokens,
        ends.ladder.pass_score,
    )
    assert [[0, 1], [0, 1]] == ends.passed.tolist() == ends.score.tolist()
    assert outcomes.cost_usd[:, [0, 2]].tolist() == ends.cost_usd.tolist()
    assert [1, 1] == ends.label().tolist()
    assert ["p1"] == ends.take([1]).prompts  # rows stay rows
    assert (2, 3) == outcomes.passed.shape


def test_take_keeps_the_order_asked_for_and_refuses_what_is_not_there() -> None:
    outcomes = of_passed([[1.0], [0.0], [np.nan]])
    assert ["p2", "p0", "p0"] == outcomes.take([2, 0, 0]).prompts
    assert [] == outcomes.take([]).prompts
    with pytest.raises(IndexError):
        outcomes.take(np.array([True, False]))
    with pytest.raises(IndexError):
        outcomes.take([3])
