"""A bench's section of a document: Markdown between two marks. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["render_markdown", "replace_section"]


def replace_section(text: str, block: str, start: str, end: str, heading: str) -> str:
    """Return a document with its section replaced, or appended under a heading of its own. Pure.

    Parameters
    ----------
    block : str
        The section, from its first mark to its last.
    start, end : str
        The marks.

    Raises
    ------
    SystemExit
        The marks are not there once each, in order, or not both absent.
    """
    before, opened, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not opened and end not in text:
        return f"{text.rstrip()}\n\n{heading}\n\n{block}\n"
    if not opened or not closed or start in rest or end in after:
        raise SystemExit(f"bench: expected one block between {start} and {end}; put the two marks back")
    return before + block + after


def render_markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown. Pure."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
