"""A label report as Markdown, for a pull request or a wiki; no HTML.

Pure. Whatever comes from data is escaped, so that it neither formats, links nor breaks a table.
"""

from __future__ import annotations

import re
from typing import Any

from eval.labels_parts import Cell, Table
from eval.labels_sections import sections
from eval.labels_words import WORDS
from eval.report_words import shorten

__all__ = ["render_labels_markdown"]

# Marks anywhere; what begins a list or a rule; what makes a link of bare text.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~&$@]|^[-+=]|(?<=www)\.|:(?=//)")
_LONGEST = 1000


def render_labels_markdown(document: dict[str, Any]) -> str:
    """Return the document as Markdown that holds no surrogates, so that UTF-8 can encode it."""
    parts = [f"# {_text(document['title'])}", f"**{WORDS[document['word']]}**: {_text(document['headline'])}"]
    parts.append("\n".join(f"- {_text(said)}" for said in (*document["summary"], *document["notes"])))
    for section in sections(document):
        parts += [f"## {section.title}", *map(_text, section.text), *map(_table, section.tables)]
        parts += [
            "\n\n".join([f"### {_text(entry.title)}", *map(_text, entry.text)]) for entry in section.entries
        ]
    parts.append(f"Made by `{shorten(document['command'], _LONGEST).replace('`', '')}`.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _text(text: object) -> str:
    return _SPECIAL.sub(r"\\\g<0>", shorten(text, _LONGEST))


def _table(table: Table) -> str:
    rule = [":---" if i == 0 else "---:" for i in range(len(table.head))]
    rows = [
        [_text(head) for head in table.head],
        rule,
        *([_said(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join([f"{_text(table.caption)}:\n", *(f"| {' | '.join(cells)} |" for cells in rows)])


def _said(cell: Cell) -> str:
    return _text(f"{cell.text} ({cell.note})" if cell.note else cell.text)
