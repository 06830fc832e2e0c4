"""The benchmark's figure: one XML file that names every history and contender, whatever they are called."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_report import HOSTILE, NOTHING, histories, interval

from eval.report_histories import render_svg
from eval.report_svg import Box, text_width

SVG = "{http://www.w3.org/2000/svg}"
both = pytest.mark.parametrize("wide", [False, True])


def drawn(runs: list[dict[str, Any]], wide: bool) -> ElementTree.Element:
    return ElementTree.fromstring(render_svg(runs, wide=wide))  # noqa: S314 - our own


def boxes(root: ElementTree.Element) -> list[tuple[str, Box]]:
    """Where texts are, as widths are estimated."""
    found = []
    for text in root.iter(f"{SVG}text"):
        said, size, x, y = text.text or "", *(float(text.attrib[key]) for key in ("font-size", "x", "y"))
        width = text_width(said, size)
        left = x - width * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "start")]
        found.append((said, Box(left, y - 0.8 * size, left + width, y + 0.2 * size)))
    return found


@both
def test_it_is_one_small_file_that_needs_no_other(wide: bool) -> None:
    text = render_svg(histories(), wide=wide)
    root = ElementTree.fromstring(text)  # noqa: S314 - our own
    assert text == render_svg(histories(), wide=wide)
    assert len(text.encode()) < 60_000
    assert "img" == root.attrib["role"]
    ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    assert ids == set(root.attrib["aria-labelledby"].split())
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<script|href|url\(|@import|@font-face|\son\w+=", text)


@both
@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_every_history_and_contender_is_there(wide: bool, n: int) -> None:
    runs = histories(n)
    root = drawn(runs, wide)
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert all(run["history"] in said for run in runs)
    panels = n if not wide else -(-n // 5)
    assert panels == said.count("tierwise")
    assert panels == said.count("LightGBM per tier")
    assert not any("keyword" in text or "oracle" in text for text in map(str, said))
    for run in runs:
        for c in run["contenders"]:
            shown = f"{100 * c['gap_closed']['value']:.1f}%".replace("-", "−").replace("−0.0", "0.0")
            assert c["kind"] not in ("subject", "baseline") or shown in said
    description = root.find(f"{SVG}desc")
    assert description is not None
    assert all(run["history"] in str(description.text) for run in runs)


@both
@pytest.mark.parametrize("n", [1, 3, 5, 7])
def test_texts_stand_apart_and_inside(wide: bool, n: int) -> None:
    root = drawn(histories(n), wide)
    width, height = (float(root.attrib[key]) for key in ("width", "height"))
    found = boxes(root)
    for i, (said, box) in enumerate(found):
        assert 0 <= box.left, said
        assert box.right <= width, said
        assert 0 <= box.top, said
        assert box.bottom <= height, said
        assert [] == [other for other, b in found[:i] if box.overlap(b) > 1]


def test_the_subject_comes_first_and_all_share_one_axis() -> None:
    root = drawn(histories(), wide=True)
    names = [t.text for t in root.iter(f"{SVG}text") if t.get("class") in ("name ours", "plain")][:8]
    assert "tierwise" == names[0]
    assert "prompt length" == names[-1]
    zeros = [float(line.attrib["x1"]) for line in root.iter(f"{SVG}line") if line.get("class") == "base"]
    steps = {round(b - a, 1) for a, b in pairwise(zeros)}
    assert max(steps) - min(steps) <= 0.11


@both
def test_it_takes_what_data_brings(wide: bool) -> None:
    runs = histories()
    for i, run in enumerate(runs):
        run["history"] = HOSTILE[i]
        run["verdict"] = {}
        run["contenders"][0]["label"] = HOSTILE[-2]
        run["contenders"][1] |= {"name": "b", "label": HOSTILE[1], "gap_closed": interval(-9, 2)}
        run["contenders"][2]["gap_closed"] = NOTHING
    runs[1]["contenders"] = runs[1]["contenders"][:3]
    root = drawn(runs, wide)
    assert {"svg", "title", "desc", "style", "rect", "text", "line", "circle", "path"} >= {
        element.tag.removeprefix(SVG) for element in root.iter()
    }


@given(st.text(st.characters(), max_size=40))
@settings(max_examples=20)
def test_any_name_is_text(name: str) -> None:
    runs = histories(2)
    runs[0]["history"] = runs[0]["contenders"][0]["label"] = name
    text = render_svg(runs)
    text.encode("utf-8")
    ElementTree.fromstring(text)  # noqa: S314 - our own


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ValueError, match="found none"):
        render_svg([])
    with pytest.raises(ValueError, match="found none"):
        render_svg([{"history": "a", "prompts": 1, "contenders": [], "verdict": {}}])
