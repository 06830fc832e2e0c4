"""What the service answers is what the router decides in-process: to the last bit, whichever way a request takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from alike import assert_alike
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toys import WORDS
from wire import JSON, Client

from router import Decision, Policy, Reason, RequestError, Router
from router.policy import PRESETS

# Requests

KNOWN = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(" ".join)
TEXT = st.one_of(
    KNOWN,
    KNOWN,
    st.text(st.characters()),  # every code point, half of a surrogate pair too
    st.tuples(st.sampled_from(WORDS), st.integers(1, 3_000)).map(lambda pair: f"{pair[0]} " * pair[1]),
    st.sampled_from(["", " ", "世界", "\x00", "🙂" * 600, "\ud83d", "\ude42", "a\r\nb", "\u202e\ufeff"]),
)
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
PARTS = st.lists(
    st.one_of(
        TEXT.map(lambda text: {"type": "text", "text": text}),
        st.just(IMAGE),
        st.just({"type": "input_image", "image_url": "data:,"}),
        st.just({"type": "text"}),
        st.just({"type": "text", "text": 5}),
        st.just({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
    ),
    max_size=4,
)
CALLS = st.lists(
    st.just({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}), max_size=2
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(
                ["system", "developer", "user", "user", "assistant", "tool", "function", "x"]
            ),
        },
        optional={
            "content": st.none() | TEXT | PARTS,
            "tool_calls": CALLS | st.none() | st.just("none"),
            "tool_call_id": st.just("1"),
            "name": TEXT,
        },
    ),
    max_size=6,
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["small", "medium", "large"])
POLICIES = st.one_of(
    st.fixed_dictionaries({"max_regret": st.sampled_from([0, 0.01, 0.02, 0.05, 0.1, 1])}),
    st.fixed_dictionaries({"epsilon": st.sampled_from([0, 1]) | st.floats(0, 10)}),
    st.fixed_dictionaries({"min_quality": st.sampled_from([0, 0.9, 0.97, 1]) | st.floats(0, 1)}),
    st.fixed_dictionaries({"budget": st.sampled_from([1e-9, 0.002, 1]) | st.floats(1e-6, 1e-2)}),
    st.fixed_dictionaries(
        {"preset": st.sampled_from([*PRESETS])}, optional={"slice": st.sampled_from(["task=sums", "task=no"])}
    ),
    st.fixed_dictionaries({"needs": st.lists(st.sampled_from(["json", "tools", "wings"]), max_size=2)}),
    st.fixed_dictionaries({"floor": NAMES}),
    st.fixed_dictionaries({"ceiling": NAMES, "epsilon": st.sampled_from([0, 0.01])}),
    st.fixed_dictionaries({"allow": st.lists(NAMES, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"max_cost_usd": st.floats(1e-6, 1e-2) | st.sampled_from([5e-324, 1, 1e300])}),
    st.fixed_dictionaries(
        {},
        optional={
            "max_regret": st.none() | st.just(0.05),
            "epsilon": st.none() | st.just(0.1),
            "floor": st.none() | NAMES,
            "ceiling": st.none() | NAMES | st.just("huge"),
            "allow": st.none() | st.lists(NAMES, min_size=1, max_size=3),
            "max_cost_usd": st.none() | st.floats(1e-6, 1e-2),
            "preset": st.none() | st.just("saver"),
            "slice": st.none() | st.just("task=sums"),
            "needs": st.none() | st.just(["json"]),
        },
    ),
)
MORE = {
    "policy": st.none() | POLICIES,
    "tools": st.none() | st.lists(st.dictionaries(st.text(max_size=9), JSON_VALUES, max_size=3), max_size=3),
    "needs": st.none() | st.lists(st.sampled_from(["json", "tools", "vision", "wings"]), max_size=3),
    "context_tokens": st.none()
    | st.sampled_from([0, 1, 999, 1000, 1001, 4001, 100_001, 10**12])
    | st.integers(0, 10**6),
    "cached_tokens": st.none() | st.sampled_from([0, 1, 10, 1000]),
    "metadata": st.none() | st.dictionaries(st.sampled_from("ab"), st.sampled_from("cd")),
}
REQUESTS = st.one_of(
    st.fixed_dictionaries({"prompt": KNOWN, "policy": POLICIES}),
    st.fixed_dictionaries({"prompt": TEXT}, optional=MORE),
    st.fixed_dictionaries({"messages": MESSAGES}, optional=MORE),
)


def in_process(router: Router, request: dict[str, Any]) -> Decision:
    """Ask the router what a request asks the service."""
    asked = request.get("policy")
    return router.route(
        request["prompt"] if "prompt" in request else request["messages"],
        None if asked is None else Policy(**asked),
        needs=request.get("needs") or (),
        tools=request.get("tools") or (),
        context_tokens=request.get("context_tokens"),
        cached_tokens=request.get("cached_tokens"),
    )


def try_in_process(router: Router, request: dict[str, Any]) -> Decision | RequestError:
    try:
        return in_process(router, request)
    except RequestError as error:
        return error


def said(request: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return a request as bytes, and as what they mean: two halves of a pair become one character."""
    raw = json.dumps(request).encode()
    return raw, json.loads(raw)


