"""What requests and answers look like: checks what comes in, documents both in OpenAPI. Pure."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import TypedDict  # pydantic asks for this one below Python 3.12

from router.decision import Reason
from router.demand import MAX_TOKENS
from router.serving.problems import Problem

__all__ = [
    "BatchAnswer",
    "BatchRequest",
    "DecisionAnswer",
    "ItemAnswer",
    "ItemError",
    "ModelAnswer",
    "PolicyRequest",
    "ProblemAnswer",
    "ReloadAnswer",
    "RouteRequest",
    "StatusAnswer",
    "read_batch",
    "read_request",
]

_M = TypeVar("_M", bound=BaseModel)
_MAX_ERRORS = 8
_LARGE = 10**15
_NAME = re.compile(r"[A-Za-z_$][\w.$-]{0,63}", re.ASCII)
_KEY = "[key]"  # what pydantic ends a path with if the name is at fault, and not the value
_EXPECTED = {
    "content": "a string, null, or a list of parts, each an object with a type",
    "dict_type": "an object",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "an object",
    "string_type": "a string",
    "string_unicode": "a string of whole characters",
    "text": "a string",
}
_KINDS = ((str, "a string"), (list, "a list"), (dict, "an object"))
_EXAMPLE_PROMPT = "Extract the invoice number from: Invoice INV-20931, due 3 March."


def _read_text(value: object) -> str:
    # Not pydantic's own check: that refuses half of a surrogate pair, which is what a client that cuts text by UTF-16
    # units sends, and which the router decides on like any other string.
    if not isinstance(value, str):
        raise PydanticCustomError("text", "no string")
    return value


def _read_content(value: object) -> Any:  # noqa: ANN401 - the router reads it
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(
        isinstance(part, dict) and isinstance(part.get("type"), str) for part in value
    ):
        raise PydanticCustomError("content", "another form")
    return value


def _read_whole(value: object) -> object:
    # JSON knows one kind of number, and clients of some languages write 3 as 3.0.
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Text = Annotated[str, PlainValidator(_read_text), WithJsonSchema({"type": "string"})]
_Content = Annotated[
    Any,
    PlainValidator(_read_content),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "null"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"type": {"type": "string"}, "text": {"type": "string"}},
                        "required": ["type"],
                    },
                },
            ],
            "title": "Content",
        }
    ),
]
_Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS, strict=True), BeforeValidator(_read_whole)]
_TierName = Annotated[str, Field(min_length=1, max_length=200)]
_Capability = Annotated[str, Field(min_length=1, max_length=64)]
_Share = Annotated[float, Field(ge=0, le=1, strict=True)]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class Message(TypedDict):
    """A chat message of OpenAI's form; what else it holds, such as `tool_calls`, is read where the router reads it."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    role: Annotated[str, Field(min_length=1, max_length=64)]
    content: NotRequired[_Content]


class PolicyRequest(BaseModel):
    """What the caller asks for; every field is optional, and together they narrow the choice."""

    model_config = _STRICT

    max_regret: _Share | None = Field(
        None,
        description="At most this share of prompts may fail where the top tier passes. Answered from the model's "
        "certificate; what is not certified goes to the top tier. Not together with epsilon.",
    )
    epsilon: _Share | None = Field(None, description="The expected loss allowed per prompt, uncertified.")
    floor: _TierName | None = Field(None, description="The cheapest tier that may be chosen.")
    ceiling: _TierName | None = Field(None, description="The dearest tier that may be chosen.")
    allow: Annotated[list[_TierName], Field(min_length=1, max_length=100)] | None = Field(
        None, description="The tiers that may be chosen."
    )
    max_cost_usd: Annotated[float, Field(gt=0, strict=True)] | None = Field(
        None, description="Tiers whose expected cost for the prompt is above it are passed over, USD."
    )


class RouteRequest(BaseModel):
    """A prompt to decide on."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["prompt"],
                    "properties": {"prompt": {"type": "string"}, "messages": {"type": "null"}},
                },
                {
                    "required": ["messages"],
                    "properties": {"messages": {"type": "array"}, "prompt": {"type": "null"}},
                },
            ],
            "examples": [
                {"prompt": _EXAMPLE_PROMPT},
                {
                    "messages": [
                        {"role": "system", "content": "Answer in one word."},
                        {"role": "user", "content": "Name the largest lake in Africa."},
                    ],
                    "policy": {"max_regret": 0.05},
                    "needs": ["json"],
                    "metadata": {"feature": "quiz", "user_tier": "free"},
                },
            ],
        },
    )

    prompt: _Text | None = Field(None, description="The text; or else `messages`.")
    messages: list[Message] | None = Field(
        None, description="Chat messages of OpenAI's form, with images by reference; or else `prompt`."
    )
    tools: list[dict[str, Any]] | None = Field(
        None,
        description="Definitions of tools that will go to the model: they need the capability `tools`, and cost "
        "their length.",
    )
    policy: PolicyRequest | None = None
    context_tokens: _Tokens | None = Field(
        None,
        description="Tokens of the whole input, where the client has counted them; else four characters are one.",
    )
    needs: Annotated[list[_Capability], Field(max_length=16)] | None = Field(
        None, description="Capabilities that the tier must have, such as `json`."
    )
    metadata: (
        Annotated[
            dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=256)]],
            Field(max_length=16),
        ]
        | None
    ) = Field(
        None, description="Tags of your own, such as the feature or the user's tier; they go into the log."
    )


class BatchRequest(BaseModel):
    """Prompts to decide on together."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"items": [{"prompt": _EXAMPLE_PROMPT}, {"prompt": "Prove it."}]}]},
    )

    # Each is checked by itself, as RouteRequest, so that one that is wrong does not cost the others their answer.
    items: Annotated[list[Any], Field(min_length=1)] = Field(
        description="Bodies of /v1/route. One that is wrong gets an error of its own."
    )


