"""The application: every endpoint, with its documentation, on FastAPI, behind the gate."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from router import __version__
from router.serving.answers import (
    BatchAnswer,
    DecisionAnswer,
    ItemAnswer,
    ItemError,
    ModelAnswer,
    ProblemAnswer,
    ReloadAnswer,
    StatusAnswer,
)
from router.serving.exchange import (
    NDJSON,
    Disconnected,
    Exchange,
    check_encoding,
    check_json,
    check_media_type,
    read_body,
)
from router.serving.gate import CLIENT_CLOSED, answer_route, internal_error
from router.serving.problems import MEDIA_TYPE, Problem
from router.serving.schema import BatchRequest, RouteRequest, read_batch
from router.serving.service import Service
from router.serving.stream import decide_in_turns, render_results, stream
from router.serving.strict_json import parse_json

__all__ = ["create_app"]

_TITLES = {
    400: "The body is not what it says it is.",
    401: "An API key is missing, or is not known.",
    405: "Another method is expected; Allow says which.",
    408: "The request did not end in time.",
    431: "The headers are too large.",
    500: "The service failed; its log has more under the request id.",
    403: "The key opens other endpoints only, or a page of another site asked.",
    413: "The body is too large, or the batch too long.",
    415: "The body is of another media type, charset or compressed.",
    422: "A field is wrong; `errors` says which.",
    429: "Too many batches at a time; ask again after Retry-After seconds.",
    503: "Overloaded, loading or about to stop; ask again after Retry-After seconds.",
}


_LINE = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("ItemAnswer", "ItemError")]}


def create_app(service: Service) -> FastAPI:
    """Return the endpoints. They want the gate in front, which makes the exchange that they find in the scope."""
    app = FastAPI(
        title="tierwise",
        version=__version__,
        summary="Which model tier is enough for a prompt, and how sure that is.",
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=None,  # served below, with the bodies that the endpoints read themselves
    )
    app.state.service = service
    _add_scoring(app)
    _add_model(app)
    _add_health(app)
    _add_page(app)
    for kind in (Problem, HTTPException, Disconnected, Exception):
        app.add_exception_handler(kind, _on_error)
    return app


def _add_scoring(app: FastAPI) -> None:
    service: Service = app.state.service

    @app.post(
        "/v1/route",
        tags=["decide"],
        summary="Decide which tier a prompt goes to",
        response_model=DecisionAnswer,
        responses=_problems(400, 401, 403, 413, 415, 422, 503),
        openapi_extra=_body(RouteRequest),
    )
    async def route(request: Request) -> Response:
        """Choose the tier that saves most for what it may lose, at the price that the policy sets, and say why.

        The decision is the one that `Router.route` gives in-process. No model is called, and the prompt goes nowhere.
        """
        exchange: Exchange = request.scope["exchange"]
        check_json(exchange.headers)  # before a body is read for nothing
        body = await read_body(request.receive, exchange.headers, service.limits.max_body_bytes)
        return _json(answer_route(body, service, exchange))

    @app.post(
        "/v1/route/batch",
        tags=["decide"],
        summary="Decide on many prompts",
        response_model=BatchAnswer,
        responses={
            200: {"content": {NDJSON: {"schema": _LINE}}},
            **_problems(400, 401, 403, 413, 415, 422, 429, 503),
        },
        openapi_extra=_body(BatchRequest, ndjson=RouteRequest),
    )
    async def route_batch(request: Request) -> Response:
        """One result per item, in order: a decision, or the problem of that item.

        As `application/x-ndjson` it is a stream of any length: a body of `/v1/route` a line in, a result a line out.
        """
        exchange: Exchange = request.scope["exchange"]
        media_type = check_media_type(
            exchange.headers.get(b"content-type", b""), b"application/json", NDJSON.encode()
        )
        check_encoding(exchange.headers)
        model = service.model
        service.check_batches()  # before a body is read for nothing
        if media_type == NDJSON.encode():
            service.enter_batch()
            return _Stream(stream(request.receive, service, exchange))
        body = await read_body(request.receive, exchange.headers, service.limits.max_body_bytes)
        items = read_batch(parse_json(body), service.limits.max_items)
        service.enter_batch()
        try:
            results = await decide_in_turns(service, model, items)
        finally:
            service.leave_batch()
        document = {
            "request_id": exchange.request_id,
            "model_id": model.model_id,
            "tiers": model.names,
            "results": list(render_results(results, service, exchange)),
        }
        return _json(to_json(document))


def _add_model(app: FastAPI) -> None:
    service: Service = app.state.service

    @app.get(
        "/v1/model",
        tags=["model"],
        summary="Say what the model is",
        response_model=ModelAnswer,
        responses=_problems(401, 403, 503),
    )
    async def model() -> Response:
        """Return the manifest, with the certificate and the tiers also by themselves, and the service's default policy."""
        manifest = service.model.manifest
        document = {
            "model_id": manifest.model_id,
            "tiers": [tier.to_dict() for tier in manifest.ladder.tiers],
            "certificate": manifest.document["certificate"],
            "policy": {} if service.policy is None else service.policy.to_dict(),
            "manifest": manifest.document,
        }
        return _json(to_json(document))

    @app.post(
        "/v1/model/reload",
        tags=["model"],
        summary="Open the model again",
        response_model=ReloadAnswer,
        responses=_problems(401, 403, 503),
    )
    async def reload() -> Response:
        """Open the artefact at the same place, verify it, and decide by it from then on, in all workers or in none.

        Nothing is interrupted. What is refused changes nothing.
        """
        reloaded = await service.reload()
        changed = reloaded.model_id != reloaded.previous_model_id
        return _json(to_json({**reloaded._asdict(), "reloaded": changed}))


