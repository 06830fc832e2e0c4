"""The year as a figure: true regret and saving by week, the promise, and what happened when. Pure.

One SVG file that stands alone, with colours for both themes, as a document shows it as an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.year_history import EVENTS, QUIET
from eval.report_svg import Scale, element, escape, inside, number, polyline, text_width

__all__ = ["render_svg"]

_STYLE = """
svg { --page: #ffffff; --band: #f0f2f5; --ink: #1a1c20; --quiet: #5b616b; --rule: #e0e3e8; --ours: #0b57d0; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
svg { --page: #131417; --band: #1e2126; --ink: #e7e8eb; --quiet: #a4aab4; --rule: #2c2f36; --ours: #8ab4f8; --bad: #f2b8b5; }
}
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; fill: var(--ink); }
.page { fill: var(--page); } .band { fill: var(--band); } .quiet { fill: var(--quiet); } .name { font-weight: 650; }
.grid { stroke: var(--rule); } .event { stroke: var(--quiet); stroke-dasharray: 2 3; }
.promise { stroke: var(--bad); stroke-width: 1.4; } text.promise { fill: var(--bad); stroke: none; }
.champion { stroke: var(--ours); stroke-width: 2.2; } .newest { stroke: var(--quiet); stroke-width: 1.2; }
.never { stroke: var(--quiet); stroke-width: 1.4; stroke-dasharray: 6 4; }
.dot { fill: var(--ours); stroke: var(--page); } .broken { fill: var(--bad); stroke: var(--page); } .top { fill: var(--page); stroke: var(--ours); stroke-width: 1.6; }
""".strip()

_WIDTH, _LEFT, _RIGHT, _FONT = 860.0, 52.0, 14.0, 12.0
_NAMES = {"champion": "champion", "newest": "promote always", "never": "never retrain"}


def render_svg(year: dict[str, Any]) -> str:
    """Return the figure as the text of an SVG file, given what `summarise_year` returns."""
    weeks = year["by_week"]
    x = Scale(weeks[0]["served"] - 0.5, weeks[-1]["served"] + 0.5, _LEFT, _WIDTH - _RIGHT)
    heading = element(
        "text", "True regret of each week's decisions", class_="name", x=12.0, y=22.0, font_size=13.5
    )
    legend = _legend(12.0, 42.0)
    events, top = _events(x, 64.0, weeks)
    worst, least, most = _range(weeks)
    regret = Scale(0.0, max(worst, year["promise"]) * 1.08, top + 190.0, top)
    saving = Scale(min(0.0, least), max(most * 1.08, 0.1), top + 356.0, top + 242.0)
    height = saving.start + 40.0
    lines = "".join(
        element("line", class_="event", x1=x(at), x2=x(at), y1=y1, y2=y2)
        for y1, y2 in ((top - 4, regret.start), (saving.end, saving.start))
        for at in sorted({event.week - 0.5 for event in EVENTS if x.low < event.week <= x.high})
    )
    quiet = ""
    if x.low < QUIET[-1] and x.high > QUIET[0]:
        left, right = x(QUIET[0] - 0.5), x(QUIET[-1] + 0.5)
        quiet = element(
            "rect", class_="band", x=left, y=top - 4, width=right - left, height=saving.start - top + 4
        )
    middle = element(
        "text",
        "Saving against always the reference tier",
        class_="name",
        x=12.0,
        y=saving.end - 18,
        font_size=13.5,
    )
    promise = regret(year["promise"])
    promised = element("line", class_="promise", x1=x.start, x2=x.end, y1=promise, y2=promise) + element(
        "text", "promise", class_="promise", x=x.start + 4, y=promise - 5, font_size=_FONT - 1
    )
    body = "".join(
        [
            quiet, _grid(x, regret), _grid(x, saving), lines, events, promised,
            *(_line(weeks, x, regret, model, "regret") for model in ("never", "newest", "champion")),
            *(_line(weeks, x, saving, model, "saving") for model in ("never", "newest", "champion")),
            _dots(weeks, x, regret, year["promise"]), _weeks(x, saving.start + 18),
            element("text", "week served", class_="quiet", x=x.end, y=saving.start + 34, font_size=_FONT - 1, text_anchor="end"),
        ]
    )  # fmt: skip
    ground = element("rect", class_="page", width=_WIDTH, height=height, rx=8.0)
    head = (
        '<title id="year-t">True regret and saving by week over a year of weekly retrains</title>'
        f'<desc id="year-d">{escape(_describe(year))}</desc><style>{_STYLE}</style>'
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="year-t year-d" '
        f'width="{number(_WIDTH)}" height="{number(height)}" viewBox="0 0 {number(_WIDTH)} {number(height)}">'
        f"{head}{ground}{heading}{legend}{middle}{body}</svg>\n"
    )


def _range(weeks: Sequence[dict[str, Any]]) -> tuple[float, float, float]:
    """Return the worst regret, the least saving and the most."""
    found = [week[model] for week in weeks for model in _NAMES if model in week]
    saved = [each["saving"] for each in found]
    return max(each["regret"] for each in found), min(saved), max(saved)


def _legend(left: float, y: float) -> str:
    parts, at = [], left
    for model, name in _NAMES.items():
        parts.append(element("line", class_=model, x1=at, x2=at + 26, y1=y - 4, y2=y - 4))
        parts.append(element("text", name, x=at + 32, y=y, font_size=_FONT))
        at += 32 + text_width(name, _FONT) + 18
    for class_, name in (
        ("dot", "promoted before it"),
        ("top", "everything to the top"),
        ("broken", "promise broken"),
    ):
        parts.append(element("circle", class_=class_, cx=at + 5, cy=y - 4, r=4.0))
        parts.append(element("text", name, x=at + 14, y=y, font_size=_FONT))
        at += 14 + text_width(name, _FONT) + 16
    return "".join(parts)


def _events(x: Scale, top: float, weeks: Sequence[dict[str, Any]]) -> tuple[str, float]:
    """Return the events' names, in as many rows as keep them apart, and where the panel below may begin."""
    ends: list[float] = []
    parts = []
    for event in EVENTS:
        if not weeks[0]["served"] <= event.week <= weeks[-1]["served"]:
            continue
        width = text_width(event.name, _FONT - 1)
        left = min(x(event.week - 0.5) + 3, _WIDTH - _RIGHT - width)
        row = next((i for i, end in enumerate(ends) if end < left), len(ends))
        ends[row : row + 1] = [left + width + 8]
        parts.append(
            element("text", event.name, class_="quiet", x=left, y=top + 15.0 * row, font_size=_FONT - 1)
        )
    return "".join(parts), top + 15.0 * max(len(ends), 1)


