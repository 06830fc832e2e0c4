"""The client gets a server's decision, or says in a sentence why not, whatever stands at the address."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from served import serve

from router import Decision, Policy, Reason, RequestError, Router, RouterError, client
from router.client import LARGEST_ANSWER_BYTES, route_remotely

PRIVATE = "confidential zebra"  # stands in prompts and keys here, and in no error
KEY = "zebra-key-0123456789"
DECISION: dict[str, Any] = {
    "request_id": "5f0c-1",
    "tier": "small",
    "index": 0,
    "model": "tiny-1",
    "p_pass": [0.93, 0.94, 1],
    "predicted": 0,
    "reason": "sufficient",
    "expected_cost_usd": 0.0001,
    "novelty": 0.12,
    "model_id": "tw-toy",
    "tier_cost_usd": [0.0001, 0.0004, 0.002],
    "saving_usd": 0.0019,
    "tiers": ["small", "medium", "large"],
}

Answer = bytes | Callable[[socket.socket], None]


def http(status: str, body: Any, *headers: str, kind: str = "application/json") -> bytes:
    """Return an answer of HTTP; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(raw)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + raw


def problem(status: int, name: str, detail: str, *headers: str) -> bytes:
    body = {"type": f"urn:tierwise:problem:{name}", "title": name, "status": status, "detail": detail}
    return http(f"{status} X", body, *headers, kind="application/problem+json")


def short(value: Any) -> str:
    """Name a case, the same in every process; some hold megabytes."""
    return str(getattr(value, "__name__", value))[:40]


