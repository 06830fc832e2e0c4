"""The figures of a label report: pass rates by tier and slice, and what more labels do to the bound on regret.

The rule: pure, from the document to SVG. Slices on too few groups are left out: a dot invites a conclusion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eval.labels_words import say_share
from eval.report_svg import (
    SIZES,
    Box,
    Placer,
    Point,
    Scale,
    element,
    escape,
    figure,
    fit,
    inside,
    label,
    number,
    padded,
    polyline,
    text_width,
)
from eval.report_words import LINE_STYLES, clean, count, percent

__all__ = ["draw_more", "draw_rates", "tier_style"]

MOST_DRAWN = 24
_APART = 13.0  # between the tiers of one row


def tier_style(ladder: list[str], tier: str) -> str:
    """Return the class that gives a tier its colour, the same in all figures."""
    return f"s{ladder.index(tier) % (LINE_STYLES + 1)}"


def draw_rates(document: dict[str, Any]) -> str:
    """Return dots with intervals of each tier's pass rate, over all and by slice, in both sizes; "" where none can be told. Pure."""
    rows = _drawn(document)
    if not rows:
        return ""
    said = "; ".join(
        f"{name}: " + ", ".join(f"{tier['tier']} {say_share(tier['rate'])}" for tier in tiers)
        for name, tiers in rows
    )
    title = "Pass rate by tier and slice, with 95% intervals"
    return _both("rates", title, said, lambda size: _rates(document, rows, size)) + _legend(document)


def draw_more(document: dict[str, Any]) -> str:
    """Return the bound on regret over groups that certify, in both sizes; "" where it cannot be told. Pure."""
    more = document["more"]
    if not more["curve"]:
        return ""
    said = "; ".join(
        f"{count(step['groups'])} groups: "
        + ", ".join(
            [
                f"no failure {percent(step['zero'])}",
                *(f"{each['tier']} for all {percent(each['bound'])}" for each in step["bounds"]),
            ]
        )
        for step in more["steps"]
    )
    return _both("more", "Bound on regret by groups that certify", said, lambda size: _more(document, size))


def _both(name: str, title: str, said: str, draw: Callable[[str], tuple[str, float]]) -> str:
    parts = []
    for size in SIZES:
        drawing, height = draw(size)
        parts.append(figure(drawing, SIZES[size][0], height, f"{name}-{size}", title, said, size))
    return "".join(parts)


