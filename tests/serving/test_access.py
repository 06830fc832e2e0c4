"""Without keys a service is for this machine: neither other machines nor pages of other sites get at it."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from served import Served, Wire, ask, refuse, request, start

from router.serving import settings
from router.serving.settings import is_loopback

BODY = b'{"prompt":"hello"}'
ANY = "0.0.0.0"  # noqa: S104 - what this is about
TOOLS = "https://tools.example"
KEY = "a-key-of-this-test-0123456789"
CLOSED = [
    ("POST", "/v1/route"),
    ("POST", "/v1/route/batch"),
    ("GET", "/v1/model"),
    ("POST", "/v1/model/reload"),
    ("GET", "/metrics"),
]


@pytest.fixture(scope="module")
def served(toy_artifact: Path) -> Iterator[Served]:
    """A service without keys, on this machine."""
    with start("--model", str(toy_artifact)) as served:
        yield served
        assert [] == served.events("failure")


@pytest.fixture(scope="module")
def shared(toy_artifact: Path) -> Iterator[Served]:
    """A service without keys that one other site's pages may ask."""
    with start(
        "--model", str(toy_artifact), "--cors-origin", TOOLS, "--cors-origin", "http://localhost:3000"
    ) as served:
        yield served
        assert [] == served.events("failure")


@pytest.fixture(scope="module")
def keyed(toy_artifact: Path) -> Iterator[Served]:
    """A service with keys that one other site's pages may ask."""
    options = ("--model", str(toy_artifact), "--cors-origin", TOOLS)
    with start(*options, environment={"TIERWISE_API_KEYS": KEY}) as served:
        yield served


# Names of this machine


@pytest.mark.parametrize("method_path", CLOSED, ids=[path for _, path in CLOSED])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "127.evil.example",
     "localhost:{port}@evil.example", "evil.example#localhost", "[::2]:{port}", ANY, "10.0.0.1", "[", "::1",
     "localhost localhost", "localhost.", "127.0.0.1:", "\xff", "localhost:{port}:80"],
)  # fmt: skip
def test_names_made_to_point_here_are_refused(
    served: Served, method_path: tuple[str, str], host: str
) -> None:
    method, path = method_path
    reply = ask(served, method, path, BODY if method == "POST" else None, host=host.format(port=served.port))
    assert (403, "forbidden") == (reply.status, reply.problem)


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:{port}", "127.0.0.1:{port}", "127.8.9.10", "[::1]:{port}", "[::1]"]
)
def test_names_of_this_machine_are_answered(served: Served, host: str) -> None:
    assert 200 == ask(served, "POST", "/v1/route", BODY, host=host.format(port=served.port)).status


def test_a_name_in_the_target_changes_nothing(served: Served) -> None:
    """Whatever a request's first line says, the header must be one of this machine."""
    with Wire(served) as wire:
        reply = wire.ask(
            request("POST", f"http://127.0.0.1:{served.port}/v1/route", BODY, host="evil.example")
        )
        assert 403 == reply.status


def test_two_hosts_are_no_way_round(served: Served) -> None:
    lines = b"content-type: application/json\r\ncontent-length: 18\r\n"
    for first, second in (("localhost", "evil.example"), ("evil.example", "localhost")):
        with Wire(served) as wire:
            head = f"POST /v1/route HTTP/1.1\r\nhost: {first}\r\nhost: {second}\r\n"
            assert wire.ask(head.encode() + lines + b"\r\n" + BODY).status in (400, 403)


# Pages of other sites


@pytest.mark.parametrize("method_path", CLOSED, ids=[path for _, path in CLOSED])
@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "http://[", "http://[::1", "file://",
     "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}@evil.example", "//", "a" * 5000, "\xff"],
)  # fmt: skip
def test_pages_of_other_sites_are_refused(served: Served, method_path: tuple[str, str], origin: str) -> None:
    method, path = method_path
    told = {"origin": origin.format(port=served.port), "host": f"127.0.0.1:{served.port}"}
    reply = ask(served, method, path, BODY if method == "POST" else None, **told)
    assert (403, "forbidden") == (reply.status, reply.problem)
    assert "access-control-allow-origin" not in reply.headers


def test_the_service_s_own_page_is_answered(served: Served) -> None:
    own = f"127.0.0.1:{served.port}"
    assert 200 == ask(served, "POST", "/v1/route", BODY, host=own, origin=f"http://{own}").status