class Stand:
    """A server on loopback that says what it is told to say, to every request, and keeps the requests."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None, *, reads: bool) -> None:
        self.answer, self.tls, self.reads = answer, tls, reads
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.place}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            connected, _ = self.listener.accept()
            with connected:
                if self.over.is_set():
                    return
                connected.settimeout(20)
                try:
                    self.meet(connected)
                except OSError:
                    continue  # the client has left, or did not like the certificate

    def meet(self, connected: socket.socket) -> None:
        if self.tls:
            connected = self.tls.wrap_socket(connected, server_side=True)
        with connected:
            if self.reads:
                self.requests.append(self.read(connected))
            if isinstance(self.answer, bytes):
                connected.sendall(self.answer)
            else:
                self.answer(connected)
            if self.tls:
                connected.unwrap().close()

    def read(self, connected: socket.socket) -> tuple[str, dict[str, str], bytes]:
        with connected.makefile("rb") as stream:
            first = stream.readline().decode().rstrip()
            pairs = (line.decode().split(":", 1) for line in iter(stream.readline, b"\r\n"))
            headers = {name.lower(): value.strip() for name, value in pairs}
            return first, headers, stream.read(int(headers["content-length"]))

    def close(self) -> None:
        self.over.set()
        host, port = self.place.split(":")
        socket.create_connection((host, int(port))).close()
        self.thread.join()
        self.listener.close()


@pytest.fixture
def stand() -> Iterator[Callable[..., Stand]]:
    stands: list[Stand] = []

    def start(answer: Answer, tls: ssl.SSLContext | None = None, *, reads: bool = True) -> Stand:
        stands.append(Stand(answer, tls, reads=reads))
        return stands[-1]

    yield start
    for each in stands:
        each.close()


def refused(error: RouterError, kind: type[RouterError], *words: str) -> None:
    text = str(error)
    assert kind is type(error)
    assert [] == [word for word in words if word not in text]
    assert [] == [word for word in (PRIVATE, KEY, "\n", "\x1b", "Traceback") if word in text]
    assert len(text) < 500
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def ask(url: str, kind: type[RouterError], *words: str, **options: Any) -> None:
    """Ask for a decision and expect an error of a kind, with these words."""
    with pytest.raises(RouterError) as caught:
        route_remotely(url, {"prompt": PRIVATE}, **({"key": KEY} | options))
    refused(caught.value, kind, *words)


# An answer


def test_a_decision_is_returned_as_it_was_answered(stand: Callable[..., Stand]) -> None:
    server = stand(http("200 OK", DECISION))
    body = {"prompt": PRIVATE, "policy": {"epsilon": 0.1}}
    assert DECISION == route_remotely(server.url, body, KEY)
    (first, headers, sent), *others = server.requests
    assert (first, []) == ("POST /v1/route HTTP/1.1", others)
    assert body == json.loads(sent)
    assert ("application/json", f"Bearer {KEY}") == (headers["content-type"], headers["authorization"])
    assert server.place == headers["host"]


@pytest.mark.parametrize("key", [None, "", " \n"])
def test_no_key_is_no_header(stand: Callable[..., Stand], key: str | None) -> None:
    server = stand(http("200 OK", DECISION))
    route_remotely(server.url, {"prompt": "hello"}, key)
    assert "authorization" not in server.requests[0][1]


def test_a_key_is_sent_without_the_line_end_of_its_file(stand: Callable[..., Stand]) -> None:
    server = stand(http("200 OK", DECISION))
    route_remotely(server.url, {"prompt": "hello"}, f"{KEY}\n")
    assert f"Bearer {KEY}" == server.requests[0][1]["authorization"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("", "/v1/route"),
        ("/", "/v1/route"),
        ("/tierwise", "/tierwise/v1/route"),
        ("/a/b//", "/a/b/v1/route"),
    ],
)
def test_the_address_may_have_a_path(stand: Callable[..., Stand], given: str, path: str) -> None:
    server = stand(http("200 OK", DECISION))
    route_remotely(server.url + given, {"prompt": "hello"})
    assert f"POST {path} HTTP/1.1" == server.requests[0][0]


@pytest.mark.parametrize("text", ["世界 🙂", "\udcff\ud800", "", "x" * 500_000, "\x00\u2028"])
def test_any_prompt_arrives_whole(stand: Callable[..., Stand], text: str) -> None:
    server = stand(http("200 OK", DECISION))
    route_remotely(server.url, {"prompt": text})
    assert {"prompt": text} == json.loads(server.requests[0][2])


def test_a_prompt_takes_no_more_room_than_its_utf8(stand: Callable[..., Stand]) -> None:
    server = stand(http("200 OK", DECISION))
    route_remotely(server.url, {"prompt": "世" * 1000})
    assert 3000 + len('{"prompt": ""}') == len(server.requests[0][2])


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"])
def test_no_proxy_of_the_environment_is_used(
    stand: Callable[..., Stand], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    proxy, server = stand(http("502 Proxy", b"")), stand(http("200 OK", DECISION))
    monkeypatch.setenv(name, proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    assert DECISION == route_remotely(server.url, {"prompt": "hello"})
    assert [] == proxy.requests


def test_fields_of_a_newer_server_are_kept(stand: Callable[..., Stand]) -> None:
    assert {**DECISION, "more": 1} == route_remotely(
        stand(http("200 OK", {**DECISION, "more": 1})).url, {"prompt": "hello"}
    )


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(
    tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return tls


def test_a_certificate_that_is_trusted_is_taken(stand: Callable[..., Stand], trusted: ssl.SSLContext) -> None:
    server = stand(http("200 OK", DECISION), trusted)
    assert DECISION == route_remotely(server.url, {"prompt": "hello"}, KEY)
    ask(server.url.replace("127.0.0.1", "localhost"), RouterError, "certificate is not trusted", "localhost")


def test_a_certificate_that_is_not_trusted_is_refused(
    stand: Callable[..., Stand], tls: ssl.SSLContext
) -> None:
    server = stand(http("200 OK", DECISION), tls)
    ask(server.url, RouterError, server.url, "certificate is not trusted", "SSL_CERT_FILE")
    assert [] == server.requests


def test_https_where_there_is_none_says_so(stand: Callable[..., Stand]) -> None:
    server = stand(http("400 Bad Request", b""), reads=False)
    ask(server.url.replace("http:", "https:"), RouterError, "TLS failed", "http:// address?")


def test_http_where_there_is_tls_is_no_answer(stand: Callable[..., Stand], tls: ssl.SSLContext) -> None:
    server = stand(http("200 OK", DECISION), tls)
    ask(server.url.replace("https:", "http:"), RouterError, "tierwise server")


# What cannot be asked


@pytest.mark.parametrize(
    "url",
    [
        PRIVATE,
        "",
        "127.0.0.1:8080",
        "localhost",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "unix:///run/tierwise.sock",
        "http://",
        "http://:8080",
        "http:///v1",
        "http://127.0.0.1:port",
        "http://127.0.0.1:0",
        "http://127.0.0.1:65536",
        "http://[::1",
        f"http://127.0.0.1/{PRIVATE}",
        "http://127.0.0.1/\r\nX: y",
        "http://127.0.0.1/世",
        f"http://me:{KEY}@127.0.0.1",
        f"http://{KEY}@127.0.0.1",
        f"http://127.0.0.1/?key={KEY}",
        f"http://127.0.0.1/#{KEY}",
    ],
)
def test_an_address_of_another_form_is_refused(url: str) -> None:
    ask(url, RequestError, "expected http://HOST:PORT or https://HOST:PORT")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://router", ("router", 80)),
        ("https://router/a", ("router", 443)),
        ("http://[::1]", ("::1", 80)),
        ("http://[::1]:9/", ("::1", 9)),
        ("http://router:", ("router", 80)),
    ],
)
def test_an_address_without_a_port_has_its_schemes(url: str, expected: tuple[str, int]) -> None:
    connection, *_ = client._open(url, 1.0)
    assert expected == (connection.host, connection.port)


def test_a_scheme_in_capitals_is_one(stand: Callable[..., Stand]) -> None:
    server = stand(http("200 OK", DECISION))
    assert DECISION == route_remotely(server.url.replace("http", "HTTP"), {"prompt": "hello"})


@pytest.mark.parametrize("key", [f"{KEY} {KEY}", f"{KEY}\r\nX: y", f"{KEY}é", f"{KEY}\udcff"])
def test_a_key_that_no_header_can_hold_is_refused(stand: Callable[..., Stand], key: str) -> None:
    server = stand(http("200 OK", DECISION))
    ask(server.url, RequestError, "TIERWISE_API_KEY: expected printable ASCII", key=key)
    assert [] == server.requests


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_timeout_that_is_none_is_refused(timeout_s: float) -> None:
    ask("http://127.0.0.1:1", RequestError, "expected seconds above 0", timeout_s=timeout_s)


def test_what_json_cannot_hold_is_refused() -> None:
    deep: Any = PRIVATE
    for _ in range(100_000):
        deep = [deep]
    for value in (float("nan"), float("-inf"), {PRIVATE}, deep):
        with pytest.raises(RouterError) as caught:
            route_remotely("http://127.0.0.1:1", {"prompt": PRIVATE, "policy": value})
        refused(caught.value, RequestError, "finite numbers")


# No answer


def test_nothing_listening_says_what_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ask(f"http://127.0.0.1:{port}", RouterError, f":{port}/v1/route", "is `tierwise serve` running?")


# None of these is looked up in the network.
@pytest.mark.parametrize("host", ["[fe80::1%no-such-link]", "a" * 70 + ".invalid", "a..invalid"])
def test_a_host_that_is_not_known_says_so(host: str) -> None:
    ask(f"http://{host}:8080", RouterError, "no host of that name")


def closing(connected: socket.socket) -> None:
    """Answer nothing; the connection is closed on return."""


def resetting(connected: socket.socket) -> None:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


HALF = http("200 OK", DECISION)[:-40]
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reads", "word"),
    [
        (closing, True, "closed without an answer"),
        (closing, False, "closed without an answer"),
        (resetting, True, "closed without an answer"),
        (HALF, True, "broke off"),
        (CHUNKED + b"400\r\n{", True, "broke off"),
        (CHUNKED + b"zz\r\n", True, "broke off"),
        (b"\x00\xff" * 50, True, "not HTTP"),
        (b"220 smtp.example ESMTP\r\n", True, "not HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", True, "not HTTP"),
        (b"x" * 200_000, True, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000, True, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", True, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: ", True, "not a decision"),
    ],
    ids=short,
)
def test_what_is_no_answer_is_told_apart(
    stand: Callable[..., Stand], answer: Answer, reads: bool, word: str
) -> None:
    server = stand(answer, reads=reads)
    ask(server.url, RouterError, f"{server.url}/v1/route: ", word)


def dripping(at_once: bytes, slowly: bytes) -> Answer:
    """Send the rest a byte at a time, each long before a socket's own timeout, until the client has left."""

    def drip(connected: socket.socket) -> None:
        connected.sendall(at_once)
        for byte in slowly:
            connected.sendall(bytes([byte]))
            time.sleep(0.05)
        pytest.fail("it was waited for to the end")

    return drip


