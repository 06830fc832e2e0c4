"""Batches: an answer or a problem per item, in order; as a stream, while the request is still being sent."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from served import start
from wire import JSON, MARKER, NDJSON, Client, refused

from router.serving.stream import AT_ONCE

GOOD = {"prompt": "hello"}
LIMIT = 1024 * 1024
WRONG: list[tuple[Any, str, int, str | None]] = [
    ({}, "invalid-request", 422, "#/prompt"),
    ({"prompt": 5}, "invalid-request", 422, "#/prompt"),
    ({"prompt": MARKER, "policy": {"floor": "smal"}}, "invalid-request", 422, "#/policy/floor"),
    ({"messages": [{"role": "user", "content": 1}]}, "invalid-request", 422, "#/messages/0/content"),
    ({"prompt": MARKER, "items": []}, "invalid-request", 422, "#/items"),
    ([MARKER], "invalid-request", 422, "#"),
    (MARKER, "invalid-request", 422, "#"),
    (None, "invalid-request", 422, "#"),
]


def check_error(result: dict[str, Any], item: int, name: str, status: int, pointer: str | None) -> None:
    assert {"item", "error"} == set(result)
    error = result["error"]
    assert (item, f"urn:tierwise:problem:{name}", status) == (result["item"], error["type"], error["status"])
    assert MARKER not in json.dumps(result)
    # It is told as if the item were a body of its own.
    assert (None if pointer is None else pointer) == (
        error["errors"][0]["pointer"] if "errors" in error else None
    )


# As one document


def test_each_item_gets_its_result_in_order(client: Client) -> None:
    prompts = ["hello", "prove the sum " * 90, "", "世界", "train " * 2000]
    answer = client.batch(*({"prompt": prompt} for prompt in prompts))
    document = answer.json()
    assert {"request_id", "model_id", "tiers", "results"} == set(document)
    assert ("tw-toy", ["small", "medium", "large"]) == (document["model_id"], document["tiers"])
    assert answer.headers["x-request-id"] == document["request_id"]
    assert list(range(5)) == [result["item"] for result in document["results"]]
    for prompt, result in zip(prompts, document["results"], strict=True):
        alone = client.route({"prompt": prompt}).json()
        assert set(alone) - {"request_id", "tiers"} == set(result) - {"item"}
        assert (alone["tier"], alone["reason"]) == (result["tier"], result["reason"])


def test_items_in_another_order_get_the_same_results(client: Client) -> None:
    items = [{"prompt": "hello " * i} for i in range(1, 40)]
    forward = client.batch(*items).json()["results"]
    backward = client.batch(*items[::-1]).json()["results"]
    for one, other in zip(forward, backward[::-1], strict=True):
        assert one["tier"] == other["tier"]
        assert one["p_pass"] == pytest.approx(other["p_pass"], abs=2e-6)


def test_what_is_wrong_with_an_item_is_told_with_the_item(client: Client) -> None:
    items = [part for document, *_ in WRONG for part in (GOOD, document)]
    answer = client.batch(*items)
    assert 200 == answer.status
    results = answer.json()["results"]
    assert 2 * len(WRONG) == len(results)
    for i, (_, name, status, pointer) in enumerate(WRONG):
        assert (2 * i, "medium") == (results[2 * i]["item"], results[2 * i]["tier"])
        check_error(results[2 * i + 1], 2 * i + 1, name, status, pointer)


def test_all_items_may_be_wrong(client: Client) -> None:
    results = client.batch({}, {}).json()["results"]
    assert [0, 1] == [result["item"] for result in results]
    assert all("error" in result for result in results)


@pytest.mark.parametrize("n", [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 1024])
def test_batches_of_any_size_up_to_the_limit(client: Client, n: int) -> None:
    results = client.batch(*[GOOD] * n).json()["results"]
    assert list(range(n)) == [result["item"] for result in results]
    assert {"medium"} == {result["tier"] for result in results}


@pytest.mark.parametrize(
    ("name", "pointer", "words", "document"),
    [
        ("invalid-request", "#/items", ["items: ", "at least 1 item"], {"items": []}),
        ("invalid-request", "#/items", ["items: is missing"], {}),
        ("invalid-request", "#/items", ["items: expected a list, found an object"], {"items": GOOD}),
        ("invalid-request", "#/items", ["items: expected a list, found null"], {"items": None}),
        ("invalid-request", "#", ["the body: expected an object, found a list"], [GOOD]),
        ("invalid-request", "#/prompts", ["known fields: items"], {"items": [GOOD], "prompts": [MARKER]}),
        ("invalid-request", "#/policy", ["known fields: items"], {"items": [GOOD], "policy": {}}),
        ("invalid-request", "#/epsilon", ["known fields: items"], {"items": [GOOD], "epsilon": 0.1}),
        ("too-many-items", "#/items", ["at most 1,024, found 1,025", "NDJSON"], {"items": [{"prompt": MARKER}] * 1025}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_batch_that_is_wrong_as_a_whole_is_refused(
    client: Client, name: str, pointer: str, words: list[str], document: Any
) -> None:
    refused(client.post("/v1/route/batch", document), name, *words, pointer=pointer)


def test_results_are_counted(client: Client) -> None:
    before = client.metrics()
    client.batch(GOOD, {}, GOOD, {"prompt": ""}, 5)
    client.stream(GOOD, {}, b"{\n", GOOD, b"\xff\n")
    counted = client.counted_since(before)
    assert 4 == counted['tierwise_decisions_total{reason="sufficient",tier="medium"}']
    assert 1 == counted['tierwise_decisions_total{reason="empty",tier="large"}']
    assert 3 == counted['tierwise_errors_total{type="invalid-request"}']
    assert 1 == counted['tierwise_errors_total{type="malformed-json"}']
    assert 1 == counted['tierwise_errors_total{type="invalid-utf8"}']
    assert 5 == counted["tierwise_novelty_count"]
    assert 2 == counted['tierwise_request_seconds_count{endpoint="batch"}']


# As a stream


def test_each_line_gets_its_line(client: Client) -> None:
    answer = client.stream(GOOD, {"prompt": ""}, GOOD)
    assert (200, NDJSON) == (answer.status, answer.headers["content-type"])
    assert "x-request-id" in answer.headers
    results = answer.lines()
    assert [0, 1, 2] == [result["item"] for result in results]
    assert ["medium", "large", "medium"] == [result["tier"] for result in results]
    alone = client.batch(GOOD, {"prompt": ""}, GOOD).json()["results"]
    assert [set(result) for result in alone] == [set(result) for result in results]


def test_what_is_wrong_with_a_line_is_told_in_its_place(client: Client) -> None:
    lines: list[tuple[bytes, str, int, str | None]] = [
        *(
            (json.dumps(document).encode() + b"\n", name, status, pointer)
            for document, name, status, pointer in WRONG
        ),
        (f'{{"prompt":"{MARKER}"\n'.encode(), "malformed-json", 400, None),
        (f'{{"prompt":"{MARKER}\xff"}}\n'.encode("latin-1"), "invalid-utf8", 400, None),
        (f'{{"prompt":"{MARKER}","prompt":""}}\n'.encode(), "malformed-json", 400, None),
        (f'{{"prompt":"{MARKER}","context_tokens":NaN}}\n'.encode(), "malformed-json", 400, None),
        (b"[" * 1000 + b"\n", "malformed-json", 400, None),
        (b"1" * 5000 + b"\n", "malformed-json", 400, None),
        (b"{} {}\n", "malformed-json", 400, None),
        (b'["' + b"x" * LIMIT + b'"]\n', "too-large", 413, None),
    ]
    sent = [part for line, *_ in lines for part in (GOOD, line)]
    results = client.stream(*sent, GOOD).lines()
    assert 2 * len(lines) + 1 == len(results)
    assert {"medium"} == {result["tier"] for result in results[::2]}
    assert list(range(0, len(results), 2)) == [result["item"] for result in results[::2]]
    for i, (_, name, status, pointer) in enumerate(lines):
        check_error(results[2 * i + 1], 2 * i + 1, name, status, pointer)


@pytest.mark.parametrize(
    ("n", "body"),
    [
        (0, b""),
        (0, b"\n"),
        (0, b"\r\n \n\t\r\n"),
        (1, b'{"prompt":"hello"}'),
        (1, b'{"prompt":"hello"}\r\n'),
        (1, b'\n\n{"prompt":"hello"}'),
        (2, b'{"prompt":"hello"}\r\n\r\n{"prompt":"hello"}\r\n'),
        (2, b' {"prompt":"hello"} \n\n\n\t{"prompt":"hello"}\t'),
    ],
)
def test_lines_may_end_in_many_ways(client: Client, n: int, body: bytes) -> None:
    results = client.stream(body).lines() if n else []
    assert 200 == client.stream(body).status
    assert (b"" == client.stream(body).body) == (n == 0)
    assert [(i, "medium") for i in range(n)] == [(result["item"], result["tier"]) for result in results]


HEAD = ("POST", "/v1/route/batch", f"Content-Type: {NDJSON}")


def test_lines_may_be_cut_anywhere(client: Client) -> None:
    """At each byte, by the network and by the client's chunks; a character too."""
    body = '{"prompt":"héllo 世界 🙂"}\r\n\n{"prompt":\n{"prompt":"\\n"}'.encode()
    expected = client.stream(body).lines()
    assert 3 == len(expected)
    length = client.head(*HEAD, f"Content-Length: {len(body)}")
    in_chunks = client.head(*HEAD, "Transfer-Encoding: chunked")
    for cut in range(1, len(body)):
        a, b = body[:cut], body[cut:]
        assert expected == client.send(length, a, b).lines()
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (a, b)) + b"0\r\n\r\n"
        assert expected == client.send(in_chunks, chunks).lines()
    assert expected == client.send(length, *(body[i : i + 1] for i in range(len(body)))).lines()


