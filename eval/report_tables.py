"""The tables of the HTML report.

The rule: pure; from parts of the document to HTML. Cells are HTML already, so whatever comes from data is escaped
where it enters a cell, by `escape` or `name`.
"""

from __future__ import annotations

from typing import Any

from eval.report_figures import bar_range, interval_bar, learned_range
from eval.report_svg import escape, swatch
from eval.report_words import (
    KINDS,
    MISSING,
    NOT_REACHED,
    QUALITY_LEVELS,
    SLICE_KINDS,
    count,
    decimal,
    finite,
    interval,
    letters,
    percent,
    shorten,
    slice_head,
    style_of,
    usd,
)  # fmt: skip

__all__ = [
    "bins_table", "contenders_table", "misroutes_table", "name", "slice_calibration_table", "slices_table", "table",
    "tiers_table", "two_tier_table",
]  # fmt: skip

_PROMPT_LENGTH = 2000
_NEEDED = ". Needed: the cheapest tier that passes; predictions from the cheapest tier up."
_NONE = f'<span class="none">{MISSING}</span>'

Cell = tuple[str, str]
"""A class, "" or "num", and ready HTML."""


def name(text: object, longest: int = 80) -> str:
    """Return an escaped name in an element of its own direction, so that right-to-left ones leave the rest alone.

    What is longer is cut, and whole in the tooltip.
    """
    shown = shorten(text, longest)
    whole = "" if len(str(text)) <= longest else f' title="{escape(text)}"'
    return f"<bdi{whole}>{escape(shown)}</bdi>"


