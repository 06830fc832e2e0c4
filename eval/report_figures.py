"""Intervals and calibration as inline SVG.

The rule: pure; from parts of the document to text. Each figure that carries meaning of its own has role, title
and description; small bars beside a number that says the same are hidden from screen readers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eval.report_svg import (
    SIZES,
    Scale,
    element,
    escape,
    figure,
    fit,
    inside,
    number,
    padded,
    polyline,
    text_width,
)
from eval.report_words import count, finite, interval, letters, percent, shorten, style_of

__all__ = ["bar_range", "dot", "gap_closed", "interval_bar", "learned_range", "reliability"]

_GUTTER = 30.0  # room left of a break


def gap_closed(comparison: dict[str, Any]) -> str:
    """Return dots with intervals of the gap that each contender closes, in both sizes; "" without contenders.

    Random mix and oracle are left out: they are the ends of the measure.
    """
    shown = [c for c in comparison["contenders"] if c["kind"] not in ("random", "oracle")]
    if not any(finite(_value(c["gap_closed"])) is not None for c in shown):
        return ""
    return "".join(_gap_closed(comparison, shown, size) for size in SIZES)


def _gap_closed(comparison: dict[str, Any], shown: list[dict[str, Any]], size: str) -> str:
    width, _, font = SIZES[size]
    wide = size == "wide"
    said = [interval(c["gap_closed"]) for c in shown]
    room = max(text_width(f"{value} {bounds}", font) for value, bounds in said) + 6
    names = letters(comparison["contenders"])
    labels = [f"{names.get(c['name'], '')} {shorten(c['label'], 60)}".strip() for c in shown]
    needed = max(text_width(label, font * 1.08) for label in labels)
    row, left, right = (
        (30.0, min(needed, 330.0) + 24, width - room - 24) if wide else (48.0, 26.0, width - 26)
    )
    x = Scale(*padded(*learned_range(shown), 0.03), left, right)
    off = any((finite(_value(c["gap_closed"])) or 0.0) < x.low for c in shown)
    if off:  # room for what lies beyond the break
        x = replace(x, start=left + _GUTTER)
    marks = inside(x, 7 if wide else 4)
    bottom = 10.0 + row * len(shown)
    digits = 0 if all(abs(100 * t - round(100 * t)) < 1e-6 for t in marks) else 1
    parts = [_break(x.start - 9, 6.0, bottom)] if off else []
    for tick in marks:
        at = x(tick)
        parts.append(element("line", class_="base" if tick == 0 else "grid", x1=at, x2=at, y1=6.0, y2=bottom))
        tick_text = percent(tick, digits)
        parts.append(element("text", tick_text, class_="tick", x=at, y=bottom + 17, text_anchor="middle"))
    styles = style_of(shown)
    for i, (contender, name, (value, bounds)) in enumerate(zip(shown, labels, said, strict=True)):
        top = 10.0 + row * i
        middle = top + (row / 2 if wide else row - 13)
        text_y = middle + font * 0.35 if wide else top + font + 2
        class_ = "name" if contender["kind"] == "subject" else "plain"
        name = fit(name, font * (1.08 if class_ == "name" else 1), left - 24 if wide else width - room - 16)
        parts.append(element("text", escape(name), class_=class_, x=3.0, y=text_y))
        number_text = value + (f'<tspan class="quiet" dx="6">{bounds}</tspan>' if bounds else "")
        parts.append(element("text", number_text, class_=class_, x=width - 2, y=text_y, text_anchor="end"))
        parts.append(dot(contender["gap_closed"], x, middle, styles[contender["name"]], 5.0, _GUTTER))
    axis, at = "gap closed: 0% is a random mix, 100% the oracle", (left + right) / 2
    parts.append(element("text", axis, class_="axis", x=at, y=bottom + 38, text_anchor="middle"))
    listed = (
        f"{shorten(c['label'], 60)} {value} {bounds}" for c, (value, bounds) in zip(shown, said, strict=True)
    )
    title = "Gap closed by each contender, with 95% intervals"
    return figure("".join(parts), width, bottom + 48, f"gap-{size}", title, "; ".join(listed), size)


def bar_range(intervals: list[dict[str, Any] | None]) -> tuple[float, float]:
    """Return the least and greatest share that bars of these intervals need; the first one is always shown whole.

    Zero is inside. One hopeless contender must not squeeze the others: far below zero, and above one, is cut off.
    """
    bounds = [[finite((i or {}).get(key)) for key in ("low", "value", "high")] for i in intervals]
    known = [[b for b in row if b is not None] for row in bounds]
    every = [b for row in known for b in row]
    high = min(1.0, max([0.05, *every]))
    first = min([0.0, *(known[0] if known else [])])
    return max(min([0.0, *every]), min(first, -max(high, 0.1)), -1.5), high


def learned_range(contenders: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the range for the intervals of learned contenders: fixed ones are far below, and would squeeze them."""
    learned = [c["gap_closed"] for c in contenders if c["kind"] in ("subject", "baseline")]
    return bar_range(learned or [c["gap_closed"] for c in contenders])