def test_a_line_may_be_as_long_as_the_limit_and_no_longer(client: Client) -> None:
    frame = len(json.dumps(GOOD))
    longest, longer = ({"prompt": "hello" + "x" * (LIMIT - frame + more)} for more in (0, 1))
    assert LIMIT == len(json.dumps(longest))
    # The longer one twice: whole, and as the last line, which has no end.
    results = client.stream(longest, longer, GOOD, longest, GOOD, json.dumps(longer).encode()).lines()
    assert ["context", "too-large", "medium", "context", "medium", "too-large"] == [
        result["error"]["type"].rpartition(":")[2]
        if "error" in result
        else result["tier"] if result["tier"] == "medium" else result["reason"]
        for result in results
    ]  # fmt: skip
    assert list(range(6)) == [result["item"] for result in results]


@contextmanager
def streaming(client: Client) -> Iterator[tuple[socket.socket, Any]]:
    """Begin a stream; yield the connection, and a function that sends a chunk."""
    with client.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(client.head(*HEAD, "Transfer-Encoding: chunked"))

        def send(part: bytes) -> None:
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))

        yield connection, send


def test_results_come_before_the_request_has_ended(client: Client) -> None:
    """A line is answered while the next one is not yet there; one that is cut waits for its end."""
    line = json.dumps(GOOD).encode() + b"\n"
    with streaming(client) as (connection, send):
        send(line)
        response = HTTPResponse(connection)
        response.begin()
        for i in range(20):
            assert i == json.loads(response.readline())["item"]
            send(line[:5])
            send(line[5:])
        send(line + line[:-1])
        assert [20, 21] == [json.loads(response.readline())["item"] for _ in range(2)]
        connection.sendall(b"0\r\n\r\n")
        assert 22 == json.loads(response.readline())["item"]
        assert b"" == response.read()
        response.close()


