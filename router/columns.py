"""Text in the columns of a terminal: how wide it is, and where its lines break. Pure."""

from __future__ import annotations

import unicodedata

__all__ = ["WIDTH", "columns", "wrap"]

WIDTH = 100
"""Columns of a line, at most."""


def columns(text: str) -> int:
    """Return how many columns a terminal gives to text: wide characters two, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def wrap(text: str, indent: str = "") -> list[str]:
    """Return text as lines of at most `WIDTH` columns, none where it is blank; a word longer than a line is broken.

    What could drive a terminal is the caller's to take out before.

    Parameters
    ----------
    indent : str
        Begins every line.
    """
    lines, line = [], indent
    for word in text.split():
        gap = " " if line.strip() else ""
        if gap and columns(line + gap + word) > WIDTH:
            lines.append(line)
            line, gap = indent, ""
        line += gap
        for character in word:
            if columns(line + character) > WIDTH:
                lines.append(line)
                line = indent
            line += character
    return [*lines, line] if line.strip() else lines
