"""The cost-quality figure, as inline SVG.

The rule: pure; from the comparison to text. Curves of learned baselines are told apart by colour, dashes and a
letter on the line; everything else is labelled where it stands.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

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
    text_width,
)
from eval.report_words import decimal, finite, letters, percent, shorten, style_of, usd

__all__ = ["cost_quality", "grid", "known_tiers", "letter_on", "path_of", "tier_points"]

_ORDER = {"oracle": 0, "random": 1, "baseline": 2, "fixed": 3, "subject": 4}  # the subject is drawn on top


def cost_quality(comparison: dict[str, Any]) -> str:
    """Return the cost-quality figure in both sizes; "" where nothing has a cost and a quality."""
    points = [p for c in comparison["contenders"] for p in (*path_of(comparison, c), *_settings(c))]
    points += tier_points(comparison)
    if not points:
        return ""
    return "".join(_cost_quality(comparison, points, size) for size in SIZES)


def _cost_quality(comparison: dict[str, Any], points: list[Point], size: str) -> str:
    width, height, font = SIZES[size]
    costs, qualities = [p[0] for p in points], [p[1] for p in points]
    from_zero = min(costs) < 0.4 * max(costs)
    left, right = padded(0.0 if from_zero else min(costs), max(costs), 0.0 if from_zero else 0.04)
    low, high = padded(min(qualities), max(qualities), 0.05)
    area = Box(52.0 if size == "wide" else 44.0, 16.0, width - 18.0, height - 50.0)
    x, y = Scale(left, right, area.left, area.right), Scale(low, high, area.bottom, area.top)
    x_ticks = inside(x, 7 if size == "wide" else 4)
    y_ticks = inside(y, 6)
    middle = (area.left + area.right) / 2
    axis = element(
        "text", "USD per 1,000 prompts", class_="axis", x=middle, y=height - 10.0, text_anchor="middle"
    )
    whole = all(abs(100 * t - round(100 * t)) < 1e-6 for t in y_ticks)
    said = [percent(t, 0 if whole else 1) for t in y_ticks]
    parts = [grid(x, y, x_ticks, dict(zip(y_ticks, said, strict=True)), area, font), axis]
    tiers = [(x(a), y(b)) for a, b in tier_points(comparison)]
    drawn = sorted(
        (c for c in comparison["contenders"] if c["kind"] in _ORDER), key=lambda c: _ORDER[c["kind"]]
    )
    styles = style_of(comparison["contenders"])
    lines = {c["name"]: [(x(a), y(b)) for a, b in path_of(comparison, c)] for c in drawn}
    if tiers:
        top = tiers[-1][1]
        parts.append(element("line", class_="reference", x1=area.left, x2=area.right, y1=top, y2=top))
    parts += [_line(c, styles[c["name"]], lines[c["name"]], x, y) for c in drawn]
    parts += [element("circle", class_="mark tier", cx=a, cy=b, r=4.5) for a, b in tiers]
    parts += _labels(comparison, [c for c in drawn if lines[c["name"]]], lines, tiers, area, size)
    title = "What each router attains for its money"
    return figure("".join(parts), width, height, f"cost-quality-{size}", title, _describe(comparison), size)


def _labels(
    comparison: dict[str, Any],
    drawn: list[dict[str, Any]],
    lines: dict[str, list[Point]],
    tiers: list[Point],
    area: Box,
    size: str,
) -> list[str]:
    """Return all labels, what matters most first, since later ones take the room that is left."""
    font, wide = SIZES[size][2], size == "wide"
    styles, names = style_of(comparison["contenders"]), letters(comparison["contenders"])
    marks = tiers + [lines[c["name"]][0] for c in drawn if c["kind"] == "fixed"]
    placer = Placer(area, [Box(a - 6, b - 6, a + 6, b + 6) for a, b in marks])
    for line in lines.values():
        placer.add_line(line)
    if tiers:
        placer.add_line([(area.left, tiers[-1][1]), (area.right, tiers[-1][1])])
    parts = [
        label(placer, [at], tier["name"], font, "name", 22 if wide else 16)
        for tier, at in zip(known_tiers(comparison), tiers, strict=True)
    ]
    if tiers:
        parts.append(_reference_label(comparison, placer, area, tiers[-1][1], font, size))
    for kind, shares, class_ in (
        ("subject", (0.62, 0.5, 0.75, 0.35, 0.9), "name s0"),
        ("oracle", (0.3, 0.5, 0.7), "quiet"),
        ("random", (0.55, 0.4, 0.7), "quiet"),
    ):
        parts += [
            label(placer, [_along(lines[c["name"]], share) for share in shares], c["label"], font, class_, 20)
            for c in drawn
            if c["kind"] == kind
        ]
    parts += [
        label(placer, lines[c["name"]][:1], names[c["name"]], font, "name fixed")
        for c in drawn
        if c["kind"] == "fixed"
    ]
    baselines = [c["name"] for c in drawn if c["kind"] == "baseline"]
    for i, name in enumerate(baselines):
        share = (i + 1) / (len(baselines) + 1)
        parts.append(letter_on(placer, lines[name], names[name], styles[name], share, font))
    return parts


def _line(contender: dict[str, Any], style: str, line: list[Point], x: Scale, y: Scale) -> str:
    if contender["kind"] == "fixed":
        return "".join(
            element("path", class_="mark fixed", d=f"M{number(a)} {number(b - 6)}l6 6-6 6-6-6Z")
            for a, b in line[:1]
        )
    shown = polyline(line, f"line {style}") if len(line) > 1 else ""
    if contender["kind"] == "subject":
        settings = [(x(a), y(b)) for a, b in _settings(contender)]
        shown += "".join(element("circle", class_="setting", cx=a, cy=b, r=2.2) for a, b in settings)
    elif len(line) == 1:
        shown = element("circle", class_=f"dot {style}", cx=line[0][0], cy=line[0][1], r=4.0)
    return shown


def letter_on(placer: Placer, line: list[Point], letter: str, style: str, share: float, font: float) -> str:
    """Return a letter on its line, where no other label stands, as near as can be to a share of its width."""
    shares = [
        share + step
        for step in (0, 0.04, -0.04, 0.08, -0.08, 0.13, -0.13, 0.19, -0.19)
        if 0 <= share + step <= 1
    ]
    centres = [_along(line, s) for s in shares]
    half = max(font * 0.72, text_width(letter, font) / 2 + 3)
    crowd, placer.crowd = placer.crowd, []  # the letter is on lines by intent
    boxes = [Box(a - half, b - half, a + half, b + half) for a, b in centres]
    a, b = centres[placer.take(boxes, [0.5 * i for i in range(len(boxes))])]
    placer.crowd = crowd
    return element("circle", class_=f"badge {style}", cx=a, cy=b, r=half) + element(
        "text", escape(letter), class_=f"badge {style}", x=a, y=b + font * 0.35, text_anchor="middle"
    )


def _reference_label(
    comparison: dict[str, Any], placer: Placer, area: Box, at: float, font: float, size: str
) -> str:
    top = known_tiers(comparison)[-1]
    text = f"quality of {shorten(top['name'], 22 if size == 'wide' else 12)}, {percent(top['quality'])}"
    width, height = text_width(text, font), font * 1.2
    boxes = []
    for share in (0, 1, 0.75, 0.5, 0.25):
        left = area.left + 6 + share * (area.right - area.left - width - 12)
        boxes += [
            Box(left, at - 3 - height, left + width, at - 3),
            Box(left, at + 4, left + width, at + 4 + height),
        ]
    box = boxes[placer.take(boxes, [0.5 * i for i in range(len(boxes))])]
    return element("text", escape(text), class_="quiet", x=box.left, y=box.bottom - font * 0.3)


def grid(x: Scale, y: Scale, x_ticks: list[float], y_ticks: dict[float, str], area: Box, font: float) -> str:
    """Return the grid and what stands along both axes: dollars across, at `y_ticks` what they say."""
    parts = []
    for tick, said in y_ticks.items():
        at = y(tick)
        parts.append(element("line", class_="grid", x1=area.left, x2=area.right, y1=at, y2=at))
        parts.append(
            element(
                "text",
                said,
                class_="tick",
                x=area.left - 7,
                y=at + font * 0.35,
                text_anchor="end",
            )
        )
    for tick in x_ticks:
        parts.append(
            element("line", class_="grid", x1=x(tick), x2=x(tick), y1=area.bottom, y2=area.bottom + 5)
        )
        anchor = "end" if x(tick) > area.right - 12 else "middle"
        at = min(x(tick) + 10, area.right + 16) if anchor == "end" else x(tick)
        parts.append(
            element("text", _short_usd(tick), class_="tick", x=at, y=area.bottom + 19, text_anchor=anchor)
        )
    parts.append(element("line", class_="base", x1=area.left, x2=area.right, y1=area.bottom, y2=area.bottom))
    return "".join(parts)


def _describe(comparison: dict[str, Any]) -> str:
    tiers = [
        f"tier {shorten(t['name'], 40)} {usd(1000 * t['cost_usd'])}, {percent(t['quality'])}"
        for t in known_tiers(comparison)
    ]
    gaps = [
        f"{shorten(c['label'], 60)} gap closed {percent((c['gap_closed'] or {}).get('value'))}"
        for c in comparison["contenders"]
    ]
    return "USD per 1,000 prompts across, mean quality upwards. " + "; ".join(tiers + gaps)


def _along(line: list[Point], share: float) -> Point:
    """Return the point of a line at a share of its width."""
    x = line[0][0] + share * (line[-1][0] - line[0][0])
    for (x0, y0), (x1, y1) in pairwise(line):
        if x <= x1:
            return x, y0 + (y1 - y0) * ((x - x0) / (x1 - x0) if x1 > x0 else 1.0)
    return line[-1]


def _settings(contender: dict[str, Any]) -> list[Point]:
    """Return the single settings that are drawn: those of the router under test."""
    return _pairs(contender["points"]) if contender["kind"] == "subject" else []


def path_of(comparison: dict[str, Any], contender: dict[str, Any]) -> list[Point]:
    """Return what is drawn of a contender: its hull, or the one point of a fixed policy.

    A fixed policy's points may hold the ends of the ladder as well, between which it can be mixed.
    """
    if contender["kind"] != "fixed":
        return _pairs(contender["hull"])
    points, tiers = _pairs(contender["points"]), tier_points(comparison)
    for end in dict.fromkeys((tiers[0], tiers[-1])) if tiers else ():
        same = [
            p for p in points if all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(p, end, strict=True))
        ]
        if len(points) > 1 and same:
            points.remove(same[0])
    return points[:1]


def _pairs(curve: dict[str, Any] | None) -> list[Point]:
    """Return (USD per 1,000 prompts, quality), numbers only."""
    pairs = zip((curve or {}).get("cost_usd") or [], (curve or {}).get("quality") or [], strict=False)
    known = ((finite(c), finite(q)) for c, q in pairs)
    return [(1000 * c, q) for c, q in known if c is not None and q is not None]


def known_tiers(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tiers that have a cost and a quality."""
    return [
        t
        for t in comparison["tiers"]
        if finite(t["cost_usd"]) is not None and finite(t["quality"]) is not None
    ]


def tier_points(comparison: dict[str, Any]) -> list[Point]:
    """Return (USD per 1,000 prompts, quality) of each tier that has both."""
    return [(1000 * t["cost_usd"], t["quality"]) for t in known_tiers(comparison)]


def _short_usd(value: float) -> str:
    return f"${decimal(value, 0) if value == round(value) else f'{value:g}'}"