def test_a_line_that_is_too_long_is_told_before_it_ends(client: Client) -> None:
    with streaming(client) as (connection, send):
        send(b'{"prompt":"')
        for _ in range(20):
            send(b"x" * 60_000)
        response = HTTPResponse(connection)
        response.begin()
        assert "urn:tierwise:problem:too-large" == json.loads(response.readline())["error"]["type"]
        for _ in range(50):
            send(b"x" * 60_000)
        send(b'"}\n{"prompt":"hello"}\n')
        assert (1, "medium") == (lambda result: (result["item"], result["tier"]))(
            json.loads(response.readline())
        )
        connection.sendall(b"0\r\n\r\n")
        assert b"" == response.read()
        response.close()


def wait_for_room(client: Client) -> None:
    """Wait until those that have gone are noticed; what was read whole is decided, though nobody waits for it."""
    deadline = time.monotonic() + 30
    while client.batch(GOOD).status == 429:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_client_may_go_half_way(client: Client) -> None:
    """The batch is left, and others are answered."""
    line = json.dumps(GOOD).encode() + b"\n"
    for _ in range(40):  # more than may be under way at a time
        with streaming(client) as (_, send):
            send(line * 3 + line[:5])
        with client.connect() as connection:
            body = json.dumps({"items": [GOOD] * 200}).encode()
            connection.sendall(
                client.head(
                    "POST", "/v1/route/batch", f"Content-Type: {JSON}", f"Content-Length: {len(body)}"
                )
                + body
            )
    wait_for_room(client)
    with ExitStack() as stack:  # as many as may be, so that none that was left half-way is still counted
        for _ in range(32):
            connection, send = stack.enter_context(streaming(client))
            send(line)
            response = HTTPResponse(connection)
            response.begin()
            stack.callback(response.close)
            assert (200, 0) == (response.status, json.loads(response.readline())["item"])
        refused(client.batch(GOOD), "too-many-batches", "32")
    wait_for_room(client)


