"""A summary counts what is there, holds only JSON, and fits a terminal."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from eval.outcomes import Outcomes
from eval.summary import render, summarise
from router.tiers import Ladder, Tier

NAN = np.nan
LADDER = Ladder((Tier("small", ("s1", "s2"), 1.0, 2.0), Tier("large", ("big",), 3.0, 4.0)))


@pytest.fixture
def outcomes() -> Outcomes:
    passed = np.array([[1, 0], [0, 1], [0, 0], [NAN, 1]], dtype=np.float32)
    nothing = np.full(4, None, dtype=object)
    return Outcomes(
        ladder=LADDER,
        prompt_ids=np.array(list("abcd"), dtype=object),
        prompts=["Zanzibar"] * 4,
        groups=np.array(["g", "g", "h", "i"], dtype=object),
        score=passed * np.float32(0.5),
        passed=passed,
        cost_usd=np.array([[1.0, 4.0], [2.0, 4.0], [3.0, 4.0], [2.0, 4.0]]),
        cost_estimated=np.array([[True, False]] + [[False, False]] * 3),
        tags={
            "task": nothing,
            "feature": nothing,
            "split": np.array(["train", "train", "test", None], dtype=object),
            "source": np.array(["x", "x", "x", "y"], dtype=object),
        },
        timestamp=None,
        mean_output_tokens=(1.0, 1.0),
        dropped={"blank prompt": 3, "no outcome on any tier": 0},
    )


def test_numbers(outcomes: Outcomes) -> None:
    small = {
        "name": "small", "models": ["s1", "s2"], "observed": 3, "pass_rate": 1 / 3, "mean_score": 0.5 / 3,
        "mean_cost_usd": 2.0, "cost_estimated_share": 0.25, "cheapest_pass_share": 0.25,
    }  # fmt: skip
    large = {
        "name": "large", "models": ["big"], "observed": 4, "pass_rate": 0.5, "mean_score": 0.25,
        "mean_cost_usd": 4.0, "cost_estimated_share": 0.0, "cheapest_pass_share": 0.25,
    }  # fmt: skip
    expected = {
        "prompts": 4, "outcomes": 7, "complete": 3, "groups": 3, "sources": {"x": 3, "y": 1},
        "split": {"none": 1, "test": 1, "train": 2}, "pass_score": 0.5, "none_passed_share": 0.25,
        "unknown_share": 0.25, "non_monotone_share": pytest.approx(1 / 3), "representative": None, "censored": None,
        "dropped": {"blank prompt": 3, "no outcome on any tier": 0},
    }  # fmt: skip
    summary = summarise(outcomes)
    tiers = summary.pop("tiers")
    assert expected == summary
    assert len(tiers) == 2
    for hand, tier in zip((small, large), tiers, strict=True):
        assert list(hand) == list(tier)
        assert list(hand.values()) == [pytest.approx(v) if isinstance(v, float) else v for v in tier.values()]


def test_label_shares_sum_to_one(outcomes: Outcomes) -> None:
    summary = summarise(outcomes)
    shares = [tier["cheapest_pass_share"] for tier in summary["tiers"]]
    assert 1.0 == pytest.approx(sum(shares) + summary["none_passed_share"] + summary["unknown_share"])


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3], []])
def test_json_holds_it_whole(outcomes: Outcomes, rows: list[int]) -> None:
    summary = summarise(outcomes.take(rows))
    assert summary == json.loads(json.dumps(summary, allow_nan=False))


def test_share_of_nothing_is_none(outcomes: Outcomes) -> None:
    summary = summarise(outcomes.take([3]))
    assert summary["non_monotone_share"] is None
    assert summary["tiers"][0]["pass_rate"] is None
    assert "-" in render(summary)


def test_text_says_what_a_person_asks(outcomes: Outcomes) -> None:
    text = render(summarise(outcomes))
    assert "4 prompts in 3 groups, 7 outcomes" in text
    assert "from x: 3" in text
    assert "split as the history has it: 1 none, 1 test, 2 train" in text
    assert "33.3% of the 3 prompts" in text
    assert "left out: 3 prompts (blank prompt)" in text
    assert "no outcome on any tier" not in text
    assert "Zanzibar" not in text


def test_text_tells_a_missing_or_lopsided_split(outcomes: Outcomes) -> None:
    def split(value: str | None) -> str:
        tags = outcomes.tags | {"split": np.full(4, value, dtype=object)}
        return render(summarise(replace(outcomes, tags=tags)))

    assert "no split in the history" in split(None)
    assert "4 test; nothing on the other side" in split("test")


def test_text_fits_a_terminal_whatever_the_names(outcomes: Outcomes) -> None:
    tiers = tuple(Tier("tier " * 20, ("model/" * 30, "n"), 1.0, 1.0) for _ in range(2))
    tags = outcomes.tags | {"source": np.array([f"{i}" * 150 for i in range(4)], dtype=object)}
    for changed in (
        outcomes,
        replace(outcomes, ladder=Ladder(tiers), tags=tags, cost_usd=outcomes.cost_usd * 1e5),
    ):
        lines = render(summarise(changed)).split("\n")
        assert max(map(len, lines)) <= 100
        header = next(i for i, line in enumerate(lines) if line.startswith("tier  "))
        assert 1 == len({len(line) for line in lines[header : header + 5]})
