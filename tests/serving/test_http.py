"""What HTTP itself says: media types, sizes, methods, paths, heads, and problems that a client can read."""

from __future__ import annotations

import gzip
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import serve
from wire import JSON, MARKER, NDJSON, Answer, Client, refused

BODY = json.dumps({"prompt": MARKER}).encode()
GETS = ("/", "/healthz", "/metrics", "/openapi.json", "/readyz", "/v1/model")
POSTS = ("/v1/route", "/v1/route/batch", "/v1/model/reload")
LIMIT = 1024 * 1024


# Media types


@pytest.mark.parametrize("path", ["/v1/route", "/v1/route/batch"])
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application",
        "application/json+x",
        "application/*",
        "text/json",
        f"{JSON}, {JSON}",
        ";application/json",
    ],
)
def test_a_body_says_that_it_is_json(client: Client, path: str, content_type: str | None) -> None:
    refused(client.post(path, BODY, content_type), "unsupported-media-type", f"Content-Type: {JSON}")


def test_the_route_takes_no_stream(client: Client) -> None:
    refused(client.post("/v1/route", BODY, NDJSON), "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "Application/JSON",
        f"{JSON};charset=utf-8",
        f'{JSON}; charset="UTF-8"',
        f"{JSON} ; charset=utf8",
        f"{JSON}; charset=us-ascii",
        f"{JSON}; profile=x",
        f"{JSON};",
    ],
)
def test_a_body_may_say_so_in_many_ways(client: Client, content_type: str) -> None:
    assert 200 == client.post("/v1/route", BODY, content_type).status


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", '"iso-8859-1"', "utf-7", "x; charset=utf-8"])
@pytest.mark.parametrize(("path", "media_type"), [("/v1/route", JSON), ("/v1/route/batch", NDJSON)])
def test_another_charset_is_refused(client: Client, path: str, media_type: str, charset: str) -> None:
    content_type = f"{media_type}; charset={charset}"
    refused(client.post(path, BODY, content_type), "unsupported-media-type", "charset", "UTF-8")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate", "identity, gzip", "x"])
@pytest.mark.parametrize(
    ("path", "media_type"), [("/v1/route", JSON), ("/v1/route/batch", JSON), ("/v1/route/batch", NDJSON)]
)
def test_a_compressed_body_is_refused(client: Client, path: str, media_type: str, encoding: str) -> None:
    answer = client.post(path, gzip.compress(BODY), media_type, Content_Encoding=encoding)
    refused(answer, "unsupported-media-type", "compressed")


def test_a_body_may_say_that_it_is_not_compressed(client: Client) -> None:
    assert 200 == client.post("/v1/route", BODY, Content_Encoding="identity").status


def test_the_answer_is_never_compressed(client: Client) -> None:
    """Nothing that a client sends may be learned from the length of what it gets."""
    answer = client.get("/v1/model", Accept_Encoding="gzip, br")
    assert "content-encoding" not in answer.headers
    assert "tw-toy" == answer.json()["model_id"]


# Bodies


@pytest.mark.parametrize("path", ["/v1/route", "/v1/route/batch"])
def test_an_empty_body_is_no_json(client: Client, path: str) -> None:
    refused(client.post(path, b""), "malformed-json", "the body is empty")
    refused(client.send(client.head("POST", path, f"Content-Type: {JSON}")), "malformed-json", "empty")