def test_a_stream_of_what_is_no_stream_is_refused(client: Client) -> None:
    refused(client.post("/v1/route/batch", b"{}\n", "application/ndjson"), "unsupported-media-type", NDJSON)
    refused(client.post("/v1/route/batch", b"{}\n", JSON), "invalid-request", pointer="#/items")


# Memory


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds, or 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    text = status.read_text(encoding="utf-8")
    return 1024 * next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS"))


def test_a_stream_of_any_length_takes_no_more_memory(toy_artifact: Path) -> None:
    n, parts = 20_000, 200
    line = json.dumps({"prompt": "write code " * 50}).encode() + b"\n"
    received: list[int] = []
    with start("--model", str(toy_artifact)) as served, Client(served.url) as client:
        pid = served.process.pid
        for _ in range(3):
            client.stream(*[line] * 300)  # what is made once
        before = resident(pid)
        with streaming(client) as (connection, send):
            response = HTTPResponse(connection)

            def read() -> None:
                response.begin()
                received.extend(json.loads(result)["item"] for result in response)

            reader = threading.Thread(target=read)
            reader.start()
            most = before
            for _ in range(parts):
                send(line * (n // parts))
                most = max(most, resident(pid))
            connection.sendall(b"0\r\n\r\n")
            reader.join(60)
            response.close()
    assert list(range(n)) == received
    assert (
        most - before < 6_000_000
    )  # all that was sent, and half of what was answered, would be 11 million each


def send_all(send: Callable[[bytes], None], parts: list[bytes]) -> None:
    for part in parts:
        send(part)


def test_a_client_that_does_not_read_makes_the_server_wait(client: Client) -> None:
    """What is not taken is not made: the server stops reading when the answers pile up."""
    line = json.dumps(GOOD).encode() + b"\n"
    with streaming(client) as (connection, send):
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):
            send_all(send, [line * 1000] * 4000)
        assert {"status": "ok"} == client.get("/healthz").json()
        assert 200 == client.route(GOOD).status
    wait_for_room(client)