def interval_bar(value: dict[str, Any] | None, low: float, high: float, style: str = "s0") -> str:
    """Return a small dot with its interval for a table; the number stands beside it, so it is hidden to readers.

    "" without a value.
    """
    if finite(_value(value)) is None:
        return ""
    x = Scale(low, high, 6.0, 90.0)
    parts = element("line", class_="base", x1=x(0), x2=x(0), y1=1.0, y2=17.0) + dot(value, x, 9.0, style, 3.6)
    return element("svg", parts, class_="bar", viewBox="0 0 96 18", width=96, height=18, aria_hidden="true")


def dot(
    value: dict[str, Any] | None, x: Scale, y: float, style: str, radius: float, gutter: float = 0.0
) -> str:
    """Return a dot with its interval, hollow where that holds zero; arrows lead to what lies beyond the scale.

    `gutter` is the room beyond a break at the scale's start: what is wholly beyond is an arrow in there.
    """
    middle = finite(_value(value))
    if value is None or middle is None:
        return ""
    low, high = finite(value.get("low")), finite(value.get("high"))
    if gutter and middle < x.low:
        tip = x.start - gutter
        line = element("line", class_=f"interval {style}", x1=tip + 5, x2=x.start - 15, y1=y, y2=y)
        return line + element("path", class_=f"arrow {style}", d=f"M{number(tip)} {number(y)}l6-4v8Z")
    parts = ""
    if low is not None and high is not None:
        parts = element("line", class_=f"interval {style}", x1=x(low), x2=x(high), y1=y, y2=y)
        if low < x.low:  # it goes on beyond the edge
            parts += element("path", class_=f"arrow {style}", d=f"M{number(x.start - 5)} {number(y)}l6-4v8Z")
        if high > x.high:
            parts += element("path", class_=f"arrow {style}", d=f"M{number(x.end + 5)} {number(y)}l-6-4v8Z")
    if middle < x.low or middle > x.high:
        return parts
    crosses = low is None or high is None or low <= 0 <= high
    return parts + element(
        "circle", class_=f"{'hollow' if crosses else 'dot'} {style}", cx=x(middle), cy=y, r=radius
    )


def _break(x: float, top: float, bottom: float) -> str:
    """Return a zigzag down a figure: what is left of it is not to scale."""
    steps = max(2, round((bottom - top) / 8))
    tall = (bottom - top) / steps
    return polyline([(x + (3 if i % 2 else -3), top + tall * i) for i in range(steps + 1)], "break")


def reliability(tier: dict[str, Any], index: int) -> str:
    """Return predicted against observed pass rates of one tier, a dot per bin, its area by count; "" without bins."""
    table = tier["reliability"] or {}
    rows = list(zip(table.get("mean_p", []), table.get("mean_y", []), table.get("count", []), strict=False))
    if not rows:
        return ""
    x, y = Scale(0.0, 1.0, 42.0, 252.0), Scale(0.0, 1.0, 208.0, 10.0)
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(element("line", class_="grid", x1=42.0, x2=252.0, y1=y(tick), y2=y(tick)))
        parts.append(
            element("text", percent(tick, 0), class_="tick", x=36.0, y=y(tick) + 4, text_anchor="end")
        )
        if tick in (0.0, 0.5, 1.0):
            anchor = "end" if tick == 1 else "middle"
            parts.append(
                element(
                    "text",
                    percent(tick, 0),
                    class_="tick",
                    x=x(tick) + (anchor == "end") * 10,
                    y=252.0,
                    text_anchor=anchor,
                )
            )
    parts.append(element("line", class_="line random", x1=x(0), y1=y(0), x2=x(1), y2=y(1)))
    most = max(c for _, _, c in rows) or 1
    for p, _, c in rows:  # how many, as bars under the plot
        parts.append(
            element(
                "rect", class_="count", x=x(p) - 2.5, width=5.0, y=236.0 - 20 * c / most, height=20 * c / most
            )
        )
    parts.append(element("line", class_="base", x1=42.0, x2=252.0, y1=236.0, y2=236.0))
    at = [(x(p), y(q)) for p, q, _ in rows]
    parts.append(polyline(at, "line thin s0"))
    for (a, b), (_, _, c) in zip(at, rows, strict=True):
        parts.append(element("circle", class_="dot s0", cx=a, cy=b, r=2 + 3 * (c / most) ** 0.5))
    parts.append(
        element("text", "predicted, with counts", class_="axis", x=147.0, y=270.0, text_anchor="middle")
    )
    said = "; ".join(f"predicted {percent(p)}, passed {percent(q)} of {count(c)}" for p, q, c in rows)
    title = f"Calibration of {shorten(tier['tier'], 40)}: pass rate observed against predicted"
    return figure("".join(parts), 264.0, 278.0, f"reliability-{index}", title, said, "small")


def _value(value: dict[str, Any] | None) -> object:
    return None if value is None else value.get("value")