SLOW: dict[str, Answer] = {
    "silent": lambda connected: connected.recv(1) and None,
    "head": dripping(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 200),
    "body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", b" " * 200),
    "chunks": dripping(CHUNKED, b"1\r\n \r\n" * 40),
    "to the end": dripping(ENDLESS, b" " * 200),
}


@pytest.mark.parametrize("how", SLOW)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_slow_answer_is_not_waited_for(
    stand: Callable[..., Stand], trusted: ssl.SSLContext, how: str, secure: bool
) -> None:
    server = stand(SLOW[how], trusted if secure else None)
    ask(server.url, RouterError, "no answer within 0.4 s", timeout_s=0.4)


def test_a_server_that_reads_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(RouterError) as caught:
            route_remotely(url, {"prompt": "x" * 20_000_000}, timeout_s=0.4)
    refused(caught.value, RouterError, "no answer within 0.4 s")


# Another answer


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
def test_a_redirect_is_not_followed(stand: Callable[..., Stand], status: str) -> None:
    other = stand(http("200 OK", DECISION))
    server = stand(http(status, b"", f"Location: {other.url}/v1/route"))
    ask(server.url, RouterError, "a redirect, not followed")
    assert (1, 0) == (len(server.requests), len(other.requests))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            problem(422, "invalid-request", "policy.max_regret is a number"),
            RequestError,
            ["max_regret is a number"],
        ),
        (problem(413, "too-large", "the body is over"), RequestError, ["the body is over"]),
        (problem(400, "malformed-json", "line 1"), RequestError, ["line 1"]),
        (problem(415, "unsupported-media-type", "expected"), RequestError, ["expected (415)"]),
        (problem(404, "not-found", "no such path"), RouterError, ["no such path (404)"]),
        (problem(408, "too-slow", "the request took"), RouterError, ["the request took (408)"]),
        (problem(500, "internal", "a fault"), RouterError, ["a fault (500)"]),
        (problem(401, "wrong-key", "x"), RouterError, ["the key in TIERWISE_API_KEY", "(401)"]),
        (problem(403, "forbidden", "the header Host"), RouterError, ["the header Host (403)"]),
        (
            problem(503, "overloaded", "128 in flight", "Retry-After: 2"),
            RouterError,
            ["128 in flight", "in 2 s"],
        ),
        (
            problem(429, "too-many-batches", "8 streams", "Retry-After: 1"),
            RouterError,
            ["8 streams", "in 1 s"],
        ),
        (problem(503, "not-ready", "it is starting"), RouterError, ["it is starting", "try again later"]),
        (http("503 X", b"<html>", "Retry-After: 7"), RouterError, ["cannot answer now", "try again in 7 s"]),
        (http("503 X", b"", "Retry-After: Wed, 21 Oct"), RouterError, ["try again later"]),
        (
            http("404 Not Found", b"<html>", kind="text/html"),
            RouterError,
            ["404, not as tierwise does", "address"],
        ),
        (http("422 X", {"detail": PRIVATE}), RouterError, ["422, not as tierwise does"]),
        (http("400 X", {"type": "about:blank", "detail": PRIVATE}), RouterError, ["not as tierwise does"]),
        (http("500 X", ["urn:tierwise:problem:internal"]), RouterError, ["not as tierwise does"]),
        (http("500 X", {"type": ["urn:tierwise:problem:"]}), RouterError, ["not as tierwise does"]),
        (http("204 No Content", b""), RouterError, ["204"]),
        (http("201 Created", DECISION), RouterError, ["201"]),
        (
            problem(422, "x", "\x1b[31m red\r\n\u2028 and\x9b more" + "." * 9000),
            RequestError,
            [" red", " and"],
        ),
        (problem(422, "x", ""), RequestError, ["x (422)"]),
    ],
    ids=short,
)
def test_a_refusal_is_passed_on(
    stand: Callable[..., Stand], answer: bytes, kind: type[RouterError], words: list[str]
) -> None:
    server = stand(answer)
    ask(server.url, kind, f"{server.url}/v1/route: ", *words)


