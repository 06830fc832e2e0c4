"""What every request passes: its id, its key, its problems, its line in the log and its metrics.

`POST /v1/route` is answered here and goes no further: the way through a framework's routing takes longer than the
decision (docs/adr/0011-http-service.md). Everything else goes to the application behind.
"""

from __future__ import annotations

import re
import secrets
import time
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.serving.exchange import Disconnected, Exchange, Headers, check_json, read_body
from router.serving.problems import MEDIA_TYPE, Problem
from router.serving.schema import read_request
from router.serving.scoring import answer, decide
from router.serving.service import Service
from router.serving.strict_json import parse_json

__all__ = ["CLIENT_CLOSED", "ENDPOINTS", "Gate", "answer_route", "internal_error"]

ENDPOINTS = {
    "/": "page",
    "/healthz": "healthz",
    "/metrics": "metrics",
    "/openapi.json": "openapi",
    "/readyz": "readyz",
    "/v1/model": "model",
    "/v1/model/reload": "reload",
    "/v1/route": "route",
    "/v1/route/batch": "batch",
}
"""Paths, and what the log and the metrics call them; every other path is "unknown" there."""

_OPEN = frozenset(("page", "healthz", "openapi", "readyz", "unknown"))  # tell nothing that needs a key
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|\[::1\]", re.IGNORECASE)
_PORT = re.compile(r":\d+$")
CLIENT_CLOSED = 499  # what nginx calls a client that did not wait; never sent


class Gate:
    """The outermost ASGI application.

    Parameters
    ----------
    app : ASGI application
        What answers everything but `POST /v1/route`; finds the `Exchange` in `scope["exchange"]`.
    shortcut : bool
        Whether `POST /v1/route` is answered here.
    """

    def __init__(self, app: ASGIApp, service: Service, *, shortcut: bool = True) -> None:
        self._app = app
        self._shortcut = shortcut
        self._service = service
        self._ids = map(f"{secrets.token_hex(6)}-{{:x}}".format, count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: Headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        request_id = given.decode("ascii") if given and _REQUEST_ID.fullmatch(given) else next(self._ids)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        exchange = Exchange(request_id, ENDPOINTS.get(path, "unknown"), headers)
        try:
            await self._answer(scope, receive, send, exchange)
        except Disconnected:
            exchange.status = CLIENT_CLOSED
        except Problem as problem:
            await _send_problem(send, exchange, problem)
        except Exception as error:
            self._service.log.failure("failure", error, request_id=request_id, endpoint=exchange.endpoint)
            if exchange.status == 0:
                await _send_problem(send, exchange, internal_error())
        finally:
            self._record(exchange)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        if exchange.endpoint not in _OPEN:
            self._admit(exchange)
        if self._shortcut and exchange.endpoint == "route" and scope["method"] == "POST":
            content = await answer_route(receive, self._service, exchange)
            exchange.status = 200
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": (
                        (b"content-type", b"application/json"),
                        (b"content-length", b"%d" % len(content)),
                        (b"x-request-id", exchange.request_id.encode("ascii")),
                    ),
                }
            )
            await send({"type": "http.response.body", "body": content})
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", exchange.request_id.encode("ascii")),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        method = "GET" if scope["method"] == "HEAD" else scope["method"]  # the server keeps the body back
        await self._app({**scope, "method": method, "exchange": exchange}, receive, send_on)

    def _admit(self, exchange: Exchange) -> None:
        keys, admin = self._service.access.keys, self._service.access.admin
        wants_admin = exchange.endpoint == "reload"
        if keys is None and (admin is None or not wants_admin):
            self._check_site(exchange.headers)
            return
        scheme, _, presented = exchange.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not presented:
            raise Problem(
                "missing-key",
                "expected an API key, found none; send the header Authorization: Bearer KEY",
                headers={"www-authenticate": "Bearer"},
            )
        if admin is not None and (name := admin.check(presented)) is not None:
            exchange.key = name
            return
        exchange.key = None if keys is None else keys.check(presented)
        if exchange.key is None:
            raise Problem(
                "wrong-key",
                "the API key is not one of this service's; ask its operator for one",
                headers={"www-authenticate": 'Bearer error="invalid_token"'},
            )
        if wants_admin:
            needed = (
                "is not an admin key" if admin is not None else "cannot reload: the service has no admin keys"
            )
            raise Problem(
                "forbidden", f"the API key {needed}; start with --admin-keys, or send SIGHUP to the process"
            )

    def _check_site(self, headers: Headers) -> None:
        """Refuse the pages of other sites, where no key keeps them out.

        A browser lets any page post to this machine, and a name that points to it (DNS rebinding) lets one read, too.
        """
        access = self._service.access
        host = headers.get(b"host", b"").decode("latin-1")
        if access.loopback_only and host and not _is_loopback(host):
            raise Problem(
                "forbidden",
                "the service has no keys and answers this machine only, and the header Host names another; "
                "start it with --keys, or with --without-keys if something in front of it checks who asks",
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin not in access.origins and urlsplit(origin).netloc != host:
            raise Problem(
                "forbidden", "a page of another site asked, and the service has no keys; start it with --keys"
            )

    def _record(self, exchange: Exchange) -> None:
        service = self._service
        seconds = time.perf_counter() - exchange.begun
        service.metrics.count_request(exchange.endpoint, seconds)
        decision, problem = exchange.decision, exchange.problem
        if decision is not None:
            service.metrics.count_decision(decision)
        if problem is not None:
            service.metrics.count_problem(problem.name)
        if not service.log.tells_requests:
            return
        fields: dict[str, Any] = {
            "request_id": exchange.request_id,
            "endpoint": exchange.endpoint,
            "status": exchange.status,
            "ms": round(seconds * 1e3, 3),
        }
        if exchange.key is not None:
            fields["key"] = exchange.key
        if problem is not None:
            fields["problem"] = problem.name
        if decision is not None:
            fields["tier"] = decision.tier
            fields["reason"] = decision.reason.value
            fields["expected_cost_usd"] = decision.expected_cost_usd
            fields["novelty"] = decision.novelty
            fields["model_id"] = decision.model_id
        request = exchange.request
        if request is not None:
            if request.metadata:
                fields["metadata"] = request.metadata
            if service.log.prompts:
                fields["prompt"] = request.prompt if request.messages is None else request.messages
        if exchange.fields:
            fields |= exchange.fields
        service.log.request(fields)


async def answer_route(receive: Receive, service: Service, exchange: Exchange) -> bytes:
    """Decide on the request of `POST /v1/route`, and return the body of its answer.

    Raises
    ------
    Problem
        The request is wrong, or there is no model yet.
    Disconnected
        The client went before the end of its request.
    """
    check_json(exchange.headers)
    body = await read_body(receive, exchange.headers, service.limits.max_body_bytes)
    model = service.model
    exchange.request = request = read_request(parse_json(body))
    exchange.decision = decision = decide(model, request)
    return answer(model, decision, exchange.request_id)


def internal_error() -> Problem:
    """Return the problem of an error that is ours."""
    return Problem("internal", "the service failed; its log has more under this request_id")


async def _send_problem(send: Send, exchange: Exchange, problem: Problem) -> None:
    exchange.problem, exchange.status = problem, problem.status
    content = problem.to_json(exchange.request_id)
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(content)),
        "x-request-id": exchange.request_id,
        "x-content-type-options": "nosniff",
        **problem.headers,
    }
    encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})


def _is_loopback(host: str) -> bool:
    return _LOOPBACK.fullmatch(host.rpartition(":")[0] if _PORT.search(host) else host) is not None
