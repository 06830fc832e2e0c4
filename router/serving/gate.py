"""What every request passes: its id, its key, its problems, its line in the log and its metrics."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.serving.exchange import Disconnected, Exchange, Headers, check_json
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

_OPEN = frozenset(("page", "healthz", "openapi", "readyz"))  # tell nothing that needs a key
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|\[::1\]", re.IGNORECASE)
_PORT = re.compile(r":\d+$")
CLIENT_CLOSED = 499  # what nginx calls a client that did not wait; never sent


class Gate:
    """The ASGI application in front of the endpoints.

    `POST /v1/route` may come to `answer` instead, and pass ASGI and the application by (router/serving/direct.py).

    Parameters
    ----------
    app : ASGI application
        What answers those who are let in; finds the `Exchange` in `scope["exchange"]`.
    service : Service
        The state that requests share.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._ids = map(f"{secrets.token_hex(6)}-{{:x}}".format, count(1))
        self._ended: list[Exchange] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = self.open(scope["path"].removeprefix(scope.get("root_path", "")), dict(scope["headers"]))
        try:
            self._admit(exchange)
            await self._pass_on(scope, receive, send, exchange)
        except Disconnected:
            exchange.status = CLIENT_CLOSED
        except Exception as error:
            begun = exchange.status != 0  # such an answer can only break off
            content = self._turn_down(exchange, error)
            if not begun:
                start = {
                    "type": "http.response.start",
                    "status": exchange.status,
                    "headers": exchange.answer_headers,
                }
                await send(start)
                await send({"type": "http.response.body", "body": content})
        finally:
            self.close(exchange)

    def open(self, path: str, headers: Headers) -> Exchange:
        """Return the exchange that begins with a request."""
        given = headers.get(b"x-request-id")
        request_id = given.decode("ascii") if given and _REQUEST_ID.fullmatch(given) else next(self._ids)
        return Exchange(request_id, ENDPOINTS.get(path, "unknown"), headers)

    def answer(self, exchange: Exchange, body: bytes) -> bytes:
        """Return the body of the answer to `POST /v1/route`, whose status and headers the exchange has then.

        The exchange is closed.
        """
        try:
            self._admit(exchange)
            content = answer_route(body, self._service, exchange)
            exchange.status = 200
            exchange.answer_headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(content)),
                (b"x-request-id", exchange.request_id.encode("ascii")),
                (b"x-content-type-options", b"nosniff"),
            ]
        except Exception as error:
            content = self._turn_down(exchange, error)
        self.close(exchange)
        return content

    def close(self, exchange: Exchange) -> None:
        """End an exchange: the log and the metrics are told when the loop has served what is ready."""
        exchange.seconds = time.perf_counter() - exchange.begun
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._record)
        self._ended.append(exchange)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
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
        if exchange.endpoint in _OPEN:
            return
        if (
            exchange.endpoint == "unknown"
        ):  # the framework's matching is laxer: /v1/model%0A would pass the keys
            raise Problem("not-found", f"there is nothing here; endpoints: {', '.join(sorted(ENDPOINTS))}")
        keys, admin = self._service.access.keys, self._service.access.admin
        wants_admin = exchange.endpoint == "reload"
        if wants_admin and keys is None and admin is None and not self._service.access.loopback_only:
            raise Problem(
                "forbidden",
                "a reload needs an admin key; start with --admin-keys, or send SIGHUP to the process",
            )
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
        if origin and origin not in access.origins and (not host or origin.partition("://")[2] != host):
            raise Problem(
                "forbidden", "a page of another site asked, and the service has no keys; start it with --keys"
            )

    def _turn_down(self, exchange: Exchange, error: Exception) -> bytes:
        """Make the answer of an exchange the problem that an error is, and return its body."""
        if isinstance(error, Problem):
            problem = error
        else:
            self._service.log.failure(
                "failure", error, request_id=exchange.request_id, endpoint=exchange.endpoint
            )
            problem = internal_error()
        exchange.problem, exchange.status = problem, problem.status
        content = problem.to_json(exchange.request_id)
        headers = {
            "content-type": MEDIA_TYPE,
            "content-length": str(len(content)),
            "x-request-id": exchange.request_id,
            "x-content-type-options": "nosniff",
            **problem.headers,
        }
        exchange.answer_headers = [
            (name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()
        ]
        return content

    def _record(self) -> None:
        """Tell the metrics and the log of the exchanges that have ended."""
        ended, self._ended = self._ended, []
        metrics, log = self._service.metrics, self._service.log
        for exchange in ended:
            metrics.count_request(exchange.endpoint, exchange.seconds)
            if exchange.decision is not None:
                metrics.count_decision(exchange.decision)
            if exchange.problem is not None:
                metrics.count_problem(exchange.problem.name)
        log.requests(ended)


def answer_route(body: bytes, service: Service, exchange: Exchange) -> bytes:
    """Decide on the body of a request to `POST /v1/route`, and return the body of its answer.

    Raises
    ------
    Problem
        The request is wrong, or there is no model yet.
    """
    check_json(exchange.headers)
    model = service.model
    exchange.request = request = read_request(parse_json(body))
    exchange.decision = decision = decide(model, request)
    return answer(model, decision, exchange.request_id)


def internal_error() -> Problem:
    """Return the problem of an error that is ours."""
    return Problem("internal", "the service failed; its log has more under this request_id")


def _is_loopback(host: str) -> bool:
    return _LOOPBACK.fullmatch(host.rpartition(":")[0] if _PORT.search(host) else host) is not None
