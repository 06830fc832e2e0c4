"""Laws of reading a batch's results: whatever a provider writes, only calls that wait are settled, each once."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from batched import ONE, endpoints_of
from hypothesis import given
from hypothesis import strategies as st

from eval.status import Status
from training.calls import batch_results
from training.calls.batch_results import is_cut, judge_missing, judge_rejected, read_results
from training.calls.records import Answered, Void

ENDPOINT = endpoints_of("http://127.0.0.1:1/v1", ONE)["small"]
KEYS = ("a", "b", "c", "d")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "custom_id",
                    "response",
                    "error",
                    "body",
                    "status_code",
                    "code",
                    "usage",
                    "choices",
                    "message",
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
LINE = st.fixed_dictionaries(
    {"custom_id": st.sampled_from((*KEYS, "z")) | st.none()}, optional={"response": JSON, "error": JSON}
)


def completion(text: str = "4", **usage: int) -> dict[str, Any]:
    body: dict[str, Any] = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    return {"status_code": 200, "request_id": "r-1", "body": body | ({"usage": usage} if usage else {})}


def read(folder: Path, lines: list[Any], spool: list[Any] | None = None) -> list[Answered | Void]:
    results, requests = folder / "results", folder / "spool"
    results.write_text(
        "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines)
    )
    requests.write_text("".join(json.dumps(each) + "\n" for each in spool or []))
    waiting = dict.fromkeys(KEYS, 0.01)
    found = []
    for records in read_results(results, requests, ENDPOINT, waiting):
        for record in records:
            del waiting[record.key]
            found.append(record)
    return found


@given(st.lists(LINE | st.text(max_size=9), max_size=9))
def test_nothing_that_a_provider_writes_settles_a_call_twice_or_one_that_does_not_wait(
    lines: list[Any],
) -> None:
    with TemporaryDirectory() as folder:
        found = read(Path(folder), lines)
    keys = [record.key for record in found]
    assert len(keys) == len(set(keys))
    assert {*keys} == {*KEYS} & {each["custom_id"] for each in lines if isinstance(each, dict)}
    for record in found:
        if isinstance(record, Answered):
            assert 0.0 <= record.answer.possibly_usd <= 0.01
            assert 0.0 <= record.answer.cost_usd


def test_an_answer_costs_half(tmp_path: Path) -> None:
    (record,) = read(
        tmp_path, [{"custom_id": "a", "response": completion(prompt_tokens=100, completion_tokens=50)}]
    )
    assert isinstance(record, Answered)
    assert ENDPOINT.tier.cost_usd(100, 50) / 2 == pytest.approx(record.answer.cost_usd)
    assert ("r-1", "4") == (record.answer.request_id, record.answer.response)


def test_tokens_nobody_counted_are_estimated_from_what_was_asked(tmp_path: Path) -> None:
    asked = {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "x" * 400}]}}
    (record,) = read(tmp_path, [{"custom_id": "a", "response": completion("y" * 40)}], [asked])
    assert isinstance(record, Answered)
    assert (100, 10, True) == (
        record.answer.input_tokens,
        record.answer.output_tokens,
        record.answer.usage_is_estimate,
    )


@pytest.mark.parametrize("code", ["batch_expired", "batch_cancelled"])
def test_what_was_not_run_is_void(tmp_path: Path, code: str) -> None:
    assert [Void("a")] == read(tmp_path, [{"custom_id": "a", "response": None, "error": {"code": code}}])


def test_what_timed_out_may_be_billed_and_other_errors_are_not(tmp_path: Path) -> None:
    lines = [
        {"custom_id": key, "error": {"code": code}} for key, code in (("a", "request_timeout"), ("b", "odd"))
    ]
    first, second = read(tmp_path, lines)
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert (Status.TIMEOUT, 0.01) == (first.answer.status, first.answer.possibly_usd)
    assert (Status.SERVER_ERROR, 0.0) == (second.answer.status, second.answer.possibly_usd)


def test_results_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_results, "_CHUNK", 1)
    lines = [
        {"custom_id": key, "response": completion(prompt_tokens=1, completion_tokens=1)} for key in "abab"
    ]
    assert ["a", "b"] == [record.key for record in read(tmp_path, lines)]


def test_a_call_that_no_line_names_was_run_only_if_the_batch_was_completed() -> None:
    done = judge_missing("a", "completed", 0.01)
    assert isinstance(done, Answered)
    assert (Status.MALFORMED, 0.01) == (done.answer.status, done.answer.possibly_usd)
    assert Void("a") == judge_missing("a", "expired", 0.01) == judge_missing("a", "cancelled", 0.01)


def test_a_line_at_fault_is_about_the_model_or_the_request() -> None:
    assert Status.UNKNOWN_MODEL is judge_rejected("a", "model_not_found").answer.status
    assert Status.REJECTED is judge_rejected("a", "invalid_request").answer.status
    assert judge_rejected("a", "some words of a prompt").answer.code is None


@pytest.mark.parametrize(
    ("content", "cut"),
    [
        ("", False),
        ('{"custom_id": "a"}\n', False),
        ('{"custom_id": "a"}', False),
        ('{"custom_id": "a"}\n{"cus', True),
    ],
)
def test_a_file_is_cut_where_its_last_line_is(tmp_path: Path, content: str, cut: bool) -> None:
    (tmp_path / "results").write_text(content)
    assert cut is is_cut(tmp_path / "results")
