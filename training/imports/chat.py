"""Chat messages as a history holds them, made from what a log holds.

Pure. A history holds OpenAI-style messages without null fields, at most `DEEPEST` levels deep, in characters that UTF-8
holds. What cannot be brought to that is a `BadRecord`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from training.imports.logged import BadRecord, LeftOut
from training.imports.values import clean, opened

__all__ = ["as_messages", "as_text", "calls_as_json", "canonical", "plain_text", "tool_call"]

DEEPEST = 64
"""Levels of nesting in a message; what is deeper is an attack or an accident."""
_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant"}


def as_messages(value: object) -> list[dict[str, Any]]:
    """Return chat messages from a list of them, one of them, an object that holds them, or plain text.

    Raises
    ------
    BadRecord
        It is none of these, or a message is not of the chat form.
    LeftOut
        It holds no text and no image: nothing was asked.
    """
    if isinstance(value, str):
        inside = opened(value)
        value = inside if _is_chat(inside) else [{"role": "user", "content": value}]
    if isinstance(value, Mapping):
        inner = value.get("messages") or value.get("prompt")
        if inner is not None:
            return as_messages(inner)
        value = [value]
    if not isinstance(value, list) or not value:
        raise BadRecord("no chat messages")
    messages = [_message(item) for item in value]
    if not any(_says_something(message) for message in messages):
        raise LeftOut("a blank prompt")
    return messages


def _is_chat(value: object) -> bool:
    """Tell chat messages in JSON from a prompt that merely is JSON."""
    if isinstance(value, Mapping):
        return "messages" in value or _has_role(value)
    return isinstance(value, list) and bool(value) and all(_has_role(item) for item in value)


def _has_role(item: object) -> bool:
    return (
        isinstance(item, Mapping)
        and isinstance(item.get("role", item.get("type")), str)
        and "content" in item
    )


def _message(item: object) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise BadRecord("a message that is no object")
    role = item.get("role") or item.get("type")
    if not isinstance(role, str):
        raise BadRecord("a message without a role")
    content = item.get("content")
    if content is not None and not isinstance(content, str):
        if isinstance(content, Mapping):
            content = [content]
        if not isinstance(content, list):
            raise BadRecord("a message whose content is neither text nor parts")
        content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
        if not all(isinstance(part, Mapping) for part in content):
            raise BadRecord("a message whose content is neither text nor parts")
        if all(part.get("type") == "text" and isinstance(part.get("text"), str) for part in content):
            content = as_text(content)  # one prompt has one form, whoever wrote it down
    rest = {key: value for key, value in item.items() if key not in ("role", "content", "type")}
    return {"role": _ROLES.get(role, clean(role)), **_bare({"content": content, **rest}, DEEPEST)}


def _bare(value: Any, levels: int) -> Any:  # noqa: ANN401 - JSON of any form
    """Return a JSON value without null fields, in characters that can be written."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int | float) or value is None:
        return value
    if levels == 0:
        raise BadRecord(f"a message nested more than {DEEPEST} levels deep")
    if isinstance(value, Mapping):
        return {clean(str(key)): _bare(item, levels - 1) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_bare(item, levels - 1) for item in value]
    return clean(str(value))  # a date or a decimal of a Parquet file


def _says_something(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if isinstance(content, str):
        return bool(content.strip())
    if message.get("tool_calls"):
        return True
    return any(
        str(part.get("text", "")).strip() if part.get("type") == "text" else True for part in content or ()
    )


def as_text(content: object) -> str | None:
    """Return the text of a message's content, its parts joined by line ends; None where it has none."""
    if isinstance(content, str):
        return clean(content)
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, Sequence):
        return None
    found = []
    for part in content:
        text = part if isinstance(part, str) else None
        if isinstance(part, Mapping):
            text = part.get("text", part.get("content") if part.get("type") == "text" else None)
        if isinstance(text, str):
            found.append(clean(text))
    return "\n".join(found) if found else None


def plain_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what was said, without the system's words: an application sends those with every prompt."""
    said = [
        as_text(message.get("content")) or ""
        for message in messages
        if message.get("role") not in ("system", "developer")
    ]
    return "\n".join(text for text in said if text)


def tool_call(identity: object, name: object, arguments: object) -> dict[str, Any]:
    """Return one call of a tool as OpenAI writes it; its arguments are JSON text."""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments if arguments is not None else {}, ensure_ascii=False)
    function = {"name": str(name or ""), "arguments": clean(arguments)}
    return {**({"id": clean(str(identity))} if identity else {}), "type": "function", "function": function}


def calls_as_json(calls: Sequence[Any]) -> str:
    """Return the calls of tools of an answer as a history holds them."""
    return json.dumps(_bare(list(calls), DEEPEST), ensure_ascii=False, sort_keys=True)


def canonical(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return one text per prompt; a lone user message is the same prompt as its text."""
    if len(messages) == 1:
        only = messages[0]
        if only.keys() == {"role", "content"} and only["role"] == "user" and isinstance(only["content"], str):
            return str(only["content"])
    return json.dumps(messages, ensure_ascii=False, sort_keys=True)
