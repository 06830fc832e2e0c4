"""What can be promised: the figure, the tables and the words of the report's section on certificates.

The rule: pure; from the document's part "promises" to text. Lines are what the certificate holds; circles and
diamonds are what the promises came to on prompts that it did not see.
"""

from __future__ import annotations

from typing import Any

from eval.report_curves import grid
from eval.report_svg import (
    SIZES,
    Box,
    Placer,
    Point,
    Scale,
    element,
    escape,
    figure,
    inside,
    label,
    number,
    padded,
    polyline,
    swatch,
)
from eval.report_tables import name, table
from eval.report_words import MISSING, clean, count, finite, interval, listed, percent, shorten
from router.promise import percent as promised
from router.promise import promise_words

__all__ = [
    "CAME_TO",
    "KINDS",
    "TITLE",
    "notes",
    "promises_figure",
    "promises_section",
    "rows_of",
    "short_words",
]

TITLE = "What can be promised"
KINDS = {"regret": "Fail where the best tier passes", "quality": "Keep the best tier’s quality"}
CAME_TO = {"regret": "regret, measured", "quality": "quality of best tier, measured"}
_STYLES = {"regret": "s0", "quality": "s2"}
_LINES = {
    "regret": "at most x% fail where the best tier passes",
    "quality": "all but x% of the best tier’s quality is kept",
}
_SHORT = {"regret": "regret", "quality": "net quality"}
_HEIGHTS = {"wide": 400.0, "narrow": 350.0}
_CLEAR = 5.0  # between a label and a line or another label
_FILES = 4  # named in a sentence


def promises_section(promises: dict[str, Any] | None) -> str:
    """Return the section in HTML: words, the figure where there is one, and a table per kind; "" without promises."""
    if promises is None:
        return ""
    said = "".join(f"<p>{escape(note)}</p>" for note in notes(promises))
    chart = promises_figure(promises)
    if chart:
        entries = "".join(
            f"<li>{swatch(_STYLES[kind])}<span>{escape(_LINES[kind])}</span></li>"
            for kind in KINDS
            if promises["lines"][kind]
        )
        said += (
            f'<figure>{chart}<ul class="legend">{entries}</ul><figcaption>Saving against the best tier for all prompts, by what '
            "is promised. Lines: what the certificate expects. Circles and diamonds: what it came to on prompts that "
            "the certificate did not see.</figcaption></figure>"
        )
    tables = "".join(_table(promises, kind) for kind in KINDS)
    return f'<section aria-labelledby="promises"><h2 id="promises">{TITLE}</h2>{said}{tables}</section>'


def notes(promises: dict[str, Any]) -> list[str]:
    """Return the sentences of the section, plain text: what is promised to whom, what is missing, what broke."""
    confidence = percent(1.0 - promises["delta"], 0)
    best, judged = clean(promises["reference"]), promises["judged"]
    said = [
        f"{promises['text']} Each promise holds with {confidence} confidence for prompts like {_like(promises)}. Checked on "
        f"{count(judged['prompts'])} prompts in {count(judged['groups'])} groups. Groups count alike."
    ]
    if promises["dominated"]:
        said.append(
            f"The ladder is dominated: {best} is better than {clean(promises['tiers'][-1])}, the dearest tier, so promises "
            f"and savings are against {best}."
        )
    if promises["needed"]:
        missing = [f"{promised(row['promise'])} ({count(row['groups'])})" for row in promises["needed"]]
        none = "" if promises["rows"] else "Nothing can be promised yet. "
        said.append(
            f"{none}Not certified for want of groups, of which there were {count(promises['groups'])}: at most "
            f"{listed(missing)} failing where the best tier passes. In brackets, the groups that this needs to certify "
            "with if nothing goes wrong."
        )
    broken = [
        f"{short} {listed([promised(_share(row)) for row in rows])}"
        for short, rows in (
            (short, [row for row in rows_of(promises, kind) if row["broken"]])
            for kind, short in (("regret", "regret of at most"), ("quality", "quality of at least"))
        )
        if rows
    ]
    if broken:
        said.append(f"Broken on these prompts, by the whole interval: {'; '.join(broken)}.")
    elif promises["rows"]:
        said.append("On these prompts no promise is broken: no interval lies wholly beyond one.")
    return said + ([clean(promises["why"])] if promises["why"] else [])


def _like(promises: dict[str, Any]) -> str:
    """Return which prompts are promised about: these, where they made the certificate, else those that did."""
    groups, files = f"{count(promises['groups'])} groups", promises["files"]
    if files is None:
        return f"these; the certificate rests on {groups} of them"
    named = [shorten(file, 60) for file in files[:_FILES]]
    more = [f"{count(len(files) - _FILES)} more files"] if len(files) > _FILES else []
    return f"the {groups}{f' of {listed([*named, *more])}' if files else ''} that made it"


