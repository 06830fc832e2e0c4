"""A decision is a frozen value, ready for JSON; its reason is one of a closed list."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from router import Decision, Policy, Reason, Router
from router.cli import _EXPLANATIONS

DECISION = Decision("small", 0, "tiny", (0.5, 0.75), 1, Reason.CEILING, 1e-6, 0.25, "tw-1", (1e-6, 2e-6))


def test_a_decision_cannot_be_changed() -> None:
    for field in fields(Decision):
        with pytest.raises(FrozenInstanceError):
            setattr(DECISION, field.name, None)
        with pytest.raises(FrozenInstanceError):
            delattr(DECISION, field.name)


def test_a_decision_has_slots_and_no_room_for_more() -> None:
    assert not hasattr(DECISION, "__dict__")
    with pytest.raises((AttributeError, TypeError)):
        DECISION.more = 1  # type: ignore[attr-defined]


def test_a_decision_is_a_value() -> None:
    twin = copy.replace(DECISION) if hasattr(copy, "replace") else copy.copy(DECISION)
    assert twin == DECISION
    assert hash(twin) == hash(DECISION)
    assert pickle.loads(pickle.dumps(DECISION)) == DECISION  # noqa: S301 - its own bytes, as a queue carries them


def test_the_dictionary_is_plain_data() -> None:
    expected = {
        "tier": "small",
        "index": 0,
        "model": "tiny",
        "p_pass": [0.5, 0.75],
        "predicted": 1,
        "reason": "ceiling",
        "expected_cost_usd": 1e-6,
        "novelty": 0.25,
        "model_id": "tw-1",
        "tier_cost_usd": [1e-6, 2e-6],
        "saving_usd": 1e-6,
    }
    found = DECISION.to_dict()
    assert expected == found
    assert list(expected) == list(found)
    assert expected == json.loads(json.dumps(found, allow_nan=False))
    assert str is type(found["reason"])


@pytest.mark.parametrize("prompt", ["", "Hello", "世界", "\ud800", "x" * 9000, [{"role": "user"}]])
def test_a_real_decision_is_ready_for_json(toy_router: Router, prompt: str) -> None:
    found = toy_router.route(prompt).to_dict()
    assert found == json.loads(json.dumps(found, allow_nan=False))
    expected = [str, int, str, list, int, str, float, float, str, list, float]
    assert expected == [type(value) for value in found.values()]
    assert {float} == set(map(type, [*found["p_pass"], *found["tier_cost_usd"]]))


def test_what_is_saved_is_against_the_top_tier(toy_router: Router) -> None:
    for tier in ("small", "medium", "large"):
        decision = toy_router.route("Hello", Policy(allow=tier))
        assert decision.tier_cost_usd[2] - decision.tier_cost_usd[decision.index] == decision.saving_usd
    assert 0.0 == toy_router.route("Hello", Policy(allow="large")).saving_usd
    assert -1e-6 == replace(DECISION, tier_cost_usd=(2e-6, 1e-6), expected_cost_usd=2e-6).saving_usd


def test_the_reasons_are_closed_and_each_is_explained() -> None:
    expected = [
        "sufficient",
        "needed",
        "floor",
        "ceiling",
        "allow",
        "cost",
        "context",
        "capability",
        "novel",
        "uncertified",
        "empty",
    ]
    assert expected == [reason.value for reason in Reason]
    assert set(expected) == set(_EXPLANATIONS)
    with pytest.raises(ValueError, match="other"):
        Reason("other")
