"""A label report for people: one HTML page that loads nothing.

The rule: pure, but for the style sheet of reports, which is read beside this module. Input is the document alone, which
holds no prompt; whatever comes from data is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from eval.labels_figures import draw_more, draw_rates
from eval.labels_parts import Cell, Section, Table
from eval.labels_sections import sections
from eval.labels_words import WORDS
from eval.report_style import read_style
from eval.report_svg import escape
from eval.report_tables import name, table
from eval.report_words import MISSING, clean, count, interval, percent, usd

__all__ = ["render_labels_html"]

_TONES = {"sound": "route", "look": "tie", "censored": "cannot-tell", "few": "cannot-tell"}
_ASK = "M12.6 13a4 4 0 1 1 5.6 3.7q-1.7.8-1.7 2.5M16.5 23.2v.1"
_SIGNS = {
    "sound": "M10 17.5l4.5 4.5L23 11.5",
    "look": "M16.5 9.5v9M16.5 23.2v.1",
    "censored": _ASK,
    "few": _ASK,
}
_OPEN = 20  # rows of a table shown at once
_FIGURES = {
    "rates": (
        draw_rates,
        "Pass rate by tier with 95% intervals; a colour is a tier, the cheapest on top of each row.",
    ),
    "more": (
        draw_more,
        "The bound on regret as groups that certify grow, if rates stay as they are (shaded: at the ends of their intervals). Dots: as many "
        "labels as now, 2, 4 and 10 times as many.",
    ),
}
_GLOSSARY = (
    ("Label", "Whether an answer of a tier to a prompt passes: its score against the ladder’s pass score."),
    (
        "Interval",
        "Where a figure lies with 95% confidence: exact binomial where prompts are single and count alike, else at as many independent "
        "prompts as groups and weights leave.",
    ),
    ("Kappa", "Agreement beyond what chance gives two graders with these pass rates (Cohen)."),
    ("Regret", "The share of prompts where the reference tier passes and the chosen one fails."),
    (
        "Groups that certify",
        "A fifth of the groups with labels on every tier is kept from fitting and certifies promises; a group counts once.",
    ),
    (
        "Few",
        "Fewer than 20 groups: the interval is right, and wide; nothing should be concluded from the figure alone.",
    ),
)


def render_labels_html(document: dict[str, Any]) -> str:
    """Return a label report as a whole HTML page that holds no surrogates, so that UTF-8 can encode it. Pure."""
    style = read_style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    parts = [_header(document), _verdict(document), _keys(document)]
    parts += [_section(document, section) for section in sections(document)]
    parts += [_glossary(), _footer(document)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(_title(document))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<main class="sheet">\n{chr(10).join(part for part in parts if part)}\n</main>\n</body>\n</html>\n'
    )


def _title(document: dict[str, Any]) -> str:
    return f"{WORDS[document['word']]}: labels of {clean(document['title'])}"


def _header(document: dict[str, Any]) -> str:
    counts = document["counts"]
    said = f"Labels: {count(counts['labels'])} on {count(counts['prompts_with_label'])} prompts in {count(counts['groups'])} groups."
    return f"<header><h1>{name(document['title'], 160)}</h1><p>{escape(said)}</p></header>"


def _verdict(document: dict[str, Any]) -> str:
    word = document["word"]
    icon = (
        '<svg viewBox="0 0 33 33" aria-hidden="true"><circle class="icon-disc" cx="16.5" cy="16.5" r="16"/>'
        f'<path class="icon-sign" d="{_SIGNS[word]}"/></svg>'
    )
    rest = "".join(f"<p>{escape(text)}</p>" for text in (*document["summary"], *document["notes"]))
    return (
        f'<section class="verdict {_TONES[word]}" aria-labelledby="verdict"><h2 id="verdict">{icon}<span>{WORDS[word]}</span></h2>'
        f'<p class="headline">{escape(document["headline"])}</p>{rest}</section>'
    )


def _keys(document: dict[str, Any]) -> str:
    inversions, more, spent = document["inversions"], document["more"], document["usd"]
    share, bounds = interval(inversions["share"])
    promise = percent(more["steps"][0]["zero"]) if more["steps"] else MISSING
    groups = (
        f"with no failure in {count(more['groups'])} groups" if more["steps"] else "no labels on every tier"
    )
    cards = [
        ("Suspected grader errors", str(len(document["suspects"])), "patterns to look at"),
        ("Cheap passes, dear fails", share, f"{bounds} of prompts" if bounds else "of prompts"),
        ("Least promise in reach", promise, groups),
        ("Cost of the labels", usd(spent["total_usd"]), f"{usd(spent['per_label_usd'])} a label"),
    ]
    items = "".join(
        f'<div><dt>{said}</dt><dd><span class="big">{value}</span><span class="note">{note}</span></dd></div>'
        for said, value, note in cards
    )
    return f'<dl class="keys">{items}</dl>'


def _section(document: dict[str, Any], section: Section) -> str:
    parts = [f"<p>{escape(text)}</p>" for text in section.text]
    if section.figure:
        draw, caption = _FIGURES[section.figure]
        drawing = draw(document)
        parts += [f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"] if drawing else []
    parts += [_table(each) for each in section.tables]
    parts += [
        f"<h3>{escape(entry.title)}</h3>{''.join(f'<p>{escape(text)}</p>' for text in entry.text)}"
        for entry in section.entries
    ]
    return f'<section aria-labelledby="{section.id}"><h2 id="{section.id}">{section.title}</h2>{"".join(parts)}</section>'


def _table(each: Table) -> str:
    head = [("" if i == 0 else "num", escape(said)) for i, said in enumerate(each.head)]
    rows = [("", [_first(row[0]), *map(_number, row[1:])]) for row in each.rows]
    if each.folded:
        return (
            f"<details><summary>{escape(each.caption)}</summary>{table(each.caption, head, rows)}</details>"
        )
    rest = rows[_OPEN:]
    more = (
        f"<details><summary>{len(rest)} more</summary>{table(each.caption, head, rest)}</details>"
        if rest
        else ""
    )
    return table(each.caption, head, rows[:_OPEN]) + more


def _first(cell: Cell) -> str:
    # Left to right, whatever a name is written in: "x passes, y fails" must not turn round.
    return f'<bdi dir="ltr">{escape(cell.text)}</bdi>' + (
        f"<small>{escape(cell.note)}</small>" if cell.note else ""
    )


def _number(cell: Cell) -> str:
    return escape(cell.text) + (f'<span class="i">{escape(cell.note)}</span>' if cell.note else "")


def _glossary() -> str:
    items = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in _GLOSSARY)
    return f'<section aria-labelledby="reading"><h2 id="reading">How to read this</h2><dl class="glossary">{items}</dl></section>'


def _footer(document: dict[str, Any]) -> str:
    pairs = [
        ("Made", escape(document["created"])),
        ("By", f"<code>{escape(document['command'])}</code>"),
        ("Seed", str(document["seed"])),
    ]
    return f"<footer><dl>{''.join(f'<dt>{said}</dt><dd>{value}</dd>' for said, value in pairs)}</dl></footer>"