def rows_of(promises: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the readable promises of a kind, the strictest first."""
    return [row for row in promises["rows"] if row["kind"] == kind]


def _table(promises: dict[str, Any], kind: str) -> str:
    rows = [("", _cells(promises, row)) for row in rows_of(promises, kind)]
    if not rows:
        return ""
    head = [
        ("", "promise"), ("num", "saving, expected"), ("num", "saving, measured"), ("num", CAME_TO[kind]),
        *(("num", f"sent to {name(tier, 24)}") for tier in promises["tiers"]),
    ]  # fmt: skip
    return table(f"{KINDS[kind]}: promised and measured, 95% intervals beneath", head, rows)


def _cells(promises: dict[str, Any], row: dict[str, Any]) -> list[str]:
    measured = row["measured"]
    broken = "<small>broken on these prompts</small>" if row["broken"] else ""
    return [
        f"{escape(short_words(row))}{broken}",
        percent(row["saving"]),
        _interval(measured["saving"]),
        _interval(measured["came_to"]),
        *(percent(measured["share_per_tier"].get(tier), 0) for tier in promises["tiers"]),
    ]


def short_words(row: dict[str, Any]) -> str:
    """Return a promise as the row of a table whose heading says what it is of."""
    return f"at {'most' if row['kind'] == 'regret' else 'least'} {promised(_share(row))}"


def _share(row: dict[str, Any]) -> float:
    """Return what is promised: the most that fails, or the least that is kept."""
    loss = float(row["promise"])
    return loss if row["kind"] == "regret" else 1.0 - loss


def _interval(value: dict[str, Any] | None) -> str:
    said, bounds = interval(value)
    if said == MISSING:
        return f'<span class="none">{MISSING}</span>'
    return f'{said}<span class="i">{bounds}</span>' if bounds else said


def promises_figure(promises: dict[str, Any]) -> str:
    """Return saving against promise in both sizes; "" where nothing is promised."""
    lines = {kind: _line(promises["lines"][kind]) for kind in KINDS}
    if not any(lines.values()):
        return ""
    return "".join(_figure(promises, lines, size) for size in SIZES)


def _figure(promises: dict[str, Any], lines: dict[str, list[Point]], size: str) -> str:
    (width, _, font), height = SIZES[size], _HEIGHTS[size]
    wide = size == "wide"
    area = Box(52.0 if wide else 44.0, 36.0, width - 18.0, height - 50.0)
    marks = {kind: _marks(promises, kind) for kind in KINDS}
    points = [point for found in (*lines.values(), *marks.values()) for point in found]
    x = Scale(0.0, max(a for a, _ in points) * 1.03, area.left, area.right)
    y = Scale(
        *padded(min([0.0, *(b for _, b in points)]), max([0.05, *(b for _, b in points)]), 0.0),
        area.bottom,
        area.top,
    )
    parts = [grid(x, y, [], {tick: percent(tick, 0) for tick in inside(y, 6)}, area, font)]
    for tick in inside(x, 8 if wide else 4):
        at = x(tick)
        parts.append(element("line", class_="grid", x1=at, x2=at, y1=area.bottom, y2=area.bottom + 5))
        parts.append(
            element("text", promised(tick), class_="tick", x=at, y=area.bottom + 19, text_anchor="middle")
        )
    axis, middle = "x, as promised", (area.left + area.right) / 2
    parts.append(element("text", axis, class_="axis", x=middle, y=height - 10.0, text_anchor="middle"))
    parts.append(element("text", "Saving against the best tier for all", class_="axis", x=2.0, y=16.0))
    placer = Placer(area)
    drawn = {kind: [(x(a), y(b)) for a, b in line] for kind, line in lines.items() if line}
    for kind, line in drawn.items():
        for away in (-_CLEAR, 0.0, _CLEAR):
            placer.add_line([(a, b + away) for a, b in line])
        parts.append(polyline(line, f"line {_STYLES[kind]}"))
    for kind in drawn:
        parts += [_mark(kind, x(a), y(b)) for a, b in marks[kind]]
        placer.taken += [Box(x(a) - 5, y(b) - 5, x(a) + 5, y(b) + 5) for a, b in marks[kind]]
    for kind, line in drawn.items():
        anchors = [line[len(line) * i // 8] for i in (4, 5, 3, 6, 2, 7)]
        names = _LINES if wide else _SHORT
        parts.append(label(placer, anchors, names[kind], font, f"name {_STYLES[kind]}", 50))
        taken = placer.taken[-1]
        placer.taken[-1] = Box(
            taken.left - _CLEAR, taken.top - _CLEAR, taken.right + _CLEAR, taken.bottom + _CLEAR
        )
    title = "Saving against what is promised, expected and measured"
    return figure("".join(parts), width, height, f"promises-{size}", title, _describe(promises), size)


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "regret":
        return element("circle", class_=f"dot {_STYLES[kind]}", cx=x, cy=y, r=4.2)
    return element(
        "path", class_=f"dot {_STYLES[kind]}", d=f"M{number(x)} {number(y - 5.5)}l5.5 5.5-5.5 5.5-5.5-5.5Z"
    )


def _line(rows: list[dict[str, Any]]) -> list[Point]:
    known = ((row["promise"], finite(row["saving"])) for row in rows)
    return [(loss, saving) for loss, saving in known if saving is not None]


def _marks(promises: dict[str, Any], kind: str) -> list[Point]:
    return _line(
        [
            {"promise": row["promise"], "saving": row["measured"]["saving"].get("value")}
            for row in rows_of(promises, kind)
        ]
    )


def _describe(promises: dict[str, Any]) -> str:
    said = [
        f"{promise_words(row['kind'], row['promise'])}: saves {percent(row['saving'])}, measured "
        f"{percent(row['measured']['saving'].get('value'))}"
        for row in promises["rows"]
    ]
    return "Promised loss across, saving upwards. " + "; ".join(shorten(each, 200) for each in said)
