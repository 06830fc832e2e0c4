"""What answers look like, documented in OpenAPI; nothing is checked by it. Pure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.decision import Reason

__all__ = [
    "BatchAnswer",
    "DecisionAnswer",
    "ItemAnswer",
    "ItemError",
    "ModelAnswer",
    "ProblemAnswer",
    "ReloadAnswer",
    "StatusAnswer",
]


class _Chosen(BaseModel):
    tier: str = Field(description="Name of the tier.")
    index: int = Field(description="Its position on the ladder, 0 cheapest.")
    model: str = Field(description="The tier's first model: the one to call.")
    p_pass: list[float] = Field(description="Per tier, the calibrated probability that its answer passes.")
    predicted: int = Field(description="The choice if every tier were permitted and able.")
    reason: Reason = Field(description="What decided.")
    expected_cost_usd: float = Field(description="USD for this prompt on this tier.")
    novelty: float = Field(description="0 is like the training data, 1 is unlike any of it.")
    model_id: str = Field(description="Which artefact decided.")
    tier_cost_usd: list[float] = Field(description="Per tier, expected USD.")
    saving_usd: float = Field(description="Expected USD of the top tier less those of this one.")


class DecisionAnswer(_Chosen):
    """Where the prompt should go."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tier": "small",
                    "index": 0,
                    "model": "small-model",
                    "p_pass": [0.93, 0.95, 0.97],
                    "predicted": 0,
                    "reason": "sufficient",
                    "expected_cost_usd": 0.00006,
                    "novelty": 0.31,
                    "model_id": "tw-0123456789ab",
                    "tier_cost_usd": [0.00006, 0.0004, 0.0025],
                    "saving_usd": 0.00244,
                    "tiers": ["small", "medium", "large"],
                    "request_id": "5f0c2a7d91be-1",
                }
            ]
        }
    )

    tiers: list[str] = Field(description="Names of the tiers, cheapest first, in the order of the lists.")
    request_id: str = Field(description="As in the header X-Request-ID.")


class ProblemField(BaseModel):
    """A field at fault."""

    pointer: str = Field(description="JSON pointer into the body.")
    detail: str


class ProblemAnswer(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:tierwise:problem:invalid-request",
                    "title": "Invalid request",
                    "status": 422,
                    "detail": "policy.max_regret: expected a value less than or equal to 1, found 2",
                    "errors": [
                        {
                            "pointer": "#/policy/max_regret",
                            "detail": "expected a value less than or equal to 1, found 2",
                        }
                    ],
                    "request_id": "5f0c2a7d91be-2",
                }
            ]
        }
    )

    type: str = Field(description="A stable URI, such as urn:tierwise:problem:invalid-request.")
    title: str
    status: int
    detail: str = Field(description="One sentence: what was expected, what was found, what to do.")
    errors: list[ProblemField] | None = None
    request_id: str | None = None


class ItemAnswer(_Chosen):
    """A decision on one item of a batch."""

    item: int = Field(description="Position in the batch, from 0.")


class ItemError(BaseModel):
    """Why one item of a batch has no decision."""

    item: int = Field(description="Position in the batch, from 0.")
    error: ProblemAnswer


class BatchAnswer(BaseModel):
    """One result per item, in order."""

    request_id: str
    model_id: str
    tiers: list[str]
    results: list[ItemAnswer | ItemError]


class ModelAnswer(BaseModel):
    """What the model says of itself."""

    model_id: str
    tiers: list[dict[str, Any]]
    certificate: dict[str, Any] = Field(
        description="What is promised. Where it has `void`, an object with `date` and `why`, nothing is, and every decision is "
        "for the best tier, or as near to it as the policy and the request permit."
    )
    policy: dict[str, Any] = Field(
        description="The service's default: what holds where a request states no policy. Empty where it is the model's own."
    )
    manifest: dict[str, Any]


class ReloadAnswer(BaseModel):
    """Which model serves now."""

    model_id: str
    previous_model_id: str
    reloaded: bool = Field(description="Whether it is another one.")
    workers: int = Field(description="How many processes it serves in.")


class StatusAnswer(BaseModel):
    """How the service is."""

    status: Literal["ok", "ready"]
    model_id: str | None = None
