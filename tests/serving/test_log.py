"""The log has a line for each request that a machine can read, and no text of anyone's prompt."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from served import COMMAND, Reply, Served, Wire, ask, clean_environment, request, start, wait_until
from toys import ROOT

MARK = "zebra-crossing"  # in all that a client may send; in a log it would be prompt text
KEY = "a-key-of-this-test-0123456789"
BODY = b'{"prompt":"hello"}'
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def served(toy_artifact: Path) -> Iterator[Served]:
    options = ("--model", str(toy_artifact), "--max-body-bytes", "2000", "--max-items", "20")
    with start(*options, environment={"TIERWISE_API_KEYS": KEY}) as served:
        yield served


def post(served: Served, body: bytes | dict[str, Any], path: str = "/v1/route", **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(served, "POST", path, content, **{"authorization": f"Bearer {KEY}"} | headers)


def line_of(served: Served, reply: Reply) -> dict[str, Any]:
    """Return the line of a request; it must have just one."""
    request_id = reply.headers["x-request-id"]
    found: list[dict[str, Any]] = wait_until(
        lambda: [event for event in served.events("request") if event["request_id"] == request_id], "no line"
    )
    assert 1 == len(found)
    return found[0]


def test_what_a_line_tells(served: Served) -> None:
    metadata = {"feature": "search", "user_tier": "free"}
    reply = post(served, {"prompt": "hello", "metadata": metadata}, x_request_id="mine-1")
    line = line_of(served, reply)
    decided = ("tier", "reason", "expected_cost_usd", "novelty", "model_id", "request_id")
    assert {key: reply.json[key] for key in decided} == {key: line[key] for key in decided}
    assert ("request", "mine-1", "route", 200, metadata) == tuple(
        line[key] for key in ("event", "request_id", "endpoint", "status", "metadata")
    )
    assert TIME.fullmatch(line["time"])
    assert 0 < line["ms"] < 60_000
    assert re.fullmatch("[0-9a-f]{8}", line["key"])
    assert {*decided, "time", "event", "endpoint", "status", "ms", "key", "metadata"} == line.keys()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request("GET", "/healthz"), ("healthz", 200, None)),
        (request("HEAD", "/"), ("page", 200, None)),
        (request("GET", "/nothing"), ("unknown", 404, "not-found")),
        (request("GET", "/v1/model"), ("model", 401, "missing-key")),
        (request("POST", "/v1/route", b"{", authorization=f"Bearer {KEY}"), ("route", 400, "malformed-json")),
        (
            request("POST", "/v1/route", b"{}", authorization=f"Bearer {KEY}"),
            ("route", 422, "invalid-request"),
        ),
        (request("POST", "/v1/model/reload", authorization=f"Bearer {KEY}"), ("reload", 403, "forbidden")),
    ],
)
def test_every_request_has_a_line(served: Served, sent: bytes, expected: tuple[Any, ...]) -> None:
    with Wire(served) as wire:
        wire.send(sent)
        line = line_of(served, wire.read(head_only=True))
    assert expected == tuple(line.get(key) for key in ("endpoint", "status", "problem"))


def test_a_batch_has_one_line(served: Served) -> None:
    items = [{"prompt": "a"}, {}, {"prompt": "b", "metadata": {"feature": "x"}}]
    line = line_of(served, post(served, {"items": items}, "/v1/route/batch"))
    assert ("batch", 200, 2, 1) == tuple(line[key] for key in ("endpoint", "status", "items", "failed_items"))


def everything(key: str) -> Iterator[bytes]:
    """Yield requests of every kind, right and wrong, with the mark wherever a client can put it."""
    auth = {"authorization": f"Bearer {key}"}

    def of(body: Any, path: str = "/v1/route", **headers: str) -> bytes:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return request("POST", path, content, **auth | headers)

    ndjson = {"content_type": "application/x-ndjson"}
    for item in (
        {"prompt": MARK},
        {"messages": [{"role": "user", "content": MARK}]},
        {"messages": [{"role": MARK, "content": MARK}]},
        {"messages": [{"role": "user", "content": [{"type": MARK, MARK: MARK}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": MARK}}]}]},
        {"messages": MARK},
        {"prompt": {MARK: MARK}},
        {"prompt": [MARK]},
        {MARK: MARK},
        {"prompt": "a", MARK: 1},
        {"prompt": "a", "policy": {MARK: MARK}},
        {"prompt": "a", "policy": {"floor": MARK}},
        {"prompt": "a", "policy": {"allow": [MARK]}},
        {"prompt": "a", "policy": {"max_regret": MARK}},
        {"prompt": "a", "policy": MARK},
        {"prompt": "a", "needs": [MARK]},
        {"prompt": "a", "needs": MARK},
        {"prompt": "a", "tools": [{"type": "function", "function": {"name": MARK, "description": MARK}}]},
        {"prompt": "a", "tools": MARK},
        {"prompt": "a", "context_tokens": MARK},
        {"prompt": "a", "metadata": MARK},
        {"prompt": "a", "metadata": {"feature": {MARK: MARK}}},
        {"prompt": "a", "metadata": {"feature": MARK * 1000}},
        {"prompt": "a", "metadata": {f"{MARK} of a long name with spaces" * 10: "a"}},
        {"prompt": MARK, "messages": MARK},
        {"prompt": MARK * 1000},
        MARK,
        [MARK],
    ):
        yield of(item)
        yield of({"items": [item, {"prompt": "a"}]}, "/v1/route/batch")
        yield of(json.dumps(item).encode() + b"\n" + json.dumps(item).encode(), "/v1/route/batch", **ndjson)
    for raw in (
        MARK.encode(),
        f'{{"prompt":"{MARK}'.encode(),
        f'{{"prompt":"{MARK}","prompt":"{MARK}"}}'.encode(),
        f'{{"{MARK}":1,"{MARK}":2}}'.encode(),
        f'{{"prompt":NaN,"{MARK}":1}}'.encode(),
        MARK.encode() + b"\xff",
        f'{{"prompt":"{MARK}\\ud800"}}'.encode(),
        b"[" * 100 + MARK.encode(),
        f'{{"items":"{MARK}"}}'.encode(),
        f'{{"items":[],"{MARK}":1}}'.encode(),
        json.dumps({"items": [{"prompt": MARK}] * 30}).encode(),
    ):
        yield of(raw)
        yield of(raw, "/v1/route/batch")
        yield of(raw, "/v1/route/batch", **ndjson)
    yield of({"prompt": MARK}, content_type=MARK)
    yield of({"prompt": MARK}, content_type=f"application/json; charset={MARK}")
    yield of({"prompt": MARK}, content_encoding=MARK)
    yield of({"prompt": MARK}, x_request_id=f"{MARK} not an id")
    yield of({"prompt": MARK}, user_agent=MARK, referer=MARK, cookie=MARK, x_forwarded_for=MARK, accept=MARK)
    yield of({"prompt": MARK}, authorization=f"Bearer {MARK}-{MARK}")
    yield of({"prompt": MARK}, authorization=MARK)
    yield of({"prompt": MARK}, host=MARK, origin=MARK)
    yield of({"prompt": MARK}, f"/v1/route?{MARK}={MARK}")
    yield of({"prompt": MARK}, f"/{MARK}")
    yield of({"prompt": MARK}, f"/v1/model?{MARK}")
    yield of({"prompt": MARK}, "/v1/model/reload")
    yield of({"prompt": MARK}, connection="upgrade", upgrade=MARK)
    yield of({"prompt": MARK}, x=MARK * 5000)
    yield of({"prompt": MARK})[:-3]
    yield request(MARK.upper(), f"/{MARK}")
    yield f"{MARK} {MARK}\r\n\r\n".encode()
    yield f"GET / HTTP/1.1\r\n{MARK}\r\n\r\n".encode()
    yield f"GET http://{MARK}:x/{MARK} HTTP/1.1\r\n\r\n".encode()


def send_everything(served: Served) -> None:
    for sent in everything(KEY):
        with Wire(served) as wire, suppress(OSError, AssertionError):
            wire.send(sent)
            if not sent.endswith(b"crossin"):
                wire.socket.settimeout(0.3)
                reply = wire.read()
                assert reply.status < 500, sent


@pytest.mark.parametrize(
    "options",
    [("--log", "json"), ("--log", "text"), ("--log", "off"), ("--log", "json", "--workers", "2")],
    ids=["json", "text", "off", "workers"],
)
def test_no_text_of_a_prompt_is_in_the_log(toy_artifact: Path, options: tuple[str, ...]) -> None:
    how: Mapping[str, str] = {"TIERWISE_API_KEYS": KEY, "TIERWISE_ADMIN_KEYS": "an-admin-key-0123456789"}
    limits = ("--max-body-bytes", "5000", "--max-items", "20")
    with start("--model", str(toy_artifact), *limits, *options, environment=how) as served:
        send_everything(served)
        served.stop()
        log = served.log.lower()
        assert MARK not in log
        assert "zebra" not in log
        assert KEY not in log
        assert "failure" not in log
        assert "traceback" not in log
        lines = served.log.splitlines()
        assert (len(lines) > 100) == ("off" not in options)
        for line in lines:
            assert line.isprintable()
            if "json" in options:
                assert {"time", "event"} <= json.loads(line).keys()
        if "off" in options:  # what is not about a request is there all the same
            assert ["listening", "stopping", "stopped"] == [line.split()[1] for line in lines]


PROMPTS: list[Any] = [
    "one line",
    "two\nlines",
    "\x1b[2J\x07 of a terminal",
    "\u2028\u0085",
    "\ud800 a half",
    "é 世界 🙂",
    "a b=c",
]


@pytest.mark.parametrize("form", ["json", "text"])
def test_with_prompts_they_are_there_and_on_one_line(toy_artifact: Path, form: str) -> None:
    with start("--model", str(toy_artifact), "--log", form, "--log-prompts") as served:
        for prompt in PROMPTS:
            assert 200 == ask(served, "POST", "/v1/route", json.dumps({"prompt": prompt}).encode()).status
            messages = [{"role": "user", "content": prompt}]
            assert 200 == ask(served, "POST", "/v1/route", json.dumps({"messages": messages}).encode()).status
        assert 422 == ask(served, "POST", "/v1/route", b'{"prompt":1}').status
        served.stop()
        lines = served.log_file.read_bytes().split(b"\n")
        assert b"" == lines.pop()
        assert 3 + 2 * len(PROMPTS) + 1 == len(lines)
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", b"".join(lines))
        assert not [line for line in lines if b"failure" in line]
        if form == "json":
            told = [event.get("prompt") for event in served.events("request")]
            assert PROMPTS == [p for p in told if isinstance(p, str)]
            assert PROMPTS == [p[0]["content"] for p in told if isinstance(p, list)]
        else:
            assert b"one line" in b"".join(lines)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_client_cannot_make_a_line(toy_artifact: Path, form: str) -> None:
    forged = '\n{"event":"forged"}\r\n12:00:00.000Z forged a=b\x1b[31m'
    with start("--model", str(toy_artifact), "--log", form) as served:
        for item in (
            {"prompt": "a", "metadata": {"feature": forged}},
            {"prompt": "a", "metadata": {forged: "a"}},
            {"prompt": "a", "metadata": {"feature": forged.replace("\n", "\u2028").replace("\r", "\x85")}},
            {"prompt": forged, forged: forged},
        ):
            assert ask(served, "POST", "/v1/route", json.dumps(item).encode()).status in (200, 422)
        assert 200 == ask(served, "POST", "/v1/route", BODY, x_request_id="a\tforged").status
        assert 404 == ask(served, "GET", "/%0aforged%0d%0aforged").status
        served.stop()
        lines = served.log.split("\n")
        assert 3 + 6 == len(served.log_file.read_bytes().splitlines())
        assert not [line for line in lines if line.startswith(('{"event"', "12:00:00.000Z"))]
        assert "\x1b" not in served.log


def test_text_for_people(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact), "--log", "text") as served:
        reply = ask(served, "POST", "/v1/route", BODY, x_request_id="mine")
        served.stop()
        listening, line = served.log.splitlines()[:2]
        assert re.match(
            r"\d\d:\d\d:\d\d\.\d{3}Z listening url=http://127\.0\.0\.1:\d+ model_id=tw-toy workers=1",
            listening,
        )
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3}Z request request_id=mine endpoint=route status=200 ms=", line)
        assert f" tier={reply.json['tier']} reason={reply.json['reason']} " in line


def test_on_a_terminal_it_is_text_and_else_json(toy_artifact: Path, served: Served) -> None:
    assert served.events("listening")
    ours, theirs = pty.openpty()
    command = [*COMMAND, "serve", "--port", "0", "--model", str(toy_artifact)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        assert re.match(rb"\d\d:\d\d:\d\d\.\d{3}Z listening url=http", os.read(ours, 4096))
        process.terminate()
        assert 0 == process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