def _legend(document: dict[str, Any]) -> str:
    tiers = [tier["tier"] for tier in document["rates"]["all"]["tiers"]]
    items = []
    for tier in tiers:
        mark = element("circle", class_="dot", cx=17, cy=8, r=4.6)
        sample = f'<svg class="swatch {tier_style(document["ladder"], tier)}" viewBox="0 0 34 16" width="34" height="16" aria-hidden="true">{mark}</svg>'
        items.append(f"<li>{sample}<bdi>{escape(fit(tier, 13.0, 260.0))}</bdi></li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def _drawn(document: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the rows drawn: a name, and the tiers whose rate can be told."""
    rates = document["rates"]
    rows = [("all prompts", rates["all"])]
    rows += [(f"{clean(entry['by'])}: {clean(entry['value'])}", entry) for entry in rates["slices"]]
    told = [
        (
            name,
            [tier for tier in entry["tiers"] if tier["rate"]["low"] is not None and not tier["rate"]["few"]],
        )
        for name, entry in rows
    ]
    return [row for row in told if row[1]][:MOST_DRAWN]


def _rates(
    document: dict[str, Any], rows: list[tuple[str, list[dict[str, Any]]]], size: str
) -> tuple[str, float]:
    width, _, font = SIZES[size]
    wide = size == "wide"
    names = min(max(text_width(name, font * 1.05) for name, _ in rows), 300.0) + 21 if wide else 12.0
    values = text_width("100.0%", font) + 14
    bounds = [tier["rate"][key] for _, tiers in rows for tier in tiers for key in ("low", "high")]
    low, high = padded(min(bounds), max(bounds), 0.04)
    x = Scale(max(0.0, low), min(1.0, high), names, width - values)
    heights = [_APART * len(tiers) + (10.0 if wide else 28.0) for _, tiers in rows]
    bottom = 8.0 + sum(heights)
    parts = []
    marks = inside(x, 8 if wide else 4)
    digits = 0 if all(abs(100 * mark - round(100 * mark)) < 1e-6 for mark in marks) else 1
    for tick in marks:
        parts.append(element("line", class_="grid", x1=x(tick), x2=x(tick), y1=6.0, y2=bottom))
        parts.append(
            element(
                "text", percent(tick, digits), class_="tick", x=x(tick), y=bottom + 17, text_anchor="middle"
            )
        )
    top = 8.0
    for i, ((name, tiers), height) in enumerate(zip(rows, heights, strict=True)):
        class_ = "name" if i == 0 else "plain"
        first = top + (height - _APART * (len(tiers) - 1)) / 2 if wide else top + 28.0
        text_y = top + height / 2 + font * 0.35 if wide else top + font + 3
        parts.append(
            element(
                "text",
                escape(fit(name, font * 1.05, names - 20 if wide else width - 24)),
                class_=class_,
                x=2.0,
                y=text_y,
            )
        )
        for j, tier in enumerate(tiers):
            y, rate, style = first + _APART * j, tier["rate"], tier_style(document["ladder"], tier["tier"])
            parts.append(
                element("line", class_=f"interval {style}", x1=x(rate["low"]), x2=x(rate["high"]), y1=y, y2=y)
            )
            parts.append(element("circle", class_=f"dot {style}", cx=x(rate["value"]), cy=y, r=4.6))
            parts.append(
                element(
                    "text",
                    percent(rate["value"]),
                    class_="tick",
                    x=width - 2,
                    y=y + font * 0.33,
                    text_anchor="end",
                    font_size=font * 0.9,
                )
            )
        top += height
        if i + 1 < len(rows):
            parts.append(element("line", class_="grid", x1=0.0, x2=width, y1=top, y2=top))
    return "".join(parts), bottom + 26


def _more(document: dict[str, Any], size: str) -> tuple[str, float]:
    more = document["more"]
    width, height, font = SIZES[size]
    wide = size == "wide"
    curve, steps = more["curve"], more["steps"]
    tops = [each["high"] for point in curve for each in point["bounds"]] + [curve[0]["zero"]]
    _, most = padded(0.0, max(tops), 0.05)
    area = Box(48.0, 14.0, width - (22.0 if wide else 26.0), height - 52.0)
    x = Scale(
        curve[0]["groups"], max(curve[-1]["groups"], curve[0]["groups"] + 1), area.left + 14, area.right
    )
    y = Scale(0.0, min(1.0, most), area.bottom, area.top)
    parts = _grid(x, y, [step["groups"] for step in steps], area, font)
    placer = Placer(area)
    tiers = [each["tier"] for each in curve[0]["bounds"]]
    drawn: list[tuple[str, str, list[Point]]] = []
    for k, tier in enumerate(tiers):
        style = tier_style(document["ladder"], tier)
        ends = [
            [(x(point["groups"]), y(point["bounds"][k][key])) for point in curve] for key in ("low", "high")
        ]
        outline = "L".join(f"{number(a)} {number(b)}" for a, b in (*ends[0], *reversed(ends[1])))
        parts.append(element("path", class_=style, d=f"M{outline}Z", fill="currentColor", fill_opacity="0.1"))
        drawn.append(
            (
                f"{tier} for all",
                style,
                [(x(point["groups"]), y(point["bounds"][k]["bound"])) for point in curve],
            )
        )
    drawn.append(("no failure at all", "random", [(x(point["groups"]), y(point["zero"])) for point in curve]))
    for _, style, line in drawn:
        parts.append(polyline(line, f"line thin {style}"))
        placer.add_line(line)
    for step in steps:
        values = [
            *(
                (f"dot {tier_style(document['ladder'], each['tier'])}", each["bound"])
                for each in step["bounds"]
            ),
            ("dot random", step["zero"]),
        ]
        for class_, value in values:
            at = x(step["groups"]), y(value)
            parts.append(element("circle", class_=class_, cx=at[0], cy=at[1], r=4.2))
            placer.taken.append(Box(at[0] - 5, at[1] - 5, at[0] + 5, at[1] + 5))
    for said, _, line in drawn:
        anchors = [line[int(share * (len(line) - 1))] for share in (0.72, 0.8, 0.62, 0.88, 0.5)]
        parts.append(label(placer, anchors, said, font, "name", 30 if wide else 22))
    axis = "groups that certify"
    middle = (area.left + area.right) / 2
    parts.append(element("text", axis, class_="axis", x=middle, y=height - 8.0, text_anchor="middle"))
    return "".join(parts), height


def _grid(x: Scale, y: Scale, marks: list[int], area: Box, font: float) -> list[str]:
    parts = []
    ticks = inside(y, 6)
    digits = 0 if all(abs(100 * tick - round(100 * tick)) < 1e-6 for tick in ticks) else 1
    for tick in ticks:
        at = y(tick)
        parts.append(element("line", class_="grid", x1=area.left, x2=area.right, y1=at, y2=at))
        parts.append(
            element(
                "text",
                percent(tick, digits),
                class_="tick",
                x=area.left - 7,
                y=at + font * 0.35,
                text_anchor="end",
            )
        )
    last = -1e9
    for mark in marks:
        said = count(mark)
        at, room = x(mark), text_width(said, font) / 2
        if at - room < last + 6:
            continue
        anchor = "end" if at + room > area.right + 20 else "middle"
        parts.append(element("line", class_="grid", x1=at, x2=at, y1=area.bottom, y2=area.bottom + 5))
        parts.append(element("text", said, class_="tick", x=at, y=area.bottom + 19, text_anchor=anchor))
        last = at + room
    parts.append(element("line", class_="base", x1=area.left, x2=area.right, y1=area.bottom, y2=area.bottom))
    return parts
