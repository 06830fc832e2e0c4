"""Slices: which there are, what is merged, and that each is the same router on fewer prompts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_comparison import toy

from eval.comparison import compare
from eval.curve import choose_by_price, regret_rate
from eval.outcomes import Outcomes
from eval.scripts import LATIN, NO_LETTERS, script_of
from eval.slices import MIN_SLICE, OTHER, slices


def choices(p: Any) -> Any:
    """What a router would choose that takes tiers to cost 1, 2 and 5."""
    return choose_by_price(p, [1.0, 2.0, 5.0], 0.05)


def tagged(n: int = 300) -> tuple[Outcomes, Any]:
    """Tasks of 160, 100, 30 and 10 prompts; words of two scripts; four lengths."""
    outcomes, p = toy(n, 0)
    task = np.array(["sums"] * 160 + ["tales"] * 100 + ["odd"] * 30 + [None] * 10, dtype=object)
    words = ["да " if i % 4 == 0 else "yes" for i in range(n)]
    prompts = [word * (1 + i % 8) for i, word in enumerate(words)]
    tags = {"task": task, "feature": np.full(n, "only", dtype=object)}
    return replace(outcomes, prompts=prompts, tags=tags), p


@pytest.fixture(scope="module")
def found() -> Any:
    outcomes, p = tagged()
    return slices(outcomes, p, np.full(p.shape, 0.5), choices(p), n_boot=40)


def test_the_slices_are_named_and_small_ones_merged(found: Any) -> None:
    json.dumps(found, allow_nan=False)
    named = {(s["by"], s["value"]): s["prompts"] for s in found}
    assert {("task", "sums"): 160, ("task", "tales"): 100, ("task", OTHER): 40}.items() <= named.items()
    assert {("language", LATIN): 225, ("language", "Cyrillic"): 75}.items() <= named.items()
    assert {"task", "length", "language"} == {by for by, _ in named}  # one feature, no source: no slices
    assert OTHER == [s["value"] for s in found if s["by"] == "task"][-1]


def test_lengths_are_quarters_that_cover_all(found: Any) -> None:
    lengths = [s for s in found if s["by"] == "length"]
    assert {"up to 6 characters", "7 to 12 characters", "13 to 18 characters", "more than 18 characters"} == {
        s["value"] for s in lengths
    }
    assert 300 == sum(s["prompts"] for s in lengths)


def test_a_slice_holds_what_its_prompts_show(found: Any) -> None:
    outcomes, p = tagged()
    sums, choice = found[0], choices(p)[:160]
    assert ("task", "sums", 160, 160) == tuple(sums[key] for key in ("by", "value", "prompts", "groups"))
    passed = outcomes.passed[:160] == 1
    assert regret_rate(passed, choice) == pytest.approx(sums["regret"]["value"])
    assert passed[np.arange(160), choice].mean() == pytest.approx(sums["routed_quality"])
    assert passed[:, 2].mean() == pytest.approx(sums["top_quality"])
    assert sums["gap_closed"]["low"] < sums["gap_closed"]["value"] < sums["gap_closed"]["high"]
    assert {"0", "1", "2"} == set(sums["calibration"])
    aucs = [tier["auc"] for tier in sums["calibration"].values()]
    assert np.mean(aucs) == pytest.approx(sums["auc"])


def test_a_slice_of_nearly_all_agrees_with_the_whole() -> None:
    outcomes, p = toy(600, 4)
    task = np.array(["rest"] * 5 + ["all"] * 595, dtype=object)
    sliced = slices(replace(outcomes, tags={"task": task}), p, p, choices(p), n_boot=20)[0]
    whole = compare(outcomes, {"s": p}, {}, "s", {}, n_boot=20)["contenders"][0]
    assert whole["gap_closed"]["value"] == pytest.approx(sliced["gap_closed"]["value"], abs=0.02)
    assert [0.0, 0.0, 0.0] == list(sliced["lead_over_length"].values())


def test_prompts_that_a_tier_did_not_answer_count_for_calibration_alone() -> None:
    outcomes, p = tagged()
    outcomes.passed[:20, 0] = outcomes.score[:20, 0] = np.nan
    sums = slices(outcomes, p, p, choices(p), n_boot=5)[0]
    assert 140 == sums["prompts"]
    assert [140, 160, 160] == [tier["observed"] for tier in sums["calibration"].values()]
    outcomes.passed[:, 0] = np.nan
    assert [] == slices(outcomes, p, p, choices(p), n_boot=5)


def test_one_length_and_one_script_are_no_slices() -> None:
    outcomes, p = toy(2 * MIN_SLICE, 0)
    same = replace(outcomes, prompts=["same"] * len(outcomes), tags={})
    assert [] == slices(same, p, p, choices(p), n_boot=5)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Add two and two", LATIN),
        ("Größe überall", LATIN),
        ("let α be 2 in the formula", LATIN),
        ("Сколько будет 2 + 2", "Cyrillic"),
        ("print() 関数の使い方を教えて", "Chinese or Japanese"),
        ("한국어로 답해 줘", "Korean"),
        ("مرحبا", "Arabic"),
        ("שלום", "Hebrew"),
        ("नमस्ते", "Indic scripts"),
        ("2 + 2 = ?", NO_LETTERS),
        ("", NO_LETTERS),
        ("\ud800", NO_LETTERS),
    ],
)
def test_scripts_are_read(text: str, script: str) -> None:
    assert script == script_of(text)


def test_bad_input_is_refused() -> None:
    outcomes, p = toy(60, 0)
    with pytest.raises(ValueError, match="expected scores"):
        slices(outcomes, p[:, :2], p, choices(p))
