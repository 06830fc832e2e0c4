"""A judge's table: read as every grader's, and what cannot be meant is refused."""

from __future__ import annotations

from typing import Any

import pytest

from router.errors import ConfigError
from training.grade.judges.config import Judge, Pairwise
from training.grade.options import build

WHERE = "graders g.toml: grader j"
TOLD = {
    "name": "j",
    "model": "some-model",
    "input_usd_per_mtok": 1,
    "output_usd_per_mtok": 4.0,
    "human": "human.jsonl",
}


def test_what_is_not_said_has_a_default() -> None:
    found = build(Judge, TOLD, WHERE)
    assert (4, 0.4, False, ()) == (found.pass_at, found.floor, found.unmeasured, found.columns())
    assert "5: " in found.rubric
    assert 0.5 == build(Pairwise, TOLD, WHERE).pass_at
    assert ("reference",) == build(Judge, TOLD | {"reference": "reference"}, WHERE).columns()


def test_the_endpoint_is_what_the_table_says_and_the_command_line_goes_before() -> None:
    told = TOLD | {
        "base_url": "https://judge.example.com/v1/",
        "api_key_env": "JUDGE_KEY",
        "max_output_tokens": 99,
        "output_limit_field": "max_completion_tokens",
        "requests_per_minute": 60,
        "params": {"temperature": 1.0},
    }
    endpoint = build(Judge, told, WHERE).endpoint(None)
    assert ("j", "some-model", "https://judge.example.com/v1") == (
        endpoint.name,
        endpoint.tier.model,
        endpoint.base_url,
    )
    assert (99, "max_completion_tokens", 60.0, {"temperature": 1.0}, "JUDGE_KEY") == (
        endpoint.max_output_tokens,
        endpoint.output_limit_field,
        endpoint.requests_per_minute,
        endpoint.params,
        endpoint.api_key_env,
    )
    assert 5e-6 == pytest.approx(endpoint.tier.cost_usd(1, 1))
    assert "http://127.0.0.1:1/v1" == build(Judge, told, WHERE).endpoint("http://127.0.0.1:1/v1").base_url


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        (Judge, {"human": None}, "expected one of human, .* found neither"),
        (Judge, {"unmeasured": True}, "expected one of human, .* found both"),
        (Judge, {"pass_at": 1}, "pass_at is a grade from 2 to 5; found 1"),
        (Judge, {"pass_at": 6}, "pass_at is a grade"),
        (Judge, {"pass_at": 3.5}, "pass_at is a whole number"),
        (Pairwise, {"pass_at": 0.0}, "pass_at is above 0"),
        (Pairwise, {"pass_at": 1.1}, "pass_at is above 0"),
        (Judge, {"floor": 0.0}, "floor is a kappa above 0"),
        (Judge, {"floor": 1.5}, "floor is a kappa above 0"),
        (Judge, {"input_usd_per_mtok": -1.0}, "input_usd_per_mtok is 0 or more"),
        (Judge, {"timeout_s": 0.0}, "timeout_s is above 0"),
        (Judge, {"requests_per_minute": 0.0}, "requests_per_minute is above 0"),
        (Judge, {"max_output_tokens": 0}, "max_output_tokens is 1 or more"),
        (Judge, {"max_attempts": 0}, "max_attempts is 1 or more"),
        (Judge, {"output_limit_field": "limit"}, "output_limit_field"),
        (Judge, {"rubrik": "x"}, "did you mean rubric"),
        (Judge, {"model": None}, "model is missing"),
        (Judge, {"output_usd_per_mtok": None}, "output_usd_per_mtok is missing"),
    ],
)
def test_what_cannot_be_meant_is_refused(kind: type[Judge], more: dict[str, Any], message: str) -> None:
    table = {key: value for key, value in (TOLD | more).items() if value is not None}
    with pytest.raises(ConfigError, match=rf"(?s){WHERE}.*{message}"):
        build(kind, table, WHERE)


@pytest.mark.parametrize("more", [{"base_url": "ftp://x"}, {"api_key_env": "sk-a1b2c3d4e5f6"}])
def test_an_address_or_a_variable_that_is_none_is_refused_and_no_key_is_shown(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="grader j: ") as refused:
        build(Judge, TOLD | more, WHERE).endpoint(None)
    assert "a1b2" not in str(refused.value)
