"""What a provider answered, and the reading of it by the form it has.

Pure. Three forms are known: a chat completion and a response of OpenAI's, and a message of Anthropic's. Gateways and
loggers keep them as they came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eval.status import Status
from training.imports.chat import as_text, calls_as_json, tool_call
from training.imports.outcome import error_of, status_of_answer
from training.imports.values import amount, count, first, instant, mapping, word

__all__ = ["Answered", "read_answer", "served_model"]

_RELEASE = re.compile(r"(?:[-@:](?:v?\d+|latest|preview|exp))*")


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back of one call; without a status where the log holds the request alone."""

    status: Status | None = None
    response: str | None = None
    finish_reason: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None
    created: datetime | None = None


def read_answer(answer: Mapping[str, Any], code: int | None = None) -> Answered:
    """Return what an answer's body says, whichever provider's form it has. Pure.

    Parameters
    ----------
    answer : mapping
        The body.
    code : int or None
        The HTTP status it came with, where the log has it.
    """
    error = error_of(answer, code)
    if error is not None:
        return Answered(error)
    if isinstance(answer.get("choices"), list):
        return _completion(answer)
    if answer.get("type") == "message" or (
        "stop_reason" in answer and isinstance(answer.get("content"), list)
    ):
        return _message(answer)
    if answer.get("object") == "response" or isinstance(answer.get("output"), list):
        return _response(answer)
    return Answered(Status.MALFORMED)


def served_model(requested: object, answered: object) -> str | None:
    """Return who answered, by the name that was asked for where the answer's is a release of it.

    `gpt-4o` answers as `gpt-4o-2024-08-06` and is `gpt-4o`; a gateway's `auto` answers as what it chose, and a fallback to
    `gpt-4o-mini` is another model.
    """
    asked, named = word(requested), word(answered)
    if asked is None or named is None:
        return asked or named
    family, served = asked.split("/")[-1].removesuffix("-latest"), named.split("/")[-1]
    release = served.startswith(family) and _RELEASE.fullmatch(served, len(family))
    return asked if release else named


def _completion(answer: Mapping[str, Any]) -> Answered:
    choices = [choice for choice in answer["choices"] if isinstance(choice, Mapping)]
    if not choices:
        return Answered(Status.MALFORMED)
    choice = choices[0]  # of several candidates an application uses the first
    message = mapping(choice.get("message"))
    text = as_text(message.get("content")) if message else as_text(choice.get("text"))  # "text": the old API
    calls = message.get("tool_calls") or message.get("function_call")
    calls = calls if isinstance(calls, list) else [calls] if calls else []
    refusal = as_text(message.get("refusal"))
    ended = word(choice.get("finish_reason"))
    status = status_of_answer(
        text=text, tool_calls=bool(calls), finish_reason=ended, refused=bool(refusal and refusal.strip())
    )
    usage = mapping(answer.get("usage"))
    details = mapping(first(usage, "prompt_tokens_details", "input_tokens_details"))
    return Answered(
        status,
        _said(status, text, calls, refusal),
        ended,
        word(answer.get("model")),
        count(first(usage, "prompt_tokens", "input_tokens")),
        count(first(usage, "completion_tokens", "output_tokens")),
        count(details.get("cached_tokens")),
        amount(usage.get("cost")),  # OpenRouter's, in USD
        instant(answer.get("created")),
    )


def _response(answer: Mapping[str, Any]) -> Answered:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    refusals: list[str] = []
    items = answer.get("output")
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, Mapping):
            continue
        if item.get("type") in ("function_call", "custom_tool_call"):
            arguments = first(item, "arguments", "input")
            calls.append(tool_call(item.get("call_id"), item.get("name"), arguments))
        elif item.get("type") == "message":
            parts = item.get("content")
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, Mapping) and isinstance(part.get("refusal"), str):
                    refusals.append(part["refusal"])
                elif (text := as_text([part])) is not None:
                    texts.append(text)
    ended = word(mapping(answer.get("incomplete_details")).get("reason")) or word(answer.get("status"))
    said, refusal = "".join(texts) if texts else None, "".join(refusals) or None
    status = status_of_answer(text=said, tool_calls=bool(calls), finish_reason=ended, refused=bool(refusal))
    usage = mapping(answer.get("usage"))
    return Answered(
        status,
        _said(status, said, calls, refusal),
        ended,
        word(answer.get("model")),
        count(usage.get("input_tokens")),
        count(usage.get("output_tokens")),
        count(mapping(usage.get("input_tokens_details")).get("cached_tokens")),
        amount(usage.get("cost")),
        instant(answer.get("created_at")),
    )


def _message(answer: Mapping[str, Any]) -> Answered:
    content = answer.get("content")
    blocks = [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []
    # Citations part a text in the middle of a sentence, so that its blocks are joined by nothing.
    texts = [as_text([block]) or "" for block in blocks if block.get("type") == "text"]
    text = "".join(texts) if texts else None
    calls = [
        tool_call(block.get("id"), block.get("name"), block.get("input"))
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    ended = word(answer.get("stop_reason"))
    status = status_of_answer(text=text, tool_calls=bool(calls), finish_reason=ended)
    usage = mapping(answer.get("usage"))
    # Anthropic counts what was read from its cache and what was written to it beside the input.
    parts = [
        count(usage.get(name))
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    ]
    return Answered(
        status,
        _said(status, text, calls, text),
        ended,
        word(answer.get("model")),
        None if parts[0] is None else sum(part or 0 for part in parts),
        count(usage.get("output_tokens")),
        parts[1],
    )


def _said(status: Status, text: str | None, calls: Sequence[Any], refusal: str | None) -> str | None:
    if status is Status.TOOL_CALL:
        return calls_as_json(calls)
    return refusal if status is Status.REFUSED and refusal else text or None