def _grid(x: Scale, y: Scale) -> str:
    return "".join(
        element("line", class_="grid", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick))
        + element("text", f"{100 * tick:g} %", class_="quiet", x=x.start - 6, y=y(tick) + 4, font_size=_FONT - 1, text_anchor="end")
        for tick in inside(y, 5)
    )  # fmt: skip


def _weeks(x: Scale, y: float) -> str:
    return "".join(
        element(
            "text", f"{tick:g}", class_="quiet", x=x(tick), y=y, font_size=_FONT - 1, text_anchor="middle"
        )
        for tick in inside(x, 12)
        if tick == int(tick)
    )


def _line(weeks: Sequence[dict[str, Any]], x: Scale, y: Scale, model: str, name: str) -> str:
    points = [(x(week["served"]), y(week[model][name])) for week in weeks if model in week]
    return polyline(points, model) if points else ""


def _dots(weeks: Sequence[dict[str, Any]], x: Scale, y: Scale, promise: float) -> str:
    parts = []
    for week in weeks:
        served = week["champion"]
        class_ = (
            "broken" if served["regret"] > promise
            else "top" if served["always_top"]
            else "dot" if week["promoted"]
            else None
        )  # fmt: skip
        if class_:
            parts.append(
                element("circle", class_=class_, cx=x(week["served"]), cy=y(served["regret"]), r=4.0)
            )
    return "".join(parts)


def _describe(year: dict[str, Any]) -> str:
    kept = year["models"]["champion"]["honoured"]
    broken = ", ".join(f"week {week['served']} ({100 * week['regret']:.1f} %)" for week in year["broken"])
    return (
        f"The champion kept its promise of at most {100 * year['promise']:g} % regret in {kept['count']} of {kept['of']} weeks"
        + (f"; broken in {broken}." if broken else ".")
    )
