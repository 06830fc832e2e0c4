"""A drift report for people: one HTML page that loads nothing, and text for a terminal.

The rule: pure, but for the style sheet of reports, which is read beside this module. Input is the document alone, which
holds no prompt; whatever comes from data is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from textwrap import wrap
from typing import Any

from eval.drift_certificate import LOOK_LEVEL
from eval.drift_figure import SHOWN, pass_rates, render_drift_svg, shifts
from eval.drift_rows import Row
from eval.drift_words import (
    KINDS,
    STATUSES,
    WORDS,
    bounds_words,
    label_of,
    limit_words,
    promise_of,
    seen_words,
    value_words,
    word_of,
)  # fmt: skip
from eval.report_style import read_style
from eval.report_svg import escape
from eval.report_tables import name, table
from eval.report_words import MISSING, clean, count, decimal, percent, shorten

__all__ = ["render_drift_html", "render_drift_svg", "render_drift_text"]

_COLUMNS = 100
_TONES = {"void": "do-not-route", "drifted": "tie", "steady": "route", "untold": "cannot-tell"}
_SIGNS = {
    "void": "M11.5 11.5l10 10M21.5 11.5l-10 10",
    "drifted": "M9.5 19.5q3.5-7 7-3t7-3",
    "steady": "M10 17.5l4.5 4.5L23 11.5",
    "untold": "M12.6 13a4 4 0 1 1 5.6 3.7q-1.7.8-1.7 2.5M16.5 23.2v.1",
}
_ABOUT = {
    "embedding": "How far the mean embedding of the prompts is from that of the training part: their topics, roughly.",
    "feature": "Shares of prompts beyond the cut where then and now differ most; compared over tenths of the training part.",
    "score": "Shares of prompts beyond the cut where then and now differ most, of the pass probabilities that the router gives.",
    "novelty": "Prompts unlike the training data, which go to the reference tier whatever they are.",
    "label": "How often a tier’s answers passed, on the prompts that it was tried on.",
    "cost": "What a call of a tier cost in the mean.",
    "calibration": "How far pass rates are from the probabilities that the router gave, in all and bin by bin of these.",
}
_OUTCOMES = ("label", "calibration", "cost")
_INPUTS = ("embedding", "score", "novelty", "feature")
_GLOSSARY = (
    (
        "Then, now",
        "Then: the history that the model was fitted and certified on. Features are compared with the part that it learned from, all "
        "else with prompts that it did not learn from. Now: the new prompts, none of which it learned from.",
    ),
    (
        "Moved",
        "How far something is from what it was, as a share of how far it may be: what anyone would care about, or what chance does "
        "with so few prompts, whichever is more. Beyond 100% it drifted.",
    ),
    (
        "Stability index",
        "How different two distributions are (PSI). By an old rule of thumb, 0.1 is some shift and 0.25 much.",
    ),
    (
        "Promise",
        f"What the certificate states of routing. Void: what was seen contradicts it, with {percent(1.0 - LOOK_LEVEL, 0)} confidence. "
        "A certificate is looked at every week, so one look must be surer than the certificate: five looks together are wrong at most "
        "one time in twenty. Unproven: these prompts alone neither show it nor break it, and they are often too few.",
    ),
    (
        "Untold",
        "Too few prompts, or a manifest that does not say what was then. Nothing is concluded from it.",
    ),
)


def render_drift_html(document: dict[str, Any], title: str) -> str:
    """Return a drift report as a whole HTML page that holds no surrogates, so that UTF-8 can encode it. Pure."""
    style = read_style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    parts = [
        _header(document, title),
        _verdict(document),
        _keys(document),
        _certificate(document["certificate"]),
        _figures(document),
        _section(document, "What came of it", "outcomes", _OUTCOMES),
        _section(document, "What goes in", "inputs", _INPUTS),
        _glossary(),
        _footer(document),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(f'{WORDS[word_of(document)]}: {title}')}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<main class="sheet">\n{chr(10).join(part for part in parts if part)}\n</main>\n</body>\n</html>\n'
    )


def render_drift_text(document: dict[str, Any]) -> str:
    """Return a drift report for a terminal, 100 columns wide: the summary, what drifted, and what came of promises. Pure."""
    lines = [
        f"{WORDS[word_of(document)]}: {_window(document)}, against {_before(document)}",
        *wrap(clean(document["text"]), _COLUMNS),
    ]
    shown = [row for row in document["rows"] if row["told"] and (row["drifted"] or row["kind"] in _OUTCOMES)]
    shown.sort(key=lambda row: -row["of_limit"])
    if shown:
        lines += ["", f"{'':<44}{'then':>12}{'now':>12}{'moved, of limit':>18}"]
    for row in shown:
        said = (
            f"{shorten(label_of(row), 43):<44}{value_words(row, 'before'):>12}{value_words(row, 'now'):>12}"
        )
        lines.append(f"{said}{limit_words(row):>18}{'  drifted' if row['drifted'] else ''}")
    promises = document["certificate"]["promises"]
    if promises:
        lines += ["", f"{'promise':<64}{'came to':>8}{'bounds':>18}"]
    for promise in promises:
        seen, bounds = seen_words(promise)
        status = f"  {promise['status']}" if promise["status"] in ("void", "holding") else ""
        lines.append(f"{shorten(promise_of(promise), 63):<64}{seen:>8}{bounds:>18}{status}")
    for note in document["notes"]:
        lines += ["", *wrap(clean(note), _COLUMNS)]
    return "\n".join(lines)


def _window(document: dict[str, Any]) -> str:
    said = f"{count(document['prompts'])} new prompts in {count(document['groups'])} groups"
    if document["from"]:
        said += f", {document['from'][:10]} to {document['until'][:10]}"
    return said


def _before(document: dict[str, Any]) -> str:
    before, model = document["before"], f"what model {clean(document['model_id'])} was fitted on"
    return f"{model}, {before['date'][:10]}" if before["date"] else model


def _header(document: dict[str, Any], title: str) -> str:
    said = f"{_window(document)}, against {_before(document)}."
    return f"<header><h1>{name(title, 160)}</h1><p>{escape(said)}</p></header>"


def _verdict(document: dict[str, Any]) -> str:
    word, certificate = word_of(document), document["certificate"]
    icon = (
        '<svg viewBox="0 0 33 33" aria-hidden="true"><circle class="icon-disc" cx="16.5" cy="16.5" r="16"/>'
        f'<path class="icon-sign" d="{_SIGNS[word]}"/></svg>'
    )
    said = [document["headline"], document["details"], certificate["text"]]
    first, *others = said if word != "void" else [said[2], *said[:2]]
    rest = "".join(f"<p>{escape(text)}</p>" for text in (*others, *document["notes"]) if text)
    return (
        f'<section class="verdict {_TONES[word]}" aria-labelledby="verdict"><h2 id="verdict">{icon}<span>{WORDS[word]}</span></h2>'
        f'<p class="headline">{escape(first)}</p>{rest}</section>'
    )


def _keys(document: dict[str, Any]) -> str:
    drifted = sum(row["drifted"] for row in document["rows"])
    certificate = document["certificate"]
    on = (
        f"{count(certificate['groups'])} groups that every tier was tried on" if certificate["groups"] else ""
    )
    cards = [
        ("Drifted", str(drifted) if document["told"] else MISSING, f"of {document['told']} that can be told"),
        ("New prompts", count(document["prompts"]), f"in {count(document['groups'])} groups"),
        ("Certificate", STATUSES[certificate["status"]], on),
        (
            "Cannot be told",
            str(document["looked_at"] - document["told"]),
            f"of {document['looked_at']} looked at",
        ),
    ]
    items = "".join(
        f'<div><dt>{said}</dt><dd><span class="big">{value}</span><span class="note">{more}</span></dd></div>'
        for said, value, more in cards
    )
    return f'<dl class="keys">{items}</dl>'


def _figures(document: dict[str, Any]) -> str:
    moved, rates = shifts(document), pass_rates(document)
    parts = []
    if moved:
        rest = document["told"] - SHOWN
        more = f" The other {rest} moved less." if rest > 0 else ""
        parts.append(
            f'<section aria-labelledby="moved"><h2 id="moved">How far things moved</h2><p>As a share of how far they may.{more}</p>'
            f"<figure>{moved}<figcaption>What drifted is a filled dot, or an arrow where it moved beyond the scale.</figcaption></figure>"
            "</section>"
        )
    if rates:
        parts.append(
            f'<section aria-labelledby="rates"><h2 id="rates">How often each tier passed</h2><figure>{rates}<figcaption>Then (hollow) and now '
            "(filled), with 95% intervals.</figcaption></figure></section>"
        )
    return "".join(parts)


def _certificate(certificate: dict[str, Any]) -> str:
    if not certificate["promises"]:
        return ""
    head = [
        ("", "promise"),
        ("num", "came to"),
        ("num", "confidence"),
        ("", "status"),
    ]
    rows: dict[bool, list[tuple[str, list[str]]]] = {True: [], False: []}
    for row in certificate["promises"]:
        seen, bounds = seen_words(row)
        said = f"{escape(promise_of(row))}{'<small>the promise that decides</small>' if row['asked'] else ''}"
        status = f"<b>{STATUSES['void']}</b>" if row["status"] == "void" else STATUSES[row["status"]]
        cells = [said, f'{seen}<span class="i">{bounds}</span>', percent(1.0 - row["level"]), status]
        rows[row["asked"] or row["status"] == "void"].append(("subject" if row["asked"] else "", cells))
    text = "Each bound holds with the confidence beside it; that of the promise that decides is one look’s, the others share it."
    caption = "What promises came to on new prompts; bounds beneath"
    first = table(caption, head, rows[True]) if rows[True] else ""
    said = f"{count(len(rows[False]))} that nothing speaks against"
    rest = (
        f"<details><summary>{said}</summary>{table(caption, head, rows[False])}</details>"
        if rows[False]
        else ""
    )
    return f'<section aria-labelledby="promises"><h2 id="promises">The certificate</h2><p>{text}</p>{first}{rest}</section>'


def _section(document: dict[str, Any], title: str, id_: str, kinds: tuple[str, ...]) -> str:
    parts = []
    for kind in kinds:
        rows = [row for row in document["rows"] if row["kind"] == kind]
        if not rows:
            continue
        whys = {row["text"] for row in rows}
        if len(whys) == 1 and not rows[0]["told"]:
            parts.append(f"<h3>{KINDS[kind]}</h3><p>{escape(_sentence(rows[0]['text']))}</p>")
            continue
        rows.sort(key=lambda row: -(row["of_limit"] or 0.0))
        shown = rows if kind != "feature" else [row for row in rows if row["drifted"]]
        rest = rows[len(shown) :]
        parts.append(f"<h3>{KINDS[kind]}</h3>")
        if shown:
            parts.append(_table(kind, shown))
        if rest:
            said = f"{len(rest)} that did not drift" if shown else f"None of {len(rest)} drifted"
            parts.append(f"<details><summary>{said}</summary>{_table(kind, rest)}</details>")
    return f'<section aria-labelledby="{id_}"><h2 id="{id_}">{title}</h2>{"".join(parts)}</section>'


def _table(kind: str, rows: list[Row]) -> str:
    binned = kind in ("feature", "score")
    index = [("num", "stability index")] if binned else []
    head = [("", ""), ("num", "then"), ("num", "now"), *index, ("num", "moved, of limit")]
    found = []
    for row in rows:
        where = row.get("where")
        label = f"{escape(label_of(row))}{f'<small>{escape(where)}</small>' if where else ''}"
        if not row["told"]:
            label = f"{escape(label_of(row))}<small>{escape(row['text'])}</small>"
        bounds = bounds_words(row)
        now = (
            f'{value_words(row, "now")}<span class="i">{bounds}</span>' if bounds else value_words(row, "now")
        )
        moved = (
            f'<b>{limit_words(row)}</b><span class="i">drifted</span>' if row["drifted"] else limit_words(row)
        )
        shift = [decimal(row["shift"], 2)] if binned else []
        cells = [label, value_words(row, "before"), now, *shift, moved]
        found.append(("subject" if row["drifted"] else "", cells))
    return table(_ABOUT[kind], head, found)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _glossary() -> str:
    items = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in _GLOSSARY)
    return f'<section aria-labelledby="reading"><h2 id="reading">How to read this</h2><dl class="glossary">{items}</dl></section>'


def _footer(document: dict[str, Any]) -> str:
    pairs = [
        ("Model", f"<code>{escape(document['model_id'])}</code>"),
        (
            "False alarms",
            f"at most {percent(document['alpha'], 0)} of reports name anything as drifted where nothing did",
        ),
        ("Seed", str(document["seed"])),
    ]
    return f"<footer><dl>{''.join(f'<dt>{said}</dt><dd>{value}</dd>' for said, value in pairs)}</dl></footer>"
