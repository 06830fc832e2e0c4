"""Length and shape features: what can be seen of a prompt without reading it.

Pure. Everything is counted over UTF-8 bytes: one `bytes.translate` maps each byte to its class (a lead
byte tells the script), then each class is one `bytes.count`. That is a tenth of the cost of regular
expressions, needs no table of Unicode, and treats every language alike.
"""

from __future__ import annotations

from math import log1p
from typing import Any

from router.prompt import CONTEXT_CHARS, HEAD_CHARS, TAIL_CHARS, PromptView

__all__ = ["FEATURE_NAMES", "IDENTITY", "shape"]

# Byte classes, by the character that stands for each in the translated text. Scripts are told by the lead
# byte of their UTF-8 sequence (The Unicode Standard, table 3-7); continuation bytes belong to no class.
_CLASSES: dict[str, bytes] = {
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
_CODES = {name: bytes([i + 1]) for i, name in enumerate(_CLASSES)}
_TRANSLATION = bytearray(256)
for _name, _members in _CLASSES.items():
    for _byte in _members:
        _TRANSLATION[_byte] = _CODES[_name][0]
_TRANSLATION_TABLE = bytes(_TRANSLATION)

# Marks that a byte class cannot tell: questions, code, mathematics, links, lists of options.
_MARKS = {
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

# As shares of the characters looked at; their order is the order of the vector.
_SHARES = tuple(_CLASSES)

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
    *(f"share_{name}" for name in _SHARES),
    *(f"log_{name}" for name in _MARKS),
)
"""Names of the features, in the order of the vector that `shape` returns."""

IDENTITY: dict[str, Any] = {
    "version": 1,
    "names": list(FEATURE_NAMES),
    "window": {"head": HEAD_CHARS, "tail": TAIL_CHARS, "context": CONTEXT_CHARS},
}
"""What an artefact records and a load compares: a model never meets features it was not fitted on."""

_share_codes = tuple(_CODES[name] for name in _SHARES)
_mark_bytes = tuple(_MARKS.values())


def shape(view: PromptView) -> list[float]:
    """Return the features of a prompt, finite, in the order of `FEATURE_NAMES`. Pure.

    Counts are logged (natural logarithm of 1 + count), so that float32 holds them and a linear model can
    use them; classes are shares of the characters in the window, 0 to 1.
    """
    text = view.text
    raw = text.encode("utf-8", "surrogatepass")  # a lone surrogate is a character like any other
    classes = raw.translate(_TRANSLATION_TABLE)
    n = len(text) or 1
    counts = [classes.count(code) for code in _share_codes]
    newlines = counts[3]
    # Scripts without spaces have no words to count here; each of their characters is one.
    words = counts[2] + newlines + counts[15] + 1
    return [
        log1p(view.n_chars),
        log1p(view.n_last_chars),
        log1p(view.n_system_chars),
        log1p(view.n_turns),
        log1p(view.n_tool_turns),
        1.0 if view.n_images else 0.0,
        log1p(words),
        len(text) / words if words > 1 else min(len(text), 32),
        log1p(newlines),
        *[count / n for count in counts],
        *[log1p(raw.count(mark)) for mark in _mark_bytes],
    ]