@pytest.mark.parametrize("path", ["/v1/route", "/v1/route/batch"])
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("invalid-utf8", BODY.replace(b"zebra", b"zebra\xff")),
        ("invalid-utf8", BODY.decode().encode("utf-16")),
        ("malformed-json", b"\xef\xbb\xbf" + BODY),
        ("malformed-json", BODY[:-1]),
        ("malformed-json", BODY + b"x"),
        ("malformed-json", BODY + BODY),
        ("malformed-json", BODY.replace(b"zebra", b"zebra\n")),
        ("malformed-json", MARKER.encode()),
        ("malformed-json", b"prompt=" + MARKER.encode()),
        ("malformed-json", BODY.replace(b"}", b',"prompt":""}')),
        ("malformed-json", BODY.replace(b"}", b',"policy":{"floor":"small","floor":"large"}}')),
        ("malformed-json", BODY.replace(b"}", b',"tools":[{"a":{"b":1,"b":2}}]}')),
        ("malformed-json", BODY.replace(b"}", b',"context_tokens":' + b"1" * 5000 + b"}")),
        ("malformed-json", BODY.replace(b"}", b',"context_tokens":NaN}')),
        ("malformed-json", BODY.replace(b"}", b',"tools":' + b"[" * 32 + b"]" * 32 + b"}")),
        ("malformed-json", BODY.replace(b"}", b',"tools":[' + b'{"a":' * 31 + b"0" + b"}" * 31 + b"]}")),
        ("malformed-json", b"[" * LIMIT),
        ("malformed-json", b'{"prompt":' * (LIMIT // 10)),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else value,
)
def test_a_body_that_is_no_json_is_refused(client: Client, path: str, name: str, body: bytes) -> None:
    refused(client.post(path, body), name)


def test_tools_nest_to_the_limit(client: Client) -> None:
    tools = b'{"a":' * 30 + b"0" + b"}" * 30
    assert 200 == client.post("/v1/route", BODY.replace(b"}", b',"tools":[' + tools + b"]}")).status


def test_brackets_in_a_prompt_do_not_nest(client: Client) -> None:
    assert 200 == client.route({"prompt": MARKER + '[{"\\' * 10_000}).status


def padded(n: int) -> bytes:
    """Return a request of so many bytes."""
    return BODY.replace(b"zebra", b"zebra" + b"x" * (n - len(BODY)))


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(client: Client) -> None:
    assert LIMIT == len(padded(LIMIT))
    assert 200 == client.post("/v1/route", padded(LIMIT)).status
    for path in ("/v1/route", "/v1/route/batch"):
        refused(client.post(path, padded(LIMIT + 1)), "too-large", "1,048,576 bytes", "context_tokens")
    assert 200 == client.route({"prompt": MARKER}).status  # the connection is still good


def chunked(body: bytes, size: int) -> Iterator[bytes]:
    for i in range(0, len(body), size):
        part = body[i : i + size]
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def test_a_body_in_chunks_is_bounded_too(client: Client) -> None:
    head = client.head("POST", "/v1/route", f"Content-Type: {JSON}", "Transfer-Encoding: chunked")
    assert 200 == client.send(head, *chunked(BODY, 1)).status
    assert 200 == client.send(head, *chunked(padded(LIMIT), 60_000)).status
    refused(client.send(head, *chunked(padded(LIMIT + 1), 60_000)), "too-large")
    refused(client.send(head, *chunked(padded(10 * LIMIT), 60_000)), "too-large")


def test_a_client_that_sends_ten_megabytes_first_can_read_why_not(server: str) -> None:
    """The server reads what still comes; it does not reset the connection under the answer."""
    for _ in range(3):
        request = urllib.request.Request(  # noqa: S310 - to ourselves
            f"{server}/v1/route", padded(10_000_000), {"Content-Type": JSON}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)  # noqa: S310 - to ourselves
        with caught.value as error:
            answer = Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())
        refused(answer, "too-large")


def test_a_client_that_asks_first_need_not_send(client: Client) -> None:
    headers = (f"Content-Type: {JSON}", "Expect: 100-continue")
    head = client.head("POST", "/v1/route", *headers, "Content-Length: 10000000")
    refused(client.send(head), "too-large")
    refused(client.send(head.replace(JSON.encode(), b"text/plain")), "unsupported-media-type")
    with client.connect() as connection:
        connection.sendall(client.head("POST", "/v1/route", *headers, f"Content-Length: {len(BODY)}"))
        response = HTTPResponse(connection)
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == connection.recv(25, socket.MSG_WAITALL)
        connection.sendall(BODY)
        response.begin()
        assert 200 == response.status
        response.close()


