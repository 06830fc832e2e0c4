"""What a prompt is, reduced to what a decision reads.

Pure. A prompt is a string or a list of OpenAI-style chat messages. However long it is, the text that is
looked at stays bounded, so the cost of a decision does not grow with it; only each message and part costs its
microsecond. One user message alone reads exactly like the
string it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    lengths: list[int] = []
    last_user = -1
    n_system_chars = n_tool_turns = n_images = 0
    for message in messages:
        if not isinstance(message, Mapping):
            raise TypeError(
                f"a chat message is a mapping with role and content; found {type(message).__name__}"
            )
        text, length, images = _read_content(message.get("content"))
        n_images += images
        role = message.get("role")
        if role in ("system", "developer"):
            system.append(text)
            n_system_chars += length
            continue
        if role == "user":
            last_user = len(turns)
        elif role in ("tool", "function"):
            n_tool_turns += 1
        tool_calls = message.get("tool_calls")
        if isinstance(tool_calls, Sequence) and not isinstance(tool_calls, str):
            n_tool_turns += len(tool_calls)
        turns.append(text)
        lengths.append(length)
    parts = [_window(turns[last_user])] if turns else []
    if system:
        parts.append(_first(system, CONTEXT_CHARS))
    if len(turns) > 1:
        skip = last_user % len(turns)
        backwards = (turns[i] for i in range(len(turns) - 1, -1, -1) if i != skip)
        parts.append(_last(backwards, CONTEXT_CHARS))
    return PromptView(
        "\n".join(part for part in parts if part),
        sum(lengths) + n_system_chars,
        n_system_chars,
        lengths[last_user] if turns else 0,
        len(turns),
        n_tool_turns,
        n_images,
    )


def _read_content(content: object) -> tuple[str, int, int]:
    """Return the text of a message's content, windowed if it is in parts, its whole length, and how many images."""
    if isinstance(content, str):
        return content, len(content), 0
    if content is None:  # an assistant turn that only calls tools
        return "", 0, 0
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
    length = sum(map(len, texts)) + max(len(texts) - 1, 0)
    if length <= HEAD_CHARS + TAIL_CHARS:
        return "\n".join(texts), length, images
    return f"{_first(texts, HEAD_CHARS)}\n{_last(reversed(texts), TAIL_CHARS)}", length, images


def _first(texts: Iterable[str], room: int) -> str:
    """Return the first characters of texts, joined by line ends, without joining all of them."""
    taken: list[str] = []
    left = room + 1
    for text in texts:
        taken.append(text[:room])
        left -= len(taken[-1]) + 1
        if left <= 0:
            break
    return "\n".join(taken)[:room]


def _last(backwards: Iterable[str], room: int) -> str:
    """Return the last characters of texts, which come last first, without joining all of them."""
    taken: list[str] = []
    left = room + 1
    for text in backwards:
        taken.append(text[-room:])
        left -= len(taken[-1]) + 1
        if left <= 0:
            break
    return "\n".join(reversed(taken))[-room:]
