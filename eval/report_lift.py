"""What routers add to mixing the tiers at random at the same cost, as inline SVG.

The rule: pure; from the comparison to text. In the cost-quality figure the curves of routers lie a few points
apart on a scale of tens of points; here the difference is the scale. Costs stay on a straight axis.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from eval.report_curves import grid, known_tiers, letter_on, path_of, tier_points
from eval.report_svg import (
    SIZES,
    Box,
    Placer,
    Point,
    Scale,
    element,
    figure,
    inside,
    label,
    padded,
    polyline,
)
from eval.report_words import decimal, letters, shorten, style_of

__all__ = ["lift", "lift_over"]

_HEIGHTS = {"wide": 330.0, "narrow": 300.0}


def lift(comparison: dict[str, Any]) -> str:
    """Return the figure in both sizes; "" without a random mix or without learned contenders."""
    mixing = next((path_of(comparison, c) for c in comparison["contenders"] if c["kind"] == "random"), [])
    learned = [c for c in comparison["contenders"] if c["kind"] in ("subject", "baseline")]
    lines = {c["name"]: lift_over(path_of(comparison, c), mixing) for c in learned}
    drawn = [
        c for c in reversed(learned) if len(lines[c["name"]]) > 1
    ]  # the subject comes first: drawn on top
    if len(mixing) < 2 or not drawn:
        return ""
    return "".join(_lift(comparison, drawn, lines, mixing, size) for size in SIZES)


def lift_over(line: list[Point], mixing: list[Point]) -> list[Point]:
    """Return (cost, quality above the mixing of the same cost) along a line; corners of both are kept.

    Both lines rise by cost. What lies outside the costs of mixing is left out.
    """
    if len(line) < 2 or len(mixing) < 2:
        return []
    low, high = max(line[0][0], mixing[0][0]), min(line[-1][0], mixing[-1][0])
    costs = sorted({cost for cost, _ in (*line, *mixing) if low <= cost <= high})
    return [(cost, _at(line, cost) - _at(mixing, cost)) for cost in costs]


def _lift(
    comparison: dict[str, Any],
    drawn: list[dict[str, Any]],
    lines: dict[str, list[Point]],
    mixing: list[Point],
    size: str,
) -> str:
    (width, _, font), height = SIZES[size], _HEIGHTS[size]
    gains = [gain for c in drawn for _, gain in lines[c["name"]]]
    costs = [cost for cost, _ in mixing]
    from_zero = costs[0] < 0.4 * costs[-1]  # as in the figure above
    area = Box(52.0 if size == "wide" else 44.0, 16.0, width - 18.0, height - 50.0)
    ends = padded(0.0 if from_zero else costs[0], costs[-1], 0.0 if from_zero else 0.04)
    x = Scale(*ends, area.left, area.right)
    y = Scale(*padded(min([0.0, *gains]), max([0.005, *gains]), 0.08), area.bottom, area.top)
    y_ticks = inside(y, 5)
    digits = 0 if all(abs(100 * t - round(100 * t)) < 1e-6 for t in y_ticks) else 1
    said = {t: f"{'+' if t > 0 else ''}{decimal(100 * t, digits)}" for t in y_ticks}
    parts = [grid(x, y, inside(x, 7 if size == "wide" else 4), said, area, font)]
    at = (area.left + area.right) / 2
    parts.append(
        element("text", "USD per 1,000 prompts", class_="axis", x=at, y=height - 10, text_anchor="middle")
    )
    styles, names = style_of(comparison["contenders"]), letters(comparison["contenders"])
    paths = {c["name"]: [(x(a), y(b)) for a, b in lines[c["name"]]] for c in drawn}
    zero = [(x(costs[0]), y(0.0)), (x(costs[-1]), y(0.0))]
    parts.append(polyline(zero, "line random"))
    parts += [polyline(paths[c["name"]], f"line {styles[c['name']]}") for c in drawn]
    gains_of = [(a, quality - _at(mixing, a)) for a, quality in tier_points(comparison)]
    tiers = [
        (tier, (x(a), y(gain)))
        for tier, (a, gain) in zip(known_tiers(comparison), gains_of, strict=True)
        if gain >= y.low  # one that mixing does far better than is in the figure above
    ]
    parts += [element("circle", class_="mark tier", cx=a, cy=b, r=4.5) for _, (a, b) in tiers]
    placer = Placer(area, [Box(a - 6, b - 6, a + 6, b + 6) for _, (a, b) in tiers])
    for path in (*paths.values(), zero):
        placer.add_line(path)
    for c in (c for c in drawn if c["kind"] == "subject"):
        path = paths[c["name"]]
        anchors = sorted(path[1:-1] or path, key=lambda point: point[1])[:3]
        parts.append(label(placer, anchors, c["label"], font, "name s0", 20))
    parts += [
        label(placer, [at], tier["name"], font, "name", 22 if size == "wide" else 12) for tier, at in tiers
    ]
    middle = (zero[0][0] + zero[1][0]) / 2
    parts.append(label(placer, [(middle, y(0.0))], "random mix", font, "quiet"))
    baselines = [
        c["name"] for c in comparison["contenders"] if c["kind"] == "baseline" and c["name"] in paths
    ]
    for i, name in enumerate(baselines):
        share = (i + 1) / (len(baselines) + 1)
        parts.append(letter_on(placer, paths[name], names[name], styles[name], share, font))
    title = "What each router adds to mixing the tiers at random at the same cost"
    return figure("".join(parts), width, height, f"lift-{size}", title, _describe(drawn, lines), size)


def _describe(drawn: list[dict[str, Any]], lines: dict[str, list[Point]]) -> str:
    most = []
    for c in reversed(drawn):
        cost, gain = max(lines[c["name"]], key=lambda point: point[1])
        most.append(f"{shorten(c['label'], 60)} at most {decimal(100 * gain, 1)} points, at ${cost:.3g}")
    return "USD per 1,000 prompts across, points of quality upwards. " + "; ".join(most)


def _at(line: list[Point], cost: float) -> float:
    """Return a line's height at a cost within it; of several points of one cost, the highest."""
    for (x0, y0), (x1, y1) in pairwise(line):
        if cost <= x1:
            return max(y0, y1) if x0 == x1 else y0 + (y1 - y0) * (cost - x0) / (x1 - x0)
    return line[-1][1]
