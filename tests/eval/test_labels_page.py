"""The label page, its Markdown and the text for a terminal: whole, escaped, and without anything from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sample_labels import SAMPLES, document, labels_of, row

from eval.labels_document import describe_labels
from eval.labels_figures import draw_more, draw_rates
from eval.labels_markdown import render_labels_markdown
from eval.labels_page import render_labels_html
from eval.labels_text import render_labels_text
from eval.labels_words import WORDS

each = pytest.mark.parametrize("sample", SAMPLES)
VOID = {"meta", "br", "path", "line", "circle", "rect"}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("labels")
    return {sample: document(sample, folder) for sample in SAMPLES}


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
        self.addresses += [
            value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "style")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()


@each
def test_a_page_is_whole_and_loads_nothing(sample: str, documents: dict[str, dict[str, Any]]) -> None:
    page = render_labels_html(documents[sample])
    tags = Tags(page)
    assert [] == tags.open == tags.addresses
    assert not tags.seen & {"script", "img", "link", "iframe"}
    assert "url(" not in page
    assert page.encode()
    assert page == render_labels_html(documents[sample])


@each
def test_one_word_says_what_came_of_it(sample: str, documents: dict[str, dict[str, Any]]) -> None:
    found, word = documents[sample], WORDS[SAMPLES[sample][2]]
    assert f"<span>{word}</span></h2>" in render_labels_html(found)
    assert render_labels_text(found).startswith(f"{word}: ")
    assert f"**{word}**: " in render_labels_markdown(found)


def test_names_are_escaped(documents: dict[str, dict[str, Any]]) -> None:
    found = documents["worst"]
    page, text, markdown = (
        render(found) for render in (render_labels_html, render_labels_text, render_labels_markdown)
    )
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>json" not in page
    assert not re.search(r"(?<!\\)<", markdown.split("Made by `")[0])
    assert "\\[x\\]" in markdown
    assert not re.search("[\u202e\ud800]", page + text + markdown)
    assert markdown.encode()


@each
def test_every_table_of_the_markdown_has_all_its_cells(
    sample: str, documents: dict[str, dict[str, Any]]
) -> None:
    lines = render_labels_markdown(documents[sample]).splitlines()
    tables = [
        (line, following)
        for line, following in pairwise(lines)
        if line.startswith("|") and following.startswith("|")
    ]
    assert tables
    for line, following in tables:
        assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", following))


@each
def test_text_for_a_terminal_fits_it(sample: str, documents: dict[str, dict[str, Any]]) -> None:
    lines = render_labels_text(documents[sample]).splitlines()
    assert max(map(len, lines[1:])) <= 100
    assert not any(re.search("[\x00-\x08\x1b]", line) for line in lines)


def test_the_figure_draws_no_more_than_can_be_known(documents: dict[str, dict[str, Any]]) -> None:
    assert "" == draw_rates(documents["tiny"])
    assert "" == draw_more(documents["censored"])
    assert "task: arithmetic" in draw_rates(documents["plausible"])
    assert "few" in render_labels_text(documents["tiny"])


def test_a_small_slice_is_in_the_table_and_not_in_the_figure(tmp_path: Path) -> None:
    rows = [row(f"p{i}", 0, float(i % 2), task="rare" if i < 9 else "common") for i in range(80)]
    found = {"title": "t", "created": "now", "command": "c"} | describe_labels(labels_of(rows, tmp_path))
    assert "rare" in render_labels_html(found)
    assert "rare" not in draw_rates(found)
    assert "task: common" in draw_rates(found)


def test_the_page_says_what_must_be_known_of_its_numbers(documents: dict[str, dict[str, Any]]) -> None:
    said = {
        sample: render_labels_text(found).replace("\n  ", " ").replace("\n", " ")
        for sample, found in documents.items()
    }
    assert "counts as the prompts that it stands for" in said["sampled"]
    assert "intervals are over groups" in said["plausible"]
    assert "577 of 600 have one on every tier" in said["plausible"]
    assert "Outcomes count by the inverse of their propensity" in said["censored"]
    assert "No column grades" in said["tiny"]
    assert "without the column grades, most cannot be looked for" in said["tiny"]
    assert "24 rates of slices are given with 95% intervals; one in twenty misses by chance" in said["worst"]
    assert "a promise of 5% about labels is one of at most 8.9% about the truth" in said["plausible"]


def test_a_censored_log_without_propensities_is_told_of_too(tmp_path: Path) -> None:
    from sample_labels import censored_rows

    found = describe_labels(labels_of(censored_rows(propensity=False), tmp_path))
    assert "censored" == found["word"]
    assert any("No propensity is logged" in said for said in found["censored"]["sentences"])
    assert all(tier["rate"]["method"] == "exact" for tier in found["rates"]["all"]["tiers"])
