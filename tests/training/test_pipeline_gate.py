"""The gate: every check can fail, each alone keeps the champion, and a tie changes nothing."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.pipeline.gate import Evidence, GateError, Verdict, decide
from training.pipeline.settings import Promotion


def bounds(value: float, reach: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


def side(saving: float, regret: float, *, keeps: bool = True) -> dict[str, Any]:
    return {
        "saving": bounds(saving),
        "quality": bounds(0.85),
        "regret": bounds(regret) | {"proved": regret + 0.01},
        "keeps": keeps,
    }


EVIDENCE = Evidence(
    duel={
        "prompts": 1000,
        "groups": 900,
        "reference": "large",
        "max_regret": 0.05,
        "challenger": side(0.35, 0.03),
        "champion": side(0.30, 0.03),
        "saving_lead": bounds(0.05),
        "quality_lead": bounds(0.0),
        "same_cost_lead": bounds(0.0, 0.002),
        "slices": [
            {"name": "task=mail", "prompts": 200, "groups": 180, "quality_lead": bounds(0.0), "regret": 0.02}
        ],
    },
    certificate={"delta": 0.05, "n": 1200, "table": [{"alpha": 0.05, "epsilon": 0.1}]},
    calibration={"small": 0.01, "large": 0.002},
    latency_us=80.0,
    champion=3,
    champion_routes=True,
    worth={
        "gap_closed": {"value": 0.2, "low": 0.1, "high": 0.3},
        "rules": [{"label": "prompt length alone", "lead": {"value": 0.1, "low": 0.05, "high": 0.15}}],
    },
    compared=True,
)
PROMOTION = Promotion()


def shown(**changes: Any) -> Evidence:
    """Return the evidence with parts of the duel, or of the evidence itself, replaced."""
    duel = deepcopy(dict(EVIDENCE.duel))
    own = {name: value for name, value in changes.items() if name not in duel}
    duel |= {name: value for name, value in changes.items() if name in duel}
    return replace(EVIDENCE, duel=duel, **own)


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_what_is_better_beyond_its_margin_is_promoted() -> None:
    verdict = decide(EVIDENCE, PROMOTION)
    assert ("ROUTE", True, []) == (verdict.word, verdict.promotes, failed(verdict))
    assert "+5.0 points [+4.0, +6.0] against version 3" in verdict.headline
    assert ["certificate", "promise", "better", "calibration", "latency", "slices"] == [
        check.name for check in verdict.checks
    ]
    assert verdict == Verdict.of(json.loads(json.dumps(verdict.to_dict())))


WORSE_SLICE = [{"name": "task=law", "prompts": 90, "groups": 90, "quality_lead": bounds(-0.2), "regret": 0.2}]
FAULTS: dict[str, Evidence] = {
    "certificate": shown(certificate={"delta": 0.05, "n": 40, "table": [{"alpha": 0.1, "epsilon": 0.1}]}),
    "promise": shown(challenger=side(0.35, 0.08, keeps=False)),
    "better": shown(saving_lead=bounds(0.015)),
    "calibration": shown(calibration={"small": 0.051, "large": 0.0}),
    "latency": shown(latency_us=1000.1),
    "slices": shown(slices=WORSE_SLICE),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_alone_keeps_the_champion(name: str) -> None:
    verdict = decide(FAULTS[name], PROMOTION)
    # Without a proof there is no saving to compare.
    assert ("KEEP", [name, "better"] if name == "promise" else [name]) == (verdict.word, failed(verdict))
    assert verdict.headline == f"Version 3 serves on. {verdict.reasons[0]}"


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_alone_is_no_reason_to_route_where_nothing_serves(name: str) -> None:
    first = replace(FAULTS[name], champion=None, champion_routes=False)
    verdict = decide(first, PROMOTION)
    # Without a champion there is no slice to lose.
    assert ("ROUTE" if name == "slices" else "DO NOT ROUTE") == verdict.word


def test_a_void_certificate_is_none() -> None:
    void = {**EVIDENCE.certificate, "void": {"date": "2026-01-01", "why": "drift"}}
    assert ["certificate"] == failed(decide(replace(EVIDENCE, certificate=void), PROMOTION))


def test_quality_at_the_same_cost_is_enough_where_savings_tie() -> None:
    tie = {"saving_lead": bounds(0.0), "same_cost_lead": bounds(0.01, 0.002)}
    assert "ROUTE" == decide(shown(**tie), PROMOTION).word
    assert "KEEP" == decide(shown(**tie, champion_routes=False), PROMOTION).word
    costly = tie | {"saving_lead": bounds(-0.03)}
    assert ["better"] == failed(decide(shown(**costly), PROMOTION))
    assert ["better"] == failed(decide(shown(**tie | {"same_cost_lead": None}), PROMOTION))
    assert ["better"] == failed(decide(shown(**tie | {"same_cost_lead": bounds(0.006, 0.002)}), PROMOTION))


def test_what_is_worse_is_called_worse() -> None:
    verdict = decide(shown(saving_lead=bounds(-0.05)), PROMOTION)
    assert verdict.reasons[0].endswith("it is worse.")
    assert decide(shown(saving_lead=bounds(0.0)), PROMOTION).reasons[0].endswith("a tie changes nothing.")


def test_a_slice_within_the_promise_or_within_the_margin_may_lose() -> None:
    for change in ({"regret": 0.04, "quality_lead": bounds(-0.05)}, {"quality_lead": bounds(-0.029)}):
        assert [] == failed(decide(shown(slices=[WORSE_SLICE[0] | change]), PROMOTION))
    assert [] == failed(decide(shown(slices=WORSE_SLICE), Promotion(margin_slice=0.3)))
    # Graded answers that pass still and are much worse are no regret, and a loss.
    assert ["slices"] == failed(decide(shown(slices=[WORSE_SLICE[0] | {"regret": 0.0}]), PROMOTION))
    broken = shown(slices=WORSE_SLICE, champion=EVIDENCE.duel["champion"])
    broken = replace(broken, champion=3, duel={**broken.duel, "champion": side(0.3, 0.09, keeps=False)})
    assert [] == failed(decide(broken, PROMOTION))


def test_a_first_model_has_to_be_worth_it() -> None:
    first = replace(EVIDENCE, champion=None, champion_routes=False)
    verdict = decide(first, PROMOTION)
    assert "ROUTE" == verdict.word
    assert "against always the reference tier" in verdict.headline
    for worth, said in (
        ({"rules": [{"label": "prompt length alone", "lead": bounds(-0.02)}]}, "prompt length alone."),
        ({"gap_closed": bounds(0.0, 0.02)}, "at random may do as well"),
    ):
        verdict = decide(replace(first, worth={**first.worth, **worth}), PROMOTION)
        assert ("DO NOT ROUTE", ["baselines"]) == (verdict.word, failed(verdict))
        assert said in verdict.headline
    for worth in (
        {"rules": [{"label": "random mix", "lead": bounds(0.0)}]},
        {"gap_closed": bounds(0.04, 0.05)},
        {"rules": [{"label": "always small", "lead": {"value": None, "low": None, "high": None}}]},
    ):
        assert "ROUTE" == decide(replace(first, worth={**first.worth, **worth}), PROMOTION).word


def test_beside_a_champion_that_cannot_be_compared_it_is_a_first_model() -> None:
    lost = replace(EVIDENCE, compared=False, champion_routes=False)
    assert "against always the reference tier" in decide(lost, PROMOTION).headline
    simple = {**lost.worth, "rules": [{"label": "prompt length alone", "lead": bounds(-0.02)}]}
    verdict = decide(replace(lost, worth=simple), PROMOTION)
    assert ("KEEP", ["baselines"]) == (verdict.word, failed(verdict))


def test_where_nothing_can_be_compared_with_baselines_they_are_no_hindrance() -> None:
    first = replace(EVIDENCE, champion=None, champion_routes=False, worth={"gap_closed": None, "rules": []})
    assert "ROUTE" == decide(first, PROMOTION).word


@pytest.mark.parametrize("change", [{"prompts": 29}, {"groups": 9}])
def test_too_few_prompts_are_no_gate(change: dict[str, int]) -> None:
    with pytest.raises(GateError, match="grade more of the newest prompts") as raised:
        decide(shown(**change), PROMOTION)
    assert 4 == raised.value.exit_code


def test_resamples_without_an_interval_are_no_gate() -> None:
    with pytest.raises(GateError, match="no interval"):
        decide(shown(saving_lead={"value": 0.1, "low": None, "high": None}), PROMOTION)


@given(st.floats(-0.5, 0.5), st.floats(0.0, 0.3), st.floats(-0.1, 0.1), st.floats(0.0, 0.05))
def test_nothing_is_promoted_that_is_not_clear_of_a_margin(
    lead: float, reach: float, same: float, same_reach: float
) -> None:
    verdict = decide(
        shown(saving_lead=bounds(lead, reach), same_cost_lead=bounds(same, same_reach)), PROMOTION
    )
    by_saving = lead - reach > PROMOTION.margin_saving
    by_quality = same - same_reach > PROMOTION.margin_quality and lead >= -PROMOTION.margin_saving
    assert (by_saving or by_quality) == verdict.promotes
