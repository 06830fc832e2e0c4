"""The floor of bench/http.py: a FastAPI endpoint with the service's schema that decides nothing.

`python -m uvicorn bench.http_floor:app --loop uvloop --http httptools --no-access-log`. The body is read into a model
of the same fields, and a constant of the same fields is answered: no keys, no log, no metrics, no router.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Message", "Policy", "RouteRequest", "RouteResponse", "app"]

_Tier = Annotated[str, Field(min_length=1, max_length=200)]
_Tag = Annotated[str, Field(min_length=1, max_length=64)]
_TagValue = Annotated[str, Field(max_length=256)]
_Reason = Literal[
    "sufficient", "needed", "floor", "ceiling", "allow", "cost", "context", "capability", "novel", "uncertified", "empty"
]  # fmt: skip


class Part(BaseModel):
    """A part of a message's content."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None


class Message(BaseModel):
    """A message of a chat."""

    model_config = ConfigDict(extra="allow")

    role: _Tag
    content: str | list[Part] | None = None


class Policy(BaseModel):
    """What a caller allows."""

    model_config = ConfigDict(extra="forbid")

    max_regret: float | None = Field(None, ge=0, le=1)
    min_quality: float | None = Field(None, ge=0, le=1)
    budget: float | None = Field(None, gt=0)
    preset: str | None = Field(None, max_length=200)
    epsilon: float | None = Field(None, ge=0)
    slice: str | None = Field(None, min_length=3, max_length=200)
    floor: _Tier | None = None
    ceiling: _Tier | None = None
    allow: Annotated[list[_Tier], Field(min_length=1, max_length=100)] | None = None
    max_cost_usd: float | None = Field(None, gt=0)
    needs: Annotated[list[_Tag], Field(max_length=16)] | None = None


class RouteRequest(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[dict[str, Any]] | None = None
    policy: Policy | None = None
    context_tokens: int | None = Field(None, ge=0)
    cached_tokens: int | None = Field(None, ge=0)
    needs: Annotated[list[_Tag], Field(max_length=16)] | None = None
    metadata: Annotated[dict[_Tag, _TagValue], Field(max_length=16)] | None = None


class RouteResponse(BaseModel):
    """What is answered."""

    request_id: str
    tier: str
    index: int
    model: str
    p_pass: list[float]
    predicted: int
    reason: _Reason
    expected_cost_usd: float
    novelty: float
    model_id: str
    tier_cost_usd: list[float]
    saving_usd: float
    tiers: list[str]


ANSWER = RouteResponse(
    request_id="5f0c2a9d41e7b836-1a2b",
    tier="large",
    index=2,
    model="gemini-1.5-pro-002",
    p_pass=[0.41322147846221924, 0.42699289321899414, 0.3576345443725586],
    predicted=0,
    reason="novel",
    expected_cost_usd=0.0012537533170986067,
    novelty=0.7755922079086304,
    model_id="tw-000000000000",
    tier_cost_usd=[6.458240703917087e-05, 4.036587287568709e-05, 0.0012537533170986067],
    saving_usd=0.0,
    tiers=["small", "medium", "large"],
)
"""As long as a real one."""

app = FastAPI()


@app.post("/v1/route", response_model=RouteResponse)
async def route(request: RouteRequest) -> RouteResponse:  # noqa: ARG001 - read, and not looked at
    """Answer the constant."""
    return ANSWER


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    """Say that it is ready."""
    return {"status": "ready"}
