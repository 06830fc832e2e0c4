"""The report as Markdown: the verdict and the tables, for a pull request or a wiki; no HTML.

The rule: pure. Whatever comes from data is escaped, so that it neither formats, links nor breaks a table.
"""

from __future__ import annotations

import re
from typing import Any

from eval.report_promises import CAME_TO, TITLE, notes, rows_of, short_words
from eval.report_promises import KINDS as PROMISES
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
    percent,
    point_labels,
    point_words,
    positives,
    shorten,
    slice_head,
    standings,
    subject_of,
    usd,
)  # fmt: skip

__all__ = ["render_markdown"]

# Marks anywhere; what begins a list or a rule; what makes a link of bare text.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~&$@]|^[-+=]|(?<=www)\.|:(?=//)")
_LIST = re.compile(r"^(\d+)([.)])")
_LONGEST = 400


def render_markdown(document: dict[str, Any]) -> str:
    """Return the document as Markdown that holds no surrogates, so that UTF-8 can encode it."""
    comparison = document["comparison"]
    sections = [_head(document)]
    if comparison is not None:
        sections += [_key_numbers(document), _operating_point(document), _promises(document["promises"])]
        sections.append(_contenders(document))
        sections += [_two_tiers(comparison), _calibration(comparison["calibration"])]
    sections += [_slices(document), _misroutes(document), _data(document), _glossary(), _foot(document)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _text(text: object, longest: int = _LONGEST) -> str:
    return _LIST.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", shorten(text, longest)))


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table; cells are escaped already, all columns but the first hold numbers or short names."""
    rule = [":---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _say(value: dict[str, Any] | None, unit: str = "percent", missing: str = MISSING) -> str:
    said, bounds = interval(value, unit)
    if said == MISSING:
        return missing if value is not None else MISSING
    return f"{said} ({bounds})" if bounds else said


def _usd(value: float | None) -> str:
    return usd(value).replace("$", "\\$")  # two in a line are a formula to some readers


def _head(document: dict[str, Any]) -> str:
    verdict, subject, comparison = document["verdict"], document["subject"], document["comparison"]
    lines = [f"# {_text(document['title'])}", f"**{_text(verdict['word'])}**: {_text(verdict['headline'])}"]
    lines += [_text(text, 2000) for text in (verdict["reason"], verdict["more_data"]) if text]
    contenders = comparison["contenders"] if comparison is not None else []
    kept = standings(contenders, verdict, clean(verdict["reason"]))
    listed = [f"- {said}: {', '.join(map(_text, labels))}" for said, labels in kept]
    lines += ["\n".join(listed)] if listed else []
    about = f"Under test: {_text(subject['name'])}" + (
        f", {_text(subject['text'])}" if subject.get("text") else ""
    )
    measured = ""
    if comparison is not None:
        measured = (
            f" Measured on {count(comparison['prompts'])} prompts in {count(comparison['groups'])} groups."
        )
    return "\n\n".join([*lines, f"{about}.{measured} Brackets hold 95% intervals."])


def _key_numbers(document: dict[str, Any]) -> str:
    subject = subject_of(document["comparison"])
    if subject is None:
        return ""
    best = best_contender(document)
    over = f"lead over {_text(best['label'])}, the best baseline" if best else "lead over the best baseline"
    rows = [["gap closed", _say(subject["gap_closed"])], [over, _say(document["verdict"]["lead"], "points")]]
    for level in QUALITY_LEVELS:
        value = (subject["saving_at_quality"] or {}).get(level)
        rows.append(
            [
                f"saving at {percent(float(level), 0)} of the top tier's quality",
                _say(value, missing=NOT_REACHED),
            ]
        )
    rows.append(["regret at 97% quality", _say((subject["at_97"] or {}).get("regret"))])
    return "## Key numbers\n\n" + _table(["", "value"], rows)


def _operating_point(document: dict[str, Any]) -> str:
    point = document["operating_point"]
    if point is None:
        return ""
    labels = {**point_labels(point), "regret": "regret", "over_routing": "over-routing"}
    rows = [[_text(said), _say(point.get(key))] for key, said in labels.items() if key != "quality"]
    rows += [
        [f"share sent to {_text(tier)}", percent(share)]
        for tier, share in (point.get("share_per_tier") or {}).items()
    ]
    text = "\n\n".join(_text(words, 1000) for words in (point_words(point),) if words)
    return "\n\n".join(part for part in (f"## {DECIDED}", text, _table(["", "value"], rows)) if part)


def _promises(promises: dict[str, Any] | None) -> str:
    if promises is None:
        return ""
    parts = [f"## {TITLE}", *(_text(note, 2000) for note in notes(promises))]
    for kind, said in PROMISES.items():
        rows = [
            [
                short_words(row), percent(row["saving"]), _say(row["measured"]["saving"]), _say(row["measured"]["came_to"]),
                *(percent(row["measured"]["share_per_tier"].get(tier), 0) for tier in promises["tiers"]),
            ]
            for row in rows_of(promises, kind)
        ]  # fmt: skip
        sent = [f"sent to {_text(tier, 80)}" for tier in promises["tiers"]]
        head = [said, "saving, expected", "saving, measured", CAME_TO[kind], *sent]
        parts += [_table(head, rows)] if rows else []
    return "\n\n".join(parts)


def _contenders(document: dict[str, Any]) -> str:
    rows = []
    for c in document["comparison"]["contenders"]:
        label, at_97 = _text(c["label"]), c["at_97"] or {}
        rows.append(
            [
                f"**{label}**" if c["kind"] == "subject" and label else label, _say(c["gap_closed"]), _say(c["lead"], "points"),
                *(_say((c["saving_at_quality"] or {}).get(q), missing=NOT_REACHED) for q in QUALITY_LEVELS),
                _say(at_97.get("regret")), _say(at_97.get("over_routing")), _say(c["aiq"], "decimal"),
                *(decimal(c[key]) for key in ("log_loss", "ece", "auc")),
            ]
        )  # fmt: skip
    head = [
        "contender", "gap closed", f"lead of {_text(document['subject']['name'])}", *(f"saving at {percent(float(q), 0)}" for q in QUALITY_LEVELS),
        "regret at 97%", "over-routing at 97%", "AIQ", "log loss", "ECE", "AUC",
    ]  # fmt: skip
    said = _text(expectation(document["comparison"]), 2000)
    return f"## All contenders\n\n{said}\n\n{_table(head, rows)}"


def _two_tiers(comparison: dict[str, Any]) -> str:
    rows = [
        [
            _text(c["label"]),
            _say(c["two_tier"].get("apgr"), "decimal"),
            *(_say(c["two_tier"].get(key)) for key in ("cpt50", "cpt80")),
        ]
        for c in comparison["contenders"]
        if c["two_tier"]
    ]
    return f"### Two tiers\n\n{_table(['contender', 'APGR', 'CPT 50%', 'CPT 80%'], rows)}" if rows else ""


def _calibration(tiers: list[dict[str, Any]]) -> str:
    rows = [
        [
            _text(t["tier"]),
            count(t["observed"]),
            *(decimal(t[key]) for key in ("ece", "log_loss", "brier", "auc")),
        ]
        for t in tiers
    ]
    head = ["tier", "prompts observed", "ECE", "log loss", "Brier score", "AUC"]
    return f"## Calibration\n\n{_table(head, rows)}" if rows else ""


def _slices(document: dict[str, Any]) -> str:
    parts = []
    decided = document["operating_point"] is not None
    for by in dict.fromkeys(s["by"] for s in document["slices"]):
        rows = [
            [
                _text(s["value"], 80), count(s["prompts"]), count(s["groups"]), _say(s["gap_closed"]), _say(s["lead_over_length"], "points"),
                _say(s["saving_at_97"], missing=NOT_REACHED), _say(s["regret"]), percent(s["top_quality"]), percent(s["routed_quality"]),
                *(decimal(s[key]) for key in ("ece", "log_loss", "auc")),
            ]
            for s in document["slices"]
            if s["by"] == by
        ]  # fmt: skip
        head = [
            _text(slice_head(by)), "prompts", "groups", "gap closed", "lead over length", "saving at 97%",
            "regret as decided" if decided else "regret at 97%", "quality of top tier",
            "quality as decided" if decided else "quality at 97%", "ECE", "log loss", "AUC",
        ]  # fmt: skip
        parts.append(f"### {SLICE_KINDS.get(by, _text(by))}\n\n{_table(head, rows)}")
    what = f"Regret and the router's own quality: {_where(document)}."
    return "\n\n".join(["## Slices", what, *parts]) if parts else ""


def _where(document: dict[str, Any]) -> str:
    """Return which decisions misroutes and slices look at, from within a sentence."""
    where = SETTING if document["operating_point"] is None else DECIDED
    return f"{where[0].lower()}{where[1:]}"


def _misroutes(document: dict[str, Any]) -> str:
    parts = []
    for kind, said in (
        ("under", "Sent too low: the top tier passes, the chosen tier fails"),
        ("over", "Sent too high: a cheaper tier passes as well"),
    ):
        chosen = [m for m in document["misroutes"] if m["kind"] == kind]
        with_prompt = any(m.get("prompt") is not None for m in chosen)
        rows = []
        for m in chosen:
            names = [
                MISSING if m[key] is None else _text(m[key])
                for key in ("prompt_id", "task", "group", "chosen", "needed")
            ]
            p_pass = " · ".join(decimal(p, 2) for p in m["p_pass"] or []) or MISSING
            prompt = [_text(m.get("prompt") or "", 200)] if with_prompt else []
            rows.append(
                [*names, p_pass, _usd(m["wasted_usd"]) if kind == "over" else decimal(m["loss"], 2), *prompt]
            )
        last = ["wasted USD" if kind == "over" else "quality lost", *(["prompt"] if with_prompt else [])]
        head = [
            "prompt id",
            "task",
            "group",
            "chosen",
            "cheapest that passes",
            "predicted pass, cheapest tier first",
            *last,
        ]
        parts += [f"### {said}\n\n{_table(head, rows)}"] if rows else []
    return "\n\n".join([f"## Worst misroutes, {_where(document)}", *parts]) if parts else ""


def _data(document: dict[str, Any]) -> str:
    data, sampling = document["data"], document["sampling"]
    parts = [_text(sampling["text"])] if sampling is not None and sampling.get("text") else []
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
        for said, phrases in (("Sources", positives(data["sources"] or {})), ("Left out", dropped(data))):
            if phrases:
                lines.append(f"{said}: {', '.join(_text(phrase) for phrase in phrases)}.")
        rows = []
        for t in data["tiers"]:
            cost = finite(t["mean_cost_usd"])
            rows.append(
                [
                    _text(t["name"]), _text(", ".join(str(model) for model in t["models"])), count(t["observed"]), percent(t["pass_rate"]),
                    decimal(t["mean_score"]), _usd(None if cost is None else 1000 * cost), percent(t["cheapest_pass_share"]),
                ]
            )  # fmt: skip
        rows += [
            [said, *[""] * 5, percent(data[key])]
            for said, key in (("no tier passes", "none_passed_share"), ("cannot be told", "unknown_share"))
        ]
        head = [
            "tier",
            "models",
            "observed",
            "passes",
            "mean score",
            "USD per 1,000 prompts",
            "cheapest that passes",
        ]
        parts += [" ".join(lines), _table(head, rows)]
    return "\n\n".join(["## The data", *parts]) if parts else ""


def _glossary() -> str:
    return "## How to read this\n\n" + "\n".join(f"- **{term}**: {text}" for term, text in GLOSSARY)


def _foot(document: dict[str, Any]) -> str:
    sampling, comparison = document["sampling"] or {}, document["comparison"] or {}
    parts = [f"Command: {_text(document['command'], 1000)}", f"date: {_text(document['created'])}"]
    parts += [f"seed: {_text(sampling['seed'])}"] if sampling.get("seed") is not None else []
    parts += [f"resamples: {count(comparison['n_boot'])}"] if comparison.get("n_boot") is not None else []
    return f"---\n\n{'; '.join(parts)}."