def test_a_key_that_is_missing_says_where_it_goes(stand: Callable[..., Stand]) -> None:
    server = stand(problem(401, "missing-key", "x", "WWW-Authenticate: Bearer"))
    ask(server.url, RouterError, "asks for a key (401); set TIERWISE_API_KEY", key=None)


def test_a_refusal_before_all_was_read_is_heard(stand: Callable[..., Stand]) -> None:
    server = stand(problem(413, "too-large", "the body is over", "Connection: close"), reads=False)
    for _ in range(5):
        with pytest.raises(RouterError) as caught:
            route_remotely(server.url, {"prompt": "x" * 20_000_000})
        # A system may let the reset overtake what was said before it; Linux does not.
        refused(caught.value, RequestError, "the body is over" if sys.platform == "linux" else server.url)


def endless(connected: socket.socket) -> None:
    connected.sendall(ENDLESS)
    while True:
        connected.sendall(b" " * 65536)


@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK", b" " * (LARGEST_ANSWER_BYTES + 1)),
        CHUNKED + b"7fffffff\r\n" + b" " * (LARGEST_ANSWER_BYTES + 9),
        endless,
    ],
    ids=["length", "chunk", "endless"],
)
def test_no_more_is_read_than_an_answer_may_hold(stand: Callable[..., Stand], answer: Answer) -> None:
    ask(stand(answer).url, RouterError, "the answer is over 1,000,000 bytes")