def test_no_site_is_let_in_by_default(served: Served) -> None:
    how = {"origin": TOOLS, "access_control_request_method": "POST"}
    reply = ask(served, "OPTIONS", "/v1/route", **how)
    assert reply.status in (403, 405)
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_site_that_was_let_in_asks_first(shared: Served) -> None:
    how = {
        "origin": TOOLS,
        "access_control_request_method": "POST",
        "access_control_request_headers": "authorization,content-type,x-request-id",
    }
    reply = ask(shared, "OPTIONS", "/v1/route", **how)
    assert (200, TOOLS) == (reply.status, reply.headers["access-control-allow-origin"])
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert "authorization" in reply.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in reply.headers
    reply = ask(shared, "POST", "/v1/route", BODY, origin=TOOLS)
    assert (200, TOOLS) == (reply.status, reply.headers["access-control-allow-origin"])
    assert "x-request-id" in reply.headers["access-control-expose-headers"].lower()
    reply = ask(shared, "POST", "/v1/route", b"{}", origin=TOOLS)
    assert (422, TOOLS) == (reply.status, reply.headers["access-control-allow-origin"])


def test_another_site_is_not(shared: Served) -> None:
    for origin in (
        "https://evil.example",
        f"{TOOLS}.evil.example",
        "http://tools.example",
        f"{TOOLS}:444",
        "null",
    ):
        how = {"origin": origin, "access_control_request_method": "POST"}
        reply = ask(shared, "OPTIONS", "/v1/route", **how)
        assert reply.status >= 400
        assert "access-control-allow-origin" not in reply.headers
        reply = ask(shared, "POST", "/v1/route", BODY, origin=origin)
        assert (403, "forbidden") == (reply.status, reply.problem)
        assert "access-control-allow-origin" not in reply.headers


def test_with_keys_the_key_decides(keyed: Served) -> None:
    key = {"authorization": f"Bearer {KEY}"}
    how = {
        "origin": TOOLS,
        "access_control_request_method": "POST",
        "access_control_request_headers": "authorization",
    }
    assert 200 == ask(keyed, "OPTIONS", "/v1/route", **how).status  # what asks first has no key
    assert 200 == ask(keyed, "POST", "/v1/route", BODY, origin=TOOLS, **key).status
    reply = ask(keyed, "POST", "/v1/route", BODY, origin=TOOLS)
    assert (401, TOOLS) == (
        reply.status,
        reply.headers["access-control-allow-origin"],
    )  # so that the page can read it
    reply = ask(keyed, "POST", "/v1/route", BODY, origin="https://evil.example", host="evil.example", **key)
    assert 200 == reply.status
    assert "access-control-allow-origin" not in reply.headers  # which keeps it from the page


# Addresses


@pytest.mark.parametrize("host", [ANY, "::", "0", ""])
def test_other_machines_are_not_let_in_without_keys(toy_artifact: Path, host: str) -> None:
    code, out, err = refuse("--model", str(toy_artifact), "--host", host)
    assert (3, "") == (code, out)
    assert 1 == len(err.splitlines())
    assert "there are no API keys; give --keys FILE or $TIERWISE_API_KEYS" in err


def test_admin_keys_alone_let_no_one_in(toy_artifact: Path) -> None:
    code, _, err = refuse("--model", str(toy_artifact), "--host", ANY, TIERWISE_ADMIN_KEYS=KEY)
    assert (3, True) == (code, "there are no API keys" in err)


@pytest.mark.parametrize(
    ("options", "environment"), [(("--without-keys",), {}), ((), {"TIERWISE_API_KEYS": KEY})]
)
def test_other_machines_are_let_in_where_that_was_said(
    toy_artifact: Path, options: tuple[str, ...], environment: dict[str, str]
) -> None:
    with start("--model", str(toy_artifact), "--host", ANY, *options, environment=environment) as served:
        here = f"http://127.0.0.1:{served.port}"
        assert f"http://{ANY}:{served.port}" == served.url
        key = {"authorization": f"Bearer {KEY}"} if environment else {}
        assert 200 == ask(here, "POST", "/v1/route", BODY, host="router.internal:8080", **key).status
        if environment:
            assert 401 == ask(here, "POST", "/v1/route", BODY, host="router.internal:8080").status
        else:  # what stands in front checks who asks; a browser's page of another site is still kept out
            evil = {"host": "router.internal", "origin": "https://evil.example"}
            assert 403 == ask(here, "POST", "/v1/route", BODY, **evil).status
            # Nor may just anyone replace the model.
            assert 403 == ask(here, "POST", "/v1/model/reload", host="router.internal").status