@pytest.fixture(scope="module")
def asking(server: str) -> Iterator[Client]:
    """One client for all examples of a test."""
    with Client(server) as client:
        yield client


# One at a time


@settings(max_examples=400)
@given(request=REQUESTS)
@example(request={"prompt": "\ud83d\ude42"})
@example(request={"prompt": "hello", "policy": {"max_cost_usd": 1e-7}})
@example(request={"prompt": "hello " * 900})
def test_an_answer_is_the_routers_decision(
    asking: Client, toy_router: Router, request: dict[str, Any]
) -> None:
    raw, meant = said(request)
    answer = asking.route(raw)
    found = answer.json()
    expected = try_in_process(toy_router, meant)
    if isinstance(expected, RequestError):
        assert (422, str(expected)) == (answer.status, found["detail"])
        return
    assert 200 == answer.status, found
    assert ["small", "medium", "large"] == found.pop("tiers")
    assert answer.headers["x-request-id"] == found.pop("request_id")
    assert repr(expected.to_dict()) == repr(found)  # as repr: the order too, and -0.0 is not 0.0


@given(text=st.text())
def test_escaped_or_not_a_prompt_is_the_same(asking: Client, text: str) -> None:
    plain, escaped = (json.dumps({"prompt": text}, ensure_ascii=flag).encode() for flag in (False, True))
    one, other = asking.route(plain).json(), asking.route(escaped).json()
    assert one.pop("request_id") != other.pop("request_id")
    assert one == other


def test_the_requests_are_no_monoculture(toy_router: Router) -> None:
    """Every reason is met, so that the properties above are of all of them."""
    reasons: set[Reason] = set()

    @settings(max_examples=400)
    @given(request=REQUESTS)
    def meet(request: dict[str, Any]) -> None:
        decided = try_in_process(toy_router, said(request)[1])
        if isinstance(decided, Decision):
            reasons.add(decided.reason)

    meet()
    assert set(Reason) == reasons


# Many at a time


@settings(max_examples=60)
@given(requests=st.lists(REQUESTS, min_size=1, max_size=12))
def test_batches_and_streams_are_the_routers_decisions(
    asking: Client, toy_router: Router, requests: list[dict[str, Any]]
) -> None:
    meant = [said(request)[1] for request in requests]
    batch, lines = asking.batch(*requests).json()["results"], asking.stream(*requests).lines()
    assert batch == lines
    assert len(requests) == len(batch)
    for i, (request, result) in enumerate(zip(meant, batch, strict=True)):
        assert i == result.pop("item")
        expected = try_in_process(toy_router, request)
        if isinstance(expected, RequestError):
            assert (422, str(expected)) == (result["error"]["status"], result["error"]["detail"])
            continue
        assert list(expected.to_dict()) == list(result)
        assert expected.saving_usd == pytest.approx(result.pop("saving_usd"), rel=1e-3, abs=1e-9)
        found = Decision(
            **(
                result
                | {"reason": Reason(result["reason"])}
                | {name: tuple(result[name]) for name in ("p_pass", "tier_cost_usd")}
            )
        )
        policy = None if request.get("policy") is None else Policy(**request["policy"])
        if near_its_limit(expected, policy):
            continue
        prompt = request["prompt"] if "prompt" in request else request["messages"]
        assert_alike(toy_router, prompt, expected, found, policy)