@pytest.mark.parametrize("size", [1, 7])
def test_a_request_may_come_in_pieces(client: Client, size: int) -> None:
    whole = client.head("POST", "/v1/route", f"Content-Type: {JSON}", f"Content-Length: {len(BODY)}") + BODY
    assert 200 == client.send(*(whole[i : i + size] for i in range(0, len(whole), size))).status


def test_requests_may_come_before_the_answers(client: Client) -> None:
    """Pipelined, they are answered in order."""
    n = 20
    requests = [
        client.head(
            "POST", "/v1/route", f"Content-Type: {JSON}", f"Content-Length: {len(BODY)}", f"X-Request-ID: {i}"
        )
        + BODY
        for i in range(n)
    ]
    with client.connect() as connection:
        connection.sendall(b"".join(requests) + client.head("GET", "/healthz", "Connection: close"))
        with connection.makefile("rb") as stream:
            text = stream.read()
    ids = [
        json.loads(part.partition(b"\r\n\r\n")[2])["request_id"] for part in text.split(b"HTTP/1.1 ")[1:-1]
    ]
    assert [str(i) for i in range(n)] == ids
    assert text.endswith(b'{"status":"ok"}')


# Methods and paths


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
@pytest.mark.parametrize("path", [*GETS, *POSTS])
def test_a_method_that_is_not_offered_is_refused_with_those_that_are(
    client: Client, path: str, method: str
) -> None:
    if method in (("POST",) if path in POSTS else ("GET", "HEAD")):
        return
    answer = client.ask(method, path)
    allowed = {name.strip() for name in answer.headers["allow"].split(",")}
    assert ({"POST"} if path in POSTS else {"GET", "HEAD"}) == allowed | (
        {"HEAD"} if "GET" in allowed else set()
    )
    if method == "HEAD":
        assert (405, b"") == (answer.status, answer.body)
    else:
        refused(answer, "method-not-allowed", answer.headers["allow"])


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_a_body(client: Client, path: str) -> None:
    get, head = client.get(path), client.ask("HEAD", path)
    assert (200, 200, b"") == (get.status, head.status, head.body)
    if path != "/metrics":  # which counts the request before
        assert get.headers["content-length"] == head.headers["content-length"]
    assert get.headers["content-type"] == head.headers["content-type"]
    assert get.headers.keys() == head.headers.keys()


UNKNOWN = (
    "/nowhere",
    f"/{MARKER}",
    f"/v1/route?{MARKER}#",
    "/v1/route/",
    "/v1/route/batch/",
    "/v1/model/",
    "/v1/model/reload/",
    "/v1/model%0A",
    "/v1/model/reload%0a",
    "/v1/route%0A",
    "/v1/route/batch%0A",
    "/metrics%0A",
    "/metrics/",
    "/readyz%0A",
    "/v1/model%00",
    "/v1/model%20",
    "/v1/model;x",
    "/V1/model",
    "//v1/model",
    "/v1//model",
    "/v1/./model",
    "/v1/x/../model",
    "/v1",
    "/docs",
    "/redoc",
    "/openapi.json/",
    "/page.html",
    "/..%2f..%2fetc/passwd",
    "/%ff",
    "*",
)


@pytest.mark.parametrize("path", [path for path in UNKNOWN if "?" not in path])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_not_there_is_not_found(client: Client, method: str, path: str) -> None:
    answer = client.ask(method, path, BODY if method == "POST" else None, {"Content-Type": JSON})
    refused(answer, "not-found", "/v1/route")
    assert "location" not in answer.headers
    assert {"status": "ok"} == client.get("/healthz").json()


