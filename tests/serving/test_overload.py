"""More than a service can do: some are turned away at once, the others are answered rightly, and then all is as before."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import Reply, Served, Wire, ask, connect, request, route, start, wait_until

from router import Router

IN_FLIGHT, BATCHES = 4, 2
STREAM = b"POST /v1/route/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
LINE = b'{"prompt":"hello"}\n'
CHUNKED = STREAM.replace(b"/v1/route/batch", b"/v1/route").replace(b"x-ndjson", b"json")
CHUNK = b"%x\r\n%b\r\n" % (len(LINE), LINE)


@pytest.fixture(scope="module")
def served(toy_artifact: Path) -> Iterator[Served]:
    options = ("--max-in-flight", str(IN_FLIGHT), "--max-batches", str(BATCHES), "--read-timeout", "20")
    with start("--model", str(toy_artifact), *options) as served:
        yield served
        assert [] == served.events("failure")


def gauge(served: Served, name: str, **labels: str) -> float:
    text = ask(served, "GET", "/metrics").body.decode()
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@contextmanager
def held(served: Served) -> Iterator[None]:
    """Stop the process for a while, so that it finds all that was asked meanwhile in one turn of its loop."""
    time.sleep(0.1)  # what was answered has ended
    os.kill(served.process.pid, signal.SIGSTOP)
    status = Path(f"/proc/{served.process.pid}/stat")
    wait_until(lambda: ") T " in status.read_text(), "the process does not stop")
    try:
        yield
        time.sleep(0.1)
    finally:
        os.kill(served.process.pid, signal.SIGCONT)


def is_calm(served: Served) -> bool:
    """Whether nothing is under way but the question for it."""
    return (gauge(served, "tierwise_in_flight"), gauge(served, "tierwise_connections")) <= (0.0, 1.0)


def test_some_are_turned_away_and_the_others_are_answered(served: Served, toy_router: Router) -> None:
    n = 60
    before = gauge(served, "tierwise_errors_total", type="overloaded")
    with connect(served, n) as wires:
        for wire in wires:
            assert 200 == wire.ask(request("GET", "/healthz")).status
        with held(served):
            for i, wire in enumerate(wires):
                wire.send(route(f"hello {i}"))
        replies = [wire.read() for wire in wires]
        refused = [reply for reply in replies if reply.status == 503]
        assert 0 < len(refused) < n
        assert {("overloaded", "1")} == {(reply.problem, reply.headers["retry-after"]) for reply in refused}
        for i, reply in enumerate(replies):
            if reply.status != 503:
                expected = toy_router.route(f"hello {i}").to_dict()
                assert expected == {key: reply.json[key] for key in expected}
        assert n - len(refused) <= IN_FLIGHT
        # On the same connections, one after the other, all are let in.
        assert [200] * n == [wire.ask(route(f"again {i}")).status for i, wire in enumerate(wires)]
    assert len(refused) == gauge(served, "tierwise_errors_total", type="overloaded") - before
    wait_until(lambda: is_calm(served), "something is left of the overload")


def test_health_is_answered_under_overload(served: Served) -> None:
    paths = ("/healthz", "/readyz", "/metrics", "/v1/model")
    with connect(served, 20) as wires, connect(served, len(paths)) as asking:
        for wire in (*wires, *asking):
            assert 200 == wire.ask(request("GET", "/healthz")).status
        with held(served):
            for wire in wires:
                wire.send(route())
            for path, wire in zip(paths, asking, strict=True):
                wire.send(request("GET", path))
        assert {200, 503} == {wire.read().status for wire in wires}
        assert {200} == {wire.read().status for wire in asking}


def test_what_is_turned_away_with_its_body_on_the_way_leaves_its_connection_whole(served: Served) -> None:
    """The body comes after the answer, and is not taken for a request."""
    body = b'{"prompt":"' + b"hello " * 20_000 + b'"}'
    sent = request("POST", "/v1/route", body)
    with connect(served, IN_FLIGHT + 1) as wires:
        for wire in wires:
            assert 200 == wire.ask(request("GET", "/healthz")).status
        with held(served):
            for wire in wires:
                wire.send(sent[:200])
        time.sleep(0.2)
        late = wires[-1]
        assert 503 == late.read().status
        late.send(sent[200:])
        for wire in wires[:-1]:
            assert 200 == wire.ask(sent[200:]).status
        assert 200 == late.ask(route()).status
        waiting = request("POST", "/v1/route", b"", expect="100-continue", content_length="18")
        with held(served):
            for wire in wires:
                wire.send(waiting)
        assert [100] * IN_FLIGHT + [503] == sorted(wire.read().status for wire in wires)
    wait_until(lambda: is_calm(served), "something is left")


def test_slow_bodies_do_not_keep_everyone_out(served: Served) -> None:
    """A request that waits for its client takes no place of one that could be answered."""
    sent = CHUNKED + CHUNK + b"0\r\n\r\n"
    with connect(served, IN_FLIGHT) as slow:
        for wire in slow:
            wire.send(sent[:-1])
        time.sleep(0.2)
        assert 503 == ask(served, "POST", "/v1/route", b'{"prompt":"hello"}').status
        wait_until(
            lambda: 200 == ask(served, "POST", "/v1/route", b'{"prompt":"hello"}').status,
            "four slow clients keep all others out",
            seconds=10,
        )
        assert [200] * IN_FLIGHT == [wire.ask(sent[-1:]).status for wire in slow]
        with held(served):
            for wire in slow:
                wire.send(sent)
        assert [200] * IN_FLIGHT == [wire.read().status for wire in slow]
    wait_until(lambda: is_calm(served), "something is left of the slow clients")


def test_who_asks_on_without_reading_is_dropped(served: Served) -> None:
    """Answers to those turned away do not pile up in memory."""
    sent = route()
    with connect(served, IN_FLIGHT) as slow:
        for wire in slow:
            wire.send(CHUNKED)
        time.sleep(0.1)
        with Wire(served) as wire, pytest.raises(ConnectionError):  # noqa: PT012 - any of them may be the first that fails
            for _ in range(2000):
                wire.send(sent * 100)
    wait_until(lambda: is_calm(served), "something is left")


@pytest.mark.parametrize("body", [b'{"items":[{"prompt":"hello"}]}', None], ids=["JSON", "stream"])
def test_too_many_batches(served: Served, body: bytes | None) -> None:
    def ask_for_one() -> Reply:
        if body is not None:
            return ask(served, "POST", "/v1/route/batch", body)
        with Wire(served) as wire:
            return wire.ask(STREAM, CHUNK, b"0\r\n\r\n")

    assert 200 == ask_for_one().status
    with connect(served, BATCHES) as streams:
        for wire in streams:
            wire.send(STREAM, CHUNK)
            assert wire.socket.recv(10).startswith(b"HTTP/1.1 2")
        for _ in range(3):
            reply = ask_for_one()
            assert (429, "too-many-batches", "1") == (
                reply.status,
                reply.problem,
                reply.headers["retry-after"],
            )
        assert 200 == ask(served, "POST", "/v1/route", LINE).status
        streams[0].send(b"0\r\n\r\n")
        wait_until(lambda: 200 == ask_for_one().status, "a place that was left stays taken")
    wait_until(lambda: 200 == ask_for_one().status, "clients that went keep their places")
    wait_until(lambda: is_calm(served), "something is left of the streams")


def test_many_clients_for_a_while(served: Served, toy_router: Router) -> None:
    """Twelve at a time ask for whatever there is, some of it wrong; each gets its own answer, or is turned away."""
    batch = json.dumps({"items": [{"prompt": f"hello {i}"} for i in range(40)]}).encode()
    expected = {f"hello {i}": toy_router.route(f"hello {i}").to_dict() for i in range(40)}
    together = [decision.to_dict() for decision in toy_router.route_many([*expected])]

    def same(reply: Reply, prompt: str) -> bool:
        return expected[prompt] == {key: reply.json[key] for key in expected[prompt]}

    def same_batch(reply: Reply) -> bool:
        results: list[dict[str, Any]] = reply.json["results"]
        return [decision | {"item": i} for i, decision in enumerate(together)] == results

    def client(seed: int) -> set[int]:
        seen = set()
        kinds: list[tuple[bytes, Callable[[Reply], bool]]] = [
            (route(f"hello {seed}"), lambda reply: same(reply, f"hello {seed}")),
            (request("POST", "/v1/route/batch", batch), same_batch),
            (request("POST", "/v1/route", b"{}"), lambda reply: reply.problem == "invalid-request"),
            (request("GET", "/readyz"), lambda reply: reply.status == 200),
        ]
        with Wire(served) as wire:
            for i in range(60):
                sent, is_right = kinds[(seed + i) % len(kinds)]
                reply = wire.ask(sent)
                seen.add(reply.status)
                assert reply.status in (429, 503) or is_right(reply)
        return seen

    with ThreadPoolExecutor(12) as pool:
        statuses = set.union(*pool.map(client, range(12)))
    assert {200, 422} <= statuses <= {200, 422, 429, 503}
    wait_until(lambda: is_calm(served), "something is left of the clients")
