"""What the figures are drawn with: elements, axes, room for labels.

The rule: pure. Lengths are units of the viewBox, y grows downwards. Colours are classes that the style sheet
resolves, so that one drawing serves both themes. Text is escaped here and nowhere later.
"""

from __future__ import annotations

import html
import math
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from eval.report_words import clean, shorten

__all__ = [
    "SIZES",
    "Box",
    "Placer",
    "Scale",
    "element",
    "escape",
    "figure",
    "fit",
    "inside",
    "label",
    "number",
    "padded",
    "polyline",
    "swatch",
    "text_width",
    "ticks",
]

Point = tuple[float, float]
SIZES = {"wide": (980.0, 470.0, 13.0), "narrow": (400.0, 390.0, 12.5)}
"""Width, height and font size of drawings. Text shrinks with its drawing, so the style sheet shows one of two."""


def escape(text: object) -> str:
    """Return text for HTML or SVG, inside an element or a quoted attribute."""
    return html.escape(clean(text), quote=True)


def number(value: float) -> str:
    """Return a length as short text."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return an element; attributes lose a trailing underscore, and inner ones become hyphens; floats are short."""
    parts = [name]
    for key, value in attributes.items():
        shown = number(value) if isinstance(value, float) else escape(value)
        parts.append(f'{key.rstrip("_").replace("_", "-")}="{shown}"')
    head = " ".join(parts)
    return f"<{head}>{content}</{name}>" if content else f"<{head}/>"


def polyline(points: Iterable[Point], class_: str) -> str:
    """Return an open path through points."""
    return element(
        "path", class_=class_, d="M" + "L".join(f"{number(x)} {number(y)}" for x, y in points), fill="none"
    )


def text_width(text: str, size: float) -> float:
    """Return about how wide text is at a font size: exact widths need the font, which is the reader's."""
    units = 0.0
    for character in text:
        if unicodedata.east_asian_width(character) in "WF" or character == "\ufffd":
            units += 1.05
        elif unicodedata.combining(character):
            continue
        elif character in "mwMW@%—":
            units += 0.9
        elif character.isupper():
            units += 0.7
        elif character in "iljtf.,:;|!'()[] ":
            units += 0.38
        else:
            units += 0.6
    return units * size


def fit(text: object, size: float, width: float) -> str:
    """Return text shortened to about a width at a font size."""
    longest = len(shorten(text, 200))
    while longest > 1 and text_width(shorten(text, longest), size) > width:
        longest -= 1
    return shorten(text, longest)


