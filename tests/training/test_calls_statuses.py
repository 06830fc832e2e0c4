"""What comes of a call is recorded as what it is: every fault of the stand-in, and connections that break in every way."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path

import pytest
from calling import answers, completion, http, raw_server, run, units
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standin import standin

from eval.status import FINAL, GRADABLE, Status

ONE = ("small",)
KINDS = {
    "unauthorized": (Status.UNAUTHORIZED, 401, "invalid_api_key"),
    "unknown_model": (Status.UNKNOWN_MODEL, 404, "model_not_found"),
    "rate_limited": (Status.RATE_LIMITED, 429, "rate_limit_exceeded"),
    "server_error": (Status.SERVER_ERROR, 500, "server_error"),
    "rejected": (Status.REJECTED, 400, "invalid_prompt"),
    "filtered_400": (Status.FILTERED, 400, "content_filter"),
    "closed": (Status.CUT_OFF, None, None),
    "cut_off": (Status.CUT_OFF, None, None),
    "timeout": (Status.TIMEOUT, None, None),
    "malformed": (Status.MALFORMED, 200, None),
    "no_completion": (Status.MALFORMED, 200, None),
    "empty": (Status.EMPTY, 200, None),
    "refused": (Status.REFUSED, 200, None),
    "filtered": (Status.FILTERED, 200, None),
    "length": (Status.LENGTH, 200, None),
    "tool_call": (Status.TOOL_CALL, 200, None),
    "no_usage": (Status.ANSWERED, 200, None),
}
"""What each fault of the stand-in is."""


def test_every_fault_is_what_it_is(tmp_path: Path) -> None:
    with standin() as server:
        for kind, (status, http_status, code) in KINDS.items():
            server.reset()
            server.fail({"kind": kind})
            folder = tmp_path / kind
            summary = run(
                server.url, folder, 3, names=ONE, fields={"timeout_s": 0.3 if kind == "timeout" else 60.0}
            )
            assert {status.value: 3} == summary.by_status, kind
            for answer in answers(folder, 3, ONE).values():
                assert answer is not None
                assert (status, http_status, code) == (answer.status, answer.http_status, answer.code), kind
                assert (answer.response is not None) == (status in GRADABLE | {Status.REFUSED, Status.LENGTH})
                assert (answer.possibly_usd > 0) == (
                    kind in ("closed", "cut_off", "timeout", "malformed", "no_completion")
                ), kind
                assert answer.usage_is_estimate == (kind == "no_usage")
            again = run(
                server.url, folder, 3, names=ONE, fields={"timeout_s": 0.3 if kind == "timeout" else 60.0}
            )
            assert (0 if status in FINAL else 3) == again.made, kind


def _chunked(*parts: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(parts)


BROKEN = {
    "closed before a word": (b"", Status.CUT_OFF),
    "half a head": (b"HTTP/1.1 200 O", Status.CUT_OFF),
    "a head that ends": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", Status.CUT_OFF),
    "a head in another encoding": (b"HTTP/1.1 200 \xdb\r\ncontent-length: 0\r\n\r\n", Status.CUT_OFF),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", Status.CUT_OFF),
    "a body that is cut": (http(completion()[:40], length=400), Status.CUT_OFF),
    "a chunk that is cut": (_chunked(b"ff\r\n{"), Status.CUT_OFF),
    "a chunk of no length": (_chunked(b"zz\r\n{"), Status.CUT_OFF),
    "no JSON": (http(b"<html>"), Status.MALFORMED),
    "half a JSON": (http(completion()[:40]), Status.MALFORMED),
    "nothing": (http(b""), Status.MALFORMED),
    "a list": (http(b"[]"), Status.MALFORMED),
    "an error with success": (http(b'{"error": {"code": "overloaded"}}'), Status.MALFORMED),
    "no gzip": (http(b"plain", "200 OK", "content-encoding: gzip"), Status.MALFORMED),
    "gzip": (http(gzip.compress(completion()), "200 OK", "content-encoding: gzip"), Status.ANSWERED),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\n" + completion(), Status.ANSWERED),
    "a redirect": (http(b"", "302 Found", "location: /v1/chat/completions"), Status.UNREACHABLE),
    "a redirect without a place": (http(b"", "302 Found"), Status.UNREACHABLE),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\n\r\n", Status.UNREACHABLE),
    "no credit": (http(b"{}", "402 Payment Required"), Status.UNAUTHORIZED),
    "forbidden": (http(b"", "403 Forbidden"), Status.UNAUTHORIZED),
    "too large": (http(b"", "413 Content Too Large"), Status.REJECTED),
    "a gateway's page": (http(b"<html>", "502 Bad Gateway"), Status.SERVER_ERROR),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_connection_that_breaks(tmp_path: Path, what: str) -> None:
    sent, status = BROKEN[what]
    with raw_server(lambda _n, _request: sent) as raw:
        summary = run(raw.url, tmp_path, 1, names=ONE)
    assert {status.value: 1} == summary.by_status


def test_an_answer_that_drips_is_a_timeout(tmp_path: Path) -> None:
    with raw_server(lambda _n, _request: None) as raw:
        summary = run(raw.url, tmp_path, 2, names=ONE, fields={"timeout_s": 0.2, "max_attempts": 1})
    assert {"timeout": 2} == summary.by_status
    assert summary.possibly_usd > 0
    assert 0 == summary.spent_usd


def test_a_port_that_nobody_listens_at(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        summary = run(url, tmp_path, 1, names=ONE)
    assert {"unreachable": 1} == summary.by_status
    assert 0 == summary.possibly_usd


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sent=st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=40).map(lambda end: b"HTTP/1.1 200 OK\r\n" + end),
        st.binary(max_size=60).map(http),
        st.tuples(st.integers(100, 999), st.binary(max_size=20)).map(
            lambda x: http(x[1], f"{x[0]} Whatever")
        ),
    )
)
def test_no_bytes_of_a_server_end_the_run(tmp_path: Path, sent: bytes) -> None:
    with raw_server(lambda _n, _request: sent) as raw:
        summary = run(raw.url, tmp_path, 1, names=ONE, retry=frozenset(Status), fields={"timeout_s": 1.0})
    assert 1 == summary.made


def test_a_prompt_with_a_lone_surrogate_is_sent(tmp_path: Path) -> None:
    with raw_server(lambda _n, _request: http(completion(b"a \\ud800".decode()))) as raw:
        summary = run(raw.url, tmp_path, 1, names=ONE, units=units(1, ONE, lambda _i: "x \ud800 y"))
    assert {"answered": 1} == summary.by_status
    assert b"x ? y" in raw.requests[0]