def near_its_limit(decision: Decision, policy: Policy | None) -> bool:
    """Whether rounding can make a tier too dear, or affordable."""
    if policy is None or policy.max_cost_usd is None:
        return False
    return any(abs(usd / policy.max_cost_usd - 1) < 1e-4 for usd in decision.tier_cost_usd)


# Either way through: a body whose length is told is answered where it is read, one in chunks by the framework


def check_same(asking: Client, body: bytes, method: str = "POST", **headers: str) -> int:
    """Ask both ways; return the status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"X-Request-ID": "the-same"}
    one, other = (asking.ask(method, "/v1/route", body, named, in_chunks=flag) for flag in (False, True))
    assert (one.status, one.body) == (other.status, other.body)
    told = (
        "content-type",
        "content-length",
        "x-request-id",
        "allow",
        "www-authenticate",
        "retry-after",
        "connection",
    )
    assert [one.headers.get(name) for name in told] == [other.headers.get(name) for name in told]
    return one.status


@given(request=REQUESTS)
def test_either_way_the_answer_is_the_same(
    asking: Client, toy_router: Router, request: dict[str, Any]
) -> None:
    raw, meant = said(request)
    status = check_same(asking, raw, Content_Type=JSON)
    assert (200 if isinstance(try_in_process(toy_router, meant), Decision) else 422) == status


@given(
    body=st.binary(max_size=40)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode())
)
@example(body=b"")
@example(body=b'{"prompt":"x","prompt":"y"}')
@example(body=b"[" * 20_000)
@example(body=b"1" * 5_000)
def test_either_way_the_problem_is_the_same(asking: Client, body: bytes) -> None:
    assert check_same(asking, body, Content_Type=JSON) in (400, 422)


@pytest.mark.parametrize("n", [1024, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, 1024 * 1024 + 1])
def test_either_way_the_limit_is_the_same(asking: Client, n: int) -> None:
    body = b'{"prompt":"' + b"x" * (n - 13) + b'"}'
    assert n == len(body)
    assert (200 if n <= 1024 * 1024 else 413) == check_same(asking, body, Content_Type=JSON)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (415, {}),
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Type": f"{JSON}; charset=latin-1"}),
        (415, {"Content_Type": JSON, "Content_Encoding": "gzip"}),
        (403, {"Content_Type": JSON, "Origin": "https://evil.example"}),
        (403, {"Content_Type": JSON, "Host": "evil.example"}),
        (403, {"Host": "evil.example"}),  # who may not ask learns nothing of the body
        (200, {"Content_Type": "Application/JSON; charset=UTF-8"}),
        (200, {"Content_Type": JSON, "Connection": "close"}),
        (200, {"Content_Type": JSON, "Origin": "own"}),
    ],
)
def test_either_way_heads_are_read_the_same(asking: Client, status: int, headers: dict[str, str]) -> None:
    if headers.get("Origin") == "own":
        headers = headers | {"Origin": f"http://{asking.host}:{asking.port}"}
    assert status == check_same(asking, b'{"prompt":"hello"}', **headers)


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_either_way_other_methods_are_refused(asking: Client, method: str) -> None:
    assert 405 == check_same(asking, b'{"prompt":"hello"}', method, Content_Type=JSON)


def test_either_way_it_is_counted(asking: Client) -> None:
    for in_chunks in (False, True):
        before = asking.metrics()
        for body in (b'{"prompt":"hello"}', b'{"prompt":""}', b"{"):
            asking.ask("POST", "/v1/route", body, {"Content-Type": JSON}, in_chunks=in_chunks)
        counted = asking.counted_since(before)
        assert 1 == counted['tierwise_decisions_total{reason="sufficient",tier="medium"}']
        assert 1 == counted['tierwise_decisions_total{reason="empty",tier="large"}']
        assert 1 == counted['tierwise_errors_total{type="malformed-json"}']
        assert 3 == counted['tierwise_request_seconds_count{endpoint="route"}']
        assert 2 == counted["tierwise_novelty_count"]
