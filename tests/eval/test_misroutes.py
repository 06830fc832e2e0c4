"""Misroutes: by hand, then what holds of all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from test_comparison import toy
from test_metrics import outcomes_of

from eval.curve import choose_by_price, regret_rate
from eval.misroutes import PROMPT_CHARS, worst_misroutes

NAN = float("nan")
HAND = outcomes_of(
    [[0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1], [0, NAN, 1]],
    [1.0, 2.0, 5.0],
    names=["small", "medium", "large"],
)
P = np.tile([0.5, 0.625, 0.75], (7, 1)) + np.arange(7)[:, None] / 64
CHOICE = np.array([0, 0, 2, 1, 0, 1, 0])


def test_by_hand() -> None:
    found = worst_misroutes(HAND, P, CHOICE)
    assert [
        ("p5", "under", "medium", "small"),  # a cheaper tier passes too, but the loss is what counts
        ("p1", "under", "small", "medium"),
        ("p0", "under", "small", "large"),
        ("p2", "over", "large", "small"),
        ("p3", "over", "medium", "small"),
    ] == [(m["prompt_id"], m["kind"], m["chosen"], m["needed"]) for m in found]
    assert [1.0, 1.0, 1.0, 0.0, 0.0] == [m["loss"] for m in found]
    assert [0.0, 0.0, 0.0, 4.0, 1.0] == [m["wasted_usd"] for m in found]
    assert P[5].tolist() == found[0]["p_pass"]
    json.dumps(found)


def test_at_most_so_many_of_each_kind() -> None:
    assert ["p5", "p2"] == [m["prompt_id"] for m in worst_misroutes(HAND, P, CHOICE, most=1)]


def test_text_is_shown_only_where_asked_for() -> None:
    secret = HAND.take([0])
    secret.prompts[0] = "sesame" * 200
    assert "sesame" not in json.dumps(worst_misroutes(secret, P[:1], CHOICE[:1]))
    shown = worst_misroutes(secret, P[:1], CHOICE[:1], with_prompt=True)
    assert ("sesame" * 200)[:PROMPT_CHARS] == shown[0]["prompt"]


def test_under_routed_ones_are_the_regret() -> None:
    outcomes, p = toy(200, 0)
    choice = choose_by_price(p, [1.0, 2.0, 5.0], 0.05)
    found: Any = worst_misroutes(outcomes, p, choice, most=1000)
    under = [m for m in found if m["kind"] == "under"]
    assert regret_rate(outcomes.passed == 1, choice) == pytest.approx(len(under) / 200)
    assert len(found) == len({m["prompt_id"] for m in found})
    confidence = [m["p_pass"][int(m["chosen"])] for m in under]
    assert sorted(confidence, reverse=True) == confidence


def test_bad_input_is_refused() -> None:
    for scores, choice in ((P[:3], CHOICE), (P, CHOICE[:3]), (P, CHOICE + 2)):
        with pytest.raises(ValueError, match="expected scores"):
            worst_misroutes(HAND, scores, choice)