def test_the_largest_answer_is_read(stand: Callable[..., Stand]) -> None:
    raw = json.dumps(DECISION).encode().ljust(LARGEST_ANSWER_BYTES)
    assert DECISION == route_remotely(stand(http("200 OK", raw)).url, {"prompt": "hello"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!doctype html><title>Welcome</title>",
        b"null",
        b"[]",
        b'"small"',
        b"\xff\xfe",
        b"[" * 200_000,
        b"9" * 9000,
        json.dumps(DECISION).encode().replace(b"0.12", b"NaN"),
        json.dumps(DECISION).encode().replace(b"0.12", b"1e999"),
        json.dumps(DECISION).encode().replace(b"0.12", b"1" + b"0" * 400),
    ],
    ids=short,
)
def test_an_answer_that_is_none_is_refused(stand: Callable[..., Stand], body: bytes) -> None:
    ask(stand(http("200 OK", body)).url, RouterError, "the answer is not a decision; is it a tierwise server")


@pytest.mark.parametrize("name", DECISION)
def test_an_answer_that_lacks_a_field_is_refused(stand: Callable[..., Stand], name: str) -> None:
    lacking = {key: value for key, value in DECISION.items() if key != name}
    ask(stand(http("200 OK", lacking)).url, RouterError, "not a decision")