@pytest.fixture(scope="module")
def guarded(toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that wants keys."""
    keys = tmp_path_factory.mktemp("keys")
    for name in ("keys", "admin"):
        (keys / name).write_text(f"{name}-of-twenty-characters\n", encoding="utf-8")
    options = ("--keys", str(keys / "keys"), "--admin-keys", str(keys / "admin"))
    with serve("--model", str(toy_artifact), *options) as address:
        yield address


@pytest.mark.parametrize(
    "path", [*UNKNOWN, *POSTS, "/v1/model", "/metrics", "/v1/%6dodel", "/v1/model?x=1", "http://x/v1/model"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PUT"])
def test_no_spelling_of_a_path_gets_round_the_keys(guarded: str, method: str, path: str) -> None:
    """Whatever is not refused for its key is not there."""
    with Client(guarded) as stranger:
        answer = stranger.ask(method, path, BODY, {"Content-Type": JSON})
    assert answer.status in (401, 404)
    assert b"tw-toy" not in answer.body
    if answer.status == 401:
        assert "Bearer" == answer.headers["www-authenticate"]


def test_the_keys_open_what_they_are_for(guarded: str) -> None:
    """So that the test before can fail."""
    with Client(guarded, "keys-of-twenty-characters") as user:
        assert 200 == user.route({"prompt": MARKER}).status
        assert 200 == user.get("/v1/model").status
        refused(user.post("/v1/model/reload", b"", None), "forbidden")
    with Client(guarded, "admin-of-twenty-characters") as admin:
        assert 200 == admin.post("/v1/model/reload", b"", None).status


# Request ids


@pytest.mark.parametrize("given", ["a", "A.b_c:d-9", "x" * 128])
@pytest.mark.parametrize("path", ["/v1/route", "/v1/route/batch", "/nowhere"])
def test_a_request_id_is_taken_and_given_back(client: Client, path: str, given: str) -> None:
    document = {"items": [{"prompt": MARKER}]} if path.endswith("batch") else {"prompt": MARKER}
    answer = client.post(path, document, X_Request_ID=given)
    assert given == answer.headers["x-request-id"] == answer.json()["request_id"]


@pytest.mark.parametrize("given", ["", " ", "x" * 129, "a b", "a/b", "é", '"', "a,b", "${jndi:x}", "a\tb"])
def test_a_request_id_of_another_form_is_replaced(client: Client, given: str) -> None:
    answer = client.post("/v1/route", BODY, X_Request_ID=given)
    found = answer.json()["request_id"]
    assert 200 == answer.status
    assert found == answer.headers["x-request-id"]
    assert found not in ("", given)


def test_request_ids_differ(client: Client) -> None:
    ids = {client.route({"prompt": MARKER}).json()["request_id"] for _ in range(50)}
    assert 50 == len(ids)


# Heads


def bad(client: Client, raw: bytes) -> dict[str, Any]:
    """Send what is no request; return the problem, which has no id: there is no head to read one from."""
    answer = client.send(raw)
    problem: dict[str, Any] = answer.json()
    assert ("close", "application/problem+json") == (
        answer.headers["connection"],
        answer.headers["content-type"],
    )
    assert answer.status == problem["status"]
    assert MARKER not in str(answer)
    return problem


@pytest.mark.parametrize(
    "raw",
    [
        MARKER.encode() + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,  # a client that speaks TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"FROBNICATE /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        # Two readers of one of these may see two requests where the other sees one.
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ],
    ids=lambda raw: raw[:60] + raw[-20:],
)
def test_what_is_no_http_is_told_so(client: Client, raw: bytes) -> None:
    assert "urn:tierwise:problem:bad-http" == bad(client, raw)["type"]
    assert 200 == client.get("/healthz").status


@pytest.mark.parametrize(
    "line", ["X-Long: " + "x" * 40_000, "\r\n".join(f"X-{i}: {MARKER}" for i in range(2000))]
)
def test_a_head_that_is_too_large_is_told_so(client: Client, line: str) -> None:
    assert (
        "urn:tierwise:problem:headers-too-large" == bad(client, client.head("GET", "/healthz", line))["type"]
    )
    problem = bad(client, client.head("GET", f"/healthz?{'x' * 40_000}"))
    assert "urn:tierwise:problem:headers-too-large" == problem["type"]


def test_names_of_headers_are_in_any_case(client: Client) -> None:
    head = client.head(
        "POST",
        "/v1/route",
        "CONTENT-TYPE: application/json",
        f"content-LENGTH: {len(BODY)}",
        "x-REQUEST-id: here",
    )
    assert "here" == client.send(head + BODY).json()["request_id"]


def test_http_1_0_is_answered_and_closed(client: Client) -> None:
    raw = client.head("POST", "/v1/route", f"Content-Type: {JSON}", f"Content-Length: {len(BODY)}") + BODY
    with client.connect() as connection:
        connection.sendall(raw.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        with connection.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in head
    assert "tw-toy" == json.loads(body)["model_id"]


ODD = st.sampled_from(
    [
        b"",
        b"\r\n",
        b"\r",
        b"\n",
        b"\x00",
        b" ",
        b":",
        b"\xff",
        b"chunked",
        b"Content-Length: 3\r\n",
        b"0\r\n\r\n",
        b"9" * 30,
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b"Expect: 100-continue\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ]
)


@settings(max_examples=300)
@given(
    path=st.sampled_from([*GETS, *POSTS]),
    edits=st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 8), ODD | st.binary(max_size=3)), max_size=4
    ),
    times=st.integers(1, 2),
)
def test_whatever_comes_is_answered_or_closed(
    server: str, path: str, edits: list[tuple[int, int, bytes]], times: int
) -> None:
    """A request of which pieces are cut out and others put in: each answer is whole, and none is an error of ours."""
    with Client(server) as client:
        method = "POST" if path in POSTS else "GET"
        raw = client.head(method, path, f"Content-Type: {JSON}", f"Content-Length: {len(BODY)}") + BODY
        for at, cut, put in edits:
            raw = raw[:at] + put + raw[at + cut :]
        with client.connect() as connection:
            connection.sendall(raw * times)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                try:
                    text = stream.read()
                except ConnectionResetError:  # closed before all of it was read
                    text = b""
        assert {"status": "ok"} == client.get("/healthz").json()
    assert text == b"" or text.startswith(b"HTTP/1.1 ")
    for answer in text.split(b"HTTP/1.1 ")[1:]:
        assert answer[:3] not in (b"500", b"408")
        assert MARKER.encode() not in answer


# What this machine's browsers may be made to ask


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "[::2]"]
)
def test_another_name_for_this_machine_is_refused_without_keys(client: Client, host: str) -> None:
    for path in ("/v1/model", "/metrics"):
        refused(client.get(path, Host=host), "forbidden", "the header Host names another")
    answer = client.post("/v1/route", BODY, Host=host)
    refused(answer, "forbidden")
    assert 200 == client.get("/healthz", Host=host).status


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8080"]
)
def test_names_of_this_machine_are_answered(client: Client, host: str) -> None:
    assert 200 == client.get("/v1/model", Host=host).status


def test_pages_of_other_sites_are_refused_without_keys(client: Client) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://localhost:1",
        f"https://127.0.0.1:{client.port}.evil",
    ):
        answer = client.post("/v1/route", BODY, Origin=origin)
        refused(answer, "forbidden", "another site")
        assert "access-control-allow-origin" not in answer.headers
    own = f"http://{client.host}:{client.port}"
    assert 200 == client.post("/v1/route", BODY, Origin=own).status


# The page


def test_the_page_may_run_its_own_script_and_nothing_else(client: Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "nosniff" == answer.headers["x-content-type-options"]
