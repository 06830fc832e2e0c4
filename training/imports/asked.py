"""What was asked: the body of a request, of any form that is known, as chat messages.

Pure. Known are the chat completions and the responses of OpenAI's and the messages of Anthropic's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from training.imports.chat import as_messages, as_text, tool_call
from training.imports.logged import BadRecord

__all__ = ["chat_from_anthropic", "chat_from_openai", "read_request"]

_RESULTS = ("function_call_output", "custom_tool_call_output")
_CALLS = ("function_call", "custom_tool_call")


def read_request(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a request whose provider is not known: its form tells. Pure."""
    if "messages" in body and (
        "system" in body or "anthropic_version" in body or _has_blocks(body["messages"])
    ):
        return chat_from_anthropic(body)
    return chat_from_openai(body)


def chat_from_openai(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a request to OpenAI's chat completions, responses or old completions. Pure."""
    if "messages" in body:
        return as_messages(body["messages"])
    if "input" in body:
        return _from_responses(body)
    if isinstance(body.get("prompt"), str):
        return as_messages([{"role": "user", "content": body["prompt"]}])
    raise BadRecord("a request without messages")


def _from_responses(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    asked = body["input"]
    messages: list[dict[str, Any]] = []
    if isinstance(body.get("instructions"), str):
        messages.append({"role": "system", "content": body["instructions"]})
    if isinstance(asked, str):
        return as_messages([*messages, {"role": "user", "content": asked}])
    if not isinstance(asked, list):
        raise BadRecord("a request without messages")
    for item in asked:
        if not isinstance(item, Mapping):
            raise BadRecord("a message that is no object")
        kind = item.get("type", "message")
        if kind in _CALLS:
            call = tool_call(item.get("call_id"), item.get("name"), item.get("arguments", item.get("input")))
            messages.append({"role": "assistant", "tool_calls": [call]})
        elif kind in _RESULTS:
            told = item.get("output")
            content = told if isinstance(told, str) else as_text(told) or json.dumps(told, ensure_ascii=False)
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
        elif kind == "message":
            messages.append({"role": item.get("role"), "content": _parts(item.get("content"))})
        # what is left is the model's own thinking and references to it, which no other model can read
    return as_messages(messages)


def _parts(content: object) -> object:
    if not isinstance(content, list):
        return content
    parts: list[object] = []
    for part in content:
        if isinstance(part, Mapping) and part.get("type") in ("input_text", "output_text"):
            parts.append({"type": "text", "text": part.get("text")})
        elif isinstance(part, Mapping) and part.get("type") == "input_image":
            parts.append({"type": "image_url", "image_url": {"url": part.get("image_url")}})
        else:
            parts.append(part)
    return parts


def chat_from_anthropic(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a request to Anthropic's messages API, the system prompt first. Pure."""
    told = body.get("messages")
    if not isinstance(told, list):
        raise BadRecord("a request without messages")
    system = as_text(body.get("system"))
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for item in told:
        if not isinstance(item, Mapping):
            raise BadRecord("a message that is no object")
        content = item.get("content")
        if isinstance(content, list):
            messages.extend(_from_blocks(item.get("role"), content))
        else:
            messages.append({"role": item.get("role"), "content": content})
    return as_messages(messages)


def _from_blocks(role: object, blocks: Iterable[object]) -> list[dict[str, Any]]:
    """Return the messages that one of Anthropic's is: results of tools stand in messages of their own."""
    results: list[dict[str, Any]] = []
    parts: list[object] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if not isinstance(block, Mapping):
            parts.append(block)
        elif kind == "tool_use":
            calls.append(tool_call(block.get("id"), block.get("name"), block.get("input")))
        elif kind == "tool_result":
            content = as_text(block.get("content")) or ""
            results.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": content})
        elif kind == "text":
            parts.append({"type": "text", "text": block.get("text")})  # without cache_control
        elif kind == "image":
            parts.append({"type": "image_url", "image_url": {"url": _image(block.get("source"))}})
        elif kind == "document":
            source = block.get("source")
            text = as_text(source.get("data")) if isinstance(source, Mapping) else None
            parts.append({"type": "text", "text": text} if text is not None else dict(block))
        elif kind not in ("thinking", "redacted_thinking"):
            parts.append(dict(block))
    if parts or calls or not results:
        said = {"role": role, "content": parts or None}
        results.append({**said, "tool_calls": calls} if calls else said)
    return results


def _image(source: object) -> object:
    if not isinstance(source, Mapping):
        return None
    if source.get("type") == "base64":
        return f"data:{source.get('media_type', 'image/png')};base64,{source.get('data', '')}"
    return source.get("url")


def _has_blocks(messages: object) -> bool:
    contents = (
        [m.get("content") for m in messages if isinstance(m, Mapping)] if isinstance(messages, list) else []
    )
    return any(
        isinstance(part, Mapping) and part.get("type") in ("tool_use", "tool_result")
        for content in contents
        if isinstance(content, list)
        for part in content
    )
