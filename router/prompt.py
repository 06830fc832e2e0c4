"""What a prompt is, reduced to what a decision reads.

Pure. A prompt is a string or a list of OpenAI-style chat messages. However long it is, the text that is
looked at stays bounded, so the cost of a decision is flat. One user message alone reads exactly like the
string it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["CONTEXT_CHARS", "HEAD_CHARS", "TAIL_CHARS", "Prompt", "PromptView", "read_prompt"]

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]
"""Text, or OpenAI-style chat messages."""

# The task is stated at the start or at the end of a long prompt; what lies between is its material.
HEAD_CHARS = 1536
TAIL_CHARS = 512
# What the system prompt and the earlier turns may each add, so that they cannot drown the last user turn.
CONTEXT_CHARS = 512


class PromptView(NamedTuple):
    """The part of a prompt that decisions read.

    Attributes
    ----------
    text : str
        Last user turn (head and tail), start of the system prompt, end of the earlier turns.
    n_chars, n_system_chars, n_last_chars : int
        Characters in all, in the system prompt, and in the last user turn; not windowed.
    n_turns : int
        Messages, system prompt not counted.
    n_tool_turns : int
        Tool calls and tool results.
    n_images : int
        Image parts.
    """

    text: str
    n_chars: int
    n_system_chars: int = 0
    n_last_chars: int = 0
    n_turns: int = 1
    n_tool_turns: int = 0
    n_images: int = 0


def read_prompt(prompt: Prompt) -> PromptView:
    """Reduce a prompt to its view. Pure.

    Raises
    ------
    TypeError
        The prompt is neither a string nor a list of messages, or a message is not of the chat form.
    """
    if isinstance(prompt, str):
        n = len(prompt)
        return PromptView(prompt if n <= HEAD_CHARS + TAIL_CHARS else _window(prompt), n, 0, n)
    messages: Sequence[Message] = prompt
    if isinstance(messages, bytes | bytearray | memoryview) or not isinstance(messages, Sequence):
        raise TypeError(f"a prompt is a str or a list of chat messages; found {type(prompt).__name__}")
    return _read_messages(messages)


def _window(text: str) -> str:
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"


def _read_messages(messages: Sequence[Message]) -> PromptView:
    system: list[str] = []
    turns: list[str] = []
    last_user = -1
    n_tool_turns = n_images = 0
    for message in messages:
        if not isinstance(message, Mapping):
            raise TypeError(
                f"a chat message is a mapping with role and content; found {type(message).__name__}"
            )
        text, images = _read_content(message.get("content"))
        n_images += images
        role = message.get("role")
        if role in ("system", "developer"):
            system.append(text)
            continue
        if role == "user":
            last_user = len(turns)
        elif role in ("tool", "function"):
            n_tool_turns += 1
        tool_calls = message.get("tool_calls")
        if isinstance(tool_calls, Sequence) and not isinstance(tool_calls, str):
            n_tool_turns += len(tool_calls)
        turns.append(text)
    n_system_chars = sum(map(len, system))
    last = turns[last_user] if turns else ""
    parts = [_window(last)]
    if system:
        parts.append(_head(system))
    if len(turns) > 1:
        parts.append(_tail(turns, skip=last_user % len(turns)))
    return PromptView(
        "\n".join(part for part in parts if part),
        sum(map(len, turns)) + n_system_chars,
        n_system_chars,
        len(last),
        len(turns),
        n_tool_turns,
        n_images,
    )


def _read_content(content: object) -> tuple[str, int]:
    """Return the text of a message's content and how many images it holds."""
    if isinstance(content, str):
        return content, 0
    if content is None:  # an assistant turn that only calls tools
        return "", 0
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray | memoryview):
        raise TypeError(
            f"a message's content is a str, None or a list of parts; found {type(content).__name__}"
        )
    texts, images = [], 0
    for part in content:
        if not isinstance(part, Mapping):
            raise TypeError(f"a content part is a mapping with a type; found {type(part).__name__}")
        text = part.get("text")
        if isinstance(text, str):
            texts.append(text)
        if "image" in str(part.get("type", "")):
            images += 1
    return "\n".join(texts), images


def _head(texts: list[str]) -> str:
    """Return the first characters of the texts without joining all of them."""
    head, room = [], CONTEXT_CHARS
    for text in texts:
        head.append(text[:room])
        room -= len(head[-1]) + 1
        if room <= 0:
            break
    return "\n".join(head)


def _tail(texts: list[str], skip: int) -> str:
    """Return the last characters of the texts, one of them left out, without joining all of them."""
    tail: list[str] = []
    room = CONTEXT_CHARS
    for i in range(len(texts) - 1, -1, -1):
        if i == skip:
            continue
        tail.append(texts[i][-room:])
        room -= len(tail[-1]) + 1
        if room <= 0:
            break
    return "\n".join(reversed(tail))