def table(caption: str, head: list[Cell], rows: list[tuple[str, list[str]]], over: str = "") -> str:
    """Return a table in a container that scrolls sideways.

    Parameters
    ----------
    caption : str
        Plain text.
    head : list of Cell
        One per column; its class goes to the whole column.
    rows : list of (class, cells)
        The first cell of a row is its heading. A row of class "prompt" is one cell across all columns.
    over : str
        A ready row of headings above the others, spanning columns.
    """
    heads = "".join(f'<th scope="col"{_class(class_)}>{content}</th>' for class_, content in head)
    body = "".join(_row(class_, cells, head) for class_, cells in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead>{over}<tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def contenders_table(document: dict[str, Any]) -> str:
    """Return the table of all contenders."""
    contenders = document["comparison"]["contenders"]
    styles, names = style_of(contenders), letters(contenders)
    low, high = learned_range(contenders)
    rows = []
    for c in contenders:
        at_97 = c["at_97"] or {}
        style = styles[c["name"]]
        ends = c["kind"] in ("random", "oracle")
        who = (
            f'<span class="who">{swatch(style, names.get(c["name"], ""))}<span>{name(c["label"])}'
            f"<small>{escape(KINDS.get(c['kind'], c['kind']))}</small></span></span>"
        )
        cells = [
            who,
            _interval(c["gap_closed"]) + ("" if ends else interval_bar(c["gap_closed"], low, high, style)),
            _interval(c["lead"], "points").replace(" pts", ""),
            *(_saving(c, level) for level in QUALITY_LEVELS),
            _interval(at_97.get("regret")),
            _interval(at_97.get("over_routing")),
            _number(decimal((c["aiq"] or {}).get("value"))),
            *(_number(decimal(c[key])) for key in ("log_loss", "ece", "auc")),
        ]
        rows.append(("subject" if c["kind"] == "subject" else "", cells))
    over = (
        f'<tr class="over"><td colspan="3"></td><th scope="colgroup" colspan="{len(QUALITY_LEVELS)}" class="num">saving at a '
        'share of the top tier’s quality</th><th scope="colgroup" colspan="2" class="num">at 97% quality</th><td></td>'
        '<th scope="colgroup" colspan="3" class="num">pass probabilities</th></tr>'
    )
    head = [
        ("", "contender"), ("num", "gap closed"), ("num", f"lead of {name(document['subject']['name'], 16)}, points"), *(("num", percent(float(q), 0)) for q in QUALITY_LEVELS),
        ("num", "regret"), ("num", "over-routing"), ("num", "AIQ"), ("num", "log loss"), ("num", "ECE"), ("num", "AUC"),
    ]  # fmt: skip
    return table("All contenders, judged on the same prompts; 95% intervals beneath", head, rows, over)


def two_tier_table(document: dict[str, Any]) -> str:
    """Return RouteLLM's measures for ladders of two tiers; "" where nothing has them."""
    rows = []
    for c in document["comparison"]["contenders"]:
        if c["two_tier"]:
            cells = [
                _interval(c["two_tier"].get(key))
                if key != "apgr"
                else _interval(c["two_tier"].get(key), "decimal")
                for key in ("apgr", "cpt50", "cpt80")
            ]
            rows.append(("subject" if c["kind"] == "subject" else "", [name(c["label"]), *cells]))
    if not rows:
        return ""
    head = [("", "contender"), ("num", "APGR"), ("num", "CPT 50%"), ("num", "CPT 80%")]
    caption = (
        "Two-tier measures (RouteLLM). APGR: area under the recovered part of the strong tier's lead over the share of "
        "strong calls. CPT: the least share of strong calls that recovers 50% or 80% of that lead; less is better."
    )
    return table(caption, head, rows)


def slices_table(by: str, rows: list[dict[str, Any]], *, decided: bool = False) -> str:
    """Return slices of one kind, a row each, with bars on one scale.

    `decided`: regret and quality are of a model's own decisions, not of a setting found on these prompts.
    """
    low, high = bar_range([{"value": 0.0, "low": 0.0, "high": 0.0}, *(s["gap_closed"] for s in rows)])
    body = [("", _slice(s, low, high)) for s in rows]
    head_cells = [
        ("", escape(slice_head(by))), ("num", "gap closed"), ("", '<span class="none">with interval</span>'),
        ("num", "lead over length, points"), ("num", "saving at 97%"),
        ("num", "regret as decided" if decided else "regret at 97%"), ("num", "quality of top tier"),
        ("num", "quality as decided" if decided else "quality at 97%"), ("num", "ECE"), ("num", "log loss"), ("num", "AUC"),
    ]  # fmt: skip
    return table(
        f"{SLICE_KINDS.get(by, by)}: {count(len(rows))} slices, 95% intervals beneath", head_cells, body
    )


def slice_calibration_table(by: str, rows: list[dict[str, Any]]) -> str:
    """Return the calibration of each tier in one kind of slices; "" where none is known."""
    tiers = list(dict.fromkeys(tier for s in rows for tier in s.get("calibration") or {}))
    if not tiers:
        return ""
    body = []
    for s in rows:
        cells = [name(s["value"])]
        for tier in tiers:
            one = (s.get("calibration") or {}).get(tier) or {}
            cells += [_number(decimal(one.get(key))) for key in ("ece", "auc")] + [
                _number(count(one.get("observed")))
            ]
        body.append(("", cells))
    over = '<tr class="over"><td></td>' + "".join(
        f'<th scope="colgroup" colspan="3" class="num">{name(tier)}</th>' for tier in tiers
    )
    head = [
        ("", escape(slice_head(by))),
        *(("num", said) for _ in tiers for said in ("ECE", "AUC", "observed")),
    ]
    inner = table(f"Calibration of each tier, {SLICE_KINDS.get(by, by).lower()}", head, body, f"{over}</tr>")
    return f"<details><summary>Calibration of each tier in these slices</summary>{inner}</details>"


def misroutes_table(document: dict[str, Any], kind: str) -> str:
    """Return the worst prompts of one kind, "under" or "over"; "" where there are none."""
    rows: list[tuple[str, list[str]]] = []
    for m in document["misroutes"]:
        if m["kind"] != kind:
            continue
        prompt = m.get("prompt")
        p_pass = " · ".join(decimal(p, 2) for p in m["p_pass"] or [])
        needed = _NONE if m["needed"] is None else name(m["needed"])
        task = "" if m["task"] is None else name(m["task"])
        cost = _number(usd(m["wasted_usd"])) if kind == "over" else _number(decimal(m["loss"], 2))
        cells = [
            name(m["prompt_id"], 400),
            task,
            name(m["group"]),
            name(m["chosen"]),
            needed,
            p_pass or _NONE,
            cost,
        ]
        rows.append(("" if prompt is None else "has-prompt", cells))
        if prompt is not None:
            cut = prompt if len(prompt) <= _PROMPT_LENGTH else f"{prompt[:_PROMPT_LENGTH]}…"
            rows.append(
                (
                    "prompt",
                    [
                        f'<details><summary>Show the prompt</summary><pre dir="auto">{escape(cut)}</pre></details>'
                    ],
                )
            )
    if not rows:
        return ""
    caption = {
        "under": "Sent too low: the top tier passes, the chosen tier fails" + _NEEDED,
        "over": "Sent too high: a cheaper tier passes as well" + _NEEDED,
    }[kind]
    head = [
        ("", "prompt id"), ("text", "task"), ("text", "group"), ("text", "chosen"), ("text", "needed"),
        ("num", "predicted pass"), ("num", "wasted USD" if kind == "over" else "quality lost"),
    ]  # fmt: skip
    return table(caption, head, rows)


def tiers_table(data: dict[str, Any]) -> str:
    """Return what the history holds, tier by tier."""
    rows = []
    for t in data["tiers"]:
        models = ", ".join(name(model) for model in t["models"])
        estimated = finite(t["cost_estimated_share"])
        note = f'<span class="i">{percent(estimated, 0)} estimated</span>' if estimated else ""
        cells = [
            name(t["name"]), models, count(t["observed"]), _number(percent(t["pass_rate"])), _number(decimal(t["mean_score"])),
            _number(usd(_thousand(t["mean_cost_usd"]))) + note, _number(percent(t["cheapest_pass_share"])),
        ]  # fmt: skip
        rows.append(("", cells))
    for said, share in (
        ("no tier passes", data["none_passed_share"]),
        ("cannot be told", data["unknown_share"]),
    ):
        rows.append(("rest", [said, "", "", "", "", "", _number(percent(share))]))
    head = [
        ("", "tier"), ("text", "models"), ("num", "observed"), ("num", "passes"), ("num", "mean score"),
        ("num", "USD per 1,000 prompts"), ("num", "cheapest that passes"),
    ]  # fmt: skip
    return table(
        f"Tiers, cheapest first; a score of {decimal(data['pass_score'], 2)} or more passes", head, rows
    )


def bins_table(tiers: list[dict[str, Any]]) -> str:
    """Return the bins behind the reliability diagrams, folded away; "" without bins."""
    rows = []
    for tier in tiers:
        bins = tier["reliability"] or {}
        for p, y, n in zip(
            bins.get("mean_p", []), bins.get("mean_y", []), bins.get("count", []), strict=False
        ):
            rows.append(("", [name(tier["tier"]), percent(p), percent(y), count(n)]))
    if not rows:
        return ""
    head = [("", "tier"), ("num", "predicted"), ("num", "passed"), ("num", "prompts")]
    return f"<details><summary>The numbers behind the diagrams</summary>{table('Bins of equal mass', head, rows)}</details>"


def _slice(s: dict[str, Any], low: float, high: float) -> list[str]:
    head = f"{name(s['value'])}<small>{count(s['prompts'])} prompts, {count(s['groups'])} groups</small>"
    return [
        head, _interval(s["gap_closed"]), interval_bar(s["gap_closed"], low, high),
        _interval(s["lead_over_length"], "points").replace(" pts", ""),
        _interval(s["saving_at_97"], missing=NOT_REACHED), _interval(s["regret"]),
        _number(percent(s["top_quality"])), _number(percent(s["routed_quality"])),
        *(_number(decimal(s[key])) for key in ("ece", "log_loss", "auc")),
    ]  # fmt: skip


def _row(class_: str, cells: list[str], head: list[Cell]) -> str:
    if class_ == "prompt":
        return f'<tr class="prompt"><td colspan="{len(head)}">{cells[0]}</td></tr>'
    first = f'<th scope="row">{cells[0]}</th>'
    rest = "".join(
        f"<td{_class(column)}>{cell}</td>" for cell, (column, _) in zip(cells[1:], head[1:], strict=True)
    )
    return f"<tr{_class(class_)}>{first}{rest}</tr>"


def _class(class_: str) -> str:
    return f' class="{class_}"' if class_ else ""


def _number(text: str) -> str:
    return _NONE if text == MISSING else text


def _interval(value: dict[str, Any] | None, unit: str = "percent", missing: str = MISSING) -> str:
    said, bounds = interval(value, unit)
    if said == MISSING:
        return f'<span class="none">{missing if value is not None else MISSING}</span>'
    return f'{said}<span class="i">{bounds}</span>' if bounds else said


def _saving(contender: dict[str, Any], level: str) -> str:
    return _interval((contender["saving_at_quality"] or {}).get(level), missing=NOT_REACHED)


def _thousand(value: object) -> float | None:
    number = finite(value)
    return None if number is None else 1000 * number
