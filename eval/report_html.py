"""The report as one HTML page: no script, no network, nothing outside the file.

The rule: pure, but for the style sheet that is read beside this module. Input is the document alone; whatever
comes from data is escaped. The page's policy forbids everything but the one style sheet that it holds.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from eval.report_curves import cost_quality
from eval.report_figures import gap_closed, reliability
from eval.report_lift import lift
from eval.report_promises import promises_section
from eval.report_style import read_style
from eval.report_svg import escape, swatch
from eval.report_tables import (
    bins_table,
    contenders_table,
    misroutes_table,
    name,
    slice_calibration_table,
    slices_table,
    tiers_table,
    two_tier_table,
)  # fmt: skip
from eval.report_words import (
    DECIDED,
    GLOSSARY,
    MISSING,
    NOT_REACHED,
    QUALITY_LEVELS,
    SETTING,
    SLICE_KINDS,
    best_contender,
    clean,
    count,
    decimal,
    dropped,
    expectation,
    finite,
    interval,
    letters,
    percent,
    point_labels,
    point_words,
    positives,
    standings,
    style_of,
    subject_of,
)  # fmt: skip

__all__ = ["render_html"]

_SLICES_OPEN = 20  # rows shown at once; the rest is folded away
_SIGNS = {
    "ROUTE": "M10 17.5l4.5 4.5L23 11.5",
    "TIE": "M10.5 13.5h12M10.5 19.5h12",
    "DO NOT ROUTE": "M11.5 11.5l10 10M21.5 11.5l-10 10",
    "CANNOT TELL": "M12.6 13a4 4 0 1 1 5.6 3.7q-1.7.8-1.7 2.5M16.5 23.2v.1",
}


def render_html(document: dict[str, Any]) -> str:
    """Return the document as a whole HTML page that holds no surrogates, so that UTF-8 can encode it."""
    style = read_style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    comparison = document["comparison"]
    parts = [_header(document), _verdict(document)]
    if comparison is not None:
        parts += [
            _key_numbers(document),
            _operating_point(document),
            promises_section(document["promises"]),
            _curves(comparison),
            _contenders(document),
        ]
        parts.append(_calibration(comparison["calibration"]))
    parts += [_slices(document), _misroutes(document), _data(document), _glossary(), _footer(document)]
    title = f"{document['verdict']['word']}: {document['title']}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<main class="sheet">\n{chr(10).join(part for part in parts if part)}\n</main>\n</body>\n</html>\n'
    )


def _header(document: dict[str, Any]) -> str:
    subject, comparison = document["subject"], document["comparison"]
    measured = ""
    if comparison is not None:
        measured = (
            f" Measured on {count(comparison['prompts'])} prompts in {count(comparison['groups'])} groups."
        )
    text = f": {name(subject['text'], 400)}" if subject.get("text") else ""
    return f"<header><h1>{name(document['title'], 160)}</h1><p>{name(subject['name'])}{text}.{measured}</p></header>"


def _verdict(document: dict[str, Any]) -> str:
    verdict = document["verdict"]
    word = verdict["word"]
    sign = _SIGNS.get(word, _SIGNS["CANNOT TELL"])
    icon = (
        '<svg viewBox="0 0 33 33" aria-hidden="true"><circle class="icon-disc" cx="16.5" cy="16.5" r="16"/>'
        f'<path class="icon-sign" d="{sign}"/></svg>'
    )
    parts = [f'<h2 id="verdict">{icon}<span>{escape(word)}</span></h2>']
    for class_, text in (
        ("headline", verdict["headline"]),
        ("", verdict["reason"]),
        ("", verdict["more_data"]),
    ):
        if text:
            parts.append(f"<p{f' class={chr(34)}{class_}{chr(34)}' if class_ else ''}>{escape(text)}</p>")
    contenders = document["comparison"]["contenders"] if document["comparison"] is not None else []
    pairs = [
        f"<dt>{said}</dt><dd>{', '.join(name(label) for label in labels)}</dd>"
        for said, labels in standings(contenders, verdict, clean(verdict["reason"]))
    ]
    if pairs:
        parts.append(f"<dl>{''.join(pairs)}</dl>")
    tone = {"ROUTE": "route", "TIE": "tie", "DO NOT ROUTE": "do-not-route"}.get(word, "cannot-tell")
    return f'<section class="verdict {tone}" aria-labelledby="verdict">{"".join(parts)}</section>'


def _key_numbers(document: dict[str, Any]) -> str:
    subject = subject_of(document["comparison"])
    if subject is None:
        return ""
    best, at_97 = best_contender(document), subject["at_97"] or {}
    against = f"Lead over {name(best['label'])}, the best baseline" if best else "Lead over the best baseline"
    savings = []
    for level in QUALITY_LEVELS:
        value, bounds = interval((subject["saving_at_quality"] or {}).get(level))
        never = value == MISSING
        savings.append(
            f'<div class="row{" never" if never else ""}"><span>at {percent(float(level), 0)}</span>'
            f'<b>{NOT_REACHED if never else value}</b><span class="i">{bounds}</span></div>'
        )
    cards = [
        ("Gap closed between a random mix and the oracle", _big(subject["gap_closed"])),
        (against, _big(document["verdict"]["lead"], "points")),
        ("Cost saved while keeping a share of the top tier’s quality", "".join(savings)),
        ("Regret at 97% quality: prompts sent too low", _big(at_97.get("regret"))),
    ]
    items = "".join(f"<div><dt>{said}</dt><dd>{shown}</dd></div>" for said, shown in cards)
    return f'<dl class="keys">{items}</dl>'


def _operating_point(document: dict[str, Any]) -> str:
    point = document["operating_point"]
    if point is None:
        return ""
    labels = point_labels(point)
    cards = [
        *(
            (name(f"{labels[key][0].upper()}{labels[key][1:]}"), _big(point.get(key)))
            for key in ("saving", "quality_relative_to_top")
        ),
        ("Regret: sent too low", _big(point.get("regret"))),
        ("Over-routing: sent too high", _big(point.get("over_routing"))),
    ]
    items = "".join(f"<div><dt>{said}</dt><dd>{shown}</dd></div>" for said, shown in cards)
    shares = ", ".join(
        f"{name(tier)} {percent(share)}" for tier, share in (point.get("share_per_tier") or {}).items()
    )
    sent = f" Sent to: {shares}." if shares else ""
    text = f"{name(point_words(point), 800)}{sent}"
    return f'<section aria-labelledby="point"><h2 id="point">{DECIDED}</h2><p>{text}</p><dl class="keys">{items}</dl></section>'


def _curves(comparison: dict[str, Any]) -> str:
    chart = cost_quality(comparison)
    if not chart:
        return ""
    contenders = comparison["contenders"]
    styles, names = style_of(contenders), letters(contenders)
    entries = [
        f"<li>{swatch(styles[c['name']], names.get(c['name'], ''))}<span>{name(c['label'])}</span></li>"
        for c in contenders
        if c["kind"] != "tier"
    ]
    entries.append(f"<li>{swatch('tier')}<span>one tier for all prompts</span></li>")
    return (
        '<section aria-labelledby="curves"><h2 id="curves">Quality for cost</h2>'
        "<p>Higher and further left is better. A line joins what a router attains over all its settings.</p>"
        f'<figure>{chart}<ul class="legend">{"".join(entries)}</ul><figcaption>Mean quality per prompt against mean cost. '
        "Small dots are single settings of the router under test; letters name the baselines, here and below.</figcaption></figure>"
        f"{_lift(comparison)}</section>"
    )


def _lift(comparison: dict[str, Any]) -> str:
    chart = lift(comparison)
    if not chart:
        return ""
    return (
        "<h3>The same, above mixing at random</h3><p>Points of quality that a router adds to a random mix of the tiers "
        f"that costs as much. The more, the better.</p><figure>{chart}<figcaption>Each line joins the best settings on "
        "these very prompts, which flatters every line a little. The gap closed, below, does not have that fault."
        "</figcaption></figure>"
    )


def _contenders(document: dict[str, Any]) -> str:
    chart = gap_closed(document["comparison"])
    figure = (
        f"<figure>{chart}<figcaption>Lines are 95% intervals over groups of prompts; a hollow dot is an interval that "
        "includes 0%, an arrow points to what lies beyond the edge, where nothing is to scale. Intervals may overlap where the paired lead is still "
        "clear.</figcaption></figure>"
        if chart
        else ""
    )
    return (
        '<section aria-labelledby="contenders"><h2 id="contenders">All contenders</h2>'
        f"<p>{escape(expectation(document['comparison']))}</p>"
        f"{contenders_table(document)}{figure}{two_tier_table(document)}</section>"
    )


def _calibration(tiers: list[dict[str, Any]]) -> str:
    if not tiers:
        return ""
    figures = []
    for i, tier in enumerate(tiers):
        facts = [("prompts observed", count(tier["observed"]))]
        facts += [
            (said, decimal(tier[key]))
            for key, said in (
                ("ece", "ECE"),
                ("log_loss", "log loss"),
                ("brier", "Brier score"),
                ("auc", "AUC"),
            )
        ]
        listed = "".join(f"<dt>{said}</dt><dd>{value}</dd>" for said, value in facts)
        chart = reliability(tier, i) or '<p class="quiet">No bins: nothing was observed.</p>'
        figures.append(
            f'<figure><h3>{name(tier["tier"])}</h3>{chart}<dl class="facts">{listed}</dl></figure>'
        )
    return (
        '<section aria-labelledby="calibration"><h2 id="calibration">Calibration</h2>'
        "<p>How often a tier passes, against how often the router said it would. On the dashed line, a pass "
        "probability means what it says.</p>"
        f'<div class="small-multiples">{"".join(figures)}</div>{bins_table(tiers)}</section>'
    )


def _slices(document: dict[str, Any]) -> str:
    kinds = list(dict.fromkeys(s["by"] for s in document["slices"]))
    if not kinds:
        return ""
    parts, decided = [], document["operating_point"] is not None
    where = f"{DECIDED.lower()}" if decided else f"{SETTING[0].lower()}{SETTING[1:]}"
    for by in kinds:
        rows = [s for s in document["slices"] if s["by"] == by]
        shown = slices_table(by, rows[:_SLICES_OPEN], decided=decided)
        parts.append(f"<h3>{escape(SLICE_KINDS.get(by, by))}</h3>{shown}")
        if len(rows) > _SLICES_OPEN:
            rest = slices_table(by, rows[_SLICES_OPEN:], decided=decided)
            parts.append(
                f"<details><summary>{count(len(rows) - _SLICES_OPEN)} more</summary>{rest}</details>"
            )
        parts.append(slice_calibration_table(by, rows))
    return (
        '<section aria-labelledby="slices"><h2 id="slices">Slices</h2><p>The same router on parts of the prompts. '
        f"Regret and the router’s own quality are {where}. Small parts have wide intervals; with many of them, one or "
        "two stand out by chance.</p>"
        f"{''.join(parts)}</section>"
    )


def _misroutes(document: dict[str, Any]) -> str:
    tables = [misroutes_table(document, kind) for kind in ("under", "over")]
    if not any(tables):
        return ""
    return (
        '<section aria-labelledby="misroutes"><h2 id="misroutes">Worst misroutes</h2>'
        f"<p>{SETTING if document['operating_point'] is None else DECIDED}. Look these up in the history: they show what the router does "
        f"not see, and now and then a wrong grade.</p>{''.join(tables)}</section>"
    )


def _data(document: dict[str, Any]) -> str:
    data, sampling = document["data"], document["sampling"]
    parts = []
    if sampling is not None and sampling.get("text"):
        parts.append(f"<p>{name(sampling['text'], 600)}</p>")
    if data is not None:
        lines = [
            f"{count(data['prompts'])} prompts in {count(data['groups'])} groups, {count(data['outcomes'])} outcomes; "
            f"{count(data['complete'])} prompts were answered by every tier"
            f"{'' if data['representative'] is None else ' and stand for the traffic'}."
        ]
        if finite(data["non_monotone_share"]) is not None:
            lines.append(
                f"In {percent(data['non_monotone_share'])} of these a cheaper tier passes where the top tier fails."
            )
        if data["sources"]:
            lines.append(f"Sources: {_names(positives(data['sources']))}.")
        if set(data["split"] or {}) - {"none"}:
            lines.append(f"Split in the history: {_names(positives(data['split']))}.")
        left_out = dropped(data)
        lines.append(f"Left out: {_names(left_out)}." if left_out else "Nothing was left out.")
        parts += [f"<p>{' '.join(lines)}</p>", tiers_table(data)]
    if not parts:
        return ""
    return f'<section aria-labelledby="data"><h2 id="data">The data</h2>{"".join(parts)}</section>'


def _glossary() -> str:
    items = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in GLOSSARY)
    return f'<section aria-labelledby="reading"><h2 id="reading">How to read this</h2><dl class="glossary">{items}</dl></section>'


def _footer(document: dict[str, Any]) -> str:
    sampling, comparison = document["sampling"] or {}, document["comparison"] or {}
    pairs = [
        ("Command", f"<code>{escape(document['command'])}</code>"),
        ("Date", escape(document["created"])),
    ]
    if sampling.get("seed") is not None:
        pairs.append(("Seed", escape(sampling["seed"])))
    if comparison.get("n_boot") is not None:
        pairs.append(("Resamples", count(comparison["n_boot"])))
    return f"<footer><dl>{''.join(f'<dt>{said}</dt><dd>{value}</dd>' for said, value in pairs)}</dl></footer>"


def _big(value: dict[str, Any] | None, unit: str = "percent") -> str:
    said, bounds = interval(value, unit)
    if said == MISSING:
        return f'<span class="big none">{MISSING}</span>'
    return f'<span class="big">{said}</span>' + (f'<span class="i">{bounds}</span>' if bounds else "")


def _names(phrases: list[str]) -> str:
    shown = phrases[:12]
    more = [f"and {count(len(phrases) - 12)} more"] if len(phrases) > 12 else []
    return ", ".join([*(name(phrase) for phrase in shown), *more])
