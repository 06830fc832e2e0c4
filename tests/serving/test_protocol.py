"""Bytes as a hostile or broken peer sends them, on a real connection."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from served import COMMAND, Served, Wire, ask, connect, request, route, start, wait_until

BODY = b'{"prompt":"hello"}'
CHUNKED = b"POST /v1/route HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
STREAM = b"POST /v1/route/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
MAX_HEAD = 32 * 1024


@pytest.fixture(scope="module")
def served(toy_artifact: Path) -> Iterator[Served]:
    """A server of little patience."""
    options = (
        "--header-timeout",
        "1",
        "--read-timeout",
        "1",
        "--keep-alive",
        "1",
        "--max-body-bytes",
        "20000",
    )
    with start("--model", str(toy_artifact), *options) as served:
        yield served
        assert [] == served.events("failure")
        assert "Traceback" not in served.log


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def connections(served: Served) -> float:
    lines = ask(served, "GET", "/metrics").body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("tierwise_connections "))


# Peers that take their time


def drip(wire: Wire, data: bytes, *, pause: float = 0.1) -> None:
    """Send byte by byte, until the server has had enough."""
    with suppress(OSError):
        for i in range(len(data)):
            wire.send(data[i : i + 1])
            time.sleep(pause)


def slow_head(wire: Wire) -> None:
    drip(wire, b"POST /v1/route HTTP/1.1\r\nx: " + b"a" * 60)


def unfinished_head(wire: Wire) -> None:
    wire.send(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n")


def blank_lines(wire: Wire) -> None:
    drip(wire, b"\r\n" * 30)


def slow_body(wire: Wire) -> None:
    wire.send(request("POST", "/v1/route", BODY + b" " * 60)[: -len(BODY) - 60])
    drip(wire, BODY + b" " * 60)


def unfinished_body(wire: Wire) -> None:
    wire.send(request("POST", "/v1/route", BODY)[:-1])


def slow_chunks(wire: Wire) -> None:
    wire.send(CHUNKED, b"\r\n")
    with suppress(OSError):
        for _ in range(60):
            wire.send(chunk(b" "))
            time.sleep(0.1)


def idle(wire: Wire) -> None:
    assert 200 == wire.ask(route()).status


def body_for_nothing(wire: Wire) -> None:
    """A stream where there is none: answered at once, and no reason to be listened to for ever."""
    wire.send(STREAM.replace(b"/v1/route/batch", b"/v1/nothing"))
    assert 404 == wire.read().status
    with suppress(OSError):
        for _ in range(60):
            wire.send(chunk(b"\n"))
            time.sleep(0.1)


PEERS: dict[str, tuple[Callable[[Wire], None], bool]] = {
    "says nothing": (lambda _: None, False),
    "blank lines": (blank_lines, False),
    "idle": (idle, False),
    "body for nothing": (body_for_nothing, False),
    "slow head": (slow_head, True),
    "unfinished head": (unfinished_head, True),
    "slow body": (slow_body, True),
    "unfinished body": (unfinished_body, True),
    "slow chunks": (slow_chunks, True),
}


def listen_to(served: Served, peer: Callable[[Wire], None]) -> bytes:
    with Wire(served) as wire:
        peer(wire)
        return wire.rest()


def stall(served: Served, asked: bytes) -> socket.socket:
    """Ask for more than fits on the way, and read nothing."""
    address = ("127.0.0.1", served.port)
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(address)
    peer.settimeout(1.0)
    with suppress(OSError):
        peer.sendall(asked)
    return peer


@pytest.fixture(scope="module")
def slow(served: Served) -> dict[str, Any]:
    """What becomes of slow peers, all at a time, and of one that asks as usual meanwhile."""
    batch = json.dumps({"items": [{"prompt": "hello"}] * 1000}).encode()
    stalls = {
        "pipelined": request("GET", "/openapi.json") * 500,
        "batch": request("POST", "/v1/route/batch", batch, connection="close"),
        "stream": STREAM + chunk(BODY + b"\n") * 50_000,
    }
    done = Event()

    def meanwhile() -> list[int]:
        statuses = []
        while not done.is_set():
            statuses.append(ask(served, "POST", "/v1/route", BODY).status)
            time.sleep(0.05)
        return statuses

    def stream_on() -> list[dict[str, Any]]:
        """Ask a line at a time for longer than a peer may be silent."""
        with Wire(served) as wire:
            wire.send(STREAM)
            for _ in range(12):
                wire.send(chunk(BODY + b"\n"))
                time.sleep(0.25)
            wire.send(b"0\r\n\r\n")
            return [json.loads(line) for line in wire.read().body.splitlines()]

    def ask_on() -> set[int]:
        """Ask on one connection for longer than it may be idle."""
        statuses = set()
        with Wire(served) as wire:
            for _ in range(12):
                statuses.add(wire.ask(route()).status)
                time.sleep(0.3)
        return statuses

    def pause() -> bytes:
        with Wire(served) as wire:
            wire.send(STREAM, chunk(BODY + b"\n"))
            return wire.rest()

    with ThreadPoolExecutor(20) as pool:
        asking = pool.submit(meanwhile)
        stalled = {name: pool.submit(stall, served, asked) for name, asked in stalls.items()}
        others = {name: pool.submit(listen_to, served, peer) for name, (peer, _) in PEERS.items()}
        streaming, pausing, keeping_on = (pool.submit(each) for each in (stream_on, pause, ask_on))
        found: dict[str, Any] = {name: each.result() for name, each in others.items()}
        found |= {"stream on": streaming.result(), "pause": pausing.result(), "ask on": keeping_on.result()}
        sockets = [each.result() for each in stalled.values()]
        wait_until(lambda: connections(served) <= 2, "a peer that does not read keeps its connection")
        for each in sockets:
            each.close()
        done.set()
        return found | {"meanwhile": asking.result()}


@pytest.mark.parametrize("name", PEERS)
def test_slow_peers_are_cut_off(slow: dict[str, Any], name: str) -> None:
    head, _, body = slow[name].partition(b"\r\n\r\n")
    if PEERS[name][1]:
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in head.splitlines()
        assert "urn:tierwise:problem:too-slow" == json.loads(body)["type"]
    else:
        assert b"" == slow[name]


def test_others_are_served_meanwhile(slow: dict[str, Any]) -> None:
    assert {200} == set(slow["meanwhile"])
    assert len(slow["meanwhile"]) > 10


def test_a_connection_in_use_is_kept(slow: dict[str, Any]) -> None:
    assert {200} == slow["ask on"]


def test_a_stream_may_last_but_not_pause(slow: dict[str, Any]) -> None:
    assert [*range(12)] == [line["item"] for line in slow["stream on"]]
    assert slow["pause"].startswith(b"HTTP/1.1 200 ")
    assert b'"item":0' in slow["pause"]
    assert not slow["pause"].endswith(b"0\r\n\r\n")  # so the client sees that it is not whole


# Heads


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nx: " + b"a" * MAX_HEAD + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"x: a\r\n" * (MAX_HEAD // 6) + b"\r\n",
        b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\r\n\r\n",
        b"GET /?" + b"a" * 10 * MAX_HEAD,
    ],
    ids=["a header", "headers", "a path", "without end"],
)
@pytest.mark.parametrize("size", [1_000_000, 1000])
def test_a_large_head_is_refused(served: Served, head: bytes, size: int) -> None:
    with Wire(served) as wire:
        with suppress(OSError):
            for i in range(0, len(head), size):
                wire.send(head[i : i + size])
                time.sleep(0.001)
        reply = wire.read()
        assert (431, "headers-too-large") == (reply.status, reply.problem)
        assert b"" == wire.rest()


def test_a_head_of_just_less_is_read(served: Served) -> None:
    assert 200 == ask(served, "GET", "/healthz", x="a" * (MAX_HEAD - 500)).status


def test_many_requests_in_one_segment_are_not_a_large_head(served: Served) -> None:
    n = 2000
    with Wire(served) as wire:
        wire.send(request("GET", "/healthz") * n)
        assert {200} == {wire.read().status for _ in range(n)}


GARBAGE = {
    "words": b"hello there\r\n\r\n",
    "zeros": bytes(100),
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(50),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method": b"GRAB / HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n",
    "a tunnel to a path": b"CONNECT /v1/route HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "a path of bytes": "GET /é HTTP/1.1\r\n\r\n".encode(),
    "line feeds": b"GET /healthz HTTP/1.1\nhost: 127.0.0.1\n\n",
}
SMUGGLED = [
    b"content-length: 18\r\ntransfer-encoding: chunked",
    b"transfer-encoding: chunked, identity",
    b"transfer-encoding: xchunked",
    b"transfer-encoding: chunked\r\ntransfer-encoding: identity",
    b"content-length: +18",
    b"content-length: 18, 18",
    b"content-length: 18\r\ncontent-length: 19",
    b"content-length: -1",
    b"content-length: 0x12",
    b"content-length: 99999999999999999999999",
    b"content-length : 18",
    b"content-length: 18\r\nx: a\r\n folded",
    b"content-length: 18\r\nx: a\0b",
    b"content-length: 18\r\nx: a\rb",
    b"content-length: 18\r\n: nameless",
]
"""Where two readers of one connection could disagree on where a request ends."""


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE)
def test_what_is_not_http_is_told_so(served: Served, sent: bytes) -> None:
    with Wire(served) as wire:
        reply = wire.ask(sent)
        assert (400, "bad-http", "close") == (reply.status, reply.problem, reply.headers["connection"])
        assert b"" == wire.rest()


@pytest.mark.parametrize("lines", SMUGGLED)
def test_a_body_of_unclear_length_is_refused(served: Served, lines: bytes) -> None:
    with Wire(served) as wire:
        head = b"POST /v1/route HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        reply = wire.ask(head + lines + b"\r\n\r\n" + BODY + route())
        assert (400, "bad-http") == (reply.status, reply.problem)
        assert b"" == wire.rest()


@pytest.mark.parametrize(
    "path", ["/%", "/%ff", "//evil:x/", "/%00", "/%0d%0aset-cookie:a", "/" + "a/" * 5000]
)
def test_odd_paths_are_not_found(served: Served, path: str) -> None:
    reply = ask(served, "GET", path)
    assert (404, "not-found") == (reply.status, reply.problem)
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize(
    "sent", [b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1", b"GET http://[ HTTP/1.1", b"GET ? HTTP/1.1"]
)
def test_odd_targets_are_answered(served: Served, sent: bytes) -> None:
    with Wire(served) as wire:
        assert wire.ask(sent + b"\r\nhost: 127.0.0.1\r\n\r\n").status in (400, 404, 405)


# Bodies


def test_chunks_are_read(served: Served) -> None:
    with Wire(served) as wire:
        for parts in ([BODY], [BODY[:5], BODY[5:]], [BODY[i : i + 1] for i in range(len(BODY))]):
            reply = wire.ask(CHUNKED, b"\r\n", *map(chunk, parts), b"0\r\n\r\n")
            assert (200, "tw-toy") == (reply.status, reply.json["model_id"])


def test_what_stands_around_chunks_is_bounded(served: Served) -> None:
    """Extensions and trailers that do not end."""
    for start_of in (b"1;a=", chunk(BODY) + b"0\r\nx: ", chunk(BODY) + b"0\r\n"):
        endless = b"x: a\r\n" if start_of.endswith(b"0\r\n") else b"a"
        with Wire(served) as wire:
            wire.send(CHUNKED, b"\r\n", start_of)
            with suppress(OSError):
                for _ in range(1000):
                    wire.send(endless * 10_000)
            reply = wire.read()
            assert (431, "headers-too-large") == (reply.status, reply.problem)


def test_trailers_replace_no_headers(served: Served) -> None:
    with Wire(served) as wire:
        wire.send(CHUNKED + b"x-request-id: first\r\n\r\n" + chunk(BODY))
        reply = wire.ask(
            b"0\r\nx-request-id: second\r\nhost: evil.example\r\ncontent-type: text/plain\r\n\r\n"
        )
        assert (200, "first") == (reply.status, reply.json["request_id"])
        whole = (
            CHUNKED + b"x-request-id: a\r\n\r\n" + chunk(BODY) + b"0\r\nx-request-id: b\r\nhost: evil\r\n\r\n"
        )
        reply = wire.ask(whole)
        assert (200, "a") == (reply.status, reply.json["request_id"])


def test_a_body_without_a_length_is_bounded(served: Served) -> None:
    with Wire(served) as wire:
        wire.send(CHUNKED, b"\r\n")
        with suppress(OSError):
            for _ in range(30):
                wire.send(chunk(b" " * 1000))
        reply = wire.read()
        assert (413, "too-large") == (reply.status, reply.problem)


def test_a_length_that_is_too_little(served: Served) -> None:
    """What is left over is no request."""
    with Wire(served) as wire:
        reply = wire.ask(request("POST", "/v1/route", BODY, content_length=str(len(BODY) - 1)))
        assert (400, "malformed-json") == (reply.status, reply.problem)
        reply = wire.read()
        assert (400, "bad-http") == (reply.status, reply.problem)
        assert b"" == wire.rest()


def test_a_client_that_goes_before_the_end_of_its_body(served: Served) -> None:
    before = len(served.events("request"))
    with Wire(served) as wire:
        wire.send(request("POST", "/v1/route", BODY)[:-1])
    wait_until(lambda: len(served.events("request")) > before, "it was not noticed")
    assert (499, "route") == tuple(served.events("request")[-1][key] for key in ("status", "endpoint"))


@pytest.mark.parametrize("size", [20_001, 300_000])
def test_a_connection_goes_on_after_errors(served: Served, size: int) -> None:
    wrong = {
        404: request("GET", "/nothing"),
        405: request("DELETE", "/v1/route"),
        413: request("POST", "/v1/route", b'"' + b"a" * size + b'"'),
        415: request("POST", "/v1/route", BODY, content_type="text/plain"),
        422: request("POST", "/v1/route", b"{}"),
        403: request("POST", "/v1/route", BODY, origin="https://evil.example"),
        400: request("POST", "/v1/route", b"{"),
    }
    with Wire(served) as wire:
        for status, sent in wrong.items():
            reply = wire.ask(sent)
            assert status == reply.status
            assert reply.problem
            assert 200 == wire.ask(route()).status


# 100-continue


def test_a_client_that_waits_to_be_asked_for_its_body(served: Served) -> None:
    sent = request("POST", "/v1/route", BODY, expect="100-continue")
    with Wire(served) as wire:
        assert 100 == wire.ask(sent[: -len(BODY)]).status
        assert 200 == wire.ask(BODY).status


def test_a_client_that_is_refused_before_its_body(served: Served) -> None:
    """Whether the body comes or not, nothing is taken for it that is none."""
    sent = request("POST", "/v1/route", b"", expect="100-continue", content_length="30000")
    with Wire(served) as wire:
        reply = wire.ask(sent)
        assert (413, "close") == (reply.status, reply.headers["connection"])
        with suppress(OSError):
            wire.send(route() * 200)
        assert b"" == wire.rest()


# More than one request on a connection


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    with Wire(served) as wire:
        sent = [route(f"number {i}", x_request_id=f"id-{i}") for i in range(50)]
        sent[25] = request("POST", "/v1/route", b"{}", x_request_id="id-25")
        sent[30] = request("GET", "/healthz", x_request_id="id-30")
        wire.send(b"".join(sent))
        replies = [wire.read() for _ in sent]
        assert [f"id-{i}" for i in range(50)] == [reply.headers["x-request-id"] for reply in replies]
        assert [422 if i == 25 else 200 for i in range(50)] == [reply.status for reply in replies]


def test_what_was_asked_before_garbage_is_answered(served: Served) -> None:
    for after in (b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"a" * 20 * MAX_HEAD):
        with Wire(served) as wire:
            wire.send(route() * 3 + after)
            assert [200] * 3 == [wire.read().status for _ in range(3)]
            assert wire.read().problem in ("bad-http", "headers-too-large")
            assert b"" == wire.rest()


@pytest.mark.parametrize("option", ["", "connection: keep-alive\r\n"])
def test_http_1_0(served: Served, option: str) -> None:
    head = f"POST /v1/route HTTP/1.0\r\n{option}content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
    with Wire(served) as wire:
        reply = wire.ask(head.encode() + BODY)
        assert (200, "tw-toy", "close") == (reply.status, reply.json["model_id"], reply.headers["connection"])
        assert b"" == wire.rest()


def test_head_has_no_body(served: Served) -> None:
    with Wire(served) as wire:
        for path in ("/healthz", "/v1/model", "/", "/nothing", "/metrics"):
            whole = wire.ask(request("GET", path))
            wire.send(request("HEAD", path))
            head = wire.read(head_only=True)
            assert (whole.status, whole.headers["content-type"]) == (
                head.status,
                head.headers["content-type"],
            )
        assert 200 == wire.ask(route()).status  # nothing was left over


def test_a_request_that_would_rather_speak_http_2_is_read_all_the_same(served: Served) -> None:
    """Java's client asks so with its first request; the parser takes the body for the other protocol."""
    how = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": "h2c",
        "http2_settings": "AAEAAEAAAAIAAAABAAMAAABk",
    }
    sent = request("POST", "/v1/route", BODY, **how)
    chunked = CHUNKED + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n" + chunk(BODY) + b"0\r\n\r\n"
    with Wire(served) as wire:
        for parts in ([sent], [sent[: -len(BODY)], BODY], [sent[:-5], sent[-5:]], [sent * 2], [chunked]):
            for part in parts:
                wire.send(part)
                time.sleep(0.05)
            for _ in range(2 if parts == [sent * 2] else 1):
                reply = wire.read()
                assert (200, "tw-toy") == (reply.status, reply.json["model_id"])
        reply = wire.ask(request("GET", "/healthz", connection="upgrade, close", upgrade="websocket"))
        assert (200, "close") == (reply.status, reply.headers["connection"])
        assert b"" == wire.rest()


