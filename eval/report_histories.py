"""The benchmark's figure: the gap closed on each history, by the subject and by every learned baseline.

The rule: pure; from the runs of a benchmark's record to one SVG file that stands alone: no script, no font, no
file beside it. A document shows it as an image, so it has its own colours for both themes and its own ground,
since its reader's theme need not be that of the page around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.report_figures import bar_range, dot
from eval.report_svg import Scale, element, escape, fit, inside, number, padded, text_width
from eval.report_words import MISSING, clean, count, finite, interval, percent

__all__ = ["render_svg"]

_SHORT = {
    "logistic-embedding": "logistic, embedding",
    "logistic-tfidf": "logistic, tf-idf",
    "lightgbm": "LightGBM per tier",
    "label-classifier": "LightGBM, cheapest tier",
    "knn-50": "50 neighbours",
    "length": "prompt length",
}
"""Labels that leave room for the intervals."""

_STYLE = """
svg { --page: #ffffff; --band: #eef3fd; --ink: #1a1c20; --quiet: #5b616b; --rule: #e0e3e8; --strong: #a9b0bb; --ours: #0b57d0; }
@media (prefers-color-scheme: dark) {
svg { --page: #131417; --band: #1d2534; --ink: #e7e8eb; --quiet: #a4aab4; --rule: #2c2f36; --strong: #626975; --ours: #8ab4f8; }
}
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; fill: var(--ink); }
.page { fill: var(--page); } .band { fill: var(--band); } .quiet { fill: var(--quiet); } .name { font-weight: 650; }
.grid { stroke: var(--rule); } .base { stroke: var(--strong); }
.ours { color: var(--ours); } text.ours { fill: var(--ours); } .theirs { color: var(--quiet); }
.interval { stroke: currentColor; stroke-width: 1.6; opacity: .7; } .interval.ours { stroke-width: 3; opacity: 1; }
.dot, .arrow { fill: currentColor; } .hollow { fill: var(--page); stroke: currentColor; stroke-width: 1.6; }
.hollow.ours { fill: var(--band); stroke-width: 2.2; }
""".strip()


@dataclass(frozen=True, slots=True)
class _Layout:
    width: float
    columns: int
    font: float
    row: float
    names: float  # of the column of names
    values: float  # of the column of numbers, in each panel
    margin: float = 12.0


_STACKED = _Layout(width=460.0, columns=1, font=13.5, row=18.5, names=184.0, values=54.0)
_WIDE = _Layout(width=830.0, columns=5, font=12.0, row=22.0, names=162.0, values=44.0)


def render_svg(runs: Sequence[dict[str, Any]], *, wide: bool = False) -> str:
    """Return the figure as the text of an SVG file. Pure, and the same for the same runs.

    Parameters
    ----------
    runs : sequence of dict
        One per history: "history", "prompts", "contenders" with name, label, kind and gap_closed, and "verdict".
    wide : bool
        Panels side by side, for pages of 830 pixels and more. Otherwise they are stacked, 460 pixels wide, which
        reads on a phone and beside text alike.

    Raises
    ------
    ValueError
        No run, or none with a learned contender.
    """
    shown = _rows(runs)
    if not shown:
        raise ValueError("expected a run with a subject or a learned baseline; found none")
    layout = _WIDE if wide else _STACKED
    gaps = [_contender(run, name).get("gap_closed") for name, _, _ in shown for run in runs]
    limits = padded(*bar_range(gaps), 0.04)
    columns = min(layout.columns, len(runs))
    parts, top = [], 58.0 if wide else 60.0
    for start in range(0, len(runs), columns):
        some = runs[start : start + columns]
        part, top = _strip(some, shown, limits, layout, columns, top)
        parts.append(part)
    height = top + 4
    heading = element(
        "text",
        "Gap closed, with 95% intervals",
        class_="name",
        x=layout.margin,
        y=20.0,
        font_size=layout.font,
    )
    below = "0% is a random mix, 100% is hindsight; hollow dots may be 0%"
    heading += element(
        "text", below, class_="quiet", x=layout.margin, y=20 + layout.font * 1.35, font_size=layout.font - 1
    )
    ground = element("rect", class_="page", width=layout.width, height=height, rx=8.0)
    head = (
        f'<title id="histories-t">Gap closed on {count(len(runs))} histories, by the router and by learned baselines'
        f'</title><desc id="histories-d">{escape(_describe(runs, shown))}</desc><style>{_STYLE}</style>'
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="histories-t histories-d" '
        f'width="{number(layout.width)}" height="{number(height)}" '
        f'viewBox="0 0 {number(layout.width)} {number(height)}">{head}{ground}{heading}{"".join(parts)}</svg>\n'
    )


def _strip(
    runs: Sequence[dict[str, Any]],
    shown: list[tuple[str, str, str]],
    limits: tuple[float, float],
    layout: _Layout,
    columns: int,
    top: float,
) -> tuple[str, float]:
    """Return panels side by side with the names left of them, and where they end."""
    font, row, margin = layout.font, layout.row, layout.margin
    alone = columns == 1
    first = top + (font * 0.6 if alone else font * 3.4) + font * 0.9
    bottom = first + row * len(shown)
    parts = [element("rect", class_="band", x=4.0, y=first, width=layout.width - 8, height=row, rx=4.0)]
    if shown[0][2] != "subject":
        parts = []
    for i, (_, label, kind) in enumerate(shown):
        parts.append(_text(label, margin, first + row * i, layout, kind, room=layout.names - 10))
    panel = (layout.width - 2 * margin - layout.names) / columns
    for column, run in enumerate(runs):
        left = margin + layout.names + panel * column
        right = left + panel - (0.0 if alone else 10.0)
        x = Scale(*limits, left + 4, right - layout.values)
        parts.append(_head(run, margin if alone else left, right, top + font, layout, alone=alone))
        for tick in _ticks(x, font - 1.5):
            class_ = "base" if tick == 0 else "grid"
            parts.append(element("line", class_=class_, x1=x(tick), x2=x(tick), y1=first, y2=bottom))
            said = percent(tick, 0)
            parts.append(
                element(
                    "text", said, class_="quiet", x=x(tick), y=bottom + font * 1.1, text_anchor="middle", font_size=font - 1.5
                )
            )  # fmt: skip
        for i, (name, _, kind) in enumerate(shown):
            gap, middle = _contender(run, name).get("gap_closed"), first + row * (i + 0.5)
            ours = kind == "subject"
            parts.append(dot(gap, x, middle, "ours" if ours else "theirs", 4.6 if ours else 3.4))
            value = interval(gap)[0]
            parts.append(_text(value, right, first + row * i, layout, kind, anchor="end"))
    return "".join(parts), bottom + font * (2.2 if alone else 2.0)


def _head(
    run: dict[str, Any], left: float, right: float, baseline: float, layout: _Layout, *, alone: bool
) -> str:
    """Return the history's name, and how many prompts and what verdict, beside it or beneath."""
    font, word = layout.font, clean((run.get("verdict") or {}).get("word", ""))
    facts = [f"{count(run.get('prompts'))} prompts", *([word] if word else [])]
    name_size, size = (font, font - 1) if alone else (font - 1.5, font - 2)
    room = 0.48 * (right - left) if alone else right - left
    said = fit(run["history"], name_size * 1.06, room)
    parts = [element("text", escape(said), class_="name", x=left, y=baseline, font_size=name_size)]
    for i, fact in enumerate([", ".join(facts)] if alone else facts):
        place: dict[str, Any] = {"x": left, "y": baseline + font * 1.15 * (i + 1)}
        if alone:
            place = {"x": right, "y": baseline, "text_anchor": "end"}
        shown = escape(fit(fact, size, room))
        parts.append(element("text", shown, class_="quiet", font_size=size, **place))
    return "".join(parts)


def _text(
    said: str, x: float, top: float, layout: _Layout, kind: str, *, room: float = 0.0, anchor: str = "start"
) -> str:
    """Return a text in a row whose top edge is given; cut where `room` is not 0."""
    ours, font = kind == "subject", layout.font
    shown = fit(said, font * (1.06 if ours else 1), room) if room else said
    return element(
        "text", escape(shown), class_="name ours" if ours else "plain", x=x, y=top + layout.row / 2 + font * 0.35,
        text_anchor=anchor, font_size=font,
    )  # fmt: skip


def _ticks(x: Scale, size: float) -> list[float]:
    """Return some round shares that have room for what stands beneath them, at a font size."""
    for about in range(8, 0, -1):
        marks = inside(x, about)
        room = max((text_width(percent(tick, 0), size) for tick in marks), default=0.0) + 4
        if len(marks) < 2 or x(marks[1]) - x(marks[0]) >= room:
            return marks
    return [0.0]


def _rows(runs: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (name, label, kind): the subject first, then learned baselines by their mean gap."""
    found: dict[str, tuple[str, str, str]] = {}
    for run in runs:
        for c in run["contenders"]:
            if c["kind"] in ("subject", "baseline"):
                found.setdefault(c["name"], (c["name"], _SHORT.get(c["name"], clean(c["label"])), c["kind"]))
    return sorted(found.values(), key=lambda row: (row[2] != "subject", -_mean(runs, row[0]), row[0]))


def _mean(runs: Sequence[dict[str, Any]], name: str) -> float:
    values = [finite((_contender(run, name).get("gap_closed") or {}).get("value")) for run in runs]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("-inf")


def _contender(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next((c for c in run["contenders"] if c["name"] == name), {})


def _describe(runs: Sequence[dict[str, Any]], shown: list[tuple[str, str, str]]) -> str:
    parts = []
    for run in runs:
        said = []
        for name, label, _ in shown:
            value, bounds = interval(_contender(run, name).get("gap_closed"))
            said.append(f"{label} {value}" + (f" ({bounds})" if bounds else "") if value != MISSING else "")
        parts.append(f"{clean(run['history'])}: {', '.join(one for one in said if one)}.")
    return " ".join(parts)
