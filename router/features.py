"""Length and shape features: what can be seen of a prompt without reading it.

Pure. Everything is counted over UTF-8 bytes: one `bytes.translate` maps each byte to its class (a lead
byte tells the script), and one histogram counts the classes. That is a tenth of the cost of regular
expressions, needs no table of Unicode, and treats every language alike. One prompt and many have each a function
of their own, because what is fast for one is slow for many; tests hold them to `router.reference`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.prompt import CONTEXT_CHARS, HEAD_CHARS, TAIL_CHARS, PromptView

__all__ = ["CLASSES", "FEATURE_NAMES", "IDENTITY", "MARKS", "shape", "shape_many"]

# Scripts are told by the lead byte of their UTF-8 sequence (The Unicode Standard, table 3-7); continuation bytes
# belong to no class.
CLASSES: dict[str, bytes] = {
    "upper": b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "digit": b"0123456789",
    "space": b" \t\r\x0b\x0c",
    "newline": b"\n",
    "operator": b"+-*/=<>^%|~",
    "bracket": b"()[]{}",
    "sentence_end": b".!?",
    "comma": b",;:",
    "quote": b"\"'`",
    "symbol": b"_#@$&\\",
    "latin_extended": bytes(range(0xC2, 0xCC)),
    "greek_cyrillic": bytes(range(0xCD, 0xD5)),
    "right_to_left": bytes(range(0xD6, 0xE0)),
    "indic": b"\xe0\xe1",
    "typographic": b"\xe2",
    "cjk": bytes(range(0xE3, 0xEA)),
    "hangul": b"\xea\xeb\xec\xed",
    "astral": bytes(range(0xF0, 0xF5)),
}
"""Classes of bytes. As shares of the characters looked at; their order is the order of the vector."""

# Marks that a byte class cannot tell: questions, code, mathematics, links, lists of options.
MARKS = {
    "questions": b"?",
    "code_fences": b"```",
    "blank_lines": b"\n\n",
    "indented_lines": b"\n    ",
    "statements": b";\n",
    "calls": b"(",
    "braces": b"{",
    "equals": b"=",
    "backslashes": b"\\",
    "dollars": b"$",
    "links": b"://",
    "blanks": b"__",
    "bullets": b"\n- ",
    "options": b"\nB",
}

FEATURE_NAMES: tuple[str, ...] = (
    "log_chars",
    "log_last_chars",
    "log_system_chars",
    "log_turns",
    "log_tool_turns",
    "has_images",
    "log_words",
    "chars_per_word",
    "log_lines",
    *(f"share_{name}" for name in CLASSES),
    *(f"log_{name}" for name in MARKS),
)
"""Names of the features, in the order of the vector that `shape` returns."""

IDENTITY: dict[str, Any] = {
    "version": 2,  # since 2, graphs bring the embedding to unit length
    "names": list(FEATURE_NAMES),
    "window": {"head": HEAD_CHARS, "tail": TAIL_CHARS, "context": CONTEXT_CHARS},
}
"""What an artefact records and a load compares: a model never meets features it was not fitted on."""

_NUMBER = {name: i for i, name in enumerate(CLASSES, 1)}
_table = bytearray(256)
for _name, _members in CLASSES.items():
    for _byte in _members:
        _table[_byte] = _NUMBER[_name]
_CLASS_OF_BYTE = bytes(_table)
_N_CLASSES = 1 + len(CLASSES)
_SPACE, _NEWLINE, _CJK = _NUMBER["space"], _NUMBER["newline"], _NUMBER["cjk"]
_OPERATOR, _BRACKET, _SYMBOL = _NUMBER["operator"], _NUMBER["bracket"], _NUMBER["symbol"]
_SENTENCE_END, _QUOTE = _NUMBER["sentence_end"], _NUMBER["quote"]
_patterns = [re.compile(re.escape(mark)) for mark in MARKS.values()]


def shape(view: PromptView, raw: bytes) -> list[float]:
    """Return the features of a prompt, finite, in the order of `FEATURE_NAMES`. Pure.

    Counts are logged (natural logarithm of 1 + count), so that float32 holds them and a linear model can
    use them; classes are shares of the characters in the window, 0 to 1.

    Parameters
    ----------
    raw : bytes
        The view's text in UTF-8; lone surrogates passed, for they are characters like any other.
    """
    text, n_chars, n_system_chars, n_last_chars, n_turns, n_tool_turns, n_images = view
    n_text = len(text)
    n = n_text or 1
    counts = np.bincount(np.frombuffer(raw.translate(_CLASS_OF_BYTE), np.uint8), None, _N_CLASSES).tolist()
    spaces, lines, cjk = counts[_SPACE], counts[_NEWLINE], counts[_CJK]
    operators, brackets, symbols = counts[_OPERATOR], counts[_BRACKET], counts[_SYMBOL]
    ends, quotes = counts[_SENTENCE_END], counts[_QUOTE]
    # Scripts without spaces have no words to count here; each of their characters is one.
    words = spaces + lines + cjk + 1
    count = raw.count
    return [
        log1p(n_chars),
        log1p(n_last_chars),
        log1p(n_system_chars),
        log1p(n_turns),
        log1p(n_tool_turns),
        1.0 if n_images else 0.0,
        log1p(words),
        n_text / words if words > 1 else min(n_text, 32),
        log1p(lines),
        *[c / n for c in counts[1:]],
        # A mark is looked for where its class occurs: that spares most prompts half of the searches.
        log1p(count(b"?")) if ends else 0.0,
        log1p(count(b"```")) if quotes > 2 else 0.0,
        log1p(count(b"\n\n")) if lines > 1 else 0.0,
        log1p(count(b"\n    ")) if lines else 0.0,
        log1p(count(b";\n")) if lines else 0.0,
        log1p(count(b"(")) if brackets else 0.0,
        log1p(count(b"{")) if brackets else 0.0,
        log1p(count(b"=")) if operators else 0.0,
        log1p(count(b"\\")) if symbols else 0.0,
        log1p(count(b"$")) if symbols else 0.0,
        log1p(count(b"://")) if operators > 1 else 0.0,
        log1p(count(b"__")) if symbols > 1 else 0.0,
        log1p(count(b"\n- ")) if lines else 0.0,
        log1p(count(b"\nB")) if lines else 0.0,
    ]


def shape_many(views: Sequence[PromptView], raws: Sequence[bytes]) -> NDArray[np.float64]:
    """Return what `shape` returns, for one prompt or more, float64 (n, len(FEATURE_NAMES)). Pure."""
    n = len(views)
    sizes = np.fromiter(map(len, raws), np.intp, n)
    classes = np.frombuffer(b"".join(raws).translate(_CLASS_OF_BYTE), np.uint8)
    owners = np.repeat(np.arange(n), sizes) * _N_CLASSES
    counts = np.bincount(classes + owners, None, n * _N_CLASSES).reshape(n, _N_CLASSES)
    spaces, lines, cjk = counts[:, _SPACE], counts[:, _NEWLINE], counts[:, _CJK]
    words = spaces + lines + cjk + 1
    # Between two prompts stands a byte that UTF-8 does not have, so no mark is found across.
    joined, ends = b"\xff".join(raws), np.cumsum(sizes + 1)
    found = [[match.start() for match in pattern.finditer(joined)] for pattern in _patterns]
    marks = [np.bincount(np.searchsorted(ends, at, "right"), None, n) for at in found]
    chars = np.array([len(view.text) for view in views])
    _, n_chars, n_system_chars, n_last_chars, n_turns, n_tool_turns, n_images = zip(*views, strict=True)
    counted = (n_chars, n_last_chars, n_system_chars, n_turns, n_tool_turns, words, lines, *marks)
    logs = np.log1p(np.array(counted, np.float64))
    per_word = np.where(words > 1, chars / words, np.minimum(chars, 32))
    shares = counts.T[1:] / np.maximum(chars, 1)
    return np.vstack([logs[:5], np.array(n_images) > 0, logs[5], per_word, logs[6], shares, logs[7:]]).T
