"""The drift page, its figure and the text for a terminal: whole, escaped, and without anything from outside."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from sample_drift import broken, moved, steady, untold, worst

from eval.drift_page import render_drift_html, render_drift_svg, render_drift_text
from eval.drift_words import WORDS, cut_words, label_of
from router.features import FEATURE_NAMES

SAMPLES: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "moved": (moved, "drifted"),
    "steady": (steady, "steady"),
    "broken": (broken, "void"),
    "untold": (untold, "untold"),
    "worst": (worst, "void"),
}
each = pytest.mark.parametrize("sample", SAMPLES)
VOID = {"meta", "br", "path", "line", "circle", "rect"}


class Tags(HTMLParser):
    """Which elements are opened, whether all are closed, and the addresses that they name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()


@each
def test_a_page_is_whole_and_loads_nothing(sample: str) -> None:
    page = render_drift_html(SAMPLES[sample][0](), "Week 10")
    tags = Tags(page)
    assert [] == tags.open == tags.addresses
    assert not tags.seen & {"script", "img", "link", "iframe"}
    assert "url(" not in page
    assert page.encode()
    assert page == render_drift_html(SAMPLES[sample][0](), "Week 10")


@each
def test_one_word_says_what_came_of_it(sample: str) -> None:
    make, word = SAMPLES[sample]
    assert f"<span>{WORDS[word]}</span></h2>" in render_drift_html(make(), "Week 10")
    assert render_drift_text(make()).startswith(f"{WORDS[word]}: ")


@each
def test_a_figure_is_a_file_of_its_own(sample: str) -> None:
    drawn = render_drift_svg(SAMPLES[sample][0]())
    root = ElementTree.fromstring(drawn)  # noqa: S314 - of our own making
    assert "{http://www.w3.org/2000/svg}svg" == root.tag
    assert "href" not in drawn
    assert drawn == render_drift_svg(SAMPLES[sample][0]())


def test_names_are_escaped() -> None:
    page, drawn, text = (
        render(worst())
        for render in (lambda d: render_drift_html(d, "<u>"), render_drift_svg, render_drift_text)
    )
    for said in (page, drawn):
        assert "<script>" not in said
        assert "&lt;script&gt;" in said
    assert "<u>" not in page
    assert not re.search("[\u202e\ud800]", page + drawn + text)


def test_the_table_shows_what_drifted_and_folds_the_features_that_did_not() -> None:
    page = render_drift_html(moved(), "Week 10")
    shown, folded = page.split("1 that did not drift")
    assert "prompts with more than 148 characters" in shown
    assert "Chinese or Japanese" in folded
    assert "81.0%" in shown
    assert "230%" in shown


def test_what_moved_beyond_the_scale_is_an_arrow() -> None:
    assert 'class="arrow s1"' in render_drift_svg(broken())
    assert 'class="arrow' not in render_drift_svg(moved())


def test_what_cannot_be_told_says_why_once_per_kind() -> None:
    page = render_drift_html(untold(), "Week 10")
    assert 7 == page.count("Untold: 2 groups of new prompts; 30 are needed.")
    assert "Nothing can be told of drift" in render_drift_svg(untold())


def test_a_broken_promise_is_not_folded_away() -> None:
    page = render_drift_html(broken(), "Week 10")
    assert "<b>void</b>" in page.split("<details>")[0]
    assert "7.0% to 11.0%" in page
    assert "7.0% to 11.0%  void" in render_drift_text(broken())


def test_the_page_says_how_sure_one_look_is() -> None:
    page = render_drift_html(broken(), "Week 10")
    assert "what was seen contradicts it, with 99% confidence" in page
    assert "one look must be surer than the certificate" in page


@each
def test_text_for_a_terminal_fits_it(sample: str) -> None:
    lines = render_drift_text(SAMPLES[sample][0]()).splitlines()
    assert max(map(len, lines[1:])) <= 104
    assert not any(re.search("[\x00-\x08\x1b]", line) for line in lines)


@pytest.mark.parametrize(
    ("name", "at", "expected"),
    [
        ("log_chars", 5.0, "prompts with more than 147.4 characters"),
        ("log_turns", 0.6931572, "prompts with more than one message"),
        ("log_tool_turns", 1e-5, "prompts with messages of tools"),
        ("share_cjk", 1e-5, "prompts with Chinese or Japanese characters"),
        ("share_digit", 0.043, "prompts with more than 4.3% digits"),
        ("chars_per_word", 4.86, "prompts with more than 4.86 characters a word"),
        ("has_images", 0.0, "prompts with images"),
    ],
)  # fmt: skip
def test_cuts_are_said_in_the_units_of_what_is_counted(name: str, at: float, expected: str) -> None:
    assert expected == cut_words(name, at)


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_every_feature_has_a_name_for_people(name: str) -> None:
    assert "_" not in label_of({"kind": "feature", "name": name})
    assert cut_words(name, 0.5).startswith("prompts with ")
