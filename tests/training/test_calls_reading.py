"""What a provider answered, read as what it is; what a call costs at most; when a request may leave."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from calling import LADDER, completion
from hypothesis import given
from hypothesis import strategies as st

from eval.status import AGAIN, FINAL, GRADABLE, Status
from router.tiers import LongContext, Tier
from training.calls.answer import Answer
from training.calls.budget import Budget, input_bound, most_usd, picos, usd
from training.calls.call import call_key
from training.calls.endpoints import Endpoint
from training.calls.limits import Pace
from training.calls.reading import read_completion, read_failure
from training.calls.retries import LONGEST_WAIT_S, backoff_s, retry_after_s, worth_another

SMALL = Endpoint("small", LADDER.tiers[0], max_output_tokens=50)
ASKED = ({"role": "user", "content": "x" * 41},)


def _read(message: Any, reason: Any = "stop", **more: Any) -> Answer:
    choice = {"message": message, "finish_reason": reason}
    return read_completion(SMALL, ASKED, json.dumps({"choices": [choice], **more}).encode())


CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("message", "reason", "status", "response"),
    [
        ({"content": "yes"}, "stop", Status.ANSWERED, "yes"),
        ({"content": "yes"}, None, Status.ANSWERED, "yes"),
        ({"content": "yes"}, 5, Status.ANSWERED, "yes"),
        ({"content": [{"type": "text", "text": "ye"}, {"text": "s"}]}, "stop", Status.ANSWERED, "yes"),
        ({"content": "yes", "tool_calls": CALLS}, "tool_calls", Status.ANSWERED, "yes"),
        (
            {"content": None, "tool_calls": CALLS},
            "tool_calls",
            Status.TOOL_CALL,
            json.dumps(CALLS, sort_keys=True),
        ),
        ({"content": "", "function_call": {"name": "f"}}, "function_call", Status.TOOL_CALL, '{"name": "f"}'),
        ({"content": "ye"}, "length", Status.LENGTH, "ye"),
        ({"content": ""}, "length", Status.LENGTH, None),
        ({"content": None, "refusal": "no"}, "stop", Status.REFUSED, "no"),
        ({"content": "part"}, "content_filter", Status.FILTERED, "part"),
        (None, "content_filter", Status.FILTERED, None),
        ({"content": ""}, "stop", Status.EMPTY, None),
        ({"content": " \n"}, "stop", Status.EMPTY, None),
        ({"content": None, "tool_calls": []}, "stop", Status.EMPTY, None),
        ({}, "stop", Status.EMPTY, None),
        ({"content": 5}, "stop", Status.MALFORMED, None),
        ({"content": ["x"]}, "stop", Status.MALFORMED, None),
        (None, "stop", Status.MALFORMED, None),
        ({"content": "a \ud800 b"}, "stop", Status.ANSWERED, "a ? b"),
    ],
)
def test_a_completion(message: Any, reason: Any, status: Status, response: str | None) -> None:
    answer = _read(message, reason)
    assert (status, response) == (answer.status, answer.response)
    assert (
        reason if isinstance(reason, str) and status is not Status.MALFORMED else None
    ) == answer.finish_reason


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"choices": {}}', b"[" * 100_000, b"\xff\xfe", b"1" * 5000]
)
def test_what_is_no_completion(body: bytes) -> None:
    answer = read_completion(SMALL, ASKED, body)
    assert (Status.MALFORMED, None, 0.0) == (answer.status, answer.response, answer.cost_usd)
    assert most_usd(SMALL, ASKED) == answer.possibly_usd


def test_the_providers_count_is_taken_and_else_estimated() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 60}}
    counted = _read({"content": "x" * 10}, usage=usage)
    assert (100, 7, 60, False) == (
        counted.input_tokens,
        counted.output_tokens,
        counted.cached_input_tokens,
        counted.usage_is_estimate,
    )
    assert SMALL.tier.cost_usd(100, 7, 60) == counted.cost_usd
    for missing in (
        None,
        {},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
    ):
        estimated = _read({"content": "x" * 10}, usage=missing)
        assert (11, 3, 0, True) == (
            estimated.input_tokens,
            estimated.output_tokens,
            estimated.cached_input_tokens,
            estimated.usage_is_estimate,
        )
        assert SMALL.tier.cost_usd(11, 3) == estimated.cost_usd


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
shapes = st.fixed_dictionaries(
    {},
    optional={
        "choices": json_values
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "finish_reason": json_values,
                    "message": json_values
                    | st.fixed_dictionaries(
                        {}, optional=dict.fromkeys(("content", "refusal", "tool_calls"), json_values)
                    ),
                },
            ),
            max_size=2,
        ),
        "usage": json_values,
        "error": json_values,
    },
)


@given(document=shapes, http_status=st.integers(100, 999))
def test_any_json_is_read_as_something(document: dict[str, Any], http_status: int) -> None:
    body = json.dumps(document).encode()
    for answer in (read_completion(SMALL, ASKED, body), read_failure(http_status, body)):
        assert answer.cost_usd >= 0
        assert answer.response is None or answer.response.encode()
        assert Answer.from_dict(json.loads(json.dumps(answer.to_dict()))) == answer


@given(body=st.binary(max_size=50))
def test_any_bytes_are_read_as_something(body: bytes) -> None:
    assert read_completion(SMALL, ASKED, body).status in FINAL
    assert read_failure(500, body).status is Status.SERVER_ERROR


@pytest.mark.parametrize(
    ("http_status", "error", "status", "code"),
    [
        (400, {"code": "context_length_exceeded"}, Status.REJECTED, "context_length_exceeded"),
        (400, {"code": "content_policy_violation"}, Status.FILTERED, "content_policy_violation"),
        (400, {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, Status.FILTERED, None),
        (422, {"type": "invalid_request_error", "code": None}, Status.REJECTED, "invalid_request_error"),
        (429, {"code": 1302}, Status.RATE_LIMITED, "1302"),
        (429, {"code": "sk-abc0123"}, Status.RATE_LIMITED, None),
        (401, "text", Status.UNAUTHORIZED, None),
        (529, {"type": "overloaded_error"}, Status.SERVER_ERROR, "overloaded_error"),
        (408, {}, Status.SERVER_ERROR, None),
    ],
)
def test_a_failure(http_status: int, error: object, status: Status, code: str | None) -> None:
    answer = read_failure(http_status, {"error": error})
    assert (status, code, http_status) == (answer.status, answer.code, answer.http_status)
    assert worth_another(answer) == (status in (Status.RATE_LIMITED, Status.SERVER_ERROR))


def test_every_status_is_tried_again_or_stays() -> None:
    assert set(Status) == AGAIN | FINAL | {Status.UNSETTLED}
    assert not AGAIN & FINAL
    assert FINAL >= GRADABLE


# What a call costs at most.


@given(
    texts=st.lists(st.text(max_size=50), min_size=1, max_size=4),
    output=st.integers(0, 50),
    share=st.floats(0, 1),
    cached=st.floats(0, 1),
)
def test_no_count_of_tokens_costs_more_than_the_most(
    texts: list[str], output: int, share: float, cached: float
) -> None:
    tier = Tier(
        "t",
        ("m",),
        3.0,
        15.0,
        cached_input_usd_per_mtok=4.0,
        long_context=(LongContext(60, 2.0, 15.0), LongContext(90, 9.0, 16.0)),
    )
    endpoint = Endpoint("t", tier, max_output_tokens=50)
    messages = [{"role": "user", "content": text} for text in texts]
    # At most a token a byte, and what a template puts around a message.
    bound = sum(len(text.encode()) for text in texts) + 10 * len(texts)
    assert bound <= input_bound(endpoint, messages)
    count = int(bound * share)
    assert tier.cost_usd(count, output, int(count * cached)) <= most_usd(endpoint, messages)


def test_images_and_tools_are_counted() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    text = {"type": "text", "text": "what is this"}
    assert 2000 < input_bound(SMALL, [{"role": "user", "content": [text, image]}]) < 2100
    tools = Endpoint("t", SMALL.tier, params={"tools": [{"name": "x" * 500}]})
    assert input_bound(tools, ASKED) >= input_bound(SMALL, ASKED) + 500
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "y" * 300}}]}
    assert input_bound(SMALL, [called]) >= 300


@given(st.integers(0, 10**15))
def test_money_survives_the_way_through_a_float(amount: int) -> None:
    assert amount == picos(usd(amount))


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1))), st.integers(0, 200))
def test_what_is_committed_never_passes_the_limit(calls: list[tuple[int, float]], limit: int) -> None:
    budget = Budget(usd(limit))
    for most, share in calls:
        if budget.reserve(most):
            assert budget.committed <= limit
            budget.settle(most, int(most * share))
    assert budget.committed <= limit
    assert Budget(None).reserve(10**30)


# When a request may leave.


@given(
    per_minute=st.floats(1, 6000),
    tokens_per_minute=st.floats(100, 1e6),
    asks=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 500), st.floats(0, 1)), min_size=1, max_size=40),
)
def test_in_no_stretch_of_time_more_leaves_than_the_limits_say(
    per_minute: float, tokens_per_minute: float, asks: list[tuple[float, int, float]]
) -> None:
    pace, now = Pace(per_minute, tokens_per_minute), 100.0
    left: list[tuple[float, float]] = []
    for pause, tokens, used in asks:
        now += pause
        wait = pace.book(tokens, now)
        assert wait >= 0
        left.append((now + wait, tokens * used))
        pace.settle(tokens, tokens * used)
    for i, (begin, _) in enumerate(left):
        for j in range(i, len(left)):
            seconds = left[j][0] - begin
            assert j - i <= per_minute * seconds / 60 + 1e-6
            assert sum(used for _, used in left[i:j]) <= tokens_per_minute * seconds / 60 + 1e-3


def test_without_limits_nobody_waits() -> None:
    pace = Pace(None, None)
    assert [0.0] * 100 == [pace.book(1e9, 0.0) for _ in range(100)]
    pace = Pace(60, None)
    assert [0.0, 1.0, 2.0] == [pace.book(1, 0.0) for _ in range(3)]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5", "retry-after-ms": "20"}, 0.02),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "100000"}, LONGEST_WAIT_S),
        ({"retry-after": "inf"}, LONGEST_WAIT_S),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 99 Foo 2026"}, None),
    ],
)
def test_how_long_a_provider_asks_to_wait(headers: dict[str, str], expected: float | None) -> None:
    assert expected == retry_after_s(headers)


def test_a_date_to_wait_for() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for seconds, expected in ((30, 30.0), (-30, 0.0), (3600, LONGEST_WAIT_S)):
        text = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
        assert expected == retry_after_s({"retry-after": text}, now)


@given(st.integers(1, 1000))
def test_waits_stay_within_bounds(attempt: int) -> None:
    assert 0 <= backoff_s(attempt) <= 60


def test_a_calls_key_is_of_all_its_parts() -> None:
    parts = ("q-1", [{"role": "user", "content": "\ud800"}], "m", 100, {"b": 1, "a": 2})
    assert call_key(*parts) == call_key(*parts[:4], {"a": 2, "b": 1})
    assert 64 == len(call_key(*parts))
    assert len({call_key(*parts[:i], "x", *parts[i + 1 :]) for i in range(5)} | {call_key(*parts)}) == 6
    assert read_completion(SMALL, ASKED, completion()).status is Status.ANSWERED
