r"""Where in a response the answer stands: markdown, code fences, \boxed{}, and what follows "the answer is".

Pure. Works on any text, however long, in time that grows with its length and no faster.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

__all__ = ["Fence", "after_marker", "fences", "last_boxed", "plain", "stated"]

_DIGITS = re.compile(r"\d")
# But not the asterisks of "5 * 3", "5*3" and "10**3".
_EMPHASIS = re.compile(
    r"(?<![\d*])(?!(?<=[\d)]\s)\*\s)\*{1,3}+|(?<![\s*])\*{1,3}+(?!\d)|__|`{1,3}|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)"
)
_RAISED = re.compile("[⁰¹²³⁴-⁹⁻]+")
_MIXED = re.compile("(?<=\\d)(?=[¼-¾⅐-⅞])")
_SPACING = re.compile(r"\\[,;:! ]|\\q?quad\b|~")
_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|mathbf|mathrm|mathit|mathsf|rm|bf|displaystyle|operatorname)\b\s*"
)
_OPENING = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_STATED = re.compile(
    r"\b(?:answer|solution|result|choice|option|total)\b[\"']?(?:\s+(?!not\b)[^\s.:=;!?]{1,20}){0,6}?\s*(?::|=|\bis\b|\bare\b|\bwould be\b)"
    r"|\bcorrection\s*:"
    r"|\b(?:actually|wait|no|sorry)\b(?:[\s,:.!—–-]+(?:actually|no)\b)?[\s,:.!—–-]+(?:it\s+is|it['’]s|it\s+should\s+be)\b"
    r"|\b(?:actually|wait|no|sorry)\s*[,:!—–-]+\s*(?=[($-]?(?:[\d.,]*\d|(?-i:[A-J]))\)?\s*(?:[.!]|$))"
    r"|^[ \t]*####|答案\s*[是为為:]|\b(?:antwort|r[ée]ponse|respuesta|risposta|resposta|ответ)\s*(?::|=|\bist\b|\best\b|\bes\b|\bè\b|\bé\b|—)",
    re.IGNORECASE | re.MULTILINE,
)


class Fence(NamedTuple):
    """A fenced block of code: the word after its fence, in small letters, and its text."""

    language: str
    text: str


def plain(text: str) -> str:
    """Return a text in compatibility form, digits of all scripts as 0 to 9, markdown's and LaTeX's dress taken off."""
    if not text.isascii():
        # "m²" and "1½" are neither m2 nor 11/2.
        text = _MIXED.sub(" ", _RAISED.sub(lambda raised: f"^{raised[0]}", text))
        text = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
        text = _DIGITS.sub(lambda digit: str(unicodedata.digit(digit[0])), text)
    return (
        _WRAPPED.sub("", _SPACING.sub(" ", _EMPHASIS.sub("", text)))
        .replace("\\$", "$")
        .replace("\\%", "%")
        .replace("{,}", ",")
    )


def last_boxed(text: str) -> str | None:
    r"""Return what stands in the last \boxed{...} or \fbox{...}, braces balanced, or None."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    opening = text.find("{", start) if start >= 0 else -1
    if opening < 0 or text[start:opening].strip() not in ("\\boxed", "\\fbox"):
        return None
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[opening + 1 : at]
    return text[opening + 1 :]


def stated(text: str) -> list[str]:
    """Return what follows each statement such as "the answer is" or "####", up to the end of its paragraph."""
    found = list(_STATED.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    # Not strict: where nothing is stated there is an end and no start.
    return [text[match.end() : end].strip().split("\n\n")[0] for match, end in zip(found, ends, strict=False)]


def after_marker(text: str, marker: str | None) -> str | None:
    """Return the rest of the line after the last marker, or the next line if that is blank; None without one."""
    if marker is None:
        return text
    ends = [found.end() for found in re.finditer(re.escape(marker), text, re.IGNORECASE)]
    if not ends:
        return None
    lines = (line.strip() for line in text[ends[-1] :].split("\n"))
    return next(filter(None, lines), "")


def fences(text: str) -> list[Fence]:
    """Return the fenced blocks of a text in order; a block that is never closed ends with the text."""
    blocks: list[Fence] = []
    at = 0
    while opening := _OPENING.search(text, at):
        fence, language = opening[1], opening[2].lower()
        closing = re.compile(rf"^[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$", re.MULTILINE)
        closed = closing.search(text, min(opening.end() + 1, len(text)))
        blocks.append(Fence(language, text[opening.end() + 1 : closed.start() if closed else len(text)]))
        if not closed:
            break
        at = closed.end()
    return blocks