def swatch(style: str, letter: str = "") -> str:
    """Return a short sample of a contender's line or mark, for legends and tables; decoration, so hidden to readers."""
    line = element("path", class_=f"line {style}", d="M2 8H32", fill="none")
    if style == "fixed":
        line = element("path", class_="mark fixed", d="M17 2.5 22.5 8 17 13.5 11.5 8Z")
    elif style == "tier":
        line = element("circle", class_="mark tier", cx=17, cy=8, r=4)
    sample = element(
        "svg", line, class_="swatch", viewBox="0 0 34 16", width=34, height=16, aria_hidden="true"
    )
    return sample + (f'<b class="letter {style}">{escape(letter)}</b>' if letter else "")


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return round numbers from one at or below `low` to one at or above `high`, some `about` of them."""
    span = high - low or abs(high) or 1.0
    rough = span / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight map from values to lengths; it may run downwards."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the length at a value, kept inside the scale."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def padded(low: float, high: float, share: float) -> tuple[float, float]:
    """Return a range with room added at its ends, by a share of its width; never of no width."""
    room = (high - low) * share or (0.05 * abs(high) or 0.05) * (high == low)
    return low - room, high + max(room, (high - low) * 0.04)


def inside(scale: Scale, about: int) -> list[float]:
    """Return the round numbers that lie on a scale, some `about` of them."""
    slack = 1e-9 * (scale.high - scale.low)
    return [t for t in ticks(scale.low, scale.high, about) if scale.low - slack <= t <= scale.high + slack]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle that a label fills."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the area shared with another box."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across * down if across > 0 and down > 0 else 0.0


@dataclass(slots=True)
class Placer:
    """Finds room for labels: away from other labels first, then from lines.

    Attributes
    ----------
    area : Box
        Where labels may be.
    taken : list of Box
        Labels and marks that stand already.
    crowd : list of points
        Samples along the lines, by x.
    """

    area: Box
    taken: list[Box] = field(default_factory=list)
    crowd: list[Point] = field(default_factory=list)

    def add_line(self, points: Sequence[Point]) -> None:
        """Remember a line as points some six units apart."""
        for (x0, y0), (x1, y1) in pairwise(points):
            steps = max(1, int(math.hypot(x1 - x0, y1 - y0) / 6))
            self.crowd.extend(
                (x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps + 1)
            )
        self.crowd.sort()

    def cost(self, box: Box) -> float:
        """Return how bad a box is: overlap with labels, points of lines inside, room outside the area."""
        a = self.area
        outside = sum(
            max(0.0, d)
            for d in (a.left - box.left, box.right - a.right, a.top - box.top, box.bottom - a.bottom)
        )
        return 4 * sum(box.overlap(other) for other in self.taken) + 3 * self.inside(box) + 1000 * outside

    def inside(self, box: Box) -> int:
        """Return how many samples of lines a box covers."""
        first = bisect_left(self.crowd, (box.left, -math.inf))
        last = bisect_right(self.crowd, (box.right, math.inf))
        return sum(box.top <= y <= box.bottom for _, y in self.crowd[first:last])

    def take(self, boxes: Sequence[Box], penalties: Sequence[float]) -> int:
        """Return which box is best, the earlier of two equal ones, and occupy it."""
        best = min(range(len(boxes)), key=lambda i: (self.cost(boxes[i]) + penalties[i], i))
        self.taken.append(boxes[best])
        return best

    def beside(self, anchors: Sequence[Point], width: float, height: float) -> tuple[Point, Box]:
        """Take the best box of a size around one of some points, near rather than far; return both."""
        boxes, penalties, owners = [], [], []
        for distance in (8.0, 16.0, 28.0, 44.0):
            near = 0.7 * distance
            for x, y in anchors:
                for i, (left, top) in enumerate(
                    (
                        (x + distance, y - height / 2), (x - width / 2, y + distance),
                        (x - width / 2, y - distance - height), (x - distance - width, y - height / 2),
                        (x + near, y + near), (x + near, y - near - height),
                        (x - near - width, y - near - height), (x - near - width, y + near),
                    )
                ):  # fmt: skip
                    boxes.append(Box(left, top, left + width, top + height))
                    penalties.append(0.5 * i + 0.4 * distance)
                    owners.append((x, y))
        best = self.take(boxes, penalties)
        return owners[best], boxes[best]


def label(
    placer: Placer, anchors: Sequence[Point], text: str, size: float, class_: str, longest: int = 22
) -> str:
    """Return a label beside one of some points, where there is room for it, with a leader where that is not close by."""
    shown = fit(text, size, longest * 0.62 * size)
    (x, y), box = placer.beside(anchors, text_width(shown, size) + 4, size * 1.25)
    near = (min(max(x, box.left), box.right), min(max(y, box.top), box.bottom))
    leader = (
        element("line", class_="leader", x1=x, y1=y, x2=near[0], y2=near[1])
        if math.hypot(near[0] - x, near[1] - y) > 14
        else ""
    )
    middle = (box.left + box.right) / 2
    return leader + element(
        "text", escape(shown), class_=class_, x=middle, y=box.bottom - size * 0.32, text_anchor="middle"
    )


def figure(content: str, width: float, height: float, name: str, title: str, said: str, class_: str) -> str:
    """Return a drawing with its title and description for readers; `name` is unique on the page, `said` plain text."""
    head = f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(said)}</desc>'
    return (
        f'<svg class="chart {class_}" role="img" aria-labelledby="{name}-t {name}-d" '
        f'viewBox="0 0 {number(width)} {number(height)}">{head}{content}</svg>'
    )
