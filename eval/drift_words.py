"""How a drift report says things: the names of its rows, their numbers, and the one word on top.

The rule: pure, plain text, nothing escaped for any format. Whatever comes from data goes through `clean`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.drift_rows import Row
from eval.report_words import MISSING, clean, decimal, finite, percent, points, usd
from router.promise import promise_words

__all__ = ["KINDS", "STATUSES", "WORDS", "bounds_words", "cut_words", "label_of", "limit_words", "promise_of", "seen_words", "value_words", "word_of"]  # fmt: skip

KINDS = {
    "embedding": "What prompts are about",
    "feature": "The shape of prompts",
    "score": "Pass probabilities",
    "novelty": "Novelty",
    "label": "Pass rates",
    "cost": "Costs",
    "calibration": "Calibration",
}
WORDS = {
    "void": "CERTIFICATE VOID",
    "drifted": "DRIFTED",
    "steady": "NOTHING DRIFTED",
    "untold": "UNTOLD",
}
STATUSES = {
    "holding": "holds",
    "unproven": "unproven",
    "void": "void",
    "untold": "untold",
}
_NOTHING = 5e-4  # a cut just above 0 leaves those that have any
_PREFIX = {
    "score": "probability of ",
    "label": "pass rate of ",
    "cost": "cost of ",
    "calibration": "calibration of ",
}
_COUNTED = {
    "chars": "characters", "last_chars": "characters in the last message", "system_chars": "characters of instructions",
    "turns": "messages", "tool_turns": "messages of tools", "calls": "opening brackets", "equals": "equals signs", "dollars": "dollar signs",
    "blanks": "blanks to fill", "options": "lettered options",
}  # fmt: skip
_SHARED = {
    "upper": "capital letters", "digit": "digits", "space": "spaces", "newline": "line breaks", "operator": "operators", "bracket": "brackets",
    "sentence_end": "ends of sentences", "comma": "commas", "quote": "quotation marks", "symbol": "symbols",
    "latin_extended": "letters with accents", "greek_cyrillic": "Greek or Cyrillic letters", "right_to_left": "letters written right to left",
    "indic": "Indic letters", "typographic": "typographic marks", "cjk": "Chinese or Japanese characters", "hangul": "Korean letters",
    "astral": "emoji and rare letters",
}  # fmt: skip


def word_of(document: dict[str, Any]) -> str:
    """Return which of `WORDS` a report comes to."""
    if document["certificate"]["status"] == "void":
        return "void"
    if document["drifted"]:
        return "drifted"
    return "steady" if document["told"] else "untold"


def label_of(row: Row) -> str:
    """Return what a row is about, in a few words."""
    name = clean(row["name"])
    if row["kind"] != "feature":
        return _PREFIX.get(row["kind"], "") + name.replace(": p and pass rate", "").replace(
            ": ECE", ", by bin"
        )
    if name == "has_images":
        return "images"
    if name == "chars_per_word":
        return "characters a word"
    if name.startswith("log_"):
        counted = name.removeprefix("log_")
        return _COUNTED.get(counted, counted.replace("_", " "))
    shared = name.removeprefix("share_")
    return _SHARED.get(shared, shared.replace("_", " "))


def cut_words(name: str, at: float) -> str:
    """Return which prompts lie beyond a cut of a feature, in the units of what is counted."""
    said = label_of({"kind": "feature", "name": name})
    if name == "has_images":
        return "prompts with images"
    if name == "chars_per_word":
        return f"prompts with more than {at:.3g} {said}"
    if name.startswith("share_"):
        return f"prompts with more than {at:.1%} {said}" if at >= _NOTHING else f"prompts with {said}"
    counted = round(float(np.expm1(at)), 1)
    if counted < _NOTHING:
        return f"prompts with {said}"
    first, *others = said.split(" ")
    one = " ".join([first.removesuffix("s"), *others])
    return (
        f"prompts with more than one {one}"
        if counted == 1.0
        else f"prompts with more than {counted:,.4g} {said}"
    )


def value_words(row: Row, key: str) -> str:
    """Return a row's `before`, `now`, `low` or `high` in its own unit."""
    value = finite(row[key])
    if value is None:
        return MISSING
    if row["kind"] == "embedding":
        return decimal(value, 4)
    if row["kind"] == "cost":
        return usd(value)
    if row["kind"] == "calibration":
        return points(value)
    return percent(value)


def bounds_words(row: Row) -> str:
    """Return the interval of what is now; "" without one."""
    if row["low"] is None or row["high"] is None:
        return ""
    return f"{value_words(row, 'low')} to {value_words(row, 'high')}"


def limit_words(row: Row) -> str:
    """Return how far a row moved, as a share of how far it may."""
    return MISSING if row["of_limit"] is None else percent(row["of_limit"], 0)


def promise_of(row: dict[str, Any]) -> str:
    """Return what a row of the certificate promises."""
    said = promise_words(row["kind"], row["promise"])
    return said if row["kind"] == "regret" else f"{said}, net"


def seen_words(row: dict[str, Any]) -> tuple[str, str]:
    """Return what a promise came to, and its bounds."""
    return percent(row["observed"]), f"{percent(row['low'])} to {percent(row['high'])}"
