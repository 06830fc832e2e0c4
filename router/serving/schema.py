"""What requests look like: checks what comes in, documents it in OpenAPI. Pure."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import Annotated, Any, NotRequired, TypeVar

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

from router.demand import MAX_TOKENS
from router.policy import ASKS, PRESETS, Policy
from router.serving.problems import Problem

__all__ = [
    "BatchRequest",
    "PolicyRequest",
    "RouteRequest",
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
_Preset = Annotated[str, Field(max_length=200, json_schema_extra={"enum": list(PRESETS)})]
_Slice = Annotated[str, Field(min_length=3, max_length=200)]
_Needs = Annotated[list[_Capability], Field(max_length=16)]


class Message(TypedDict):
    """A chat message of OpenAI's form; what else it holds, such as `tool_calls`, is read where the router reads it."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    role: Annotated[str, Field(min_length=1, max_length=64)]
    content: NotRequired[_Content]


def _asked(name: str) -> Any:  # noqa: ANN401 - as pydantic's own
    """Return a field of a policy as `router.Policy` describes it, one that may be left out."""
    asked = ASKS[name]
    strict = True if asked.form == "number" else None
    text = f"{asked.text[:1].upper()}{asked.text[1:]}."
    return Field(None, description=text, ge=asked.least, gt=asked.above, le=asked.most, strict=strict)


class PolicyRequest(BaseModel):
    """What the caller asks for, in place of what the service has as its default; every field is optional.

    At most one of `max_regret`, `min_quality`, `budget`, `preset` and `epsilon`. With none of them, the model's own default
    holds. What is not certified goes to the reference tier.
    """

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {"max_regret": 0.05},
                {"min_quality": 0.98, "ceiling": "large"},
                {"preset": "balanced", "slice": "task=math"},
                {"budget": 0.002, "max_cost_usd": 0.02, "needs": ["json"]},
            ]
        },
    )

    max_regret: float | None = _asked("max_regret")
    epsilon: float | None = _asked("epsilon")
    floor: _TierName | None = _asked("floor")
    ceiling: _TierName | None = _asked("ceiling")
    allow: Annotated[list[_TierName], Field(min_length=1, max_length=100)] | None = _asked("allow")
    max_cost_usd: float | None = _asked("max_cost_usd")
    min_quality: float | None = _asked("min_quality")
    budget: float | None = _asked("budget")
    preset: _Preset | None = _asked("preset")
    slice: _Slice | None = _asked("slice")
    needs: _Needs | None = _asked("needs")

    def to_policy(self) -> Policy:
        """Return the policy that this asks for.

        Raises
        ------
        RequestError
            Fields do not go together.
        """
        return Policy(**self.__dict__)


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
                    "policy": {"preset": "balanced"},
                    "context_tokens": 2400,
                    "cached_tokens": 2000,
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
    policy: PolicyRequest | None = Field(
        None, description="What is asked for; without it, what the service has as its default holds."
    )
    context_tokens: _Tokens | None = Field(
        None,
        description="Tokens of the whole input, where the client has counted them; else four characters are one.",
    )
    cached_tokens: _Tokens | None = Field(
        None,
        description="How many tokens of the input the provider has in its prompt cache, at most `context_tokens`; they "
        "cost the tier's price for cached input.",
    )
    needs: _Needs | None = Field(None, description="Capabilities that the tier must have, such as `json`.")
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
    shown = path[:1] in (("policy",), ("context_tokens",), ("cached_tokens",))
    return f"expected {expected}, found {_found(error['input'], shown)}"


def _found(value: object, shown: bool) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return "a number" if not shown else repr(value) if abs(value) < _LARGE else "a number out of range"
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "another type")
