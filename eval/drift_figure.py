"""The figure of a drift report: how far things moved, and how often each tier passed, then and now.

The rule: pure, from the document to SVG. On the page the style sheet colours it; as a file it has its own colours for
both themes, and its own ground.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eval.drift_rows import Row
from eval.drift_words import label_of, limit_words, value_words
from eval.report_svg import SIZES, Scale, element, escape, figure, fit, inside, number, padded, text_width
from eval.report_words import clean, percent

__all__ = ["SHOWN", "pass_rates", "render_drift_svg", "shifts"]

SHOWN = 14
"""Rows drawn of what moved most; the table holds all."""
_MOST = 4.0  # limits that the scale holds; what moved further is an arrow
_MARGIN = 12.0

_STYLE = """
svg { --page: #ffffff; --ink: #1a1c20; --quiet: #5b616b; --rule: #e0e3e8; --rule-strong: #a9b0bb; --s0: #0b57d0; --s1: #a8500c; }
@media (prefers-color-scheme: dark) {
svg { --page: #131417; --ink: #e7e8eb; --quiet: #a4aab4; --rule: #2c2f36; --rule-strong: #626975; --s0: #8ab4f8; --s1: #f2a26b; }
}
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; fill: var(--ink); }
.ground { fill: var(--page); } .tick, .axis, .quiet { fill: var(--quiet); } .name { font-weight: 650; }
.grid { stroke: var(--rule); } .base { stroke: var(--rule-strong); } .reference { stroke: var(--quiet); stroke-width: 1.4; stroke-dasharray: 4 3; } .s0 { color: var(--s0); } .s1 { color: var(--s1); }
.interval { stroke: currentColor; stroke-width: 2; opacity: .6; } .dot, .arrow { fill: currentColor; }
.hollow { fill: var(--page); stroke: currentColor; stroke-width: 1.8; } .head { font-weight: 650; }
""".strip()


def render_drift_svg(document: dict[str, Any]) -> str:
    """Return the figure as the text of an SVG file that stands alone, the same for the same document. Pure."""
    width, _, font = SIZES["wide"]
    parts, top = [], _MARGIN
    for title, (drawing, height) in (
        ("How far things moved, as a share of how far they may", _shifts(document, "wide")),
        ("How often each tier passed, then (hollow) and now", _rates(document, "wide")),
    ):
        if not drawing:
            continue
        parts.append(element("text", title, class_="head", x=_MARGIN, y=top + 18, font_size=font * 1.1))
        parts.append(f'<g transform="translate({number(_MARGIN)} {number(top + 32)})">{drawing}</g>')
        top += height + 56
    if not parts:
        parts.append(element("text", "Nothing can be told of drift", class_="head", x=_MARGIN, y=top + 18))
        top += 40
    wide, tall = width + 2 * _MARGIN, top
    ground = element("rect", class_="ground", width=wide, height=tall)
    said = escape(document["text"])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(wide)} {number(tall)}" width="{number(wide)}" '
        f'height="{number(tall)}" font-size="{number(font)}" role="img" aria-labelledby="t d"><title id="t">Drift</title>'
        f'<desc id="d">{said}</desc><style>{_STYLE}</style>{ground}{"".join(parts)}</svg>\n'
    )


def shifts(document: dict[str, Any]) -> str:
    """Return what moved most against its limit, in both sizes of the page; "" where nothing can be told. Pure."""
    rows = _moved(document)
    said = "; ".join(f"{label_of(row)} {limit_words(row)} of its limit" for row in rows)
    return _both(document, _shifts, "shifts", "How far things moved, as a share of how far they may", said)


def pass_rates(document: dict[str, Any]) -> str:
    """Return each tier's pass rate then and now, in both sizes of the page; "" where none can be told. Pure."""
    rows = _labels(document)
    said = "; ".join(
        f"{label_of(row)} {value_words(row, 'before')} then, {value_words(row, 'now')} now" for row in rows
    )
    return _both(
        document, _rates, "rates", "How often each tier passed, then and now, with 95% intervals", said
    )


def _both(document: dict[str, Any], draw: Any, name: str, title: str, said: str) -> str:  # noqa: ANN401
    parts = []
    for size in SIZES:
        drawing, height = draw(document, size)
        if not drawing:
            return ""
        parts.append(figure(drawing, SIZES[size][0], height, f"{name}-{size}", title, said, size))
    return "".join(parts)


def _names_width(names: Iterable[str], size: str, most: float) -> float:
    """Return the width of the column of names; on a narrow page they stand above their rows."""
    if size != "wide":
        return 10.0
    return min(max(text_width(name, SIZES[size][2] * 1.08) for name in names), most) + 18


def _words(name: str, value: str, drifted: bool, width: float, y: float) -> list[str]:
    class_ = "name" if drifted else "plain"
    return [
        element("text", escape(name), class_=class_, x=2.0, y=y),
        element("text", value, class_=class_, x=width - 2, y=y, text_anchor="end"),
    ]


def _moved(document: dict[str, Any]) -> list[Row]:
    told = [row for row in document["rows"] if row["told"]]
    return sorted(told, key=lambda row: -row["of_limit"])[:SHOWN]


def _labels(document: dict[str, Any]) -> list[Row]:
    return [row for row in document["rows"] if row["kind"] == "label" and row["told"]]


def _shifts(document: dict[str, Any], size: str) -> tuple[str, float]:
    rows = _moved(document)
    if not rows:
        return "", 0.0
    width, _, font = SIZES[size]
    wide = size == "wide"
    row_height = 27.0 if wide else 40.0
    values = 54.0
    names = _names_width(map(label_of, rows), size, 320.0)
    x = Scale(0.0, min(_MOST, max(1.25, max(row["of_limit"] for row in rows))), names, width - values - 18)
    bottom = 10.0 + row_height * len(rows)
    parts = []
    for tick in inside(x, 6 if wide else 4):
        if abs(tick - 1.0) < 0.2 and tick != 1.0:
            continue
        at, class_ = x(tick), "base" if tick == 0.0 else "reference" if tick == 1.0 else "grid"
        parts.append(element("line", class_=class_, x1=at, x2=at, y1=6.0, y2=bottom))
        parts.append(
            element("text", percent(tick, 0), class_="tick", x=at, y=bottom + 17, text_anchor="middle")
        )
    if not any(tick == 1.0 for tick in inside(x, 6 if wide else 4)):
        parts.append(element("line", class_="reference", x1=x(1), x2=x(1), y1=6.0, y2=bottom))
        parts.append(element("text", "100%", class_="tick", x=x(1), y=bottom + 17, text_anchor="middle"))
    for i, row in enumerate(rows):
        top = 10.0 + row_height * i
        middle = top + (row_height / 2 if wide else row_height - 11)
        text_y = middle + font * 0.35 if wide else top + font + 1
        style = "s1" if row["drifted"] else "s0"
        shown = fit(label_of(row), font * 1.05, names - 18 if wide else width - values - 30)
        parts += _words(shown, limit_words(row), row["drifted"], width, text_y)
        end = x(row["of_limit"])
        parts.append(element("line", class_=f"interval {style}", x1=x(0), x2=end, y1=middle, y2=middle))
        if row["of_limit"] > x.high:
            tip = f"M{number(end + 8)} {number(middle)}l-8-5v10Z"
            parts.append(element("path", class_=f"arrow {style}", d=tip))
        else:
            mark = "dot" if row["drifted"] else "hollow"
            parts.append(element("circle", class_=f"{mark} {style}", cx=end, cy=middle, r=4.6))
    axis = "beyond 100% is drift"
    middle = (x.start + x.end) / 2
    parts.append(element("text", axis, class_="axis", x=middle, y=bottom + 37, text_anchor="middle"))
    return "".join(parts), bottom + 46


def _rates(document: dict[str, Any], size: str) -> tuple[str, float]:
    rows = _labels(document)
    if not rows:
        return "", 0.0
    width, _, font = SIZES[size]
    wide = size == "wide"
    row_height = 44.0 if wide else 62.0
    said = [f"{value_words(row, 'before')} → {value_words(row, 'now')}" for row in rows]
    values = max(text_width(text, font) for text in said) + 18
    names = _names_width((clean(row["name"]) for row in rows), size, 260.0)
    bounds = [row[key] for row in rows for key in ("before_low", "low", "before_high", "high")]
    low, high = padded(min(bounds), max(bounds), 0.06)
    x = Scale(max(0.0, low), min(1.0, high), names, width - values if wide else width - 14)
    bottom = 8.0 + row_height * len(rows)
    parts = []
    marks = inside(x, 7 if wide else 4)
    digits = 0 if all(abs(100 * mark - round(100 * mark)) < 1e-6 for mark in marks) else 1
    for tick in marks:
        at = x(tick)
        parts.append(element("line", class_="grid", x1=at, x2=at, y1=6.0, y2=bottom))
        parts.append(
            element("text", percent(tick, digits), class_="tick", x=at, y=bottom + 17, text_anchor="middle")
        )
    for i, (row, text) in enumerate(zip(rows, said, strict=True)):
        top = 8.0 + row_height * i
        middle = top + (row_height / 2 if wide else row_height - 20)
        text_y = middle + font * 0.35 if wide else top + font + 2
        style = "s1" if row["drifted"] else "s0"
        shown = fit(row["name"], font * 1.05, names - 18 if wide else width - values - 10)
        parts += _words(shown, text, row["drifted"], width, text_y)
        for kind, key, y, mark in (
            ("before_", "before", middle - 7, "hollow"),
            ("", "now", middle + 7, "dot"),
        ):
            ends = x(row[f"{kind}low"]), x(row[f"{kind}high"])
            parts.append(element("line", class_=f"interval {style}", x1=ends[0], x2=ends[1], y1=y, y2=y))
            parts.append(element("circle", class_=f"{mark} {style}", cx=x(row[key]), cy=y, r=4.6))
    return "".join(parts), bottom + 26
