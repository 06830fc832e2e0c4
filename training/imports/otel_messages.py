"""The chat in a span: what was asked and what was answered, in any of the forms that the GenAI conventions had.

Pure. The forms, newest first: messages of parts in `gen_ai.input.messages` and `gen_ai.output.messages` (since version
1.37 of the conventions); events `gen_ai.user.message`, `gen_ai.choice` and their like (1.28 to 1.36); numbered attributes
`gen_ai.prompt.0.content` (OpenLLMetry); and JSON in `gen_ai.prompt` and `gen_ai.completion`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from training.imports.chat import as_messages, as_text, calls_as_json, tool_call
from training.imports.logged import BadRecord
from training.imports.values import first, mapping, opened, word

__all__ = ["Response", "messages_of"]

Event = tuple[str, Mapping[str, Any]]

_ASKED = ("system", "user", "assistant", "tool")


class Response(NamedTuple):
    """What was answered."""

    text: str | None = None
    calls: str | None = None
    """Calls of tools, as JSON."""
    finish_reason: str | None = None


def messages_of(told: Mapping[str, Any], events: Sequence[Event]) -> tuple[list[dict[str, Any]], Response]:
    """Return the messages of a span and its answer; no messages where their content was not recorded. Pure.

    Parameters
    ----------
    told : mapping
        The span's attributes.
    events : sequence of (name, attributes)
        The span's events and the log records that name it, their bodies among the attributes.

    Raises
    ------
    BadRecord
        What stands there is no chat.
    """
    asked: list[Any] = []
    answer: list[Any] = []
    if told.get("gen_ai.input.messages"):
        asked = _from_parts(told["gen_ai.input.messages"])
        system = _text_of_parts(told.get("gen_ai.system_instructions"))
        if system:
            asked = [{"role": "system", "content": system}, *asked]
        answer = _from_parts(told.get("gen_ai.output.messages") or [])
    elif any(name.endswith(".message") for name, _ in events):
        asked, answer = _from_events(events)
    elif numbered := _numbered(told, "gen_ai.prompt."):
        asked, answer = numbered, _numbered(told, "gen_ai.completion.")
    else:
        asked = _whole(told, events, "prompt")
        answer = _whole(told, events, "completion")
    if not asked:
        return [], Response()
    for message in asked:
        if isinstance(message, dict):
            message.pop("finish_reason", None)
    return as_messages(asked), _response(answer)


def _response(answer: Sequence[Any]) -> Response:
    said = (
        answer[0] if answer and isinstance(answer[0], Mapping) else {}
    )  # each further one is another candidate
    text = as_text(said.get("content"))
    calls = said.get("tool_calls")
    return Response(
        text if text and text.strip() else None,
        calls_as_json(calls) if calls else None,
        word(said.get("finish_reason")),
    )


# Messages of parts.


def _from_parts(value: object) -> list[dict[str, Any]]:
    value = opened(value)
    if not isinstance(value, list):
        raise BadRecord("gen_ai messages that are no list")
    messages: list[dict[str, Any]] = []
    for item in value:
        if not isinstance(item, Mapping):
            raise BadRecord("a message that is no object")
        parts = item.get("parts")
        if isinstance(parts, list):
            messages.extend(_message(item, [part for part in parts if isinstance(part, Mapping)]))
        else:
            messages.append(dict(item))
    return messages


def _message(item: Mapping[str, Any], parts: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in parts:
        kind = part.get("type")
        if kind == "text":
            content.append({"type": "text", "text": part.get("content")})
        elif kind == "tool_call":
            calls.append(tool_call(part.get("id"), part.get("name"), part.get("arguments")))
        elif kind == "tool_call_response":
            found = first(part, "response", "result")
            told = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
            results.append({"role": "tool", "tool_call_id": part.get("id"), "content": told})
        elif kind in ("blob", "uri", "file"):
            content.append(_medium(part))
        elif kind not in ("reasoning", "thinking"):
            content.append(dict(part))
    if content or calls or not results:
        rest = {
            "tool_calls": calls or None,
            "finish_reason": item.get("finish_reason"),
            "name": item.get("name"),
        }
        results.append(
            {"role": item.get("role"), "content": content or None, **{k: v for k, v in rest.items() if v}}
        )
    return results


def _medium(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(first(part, "modality", "mime_type") or "file")
    if not kind.startswith("image"):
        return dict(part)
    url = part.get("uri") or f"data:{part.get('mime_type', 'image/png')};base64,{part.get('content', '')}"
    return {
        "type": "image_url",
        "image_url": {"url": url if part.get("type") != "file" else part.get("file_id")},
    }


def _text_of_parts(value: object) -> str | None:
    value = opened(value)
    if isinstance(value, str):
        return value
    texts = (
        [part.get("content") for part in value if isinstance(part, Mapping)]
        if isinstance(value, list)
        else []
    )
    return "\n".join(text for text in texts if isinstance(text, str)) or None


# Events.


def _from_events(events: Sequence[Event]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []
    answer: list[dict[str, Any]] = []
    for name, told in events:
        kind = name.removeprefix("gen_ai.").removesuffix(".message")
        if kind in _ASKED and name.endswith(".message"):
            asked.append(_event_message(told, kind))
        elif name == "gen_ai.choice":
            said = _event_message(mapping(told.get("message")) or told, "assistant")
            answer.append({**said, "finish_reason": told.get("finish_reason")})
    return asked, answer


def _event_message(told: Mapping[str, Any], role: str) -> dict[str, Any]:
    content = told.get("content")
    calls = opened(told.get("tool_calls"))
    found: dict[str, Any] = {
        "role": told.get("role") or role,
        "content": opened(content) if _is_parts(content) else content,
    }
    if isinstance(calls, list) and calls:
        found["tool_calls"] = calls
    if role == "tool" and told.get("id"):
        found["tool_call_id"] = told["id"]
    return found


def _is_parts(content: object) -> bool:
    inside = opened(content)
    return isinstance(inside, list) and all(isinstance(part, Mapping) and "type" in part for part in inside)


# Numbered attributes, and JSON in one.


def _numbered(told: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return messages whose fields are attributes of their own, such as `gen_ai.prompt.0.tool_calls.1.name`."""
    found: dict[int, dict[str, Any]] = {}
    calls: dict[int, dict[int, dict[str, Any]]] = {}
    for key, value in told.items():
        numeral, _, rest = key.removeprefix(prefix).partition(".")
        if not key.startswith(prefix) or not _is_number(numeral) or not rest:
            continue
        number, which = int(numeral), rest.split(".")
        if which[0] == "tool_calls" and len(which) == 3 and _is_number(which[1]):
            calls.setdefault(number, {}).setdefault(int(which[1]), {})[which[2]] = value
        elif rest in ("role", "content", "tool_call_id", "finish_reason"):
            inside = opened(value) if rest == "content" and _is_parts(value) else value
            found.setdefault(number, {})[rest] = inside
    messages = []
    default = "user" if "prompt" in prefix else "assistant"
    for number in sorted(found.keys() | calls.keys()):
        message = {"role": default, **found.get(number, {})}
        if number in calls:
            made = [call for _, call in sorted(calls[number].items())]
            message["tool_calls"] = [tool_call(c.get("id"), c.get("name"), c.get("arguments")) for c in made]
        messages.append(message)
    return messages


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 6


def _whole(told: Mapping[str, Any], events: Sequence[Event], side: str) -> list[Any]:
    value = told.get(f"gen_ai.{side}")
    for name, attributes in events:
        if value is None and name == f"gen_ai.content.{side}":
            value = first(attributes, f"gen_ai.{side}", "content")
    inside = opened(value)
    if isinstance(inside, list):
        return inside
    if isinstance(inside, Mapping):
        return [inside]
    role = "user" if side == "prompt" else "assistant"
    return [{"role": role, "content": value}] if isinstance(value, str) and value else []