def test_the_server_does_not_say_what_it_is(served: Served) -> None:
    assert "server" not in ask(served, "GET", "/healthz").headers


# Connections


def is_served(served: Served) -> bool:
    with suppress(OSError, AssertionError):
        return 200 == ask(served, "POST", "/v1/route", BODY).status
    return False


def test_too_many_connections_are_refused(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact), "--max-connections", "5") as served, connect(served, 5) as wires:
        assert {200} == {wire.ask(route()).status for wire in wires}
        for _ in range(3):
            with Wire(served) as wire:
                reply = wire.ask(route())
                assert (503, "overloaded", "1") == (reply.status, reply.problem, reply.headers["retry-after"])
                assert b"" == wire.rest()
        assert {200} == {wire.ask(route()).status for wire in wires}
        for wire in wires[1:]:
            wire.__exit__()
        wait_until(lambda: is_served(served), "closed connections still count")


def test_health_is_answered_where_all_connections_are_taken(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact), "--max-connections", "5") as served, connect(served, 5) as wires:
        assert {200} == {wire.ask(route()).status for wire in wires}
        with Wire(served) as spare:
            for path in ("/healthz", "/readyz?probe=1", "/metrics"):
                assert 200 == spare.ask(request("GET", path)).status
            assert 503 == spare.ask(request("GET", "/v1/model")).status
        with Wire(served) as spare:
            assert 200 == spare.ask(request("GET", "/healthz")).status
            for wire in wires:
                wire.__exit__()
            wait_until(lambda: is_served(served), "closed connections still count")
        with connect(served, 5), Wire(served) as spare:  # a spare one is not kept for who does not ask
            began = time.monotonic()
            assert b"" == spare.rest()
            assert time.monotonic() - began < 5


def test_more_connections_than_are_spare_are_refused_unheard(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact), "--max-connections", "5") as served, connect(served, 5) as wires:
        assert {200} == {wire.ask(route()).status for wire in wires}
        with connect(served, 32), Wire(served) as wire:
            reply = wire.read()
            assert (503, "overloaded") == (reply.status, reply.problem)
            assert b"" == wire.rest()


def test_a_service_that_runs_out_of_files_recovers(toy_artifact: Path) -> None:
    limited = ("bash", "-c", 'ulimit -n 40; exec "$@"', "-", *COMMAND)
    with start("--model", str(toy_artifact), command=limited) as served:
        with connect(served, 80):
            time.sleep(0.5)
        wait_until(lambda: is_served(served), "it does not recover")