def _add_health(app: FastAPI) -> None:
    service: Service = app.state.service

    @app.get(
        "/healthz",
        tags=["health"],
        summary="Say whether the process lives",
        responses=_problems(503),
        response_model=StatusAnswer,
    )
    async def healthz() -> Response:
        """Return ok while the process can answer at all."""
        return _json(b'{"status":"ok"}')

    @app.get(
        "/readyz",
        tags=["health"],
        summary="Say whether it wants requests",
        response_model=StatusAnswer,
        responses=_problems(503),
    )
    async def readyz() -> Response:
        """503 while the model is being loaded, and when the process is about to stop."""
        return _json(to_json({"status": "ready", "model_id": service.check_ready().model_id}))

    @app.get(
        "/metrics",
        tags=["health"],
        summary="Count, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **_problems(401, 403, 503)},
    )
    async def metrics() -> Response:
        """Decisions by tier and reason, times, novelty, problems, load and model, summed over the workers."""
        return Response(
            await service.metrics.render(service.model.model_id),
            media_type="text/plain; version=0.0.4; charset=utf-8",
        )


def _add_page(app: FastAPI) -> None:
    document = to_json(_openapi(app))
    page = (Path(__file__).parent / "page.html").read_bytes()
    headers = {
        "content-security-policy": _content_security_policy(page),
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "x-frame-options": "DENY",
        "cache-control": "no-cache",
    }

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return _json(document)

    @app.get("/", include_in_schema=False)
    async def try_a_prompt() -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def _content_security_policy(page: bytes) -> str:
    """Return the policy that lets a page run its own script and style, and nothing else."""

    def hashes(tag: bytes) -> str:
        found = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found
        )

    return (
        f"default-src 'none'; script-src {hashes(b'script')}; style-src {hashes(b'style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


class _Stream(Response):
    """A body that is made while the request's own is still being read.

    The framework's streaming response reads the request itself meanwhile, to learn whether the client has gone.
    """

    media_type = NDJSON

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        super().__init__()
        self._lines = lines
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's own
        """Send the lines as they come."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for lines in self._lines:
            await send({"type": "http.response.body", "body": lines, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _on_error(request: Request, error: Exception) -> Response:
    """Turn an error into its problem; the gate records it."""
    exchange: Exchange = request.scope["exchange"]
    if isinstance(error, Disconnected):
        return Response(status_code=CLIENT_CLOSED)
    exchange.problem = problem = _problem(error)
    return Response(
        problem.to_json(exchange.request_id), problem.status, problem.headers, media_type=MEDIA_TYPE
    )


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):  # what the framework refuses
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            allowed += ", HEAD" if allowed == "GET" else ""
            return Problem("method-not-allowed", f"expected the method {allowed}", headers={"allow": allowed})
        return Problem("not-found", "there is nothing here")
    return internal_error()


# The OpenAPI document


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}}
    everywhere = (405, 408, 431, 500)
    return {
        status: {"description": _TITLES[status], "content": content} for status in (*statuses, *everywhere)
    }


def _body(model: type[BaseModel], ndjson: type[BaseModel] | None = None) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    if ndjson is not None:
        content[NDJSON] = {"schema": {"$ref": f"#/components/schemas/{ndjson.__name__}"}}
    return {"requestBody": {"required": True, "content": content}}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the document, with the schemas of the bodies that the endpoints read themselves."""
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    models: tuple[type[BaseModel], ...] = (RouteRequest, BatchRequest, ItemAnswer, ItemError, ProblemAnswer)
    _, extra = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components = document["components"]
    components["schemas"] |= extra["$defs"]
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key."}
    }
    for path, operations in document["paths"].items():
        if path.startswith(("/v1", "/metrics")):
            for operation in operations.values():
                operation["security"] = [{"key": []}, {}]
    return document
