"""The formats: what each form of request, answer and failure becomes, and that no record, however odd, stops an import."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import ROOT

from eval.status import Status
from router.errors import ConfigError
from router.prompt import read_prompt
from training.imports.answered import read_answer, served_model
from training.imports.asked import chat_from_anthropic, chat_from_openai
from training.imports.chat import as_messages, canonical, plain_text
from training.imports.formats import FORMATS, read_log
from training.imports.logged import BadRecord, LeftOut, LoggedCall
from training.imports.outcome import status_of_error
from training.imports.tally import Tally
from training.imports.values import amount, clean, count, instant

USER = [{"role": "user", "content": "hi"}]


def calls(
    form: str, tmp_path: Path, *rows: dict[str, Any], score: str | None = None
) -> tuple[list[LoggedCall], Tally]:
    path, tally = tmp_path / "log.jsonl", Tally()
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return list(read_log(form, [path], tally, score)), tally


def chat(message: dict[str, Any], finish_reason: str | None = "stop") -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish_reason}]}


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("answer", "code", "expected"),
    [
        (chat({"content": "yes"}), None, Status.ANSWERED),
        (chat({"content": "yes", "tool_calls": [CALL]}, "tool_calls"), None, Status.ANSWERED),
        (chat({"content": None, "tool_calls": [CALL]}, "tool_calls"), 200, Status.TOOL_CALL),
        (chat({"content": None, "function_call": CALL["function"]}, "function_call"), None, Status.TOOL_CALL),
        (chat({"content": " \n"}), None, Status.EMPTY),
        (chat({"content": None}), None, Status.EMPTY),
        (chat({"content": "half"}, "length"), None, Status.LENGTH),
        (chat({"content": "no", "refusal": "no"}), None, Status.REFUSED),
        (chat({"content": ""}, "content_filter"), None, Status.FILTERED),
        ({"choices": []}, None, Status.MALFORMED),
        ({"choices": [5]}, None, Status.MALFORMED),
        ({"hello": 1}, None, Status.MALFORMED),
        ({"choices": [{"text": "the old API", "finish_reason": "stop"}]}, None, Status.ANSWERED),
        ({"error": {"code": "content_filter"}}, 400, Status.FILTERED),
        ({"error": {"type": "invalid_request_error", "code": "context_length_exceeded"}}, 400, Status.REJECTED),
        ({"error": {"code": "insufficient_quota"}}, None, Status.RATE_LIMITED),
        ({"error": "connection reset"}, None, Status.UNREACHABLE),
        ({}, 401, Status.UNAUTHORIZED),
        ({}, 404, Status.UNKNOWN_MODEL),
        ({}, 408, Status.TIMEOUT),
        ({}, 429, Status.RATE_LIMITED),
        ({}, 503, Status.SERVER_ERROR),
        ({}, 504, Status.TIMEOUT),
        ({}, 418, Status.REJECTED),
        ({"type": "error", "error": {"type": "overloaded_error"}}, None, Status.SERVER_ERROR),
        ({"type": "error", "error": {"type": "not_found_error"}}, None, Status.UNKNOWN_MODEL),
        ({"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}, None, Status.ANSWERED),
        ({"type": "message", "content": [], "stop_reason": "end_turn"}, None, Status.EMPTY),
        ({"type": "message", "content": [], "stop_reason": "pause_turn"}, None, Status.CUT_OFF),
        ({"type": "message", "content": [], "stop_reason": "model_context_window_exceeded"}, None, Status.LENGTH),
        ({"object": "response", "output": [], "status": "completed"}, None, Status.EMPTY),
        ({"object": "response", "output": [], "status": "incomplete",
          "incomplete_details": {"reason": "max_output_tokens"}}, None, Status.LENGTH),
        ({"object": "response", "status": "completed",
          "output": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]}, None, Status.TOOL_CALL),
        ({"object": "response", "status": "completed",
          "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]}, None, Status.REFUSED),
    ],
)  # fmt: skip
def test_each_end_of_a_call_has_its_word(answer: dict[str, Any], code: int | None, expected: Status) -> None:
    assert expected == read_answer(answer, code).status


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        (None, ("RateLimitError",), Status.RATE_LIMITED),
        (None, ("APITimeoutError",), Status.TIMEOUT),
        (None, ("AuthenticationError",), Status.UNAUTHORIZED),
        (None, ("NotFoundError",), Status.UNKNOWN_MODEL),
        (None, ("ContentPolicyViolationError",), Status.FILTERED),
        (None, ("InternalServerError",), Status.SERVER_ERROR),
        (None, ("BadRequestError",), Status.REJECTED),
        (None, ("APIConnectionError",), Status.UNREACHABLE),
        (None, ("java.net.UnknownHostException",), Status.UNREACHABLE),
        (None, (None, 5), Status.SERVER_ERROR),
    ],
)
def test_the_names_of_errors_are_known(code: int | None, words: tuple[object, ...], expected: Status) -> None:
    assert expected == status_of_error(code, *words)


@pytest.mark.parametrize(
    ("asked", "answered", "expected"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("auto", "mistral-small", "mistral-small"),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022", "claude-3-5-sonnet-latest"),
        ("gemini-1.5-pro", "gemini-1.5-pro-002", "gemini-1.5-pro"),
        ("gpt-4o", None, "gpt-4o"),
        (None, "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("", 5.5, None),
    ],
)
def test_the_model_is_the_one_that_served(asked: object, answered: object, expected: str | None) -> None:
    assert expected == served_model(asked, answered)


def test_the_responses_api_becomes_chat_messages() -> None:
    found = chat_from_openai(
        {
            "instructions": "be brief",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "u"}]},
                {"type": "reasoning", "summary": []},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "5"}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "five"}]},
            ],
        }
    )  # fmt: skip
    assert found == [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "5", "tool_call_id": "c"},
        {"role": "assistant", "content": "five"},
    ]
    assert read_prompt(found).n_images == 1


def test_results_of_tools_stand_before_what_the_user_says_with_them() -> None:
    blocks = [
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "14"}]},
        {"type": "text", "text": "and now?"},
        {"type": "thinking", "thinking": "hm"},
    ]
    found = chat_from_anthropic({"messages": [{"role": "user", "content": blocks}]})
    assert found == [
        {"role": "tool", "content": "14", "tool_call_id": "t"},
        {"role": "user", "content": "and now?"},
    ]


@pytest.mark.parametrize(
    "value", [None, 5, [], [5], [{"content": "x"}], [{"role": "user", "content": 5}], [{"role": "user", "content": [5]}], {}]
)  # fmt: skip
def test_what_is_no_chat_is_a_bad_record(value: object) -> None:
    with pytest.raises(BadRecord):
        as_messages(value)


@pytest.mark.parametrize(
    "value", ["", " \n", [{"role": "user", "content": None}], [{"role": "system", "content": ""}]]
)
def test_a_blank_prompt_is_left_out(value: object) -> None:
    with pytest.raises(LeftOut):
        as_messages(value)


def test_a_message_that_is_nested_too_deeply_is_a_bad_record() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(BadRecord, match="64 levels deep"):
        as_messages([{"role": "user", "content": "x", "extra": deep}])


def test_the_words_of_the_system_do_not_make_prompts_alike() -> None:
    messages = [{"role": "system", "content": "long " * 99}, {"role": "user", "content": "hi"}]
    assert plain_text(messages) == "hi"
    assert canonical(USER) == "hi" != canonical(messages)


def test_stored_completions_are_joined_with_their_messages(tmp_path: Path) -> None:
    completion = {"object": "chat.completion", "id": "chatcmpl-1", "model": "m", **chat({"content": "ok"})}
    page = {"object": "list", "data": [{"id": f"chatcmpl-1-{i}", "role": role, "content": role} for i, role in
                                       ((1, "user"), (0, "system"))]}  # fmt: skip
    found, tally = calls("openai", tmp_path, completion, page, {**completion, "id": "chatcmpl-2"})
    assert [["system", "user"]] == [[message["content"] for message in call.messages] for call in found]
    assert {"a stored completion whose messages are in none of the logs"} == set(tally.left_out)


def test_an_answer_of_a_batch_without_its_request_is_counted(tmp_path: Path) -> None:
    answer = {
        "custom_id": "1",
        "response": {"status_code": 200, "body": chat({"content": "x"})},
        "error": None,
    }
    found, tally = calls("openai", tmp_path, answer)
    assert ([], {"an answer whose request is in none of the logs"}) == (found, set(tally.bad))


def test_batches_that_share_their_ids_are_counted_and_not_mixed(tmp_path: Path) -> None:
    asked = [
        {"custom_id": "1", "body": {"model": "m", "messages": [{"role": "user", "content": text}]}}
        for text in ("one", "one", "another")
    ]
    told = {"custom_id": "1", "response": {"status_code": 200, "body": chat({"content": "yes"})}}
    once, tally = calls("openai", tmp_path, *asked[:2], told)  # the same line twice is one request
    assert ([("one", "yes")], 0) == (
        [(call.messages[0]["content"], call.response) for call in once],
        tally.n_bad,
    )
    for rows in ((*asked, told), (told, {**told, "response": None}, asked[0])):
        found, tally = calls("openai", tmp_path, *rows)
        assert [] == found
        assert [3] == [count for count, _ in tally.bad.values()]
        assert "by themselves" in next(iter(tally.bad))
    assert {"a line of a batch without its custom_id"} == set(
        calls("openai", tmp_path, {**told, "custom_id": None})[1].bad
    )


def test_what_is_no_chat_among_openais_calls_is_left_out(tmp_path: Path) -> None:
    listed = {"object": "list", "data": [{"object": "embedding"}]}
    rows = (
        {"custom_id": "1", "url": "/v1/embeddings", "body": {"model": "e", "input": "text"}},
        {"custom_id": "1", "response": {"status_code": 200, "body": listed}},
        {"request": {"model": "e", "input": ["one", "two"]}, "response": listed},
    )
    found, tally = calls("openai", tmp_path, *rows)
    assert ([], {}, {"a call that is no chat"}) == (found, tally.bad, set(tally.left_out))


def test_a_page_of_an_error_is_no_answer(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"request": {"model": "m", "messages": USER}}
    rows = (
        {"response": "<html>Bad Gateway</html>", "status_code": 502},
        {"status_code": 429},
        {"response": "yes"},
    )
    found, _ = calls("openai", tmp_path, *({**asked, **row} for row in rows))
    assert [(Status.SERVER_ERROR, None), (Status.RATE_LIMITED, None), (Status.ANSWERED, "yes")] == [
        (call.status, call.response) for call in found
    ]


def test_parts_of_an_answer_are_joined_as_their_provider_does() -> None:
    texts: list[dict[str, Any]] = [{"text": "Found in "}, {"text": "Paris", "citations": []}, {"text": "."}]
    message = {"type": "message", "content": [{"type": "text", **text} for text in texts]}
    response = {"object": "response", "output": [{"type": "message", "content": [
        {"type": "output_text", **text} for text in texts]}]}  # fmt: skip
    assert {"Found in Paris."} == {read_answer(answer).response for answer in (message, response)}


@pytest.mark.parametrize(
    "mark",
    ["a... (litellm_truncated skipped 800 chars) ...z", "redacted-by-litellm",
     "a... (litellm_truncated skipped 800 chars. Truncation is a DB storage safeguard.) ...z"],
)  # fmt: skip
def test_what_litellm_cut_is_neither_asked_nor_answered(mark: str, tmp_path: Path) -> None:
    def row(prompt: str, answer: str) -> dict[str, Any]:
        asked = {"messages": [{"role": "user", "content": prompt}]}
        return {"request_id": "r", "spend": 1.0, "model": "m", "proxy_server_request": asked,
                "response": chat({"content": answer})}  # fmt: skip

    found, tally = calls("litellm", tmp_path, row(mark, "yes"), row("whole", mark))
    assert [(Status.CUT_OFF, None)] == [(call.status, call.response) for call in found]
    assert (1, {"a prompt that LiteLLM cut or redacted"}) == (tally.cut_answers, set(tally.left_out))


def test_a_langfuse_trace_with_its_observations_and_a_score_within(tmp_path: Path) -> None:
    observation = {"id": "o", "type": "GENERATION", "startTime": "2026-01-01T00:00:00Z", "model": "m", "input": USER,
                   "output": {"choices": [{"message": {"content": "ok"}}]}, "promptTokens": 3, "completionTokens": 4}  # fmt: skip
    trace = {"id": "t", "sessionId": "s", "userId": "u", "observations": [observation],
             "scores": [{"id": "x", "name": "good", "value": True}, {"id": "y", "name": "good", "value": 7}]}  # fmt: skip
    found, tally = calls("langfuse", tmp_path, {"data": [trace]}, score="good")
    assert tally.read == 1
    assert ("s", "u", 1.0, 3, 4, "ok") == (
        found[0].session, found[0].user, found[0].score, found[0].input_tokens, found[0].output_tokens, found[0].response
    )  # fmt: skip


def test_a_score_of_a_trace_with_two_generations_is_nobodys(tmp_path: Path) -> None:
    rows = [{"id": f"o{i}", "trace_id": "t", "type": "GENERATION", "start_time": "2026-01-01", "model": "m",
             "input": f"prompt {i}", "output": "ok"} for i in range(2)]  # fmt: skip
    score = {
        "id": "x",
        "trace_id": "t",
        "observation_id": None,
        "name": "good",
        "value": 1,
        "data_type": "NUMERIC",
    }
    found, _ = calls("langfuse", tmp_path, *rows, score, score="good")
    assert [None, None] == [call.score for call in found]


def test_langfuse_in_parquet_with_maps(tmp_path: Path) -> None:
    path = tmp_path / "observations.parquet"
    usage = pa.array(
        [[("input", 5), ("input_cached_tokens", 2), ("output", 3)]], pa.map_(pa.string(), pa.int64())
    )
    table = {"id": ["o"], "trace_id": ["t"], "type": ["GENERATION"], "start_time": ["2026-01-01 10:00:00.5"],
             "end_time": ["2026-01-01 10:00:02"], "provided_model_name": ["m"], "input": ["hi"], "output": ["ok"]}  # fmt: skip
    pq.write_table(pa.table({**table, "usage_details": usage}), path)
    (found,) = read_log("langfuse", [path], Tally(), None)
    assert (7, 3, 2, 1500.0) == (
        found.input_tokens, found.output_tokens, found.cached_input_tokens, found.latency_ms
    )  # fmt: skip


def test_spans_as_the_sdk_prints_them_and_a_tool_call_with_arguments(tmp_path: Path) -> None:
    span = {
        "name": "chat m",
        "context": {"trace_id": "0x1", "span_id": "0x2"},
        "start_time": "2026-01-01T00:00:00.000000Z",
        "end_time": "2026-01-01T00:00:01.000000Z",
        "status": {"status_code": "UNSET"},
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.prompt": json.dumps(USER),
            "gen_ai.completion.0.tool_calls.0.name": "f",
            "gen_ai.completion": "ok",
        },
        "events": [],
    }
    (found,), _ = calls("otel", tmp_path, span)
    assert (USER, "ok", 1000.0) == (found.messages, found.response, found.latency_ms)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31 12:00:00.123456", "2026-01-31T12:00:00.123456+00:00"),
        ("2026-01-31T14:00:00.123456789+02:00", "2026-01-31T12:00:00.123456+00:00"),
        (1769860800, "2026-01-31T12:00:00+00:00"),
        ("1769860800000", "2026-01-31T12:00:00+00:00"),
        ("1769860800000000000", "2026-01-31T12:00:00+00:00"),
        ("yesterday", None),
        ("0001-01-01", None),
        (float("inf"), None),
        (10**400, None),
        (True, None),
    ],
)
def test_times_are_read_in_any_of_their_forms(value: object, expected: str | None) -> None:
    found = instant(value)
    assert expected == (None if found is None else found.isoformat())


def test_numbers_that_are_none_leave_their_cell_empty() -> None:
    assert [None] * 6 == [amount(value) for value in (-1, "x", float("nan"), True, None, 10**400)]
    assert [3, 0, None] == [count(value) for value in ("3", 0.0, 1e300)]
    assert clean("a\ud800b") == "a\ufffdb"


def test_a_score_is_asked_of_langfuse_alone() -> None:
    with pytest.raises(ConfigError, match="--format langfuse"):
        read_log("otel", [], Tally(), "good")


# No record stops an import, and each is accounted for.

KEYS = [
    "request", "response", "messages", "model", "role", "content", "type", "custom_id", "body", "params", "result", "error",
    "choices", "message", "usage", "input", "output", "id", "trace_id", "name", "value", "attributes", "resourceSpans",
    "scopeSpans", "spans", "events", "key", "stringValue", "gen_ai.request.model", "gen_ai.input.messages", "parts",
    "gen_ai.prompt.0.content", "gen_ai.user.message", "request_id", "spend", "proxy_server_request", "metadata", "status",
    "startTime", "end_time", "tool_calls", "observations", "scores", "system", "resourceLogs", "scopeLogs", "logRecords",
    "spanId", "eventName", "object", "finish_reason", "data", "text", "function", "usage_details", "level", "call_type",
]  # fmt: skip
WORDS = ["user", "assistant", "text", "GENERATION", "succeeded", "chat", "m", "", "{}", "[1]", '[{"role":"user","content":"x"}]',
         "tool_use", "tool_result", "function_call", "chat.completion", "chatcmpl-1-0", "\ud800", "gen_ai.choice"]  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize("form", FORMATS)
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(KEYS), anything, min_size=1, max_size=6), min_size=1, max_size=4
    )
)
def test_no_record_stops_an_import(
    form: str, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    accounted(*calls(form, tmp_path_factory.mktemp("odd"), *rows))


def accounted(found: list[LoggedCall], tally: Tally) -> None:
    assert len(found) == tally.read
    for call in found:
        assert read_prompt(call.messages).n_turns >= 0
        json.dumps(call.messages).encode()
        assert canonical(call.messages).encode() or not call.messages
        assert call.status is None or call.status in Status


EXAMPLES = {
    form: [
        json.loads(line)
        for path in sorted((ROOT / "examples" / "logs").glob(f"{form}*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    for form in ("openai", "anthropic", "langfuse", "otel")
}


def spoil(value: Any, rng: random.Random, odd: Any) -> Any:
    """Put something odd in one place of a record."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        return {**value, key: spoil(value[key], rng, odd)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return [*value[:at], spoil(value[at], rng, odd), *value[at + 1 :]]
    return odd


@pytest.mark.parametrize("form", EXAMPLES)
@given(rng=st.randoms(use_true_random=False), odd=st.lists(anything, min_size=4, max_size=4))
def test_nor_does_an_example_with_something_odd_in_it(
    form: str, rng: random.Random, odd: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = list(EXAMPLES[form])
    for each in odd:
        at = rng.randrange(len(rows))
        spoilt = spoil(rows[at], rng, each)
        rows[at] = spoilt if isinstance(spoilt, dict) else rows[at]
    accounted(*calls(form, tmp_path_factory.mktemp("odd"), *rows))
