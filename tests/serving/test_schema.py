"""Each field of a request: what it may be, and what is said of what it may not be, over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from wire import MARKER, Client, refused

from router.policy import ASKS, PRESETS
from router.serving.problems import Problem
from router.serving.schema import PolicyRequest, RouteRequest, read_batch, read_request

PROMPT = {"prompt": MARKER}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": MARKER}, fields]}


def policy(**fields: Any) -> dict[str, Any]:
    return {**PROMPT, "policy": fields}


# What is taken


@pytest.mark.parametrize(
    "request_",
    [
        PROMPT,
        {"prompt": ""},
        {"prompt": MARKER, "messages": None, "tools": None, "policy": None, "needs": None, "metadata": None},
        {"prompt": MARKER, "context_tokens": None},
        {"messages": []},
        {"messages": [], "prompt": None},
        {"messages": [{"role": "assistant"}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}], "name": "x"}]},
        {"messages": [{"role": "user", "content": []}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": MARKER}, IMAGE]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}]},
        {"messages": [{"role": "developer", "content": MARKER}, {"role": "tool", "content": "{}"}]},
        {**PROMPT, "tools": []},
        {**PROMPT, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}, {}]},
        {**PROMPT, "policy": {}},
        policy(max_regret=0),
        policy(max_regret=1.0),
        policy(epsilon=0.0),
        policy(epsilon=5e-324),
        policy(floor="small", ceiling="large", allow=["medium"]),
        policy(allow=["medium", "medium"]),
        policy(max_cost_usd=5e-324),
        policy(max_cost_usd=1),
        policy(max_cost_usd=1e308),
        policy(epsilon=1.01),
        policy(epsilon=1e300),
        policy(min_quality=1),
        policy(budget=5e-324),
        policy(budget=1e308, needs=["json"]),
        *(policy(preset=name) for name in PRESETS),
        policy(preset="safe", slice="task=sums"),
        policy(max_regret=0.1, slice="task=none of them"),
        policy(needs=[]),
        policy(**dict.fromkeys(ASKS)),
        {**PROMPT, "context_tokens": 0},
        {**PROMPT, "context_tokens": 10**12},
        {**PROMPT, "context_tokens": 10, "cached_tokens": 10},
        {**PROMPT, "cached_tokens": 0},
        {**PROMPT, "cached_tokens": None},
        {**PROMPT, "context_tokens": 3.0},  # a whole number, as JSON Schema has it
        {**PROMPT, "needs": []},
        {**PROMPT, "needs": ["json", "json", "x" * 64, *"abcdefghijklm"]},
        {**PROMPT, "metadata": {}},
        {**PROMPT, "metadata": {f"{i}": "x" * 256 for i in range(16)}},
        {**PROMPT, "metadata": {"any name / ~ at all": ""}},
    ],
    ids=str,
)
def test_what_the_schema_allows_is_answered(client: Client, request_: dict[str, Any]) -> None:
    answer = client.route(request_)
    assert 200 == answer.status, answer.body
    assert MARKER not in str(answer)


# What is not

OTHERS: dict[str, Any] = {
    "a string": MARKER,
    "a number": 7,
    "null": None,
    "true": True,
    "a list": [MARKER],
    "an object": {f"{MARKER}?": MARKER},  # a name that is no identifier: others are repeated
}
TAKES = {  # field, and which of these it takes
    "prompt": {"a string"},
    "messages": set(),
    "tools": {"null"},
    "policy": {"null"},
    "context_tokens": {"null", "a number"},
    "cached_tokens": {"null", "a number"},
    "needs": {"null", "a list"},
    "metadata": {"null", "an object"},
    "policy/max_regret": {"null"},
    "policy/epsilon": {"null", "a number"},
    "policy/floor": {"null"},
    "policy/ceiling": {"null"},
    "policy/allow": {"null"},
    "policy/max_cost_usd": {"null", "a number"},
    "policy/min_quality": {"null"},
    "policy/budget": {"null", "a number"},
    "policy/preset": {"null"},
    "policy/slice": {"null"},
    "policy/needs": {"null", "a list"},
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("path", TAKES)
def test_each_field_is_of_its_type(client: Client, path: str, kind: str) -> None:
    head, _, tail = path.partition("/")
    value = OTHERS[kind]
    request = {} if head in ("prompt", "messages") else {"prompt": MARKER}
    answer = client.route(request | {head: {tail: value} if tail else value})
    if kind in TAKES[path]:
        assert 200 == answer.status
        return
    # A value of the right type that is not one that is known names the value: a tier is no prompt.
    if path in ("policy/preset", "policy/slice") and kind == "a string":
        assert (422, f"#/{path}") == (answer.status, answer.json()["errors"][0]["pointer"])
        return
    if path in ("policy/floor", "policy/ceiling") and kind == "a string":
        assert 422 == answer.status
        assert answer.json()["detail"].startswith(f"policy: {tail} names an unknown tier ")
        return
    if path == "policy/allow" and kind == "a list":
        assert 422 == answer.status
        assert "unknown tier" in answer.json()["detail"]
        return
    pointer = f"#/{path}"
    if kind in ("a list", "an object") and path in ("messages", "tools", "policy"):
        problem = answer.json()  # of its type, and something in it is not
        assert any(error["pointer"].startswith(pointer) for error in problem["errors"])
        assert refused(answer, "invalid-request", pointer=problem["errors"][0]["pointer"])
        return
    if (head, kind) in (("prompt", "null"), ("messages", "null")):
        refused(answer, "invalid-request", "found neither", pointer="#/prompt")
        return
    shown = "7" if head == "policy" and kind == "a number" else kind
    problem = refused(answer, "invalid-request", f"{path.replace('/', '.')}: expected ", pointer=pointer)
    assert problem["detail"].endswith(f"found {shown}")


@pytest.mark.parametrize(
    ("pointer", "words", "request_"),
    [
        # the body, and which of the two
        ("#", ["the body: expected an object, found a list"], [PROMPT]),
        ("#", ["the body: expected an object, found a string"], MARKER),
        ("#", ["the body: expected an object, found null"], None),
        ("#", ["the body: expected an object, found a number"], 1.5),
        ("#/prompt", ["expected one of prompt and messages", "neither"], {}),
        ("#/prompt", ["neither"], {"needs": ["json"]}),
        ("#/messages", ["both; drop one"], {"prompt": MARKER, "messages": []}),
        ("#/messages", ["both; drop one"], {"prompt": "", "messages": [{"role": "user", "content": MARKER}]}),
        # names
        ("#/promt", ["promt: unknown field; known fields: prompt, messages"], {"promt": MARKER}),
        ("#", ["(a name of another form): unknown field"], {**PROMPT, f"{MARKER}?": 1}),
        ("#", ["(a name of another form): unknown field"], {**PROMPT, f"/{MARKER}~": 1}),
        ("#", ["(a name of another form): unknown field"], {**PROMPT, MARKER * 10: 1}),
        ("#/policy/max_cost", ["policy.max_cost: unknown field; known fields: max_regret"], policy(max_cost=1)),
        ("#/policy/tools", ["policy.tools: unknown field; known fields: max_regret"], policy(tools=[])),
        ("#/preset", ["preset: unknown field here; it belongs into policy"], {**PROMPT, "preset": "safe"}),
        ("#/epsilon", ["epsilon: unknown field here; it belongs into policy"], {**PROMPT, "epsilon": 0.1}),
        ("#/max_cost_usd", ["belongs into policy"], {**PROMPT, "max_cost_usd": 0.1}),
        ("#/allow", ["belongs into policy"], {**PROMPT, "allow": ["small"]}),
        # messages
        ("#/messages/0", ["messages[0]: expected an object, found a string"], {"messages": [MARKER]}),
        ("#/messages/1/role", ["messages[1].role: is missing"], message(content=MARKER)),
        ("#/messages/1/role", ["expected a string, found null"], message(role=None)),
        ("#/messages/1/role", ["at least 1 character"], message(role="")),
        ("#/messages/1/role", ["at most 64 characters"], message(role=MARKER * 9)),
        ("#/messages/1/content", ["found a number"], message(role="user", content=5)),
        ("#/messages/1/content", ["found an object"], message(role="user", content={"text": MARKER})),
        ("#/messages/1/content", ["a list of parts"], message(role="user", content=[MARKER])),
        ("#/messages/1/content", ["with a type"], message(role="user", content=[{"text": MARKER}])),
        ("#/messages/1/content", ["with a type"], message(role="user", content=[{"type": 1, "text": MARKER}])),
        # tools, needs, metadata
        ("#/tools/1", ["tools[1]: expected an object, found a string"], {**PROMPT, "tools": [{}, MARKER]}),
        ("#/needs/0", ["needs[0]: expected a string, found a number"], {**PROMPT, "needs": [1]}),
        ("#/needs/0", ["at least 1 character"], {**PROMPT, "needs": [""]}),
        ("#/needs/0", ["at most 64 characters"], {**PROMPT, "needs": [MARKER * 9]}),
        ("#/needs", ["at most 16 items", "17"], {**PROMPT, "needs": ["json"] * 17}),
        ("#/metadata/user", ["metadata.user: expected a string, found a number"], {**PROMPT, "metadata": {"user": 5}}),
        ("#/metadata/a", ["at most 256 characters"], {**PROMPT, "metadata": {"a": MARKER * 100}}),
        ("#/metadata", ["(a name of another form)", "at least 1 character"], {**PROMPT, "metadata": {"": "a"}}),
        ("#/metadata", ["its name", "at most 64"], {**PROMPT, "metadata": {f"{MARKER} " * 9: "a"}}),
        ("#/metadata", ["at most 16 items"], {**PROMPT, "metadata": {f"{i}": "" for i in range(17)}}),
        # numbers
        ("#/context_tokens", ["found -1"], {**PROMPT, "context_tokens": -1}),
        ("#/context_tokens", ["1000000000000, found 1000000000001"], {**PROMPT, "context_tokens": 10**12 + 1}),
        ("#/context_tokens", ["found a number out of range"], {**PROMPT, "context_tokens": 10**400}),
        ("#/context_tokens", ["a whole number, found 2.5"], {**PROMPT, "context_tokens": 2.5}),
        ("#/context_tokens", ["found -1"], {**PROMPT, "context_tokens": -1.0}),
        ("#/context_tokens", ["found a number out of range"], {**PROMPT, "context_tokens": 1e300}),
        ("#/context_tokens", ["a whole number, found a string"], {**PROMPT, "context_tokens": "5"}),
        ("#/policy/epsilon", ["greater than or equal to 0, found -1"], policy(epsilon=-1)),
        ("#/policy/min_quality", ["less than or equal to 1, found 1.01"], policy(min_quality=1.01)),
        ("#/policy/budget", ["greater than 0, found 0"], policy(budget=0)),
        ("#/policy/preset", ["one of safe, balanced, saver", "did you mean saver?"], policy(preset="savr")),
        ("#/policy/slice", ["at least 3 characters"], policy(preset="safe", slice="a")),
        ("#/policy/slice", ["such as task=math"], policy(preset="safe", slice="math")),
        ("#/policy/slice", ["ask for one of them"], policy(slice="task=math")),
        ("#/policy/needs/0", ["at least 1 character"], policy(needs=[""])),
        ("#/policy/needs", ["at most 16 items"], policy(needs=["json"] * 17)),
        ("#/cached_tokens", ["greater than or equal to 0, found -1"], {**PROMPT, "cached_tokens": -1}),
        ("#/cached_tokens", ["at most 9; found 10"], {**PROMPT, "context_tokens": 9, "cached_tokens": 10}),
        ("#/policy/epsilon", ["found a number out of range"], policy(epsilon=10**400)),
        ("#/policy/epsilon", ["a number, found a string"], policy(epsilon="0.1")),
        ("#/policy/max_regret", ["greater than or equal to 0, found -5e-324"], policy(max_regret=-5e-324)),
        ("#/policy/max_regret", ["a number, found false"], policy(max_regret=False)),
        ("#/policy/max_cost_usd", ["greater than 0, found 0"], policy(max_cost_usd=0)),
        ("#/policy/max_cost_usd", ["greater than 0, found -0.0"], policy(max_cost_usd=-0.0)),
        ("#/policy/max_cost_usd", ["found a number out of range"], policy(max_cost_usd=10**400)),
        # tiers
        ("#/policy/floor", ["'mediun' (did you mean medium?)", "small, medium, large"], policy(floor="mediun")),
        ("#/policy/ceiling", ["unknown tier 'Large' (did you mean large?)"], policy(ceiling="Large")),
        ("#/policy/allow", ["unknown tier 'smal' (did you mean small?)"], policy(allow=["large", "smal"])),
        ("#/policy/floor", ["floor large is dearer than ceiling small"], policy(floor="large", ceiling="small")),
        ("#/policy/allow", ["no tier is left", "floor medium"], policy(floor="medium", allow=["small"])),
        ("#/policy/allow", ["at least 1 item"], policy(allow=[])),
        ("#/policy/allow", ["at most 100 items"], policy(allow=["small"] * 101)),
        ("#/policy/allow/1", ["policy.allow[1]: expected a string, found null"], policy(allow=["small", None])),
        ("#/policy/floor", ["at least 1 character"], policy(floor="")),
        ("#/policy/floor", ["at most 200 characters"], policy(floor=MARKER * 20)),
        ("#/policy/epsilon", ["found max_regret and epsilon; keep one"], policy(max_regret=0.1, epsilon=0.1)),
        ("#/policy/preset", ["found budget and preset; keep one"], policy(budget=1, preset="safe")),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(
    client: Client, pointer: str, words: list[str], request_: Any
) -> None:
    problem = refused(client.route(request_), "invalid-request", *words, pointer=pointer)
    assert "after validation" not in problem["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_no_json(client: Client, number: str) -> None:
    body = f'{{"prompt":"{MARKER}","policy":{{"epsilon":{number}}}}}'.encode()
    refused(client.route(body), "malformed-json", "NaN or Infinity")


def test_a_number_that_no_float_holds_is_not_finite(client: Client) -> None:
    body = f'{{"prompt":"{MARKER}","policy":{{"max_cost_usd":1e400}}}}'.encode()
    refused(
        client.route(body), "invalid-request", "expected a finite number", pointer="#/policy/max_cost_usd"
    )


def test_every_field_at_fault_is_told_up_to_eight(client: Client) -> None:
    wrong = {"prompt": 1, "tools": 2, "policy": {"floor": 3, "epsilon": -4}, "needs": 5, "nedds": 6}
    problem = refused(client.route(wrong), "invalid-request", "prompt: ", pointer="#/prompt")
    pointers = [error["pointer"] for error in problem["errors"]]
    assert sorted(
        ["#/prompt", "#/tools", "#/policy/floor", "#/policy/epsilon", "#/needs", "#/nedds"]
    ) == sorted(pointers)
    many = refused(client.route({"messages": [MARKER] * 500}), "invalid-request", pointer="#/messages/7")
    assert 8 == len(many["errors"])


# Half of a surrogate pair: a prompt may hold one, as what a client cuts by UTF-16 units does; a name may not.


@pytest.mark.parametrize(
    "request_",
    [
        {"prompt": "\ud800"},
        {"messages": [{"role": "user", "content": "hello \udfff"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}]},
        {"prompt": "hello", "tools": [{"description": "\ud800"}]},
    ],
)
def test_half_a_pair_is_text(client: Client, request_: dict[str, Any]) -> None:
    assert 200 == client.route(request_).status


@pytest.mark.parametrize(
    ("pointer", "request_"),
    [
        ("#/policy/floor", policy(floor="\ud800")),
        ("#/policy/allow/0", policy(allow=["\ud800"])),
        ("#/needs/0", {**PROMPT, "needs": ["\ud800"]}),
        ("#/metadata/a", {**PROMPT, "metadata": {"a": "\ud800"}}),
        ("#/metadata", {**PROMPT, "metadata": {"\ud800": "a"}}),
        ("#/messages/1/role", message(role="\ud800")),
        ("#", {**PROMPT, "\ud800": 1}),
    ],
)
def test_half_a_pair_is_no_name(client: Client, pointer: str, request_: dict[str, Any]) -> None:
    refused(client.route(request_), "invalid-request", "whole characters", pointer=pointer)


# One schema


def test_a_policy_has_the_fields_of_the_routers() -> None:
    """In their order, with their words and their bounds, so that no surface knows less than another."""
    assert list(ASKS) == list(PolicyRequest.model_fields)
    fields = PolicyRequest.model_json_schema()["properties"]
    for name, asked in ASKS.items():
        form, null = fields[name]["anyOf"]
        assert {"type": "null"} == null
        assert {"number": "number", "name": "string", "names": "array"}[asked.form] == form["type"]
        assert asked.text == fields[name]["description"][:1].lower() + fields[name]["description"][1:-1]
        bounds = tuple(form.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
        assert (asked.least, asked.above, asked.most) == bounds
    assert list(PRESETS) == fields["preset"]["anyOf"][0]["enum"]


# Laws

NAMES = st.sampled_from([*RouteRequest.model_fields, *ASKS, "role", "content", "type", "", "~/"])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([0, -1, 0.5, 2, 10**400, float("inf"), "", "user", "small", MARKER, "\ud800"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(st.one_of(VALUES, st.dictionaries(NAMES, VALUES, max_size=5)))
def test_any_json_is_taken_or_refused_with_places_that_are_there(document: Any) -> None:
    found = read_or_refuse(document)
    if isinstance(found, RouteRequest):
        assert (found.prompt is None) != (found.messages is None)
        return
    assert ("invalid-request", 422) == (found.name, found.status)
    assert 1 <= len(found.errors) <= 8
    assert MARKER not in json.dumps(found.to_dict(), ensure_ascii=False)
    for pointer, detail in found.errors:
        assert detail
        follow(document, pointer)


def read_or_refuse(document: Any) -> RouteRequest | Problem:
    try:
        return read_request(document)
    except Problem as problem:
        return problem


def follow(document: Any, pointer: str) -> None:
    """Fail unless a pointer leads to something in a document, or to where a field is missing."""
    first, *path = pointer.split("/")
    assert "#" == first
    for i, part in enumerate(path):
        if isinstance(document, list):
            document = document[int(part)]
        else:
            assert isinstance(document, dict)
            assert part in document or i == len(path) - 1
            document = document.get(part)


@given(document=VALUES)
def test_any_batch_is_taken_or_refused(document: Any) -> None:
    assume(not isinstance(document, dict) or "items" not in document)
    with pytest.raises(Problem) as caught:
        read_batch(document, 2)
    assert "invalid-request" == caught.value.name
    if isinstance(document, dict):
        assert [document] * 2 == read_batch(
            {"items": [document] * 2}, 2
        )  # what is wrong in items is told apart
        with pytest.raises(Problem) as caught:
            read_batch({"items": [document] * 3}, 2)
        assert "too-many-items" == caught.value.name
