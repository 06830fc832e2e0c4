"""The verdict: each rule by hand, and that any input gets one of four words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_metrics import outcomes_of

from eval.verdict import EXIT_CODES, cannot_tell, decide, why_not

NAN = float("nan")


def bounds(value: Any, low: Any = None, high: Any = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def contender(name: str, kind: str, gap: Any, lead: Any = None) -> dict[str, Any]:
    return {"name": name, "label": name, "kind": kind, "gap_closed": gap, "lead": lead}


def comparison(gap: Any, *baselines: Any, **changes: Any) -> dict[str, Any]:
    return {
        "prompts": 1000,
        "groups": 900,
        "gap_to_close": bounds(0.2, 0.1, 0.3),
        "tiers": [{"pass_rate": 0.5}, {"pass_rate": 0.75}],
        "contenders": [
            contender("ours", "subject", gap),
            *baselines,
            contender("random-mix", "random", bounds(0.0, 0.0, 0.0), gap),
            contender("oracle", "oracle", bounds(1.0, 1.0, 1.0)),
        ],
    } | changes


GOOD = bounds(0.2, 0.15, 0.25)


def length(gap: float, *lead: float) -> dict[str, Any]:
    return contender("length", "baseline", bounds(gap, gap - 0.05, gap + 0.05), bounds(*lead))


@pytest.mark.parametrize(
    ("given", "word", "code", "best"),
    [
        (comparison(GOOD, length(0.1, 0.1, 0.05, 0.15)), "ROUTE", 0, "length"),
        (comparison(GOOD, length(-0.1, 0.3, 0.2, 0.4)), "ROUTE", 0, "random-mix"),
        (comparison(GOOD, length(0.3, -0.1, -0.2, -0.01)), "DO NOT ROUTE", 11, "length"),
        (comparison(bounds(0.01, -0.02, 0.04)), "DO NOT ROUTE", 11, "random-mix"),
        (comparison(bounds(0.01, -0.02, 0.05)), "TIE", 10, "random-mix"),
        (comparison(bounds(0.02, 0.01, 0.04), length(0.03, -0.01, -0.02, 0.01)), "TIE", 10, "length"),
        (comparison(GOOD, length(0.15, 0.05, 0.0, 0.1)), "TIE", 10, "length"),
    ],
)
def test_the_rules_by_hand(given: Any, word: str, code: int, best: str) -> None:
    found = decide(given)
    assert (word, code, best) == (found["word"], found["exit_code"], found["best_baseline"])
    assert "1,000" in found["more_data"]
    assert all(found[key] for key in ("headline", "reason"))


def test_words_carry_figures() -> None:
    found = decide(comparison(GOOD, length(0.1, 0.1, 0.05, 0.15)))
    assert "ours closes 20.0% of the gap to hindsight, 10.0 points more than length." == found["headline"]
    assert "+10.0 points (95% interval +5.0 to +15.0)" in found["reason"]
    worse = decide(comparison(GOOD, length(0.3, -0.1, -0.2, -0.01)))
    assert "ours closes 20.0% of the gap to hindsight, length 30.0%." == worse["headline"]
    assert (
        "Length is better: ours's lead over it is −10.0 points (95% interval −20.0 to −1.0), all of it below 0."
        == worse["reason"]
    )


@given(st.sampled_from([0.2, 0.01, -0.3]), st.floats(-0.5, 0.5), st.floats(0.001, 0.3))
def test_sentences_have_one_style(gap: float, lead: float, half: float) -> None:
    """The word is not said twice, minus signs are true ones, and a percent sign stands at its number."""
    found = decide(
        comparison(bounds(gap, gap - half, gap + half), length(gap - lead, lead, lead - half, lead + half))
    )
    said = f"{found['headline']} {found['reason']} {found['more_data']}"
    assert not re.search(r"\d %|(?<![\w])-\d|  ", said)
    assert not re.match(r"route|a tie|do not|cannot", found["headline"], re.I)


def test_a_tie_names_the_tiers_together() -> None:
    tiers = [contender(f"tier:{t}", "tier", bounds(-0.5), bounds(0.7, 0.6, 0.8)) for t in "abc"]
    reason = decide(comparison(GOOD, length(0.19, 0.01, -0.02, 0.04), *tiers))["reason"]
    assert reason == (
        "Ours's lead over length is +1.0 points (95% interval −2.0 to +4.0), so these prompts cannot tell which of "
        "the two is better. It clearly beats each tier alone and random mixing."
    )


def test_a_tie_says_what_is_beaten_and_how_many_prompts_would_tell() -> None:
    weak = contender("weak", "baseline", bounds(0.0), bounds(0.2, 0.1, 0.3))
    strong = contender("strong", "fixed", bounds(0.05), bounds(-0.02, -0.03, -0.01))
    found = decide(comparison(GOOD, length(0.19, 0.01, -0.02, 0.04), weak, strong))
    assert ("TIE", ["weak", "random-mix"], ["length"], ["strong"]) == tuple(
        found[key] for key in ("word", "beats", "ties", "loses_to")
    )
    assert 9000 == found["needed_prompts"]  # half width three times the lead
    assert "9,000" in found["more_data"]
    assert all(
        text in found["reason"]
        for text in ("lead over length is +1.0 points", "beats weak and random mixing", "behind strong")
    )


@pytest.mark.parametrize(
    ("lead", "needed"),
    [
        ((0.1, -0.05, 0.25), 2300),
        ((1e-9, -0.1, 0.1), None),
        ((0.0, -0.1, 0.1), None),
        ((0.0, 0.0, 0.0), None),
    ],
)
def test_needed_prompts_round_up_and_are_capped(lead: Any, needed: Any) -> None:
    found = decide(comparison(GOOD, length(0.2, *lead)))
    assert needed == found["needed_prompts"]
    assert ("as good as none" in found["more_data"]) == (needed is None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tiers": [{"pass_rate": 1.0}]}, "fewer than two tiers"),
        ({"prompts": 29}, "Only 29 prompts"),
        ({"prompts": 0, "groups": 0}, "Only 0 prompts"),
        ({"groups": 9}, "9 groups"),
        ({"gap_to_close": bounds(0.0, 0.0, 0.0)}, "hindsight"),
        ({"gap_to_close": bounds(0.0), "tiers": [{"pass_rate": 1.0}] * 2}, "Every tier passes"),
        ({"gap_to_close": bounds(0.0), "tiers": [{"pass_rate": 0.0}] * 2}, "No tier passes"),
        ({"gap_to_close": bounds(None)}, "hindsight"),
    ],
)
def test_where_no_figure_is_possible(changes: Any, reason: str) -> None:
    found = decide(comparison(GOOD, **changes))
    assert ("CANNOT TELL", 12, None) == (found["word"], found["exit_code"], found["best_baseline"])
    assert reason in found["reason"]


def test_constant_prompts_and_missing_intervals_cannot_tell() -> None:
    assert "look the same" in decide(comparison(GOOD), constant_prompts=True)["reason"]
    assert "no interval" in decide(comparison(bounds(0.2)))["reason"]


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        (outcomes_of([[1.0]] * 40, [1.0]), "fewer than two tiers"),
        (outcomes_of([[1, NAN], [NAN, 1]] * 40, [1.0, 2.0]), "no overlap"),
        (outcomes_of([[1, 0]] * 29, [1.0, 2.0]), "Only 29"),
        (outcomes_of([[1, 0]] * 40, [1.0, 2.0], ["a", "b"] * 20), "2 groups"),
        (outcomes_of([[1, 0]] * 40, [1.0, 2.0], ["a"] * 40), "All prompts are of one group; 10 groups"),
        (replace(outcomes_of([[1, 0]] * 40, [1.0, 2.0], ["a"] * 40), prompts=["same"] * 40), "look the same"),
    ],
)
def test_why_not_asks_before_anything_is_fitted(outcomes: Any, reason: str) -> None:
    found = why_not(outcomes)
    assert found is not None
    assert reason in found
    assert set(decide(comparison(GOOD))) == set(cannot_tell(found))


def test_why_not_finds_nothing_in_a_sound_history() -> None:
    sound = outcomes_of([[1, 0]] * 40, [1.0, 2.0])
    assert why_not(sound) is None
    assert "look the same" in str(why_not(sound, constant_prompts=True))


NUMBERS = st.none() | st.sampled_from([0.0, NAN, 1e-12]) | st.floats(-2, 2)
INTERVALS = st.builds(bounds, NUMBERS, NUMBERS, NUMBERS)


@given(
    INTERVALS,
    st.lists(st.tuples(INTERVALS, INTERVALS), max_size=4),
    st.fixed_dictionaries(
        {"prompts": st.integers(0, 10**5), "groups": st.integers(0, 100), "gap_to_close": INTERVALS}
    ),
    st.booleans(),
)
def test_any_input_gets_one_of_four_words(gap: Any, others: Any, changes: Any, constant: bool) -> None:
    baselines = [contender(f"b{i}", "baseline", *pair) for i, pair in enumerate(others)]
    found = decide(comparison(gap, *baselines, **changes), constant_prompts=constant)
    assert EXIT_CODES[found["word"]] == found["exit_code"]
    assert found["headline"]
    json.dumps(found)


def test_the_words_and_codes_are_the_published_ones() -> None:
    assert {"ROUTE": 0, "TIE": 10, "DO NOT ROUTE": 11, "CANNOT TELL": 12} == EXIT_CODES
    assert np.all(np.diff(sorted(EXIT_CODES.values())) > 0)