class _Chosen(BaseModel):
    tier: str = Field(description="Name of the tier.")
    index: int = Field(description="Its position on the ladder, 0 cheapest.")
    model: str = Field(description="The tier's first model: the one to call.")
    p_pass: list[float] = Field(description="Per tier, the calibrated probability that its answer passes.")
    predicted: int = Field(description="The tier that the probabilities alone would choose.")
    reason: Reason = Field(description="What decided.")
    expected_cost_usd: float = Field(description="USD for this prompt on this tier.")
    novelty: float = Field(description="0 is like the training data, 1 is unlike any of it.")
    model_id: str = Field(description="Which artefact decided.")
    tier_cost_usd: list[float] = Field(description="Per tier, expected USD.")


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
    certificate: dict[str, Any]
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


def read_request(document: object) -> RouteRequest:
    """Check the body of a request. Pure.

    Raises
    ------
    Problem
        422, with every field at fault.
    """
    request = _validate(RouteRequest, document)
    if (request.prompt is None) == (request.messages is None):
        both = request.prompt is not None
        raise Problem(
            "invalid-request",
            f"expected one of prompt and messages, found {'both; drop one' if both else 'neither'}",
            [(f"#/{'messages' if both else 'prompt'}", "send exactly one of prompt and messages")],
        )
    return request


def read_batch(document: object, most: int) -> list[Any]:
    """Check the body of a batch, but for its items. Pure.

    Raises
    ------
    Problem
        422, with every field at fault; 413 if there are more than `most` items.
    """
    items = _validate(BatchRequest, document).items
    if len(items) > most:
        raise Problem(
            "too-many-items",
            f"items: expected at most {most:,}, found {len(items):,}; send more batches, or a stream of NDJSON",
            [("#/items", f"expected at most {most:,}")],
        )
    return items


def _validate(model: type[_M], document: object) -> _M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False)[:_MAX_ERRORS]
    errors = [(_pointer(e["loc"]), _sentence(model, e)) for e in found]
    raise Problem("invalid-request", f"{_dotted(found[0]['loc'])}: {errors[0][1]}", errors)


def _pointer(loc: tuple[int | str, ...]) -> str:
    """Return where in the body, as far as it is shown: a pointer leads to what is there."""
    return "#" + "".join(f"/{part}" for part in takewhile(_is_shown, loc))


def _dotted(loc: tuple[int | str, ...]) -> str:
    shown = [part if _is_shown(part) else "(a name of another form)" for part in loc if part != _KEY]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in shown)
    return path.lstrip(".") or "the body"


def _is_shown(part: int | str) -> bool:
    # A client that mixes up names and values must not find its prompt in an error or a log.
    return isinstance(part, int) or _NAME.fullmatch(part) is not None


def _sentence(model: type[BaseModel], error: ErrorDetails) -> str:
    kind, path = error["type"], error["loc"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        known = PolicyRequest if path[0] == "policy" and len(path) > 1 else model
        if path[-1] in PolicyRequest.model_fields and "policy" in known.model_fields:
            return "unknown field here; it belongs into policy"
        return f"unknown field; known fields: {', '.join(known.model_fields)}"
    expected = _EXPECTED.get(kind)
    if expected is None:
        message = error["msg"].removeprefix("Input should be ")
        if message == error["msg"]:  # of a list or a string: how long it may be, and how long it is
            message = message.replace(" after validation", "")
            return ("its name: " if path[-1:] == (_KEY,) else "") + message[:1].lower() + message[1:]
        expected = f"a value {message}"
    # What stands in a prompt's place may be a prompt, whatever its type.
    shown = path[:1] in (("policy",), ("context_tokens",))
    return f"expected {expected}, found {_found(error['input'], shown)}"


def _found(value: object, shown: bool) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return "a number" if not shown else repr(value) if abs(value) < _LARGE else "a number out of range"
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "another type")
