"""A label report for a terminal, 100 columns wide. Pure."""

from __future__ import annotations

from itertools import chain
from textwrap import wrap
from typing import Any

from eval.labels_parts import Cell, Table
from eval.labels_sections import sections
from eval.labels_words import WORDS
from eval.report_words import clean, shorten

__all__ = ["render_labels_text"]

_COLUMNS = 100
_LONGEST = 38
_FOLDED = ("cost", "counts", "censored")


def render_labels_text(document: dict[str, Any]) -> str:
    """Return the report: its word, headline and summary, then its tables but those that are folded on the page."""
    lines = [f"{WORDS[document['word']]}: {clean(document['title'])}", *wrap(document["headline"], _COLUMNS)]
    for said in (
        *document["summary"],
        *document["notes"],
        *(document["censored"] or {}).get("sentences", ()),
    ):
        lines += wrap(clean(said), _COLUMNS, initial_indent="- ", subsequent_indent="  ")
    for section in sections(document):
        tables = [] if section.id in _FOLDED else [table for table in section.tables if not table.folded]
        if tables or section.entries:
            lines += ["", section.title]
        for table in tables:
            lines += _lines(table)
        for entry in section.entries:
            said = f"{entry.title}: {' '.join(entry.text)}"
            lines += wrap(said, _COLUMNS, initial_indent="- ", subsequent_indent="  ")
    return "\n".join(lines)


def _lines(table: Table) -> list[str]:
    # Notes on how many groups a row has go first, then all of them.
    for kept in (range(99), range(2, 99), ()):
        cells = [[_said(cell, i in kept) for i, cell in enumerate(row)] for row in table.rows]
        widths = [max(map(len, column)) for column in zip(_head(table), *cells, strict=True)]
        if sum(widths) + 2 * (len(widths) - 1) <= _COLUMNS:
            break
    while sum(widths) + 2 * (len(widths) - 1) > _COLUMNS and max(widths) > 6:
        widths[widths.index(max(widths))] -= 1
    return [
        "  ".join(
            shorten(text, width).ljust(width) if i == 0 else shorten(text, width).rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in chain([_head(table)], cells)
    ]


def _head(table: Table) -> list[str]:
    return [shorten(text, _LONGEST) for text in table.head]


def _said(cell: Cell, with_note: bool) -> str:
    return shorten(f"{cell.text} ({cell.note})" if cell.note and with_note else cell.text, _LONGEST)
