"""Prompts of every form, as Hypothesis draws them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from toys import WORDS

IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
ANY_TEXT = st.text(st.characters())  # every code point, lone surrogates too
# Words that the toy knows, cut by what tokenizers treat in a way of its own.
KNOWN_TEXT = st.lists(
    st.sampled_from(
        [*WORDS, "HELLO", "?", "```\n", "\n\n", " - ", "世界", "ж" * 40, "\ud800", "[UNK]", "\x85", "x" * 99]
    )
).map(" ".join)
LONG_TEXT = st.builds(lambda text, n: text * n, KNOWN_TEXT, st.sampled_from([1, 7, 300]))
TEXTS = ANY_TEXT | KNOWN_TEXT | LONG_TEXT
_PARTS = st.builds(lambda text: {"type": "text", "text": text}, TEXTS) | st.sampled_from(
    [IMAGE, {"type": "text"}, {}]
)
_CALLS = st.sampled_from([{}, {}, {}, {"tool_calls": [{}, {}]}, {"tool_calls": None}])
_MESSAGES: st.SearchStrategy[dict[str, Any]] = st.builds(
    lambda role, content, calls: {"role": role, "content": content, **calls},
    st.sampled_from(["system", "developer", "user", "user", "assistant", "tool", "function", None]),
    st.none() | TEXTS | st.lists(_PARTS, max_size=3),
    _CALLS,
)
PROMPTS: st.SearchStrategy[Any] = TEXTS | st.lists(_MESSAGES, max_size=5)