@pytest.mark.parametrize(
    "wrong",
    [
        {"tier": "medium"},
        {"tier": 0},
        {"index": 3},
        {"index": -1, "tier": "large"},
        {"index": False},
        {"index": "0"},
        {"predicted": 3},
        {"reason": "whim"},
        {"p_pass": [0.1, 0.2]},
        {"p_pass": [0.1, 0.2, 1e9]},
        {"p_pass": [0.1, 0.2, True]},
        {"p_pass": "abc"},
        {"tiers": []},
        {"tiers": ["small", "medium", 3]},
        {"tier_cost_usd": None},
        {"model": "\x1b[2J"},
        {"model_id": {"a": 1}},
        {"novelty": "0"},
        {"saving_usd": None},
    ],
    ids=short,
)
def test_a_field_of_another_form_is_refused(stand: Callable[..., Stand], wrong: dict[str, Any]) -> None:
    ask(stand(http("200 OK", {**DECISION, **wrong})).url, RouterError, "not a decision")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_known(stand: Callable[..., Stand], reason: Reason) -> None:
    answered = {**DECISION, "reason": reason.value}
    assert answered == route_remotely(stand(http("200 OK", answered)).url, {"prompt": "hello"})


def test_the_client_loads_no_server(python: Callable[..., Any]) -> None:
    run = python(
        "-c", "import sys, router.client; print({'fastapi', 'uvicorn', 'pydantic'} & {*sys.modules})"
    )
    assert (b"set()\n", b"") == (run.stdout, run.stderr)


def test_a_decision_is_what_the_annotations_say() -> None:
    assert {*Decision.__annotations__} | {"saving_usd", "tiers", "request_id"} == {*DECISION}


# The server itself


@pytest.fixture(scope="module")
def served(toy_artifact: Path) -> Iterator[str]:
    with serve("--model", str(toy_artifact)) as url:
        yield url


@pytest.mark.parametrize(
    ("body", "policy"),
    [
        ({"prompt": PRIVATE}, None),
        ({"prompt": "\udcff\ud800 世界 🙂"}, None),
        ({"prompt": ""}, None),
        ({"prompt": PRIVATE, "policy": {"max_regret": 0}}, Policy(max_regret=0)),
        ({"prompt": PRIVATE, "policy": {"allow": ["small", "large"]}}, Policy(allow=("small", "large"))),
        (
            {"messages": [{"role": "user", "content": PRIVATE}], "policy": {"floor": "large"}},
            Policy(floor="large"),
        ),
    ],
    ids=short,
)
def test_the_servers_decision_is_the_routers(
    served: str, toy_router: Router, body: dict[str, Any], policy: Policy | None
) -> None:
    decision = toy_router.route(body.get("prompt", body.get("messages")), policy)
    tiers = [tier.name for tier in toy_router.tiers]
    answer = route_remotely(served, body)
    assert answer == {**decision.to_dict(), "tiers": tiers, "request_id": answer["request_id"]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": PRIVATE, "policy": {"max_regret": 2}}, ["max_regret", "(422)"]),
        ({"prompt": PRIVATE, "policy": {"floor": "mediun"}}, ["did you mean medium?", "(422)"]),
        ({"prompt": PRIVATE, "messages": [PRIVATE]}, ["(422)"]),
        ({PRIVATE: "hello"}, ["(422)"]),
        ({}, ["(422)"]),
        ({"prompt": PRIVATE * 100_000}, ["(413)"]),
    ],
    ids=short,
)
def test_a_refusal_of_the_server_is_passed_on(served: str, body: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RouterError) as caught:
        route_remotely(served, body)
    refused(caught.value, RequestError, f"{served}/v1/route: ", *words)


def test_the_servers_paths_are_not_found_elsewhere(served: str) -> None:
    ask(f"{served}/v1/route", RouterError, "(404)")
    ask(served.replace("http:", "https:"), RouterError, "TLS failed")


def test_the_servers_key_is_asked_for(toy_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n")
    with serve("--model", str(toy_artifact), "--keys", str(tmp_path / "keys")) as url:
        assert "tw-toy" == route_remotely(url, {"prompt": "hello"}, KEY)["model_id"]
        ask(url, RouterError, "asks for a key (401); set TIERWISE_API_KEY", key=None)
        ask(url, RouterError, "the key in TIERWISE_API_KEY", "(401)", key="another-key-0123456789")
    ask(url, RouterError, "is `tierwise serve` running?")
