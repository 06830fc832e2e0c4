"""Requests in, answers out: the decision path of the service. Knows nothing of HTTP but its problems. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json

from router.decision import Decision
from router.demand import Demand, read_demand
from router.errors import RequestError
from router.model import Model, Resolved
from router.prompt import PromptView, read_prompt
from router.serving.problems import Problem
from router.serving.schema import PolicyRequest, RouteRequest, read_request

__all__ = ["answer", "decide", "decide_many"]


class _Question(NamedTuple):
    """A request, read as far as the model needs it."""

    view: PromptView
    resolved: Resolved
    demand: Demand | None


def decide(model: Model, request: RouteRequest) -> Decision:
    """Decide on one request; exactly as `Router.route` does in-process.

    Raises
    ------
    Problem
        422: the policy names an unknown tier, or leaves none.
    """
    view, resolved, demand = _read(model, request)
    return model.decide(view, model.read_one(view), resolved, demand)


def decide_many(model: Model, documents: Sequence[Any]) -> list[Decision | Problem]:
    """Decide on many bodies of requests at once.

    Each that is wrong gets its problem instead, or keeps the one that stands in its place.
    """
    results: list[Decision | Problem | None] = []
    questions: list[_Question] = []
    for document in documents:
        if isinstance(document, Problem):
            results.append(document)
            continue
        try:
            questions.append(_read(model, read_request(document)))
        except Problem as problem:
            results.append(problem)
        else:
            results.append(None)
    outputs = model.read_many([question.view for question in questions])
    decisions = (
        model.decide(question.view, o, question.resolved, question.demand)
        for question, o in zip(questions, outputs, strict=True)
    )
    return [next(decisions) if result is None else result for result in results]


def answer(model: Model, decision: Decision, request_id: str) -> bytes:
    """Return the answer of /v1/route as JSON. Pure."""
    document = decision.to_dict()
    document["tiers"] = model.names
    document["request_id"] = request_id
    return to_json(document)


def _read(model: Model, request: RouteRequest) -> _Question:
    try:
        asked = request.policy
        resolved = model.default if asked is None else _resolve(model, asked)
        prompt = request.prompt if request.prompt is not None else request.messages
        view = read_prompt(prompt if prompt is not None else "")
        demand = read_demand(
            view, request.needs or (), request.tools or (), request.context_tokens, request.cached_tokens
        )
    except RequestError as error:
        raise _problem(error) from None
    return _Question(view, resolved, demand)


def _resolve(model: Model, asked: PolicyRequest) -> Resolved:
    try:
        return model.resolve(asked.to_policy())
    except RequestError as error:
        raise _problem(error, "/policy") from None


def _problem(error: RequestError, within: str = "") -> Problem:
    detail, field = str(error), error.field
    if field is None:
        return Problem("invalid-request", detail)
    return Problem("invalid-request", detail, [(f"#{within}/{field}", detail)])
