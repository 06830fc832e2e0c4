"""The decision path of the service, without HTTP: requests in, decisions or problems out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router import Policy, Router
from router.model import Model
from router.serving.problems import Problem
from router.serving.schema import read_request
from router.serving.scoring import answer, decide, decide_many

GOOD = {"prompt": "hello"}


@pytest.fixture(scope="module")
def model(toy_router: Router) -> Model:
    return toy_router.model


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (GOOD, {}),
        ({"prompt": ""}, {}),
        ({**GOOD, "policy": {}}, {}),
        ({**GOOD, "policy": {"epsilon": 0}}, {"policy": Policy(epsilon=0)}),
        ({**GOOD, "policy": {"allow": ["large"]}}, {"policy": Policy(allow=["large"])}),
        ({**GOOD, "policy": {"max_cost_usd": 1e-6}}, {"policy": Policy(max_cost_usd=1e-6)}),
        ({**GOOD, "policy": {"preset": "saver"}}, {"policy": Policy(preset="saver")}),
        ({**GOOD, "policy": {"min_quality": 0.9}}, {"policy": Policy(min_quality=0.9)}),
        ({**GOOD, "policy": {"budget": 0.002}}, {"policy": Policy(budget=0.002)}),
        ({**GOOD, "policy": {"needs": ["json"]}}, {"policy": Policy(needs=["json"])}),
        (
            {**GOOD, "policy": {"max_regret": 0.1, "slice": "task=sums"}},
            {"policy": Policy(max_regret=0.1, slice="task=sums")},
        ),
        ({**GOOD, "context_tokens": 9, "cached_tokens": 8}, {"context_tokens": 9, "cached_tokens": 8}),
        ({**GOOD, "needs": ["json"]}, {"needs": ["json"]}),
        ({**GOOD, "needs": []}, {}),
        ({**GOOD, "tools": [{"name": "f"}]}, {"tools": [{"name": "f"}]}),
        ({**GOOD, "context_tokens": 0}, {"context_tokens": 0}),
        ({**GOOD, "context_tokens": 2000}, {"context_tokens": 2000}),
        ({**GOOD, "metadata": {"feature": "search"}}, {}),
    ],
    ids=str,
)
def test_each_field_is_an_argument(
    toy_router: Router, model: Model, request_: dict[str, Any], asked: dict[str, Any]
) -> None:
    assert toy_router.route(request_["prompt"], **asked) == decide(model, read_request(request_))


def test_messages_are_a_prompt(toy_router: Router, model: Model) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    assert toy_router.route(messages) == decide(model, read_request({"messages": messages}))
    assert toy_router.route([]) == decide(model, read_request({"messages": []}))


@pytest.mark.parametrize(
    ("pointer", "policy"),
    [
        ("#/policy/floor", {"floor": "no"}),
        ("#/policy/ceiling", {"ceiling": "no"}),
        ("#/policy/allow", {"allow": ["no"]}),
        ("#/policy/floor", {"floor": "large", "ceiling": "small"}),
        ("#/policy/allow", {"floor": "large", "allow": ["small"]}),
        ("#/policy/epsilon", {"epsilon": 0.1, "max_regret": 0.1}),
        ("#/policy/preset", {"preset": "savr"}),
        ("#/policy/slice", {"slice": "task=sums"}),
    ],
)
def test_what_the_router_refuses_is_a_problem_with_its_field(
    model: Model, pointer: str, policy: dict[str, Any]
) -> None:
    with pytest.raises(Problem) as caught:
        decide(model, read_request({**GOOD, "policy": policy}))
    assert (422, [(pointer, caught.value.detail)]) == (caught.value.status, list(caught.value.errors))


def test_many_keep_their_places(toy_router: Router, model: Model) -> None:
    before = Problem("malformed-json", "as it was")
    many = [GOOD, before, {}, {"prompt": ""}, {**GOOD, "policy": {"floor": "no"}}, 5, GOOD]
    results = decide_many(model, many)
    assert before is results[1]
    names = [result.name if isinstance(result, Problem) else result.reason.value for result in results]
    wrong = "invalid-request"
    assert ["sufficient", "malformed-json", wrong, "empty", wrong, wrong, "sufficient"] == names
    assert toy_router.route_many(["hello", "", "hello"]) == [results[0], results[3], results[6]]


@pytest.mark.parametrize("documents", [[], [{}], [Problem("overloaded", "x")] * 3])
def test_there_may_be_nothing_to_decide(model: Model, documents: list[Any]) -> None:
    results = decide_many(model, documents)
    assert len(documents) == len(results)
    assert all(isinstance(result, Problem) for result in results)


@pytest.mark.parametrize("prompt", ["hello", "", "世界", "prove " * 3000])
def test_an_answer_is_the_decision_to_the_last_bit(toy_router: Router, model: Model, prompt: str) -> None:
    decision = toy_router.route(prompt)
    found = json.loads(answer(model, decision, "id-1"))
    assert ("id-1", list(model.names)) == (found.pop("request_id"), found.pop("tiers"))
    assert repr(decision.to_dict()) == repr(found)