def test_the_newer_protocol_s_own_address(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact), "--host", "::1") as served:
        assert f"http://[::1]:{served.port}" == served.url
        assert 200 == ask(served, "POST", "/v1/route", BODY, host=f"[::1]:{served.port}").status
        assert 403 == ask(served, "POST", "/v1/route", BODY, host="evil.example").status
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", served.port), 5)


def test_what_is_this_machine_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert is_loopback(host)
    for host in (
        ANY,
        "::",
        "",
        "10.0.0.1",
        "192.168.1.1",
        "203.0.113.7",
        "fe80::1",
        "nowhere.invalid",
        "a" * 70,
        "..",
    ):
        assert not is_loopback(host)

    def both(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (address, 0)) for address in ("127.0.0.1", "10.0.0.1")]

    monkeypatch.setattr(settings.socket, "getaddrinfo", both)
    assert not is_loopback("both")  # one way in is enough


# What is served, and how


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/router/serving/page.html", "/page.html", "/static/../page.html",
     "/docs", "/redoc", "/v1", "/v1/", "/v1/model/", "/v1/model/manifest.json", "/.git/config", "/favicon.ico", "/healthz/",
     "/openapi.yaml", "/metrics/", "/v1/route/", "/debug", "//", "/;", "/index.html", "/v1/model%00", "/healthz%0a"],
)  # fmt: skip
def test_nothing_else_is_served(served: Served, path: str) -> None:
    for method in ("GET", "POST"):
        reply = ask(served, method, path)
        assert (404, "not-found") == (reply.status, reply.problem)
        assert b"root:" not in reply.body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_no_other_methods(served: Served, method: str) -> None:
    for path in ("/", "/v1/route", "/v1/model", "/metrics", "/healthz"):
        reply = ask(served, method, path)
        assert (405, "method-not-allowed") == (reply.status, reply.problem)
        assert {name.strip() for name in reply.headers["allow"].split(",")} <= {"GET", "HEAD", "POST"}


def test_the_page_may_run_its_own_script_and_nothing_else(served: Served) -> None:
    reply = ask(served, "GET", "/")
    assert "text/html; charset=utf-8" == reply.headers["content-type"]
    policy = dict(
        part.strip().partition(" ")[::2] for part in reply.headers["content-security-policy"].split(";")
    )
    assert "'none'" == policy["default-src"]
    assert "'self'" == policy["connect-src"]
    assert {"'none'"} == {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")}
    assert not any(word in value for value in policy.values() for word in ("unsafe", "*", "http"))
    for tag, name in ((b"script", "script-src"), (b"style", "style-src")):
        blocks = re.findall(rb"<%b\b[^>]*>(.*?)</%b>" % (tag, tag), reply.body, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(block).digest()).decode() for block in blocks]
        assert blocks
        assert [f"'sha256-{digest}'" for digest in digests] == policy[name].split()
    assert not re.search(
        rb"\son[a-z]+=|\sstyle=|javascript:", reply.body
    )  # which the policy would keep from working
    assert not re.search(rb"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", reply.body)
    for name, value in {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }.items():
        assert value == reply.headers[name]


def test_no_answer_can_be_taken_for_a_page(served: Served) -> None:
    for sent in (request("GET", "/nothing"), request("POST", "/v1/route", b"{"), request("GET", "/v1/model"),
                 request("GET", "/healthz"), request("GET", "/metrics"), request("DELETE", "/v1/route")):  # fmt: skip
        with Wire(served) as wire:
            reply = wire.ask(sent)
            assert "nosniff" == reply.headers["x-content-type-options"]
            assert not reply.headers["content-type"].startswith("text/html")


def test_the_address_in_the_log_is_the_one_that_answers(served: Served) -> None:
    parts = urlsplit(served.events("listening")[0]["url"])
    assert ("http", "127.0.0.1", served.port) == (parts.scheme, parts.hostname, parts.port)
