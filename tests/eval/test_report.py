"""A report says what its document says, whatever the document lacks and whatever its names contain."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_report import NOTHING, bare, cannot_tell, histories, interval, plausible, two_tiers, worst
from test_comparison import toy

from eval.baselines import BASELINES
from eval.comparison import compare
from eval.report_html import render_html
from eval.report_markdown import render_markdown
from eval.report_text import render_text
from eval.report_words import (
    clean,
    count,
    decimal,
    expectation,
    letters,
    listed,
    percent,
    points,
    shorten,
    standings,
    style_of,
    usd,
)
from eval.report_words import interval as say

DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "plausible": plausible,
    "worst": worst,
    "cannot tell": cannot_tell,
    "two tiers": two_tiers,
    "bare": lambda: bare(plausible()),
    "bare worst": lambda: bare(worst()),
}
RENDERERS = (render_html, render_markdown, render_text)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A page taken apart: elements in order, text outside style, whether every element was closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(params=DOCUMENTS, scope="module")
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    return DOCUMENTS[request.param]()


@pytest.fixture(scope="module")
def html(document: dict[str, Any]) -> str:
    """The page of the document."""
    return render_html(document)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    """The page of the document, taken apart."""
    return Page(html)


# Every format


def test_samples_are_what_json_can_hold(document: dict[str, Any]) -> None:
    assert document == json.loads(json.dumps(document, allow_nan=False))


@pytest.mark.parametrize("render", RENDERERS)
def test_any_document_renders_and_encodes(document: dict[str, Any], render: Callable[..., str]) -> None:
    text = render(document)
    assert text == text.encode("utf-8").decode("utf-8")
    assert text == render(document)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    for leak in ("None", "nan", "{'", "NaN"):
        assert leak not in text.replace("Nano", "")


def test_samples_have_the_form_of_what_is_measured() -> None:
    outcomes, p = toy(60, 0)
    measured = compare(
        outcomes, {"ours": p, "half": p / 2}, {"fixed": p.argmax(axis=1)}, "ours", {}, n_boot=20
    )
    for make in (plausible, worst, two_tiers):
        sample = make()["comparison"]
        assert set(measured) == set(sample)
        assert [set(measured["tiers"][0])] * len(sample["tiers"]) == [set(tier) for tier in sample["tiers"]]
        forms = {entry["kind"]: set(entry) for entry in measured["contenders"]}
        assert forms == {entry["kind"]: set(entry) for entry in sample["contenders"]}
    for contenders in (histories()[0]["contenders"], plausible()["comparison"]["contenders"]):
        assert set(BASELINES) == {entry["name"] for entry in contenders if entry["kind"] == "baseline"}


def test_what_calls_were_expected_to_cost_is_said_or_that_nothing_was() -> None:
    document = plausible()
    said = expectation(document["comparison"])
    for part in ("52% (small)", "45% (medium)", "38% (large)"):
        assert part in said
    assert said in unescape(render_html(document))
    document["comparison"]["tiers"][0]["cost_explained"] = None
    assert "small" not in expectation(document["comparison"])
    for tier, share in zip(document["comparison"]["tiers"][1:], (-0.3, -1e-9), strict=True):
        tier["cost_explained"] = share  # worse than the mean: nothing is explained, not less than that
    assert "explains 0% (medium) and 0% (large)." in expectation(document["comparison"])
    for tier in document["comparison"]["tiers"]:
        tier["cost_explained"] = None
    nothing = expectation(document["comparison"])
    assert "All contenders take the calls to a tier to cost alike." == nothing
    assert "%" not in nothing
    assert nothing in unescape(render_html(document))


@pytest.mark.parametrize("render", RENDERERS)
def test_numbers_are_said(render: Callable[..., str]) -> None:
    text = render(plausible())
    for said in (
        "ROUTE",
        "28.7%",
        "25.2 to 32.2",
        "22.4%",
        "31.4%",
        "40.4%",
        "4,368",
        "50 nearest neighbours",
    ):
        assert said in text
    assert re.search(r"4\.6 pts", text)


@pytest.mark.parametrize("render", RENDERERS)
def test_the_document_stays_as_it_was(render: Callable[..., str]) -> None:
    document, same = worst(), worst()
    render(document)
    assert same == document


def test_prompts_are_shown_only_where_the_document_has_them() -> None:
    assert "Show the prompt" not in render_html(plausible())
    assert "Show the prompt" in render_html(two_tiers())
    assert "Clause 1" in render_markdown(two_tiers())


def test_missing_parts_of_the_document_are_left_out() -> None:
    document = cannot_tell() | {"sampling": None, "data": None}
    for render in RENDERERS:
        text = render(document)
        assert "CANNOT TELL" in text
        assert "Send at least 30 prompts" in text
        assert "Calibration" not in text.replace("## How", "")


# HTML


def test_the_page_is_well_formed_and_ids_are_unique(page: Page) -> None:
    assert [] == page.open
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    named = [i for _, a in page.elements for i in (a.get("aria-labelledby") or "").split()]
    assert set(named) <= set(ids)


def test_the_page_needs_nothing_but_itself(page: Page, html: str) -> None:
    tags = {tag for tag, _ in page.elements}
    assert set() == tags & {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "video",
        "a",
    }
    loads = {"src", "href", "xlink:href", "action", "data", "style", "srcset", "background"}
    assert [] == [
        (tag, a) for tag, a in page.elements if set(a) & loads or any(name.startswith("on") for name in a)
    ]
    assert "url(" not in html
    (policy,) = [a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


@pytest.mark.parametrize(("make", "limit"), [(plausible, 300_000), (worst, 2_000_000)])
def test_the_page_stays_small(make: Callable[[], dict[str, Any]], limit: int) -> None:
    assert limit > len(render_html(make()).encode())


def test_tables_and_figures_say_what_they_are(page: Page) -> None:
    assert {"lang": "en"} == page.of("html")[0]
    assert 1 == len(page.of("h1"))
    assert len(page.of("table")) == len(page.of("caption"))
    assert all("scope" in a for a in page.of("th"))
    for svg in page.of("svg"):
        assert svg.get("role") == "img" or svg.get("aria-hidden") == "true"
        assert ("aria-labelledby" in svg) == (svg.get("role") == "img")


def test_every_row_of_a_table_is_as_wide_as_its_head(html: str) -> None:
    for table in re.findall(r"<table>.*?</table>", html, re.S):
        widths = {
            sum(int(span or 1) for span in re.findall(r"<t[hd](?:[^>]*?colspan=\"(\d+)\")?[^>]*>", row))
            for row in re.findall(r"<tr.*?</tr>", table, re.S)
        }
        assert 1 == len(widths)


def test_drawings_are_xml(html: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", html, re.S)
    assert drawings
    for drawing in drawings:
        ElementTree.fromstring(drawing)  # noqa: S314 - our own


def test_hostile_names_are_text() -> None:
    page = Page(render_html(worst()))
    assert "<script>alert('x')</script>" in page.text
    assert "lone \ufffd surrogate \ufffd[31mred\ufffd" in page.text


BENIGN = {
    (tag, name)
    for make in DOCUMENTS.values()
    for tag, a in Page(render_html(make())).elements
    for name in (*a, "")
}


@given(st.text(alphabet=st.characters(), max_size=60))
@settings(max_examples=15)
def test_no_text_makes_an_element(text: str) -> None:
    document = two_tiers()
    document.update(title=text, command=text)
    document["verdict"]["headline"] = text
    document["comparison"]["contenders"][0]["label"] = document["comparison"]["tiers"][0]["name"] = text
    document["misroutes"] = [document["misroutes"][0] | {"prompt_id": text, "task": text, "prompt": text}]
    html = render_html(document)
    html.encode("utf-8")
    page = Page(html)
    assert [] == page.open
    assert {(tag, name) for tag, a in page.elements for name in (*a, "")} <= BENIGN


def test_verdicts_differ_in_more_than_colour() -> None:
    pages = {}
    for word in ("ROUTE", "TIE", "DO NOT ROUTE", "CANNOT TELL"):
        document = plausible()
        document["verdict"]["word"] = word
        pages[word] = re.search(r'class="icon-sign" d="([^"]+)"', render_html(document))
    assert 4 == len({found[1] for found in pages.values() if found})


def test_contenders_differ_in_more_than_colour() -> None:
    contenders = worst()["comparison"]["contenders"]
    named = letters(contenders)
    assert 14 == len(set(named.values())) == len(named)
    styles = style_of(contenders)
    assert "s0" == styles["tierwise"]
    assert [f"s{i % 8 + 1}" for i in range(12)] == [styles[f"b{i}"] for i in range(12)]


def test_what_the_reason_says_is_not_said_again() -> None:
    document = plausible()
    contenders, verdict = document["comparison"]["contenders"], document["verdict"]
    ((said, labels),) = standings(contenders, verdict)
    assert ("Clearly beats", 8) == (
        said,
        len(labels),
    )  # without the best baseline, which has its own sentence
    assert "the rule by hand" in labels
    reason = f"It beats {', '.join(labels)}."
    assert [] == standings(contenders, verdict, reason)
    document["verdict"]["ties"] = ["not in the comparison"]
    assert [("Cannot be told from", ["not in the comparison"])] == standings(contenders, verdict, reason)


def test_tiers_are_named_together() -> None:
    contenders = plausible()["comparison"]["contenders"]
    tiers = [c["name"] for c in contenders if c["kind"] == "tier"]
    middle = next(c for c in contenders if c["name"] == "always-middle")
    middle["gap_closed"] = next(c for c in contenders if c["name"] == tiers[1])["gap_closed"]
    verdict: dict[str, Any] = {"beats": ["always-middle", *tiers, "random-mix"], "ties": [], "loses_to": []}
    assert [("Clearly beats", ["each tier alone", "random mixing"])] == standings(contenders, verdict)
    verdict = {"beats": ["always-middle"], "ties": tiers[::2], "loses_to": []}
    assert [["always the middle tier"], ["always small", "always large"]] == [
        labels for _, labels in standings(contenders, verdict)
    ]
    assert ["", "a", "a and b", "a, b and c"] == [listed(list("abc"[:n])) for n in range(4)]


@pytest.mark.parametrize("render", RENDERERS)
def test_one_style_of_numbers(render: Callable[..., str]) -> None:
    document = two_tiers()
    text = render(document)
    assert not re.search(r"\d\s%", text)
    if render is not render_text:
        assert not re.search(r"[\s(>]-\d", text.partition("</style>")[2] or text)
    assert "31.2%" in text
    assert "−" not in text or render is not render_text


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_headings_say_whose_decisions_they_are(render: Callable[..., str]) -> None:
    own, best = render(two_tiers()), render(plausible())
    assert "regret as decided" in own
    assert "regret as decided" not in best
    assert "regret at 97%" in best
    assert "s the model decides by default" in own.partition("Worst misroutes")[2].partition("\n\n")[0]
    assert "heapest setting that keeps 97%" in best.partition("Worst misroutes")[2].partition("\n\n")[0]


@pytest.mark.parametrize("render", RENDERERS)
def test_an_operating_point_may_lack_what_it_likes(render: Callable[..., str]) -> None:
    document = two_tiers()
    assert ("(epsilon) of 0.034" in render(document)) == (render is not render_text)
    document["operating_point"].update(epsilon=None, regret=NOTHING)
    assert "psilon" not in render(document)
    document["operating_point"] = {"text": "Only this."}
    document["sampling"] = None
    assert "None" not in render(document)


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_languages_are_called_scripts(render: Callable[..., str]) -> None:
    text = render(plausible())
    assert "By script" in text
    assert "anguage" not in text.replace("of its language", "")


# Markdown


def test_markdown_holds_no_html_and_no_broken_table(document: dict[str, Any]) -> None:
    text = render_markdown(document)
    assert not re.search(r"(?<!\\)<", text)
    width = None
    for line in text.split("\n"):
        bars = len(re.findall(r"(?<!\\)\|", line))
        width = None if not line.startswith("|") else bars if width is None else width
        assert (width or 0) == bars


def test_markdown_of_hostile_names_neither_links_nor_formats() -> None:
    text = render_markdown(worst())
    assert r"\[link\](https\://example.org)" in text
    assert r"\*\*bold\*\* \_x\_" in text
    document = plausible()
    document["verdict"]["reason"] = "1. not a list"
    document["verdict"]["more_data"] = "- nor this"
    assert "\n1\\. not a list\n" in render_markdown(document)
    assert "\n\\- nor this\n" in render_markdown(document)


# Terminal


def test_terminal_text_fits_and_begins_with_the_verdict(document: dict[str, Any]) -> None:
    text = render_text(document)
    assert text.startswith(document["verdict"]["word"] + ": ")
    for line in text.split("\n"):
        assert 100 >= sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
        assert line == line.rstrip()


def test_terminal_columns_line_up() -> None:
    lines = render_text(plausible()).split("\n")
    start = next(i for i, line in enumerate(lines) if line.endswith("saving at 97% quality"))
    assert {lines[start + 1].index("28.7%") + 5} == {
        line.index("%") + 1 for line in lines[start + 1 : start + 16]
    }


# Words


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("12.3%", percent(0.1234)), ("−12.3%", percent(-0.1234)), ("0.0%", percent(-0.0001)), ("–", percent(None)),
        ("–", percent(float("nan"))), ("–", percent(True)), ("1,234.0%", percent(12.34)), ("+4.6 pts", points(0.046)),
        ("−4.6 pts", points(-0.046)), ("0.0 pts", points(0.0)), ("0.500", decimal(0.5)), ("1,235", count(1234.6)),
        ("$0.00", usd(0)), ("$12.35", usd(12.345)), ("$1,234", usd(1234.4)), ("$0.0123", usd(0.012345)),
        ("$0.00000123", usd(0.00000123)), ("−$0.500", usd(-0.5)), ("–", usd(None)),
        (("10.0%", "5.0 to 15.0"), say(interval(0.1, 0.05))), (("–", ""), say(NOTHING)), (("–", ""), say(None)),
        (("10.0%", ""), say({"value": 0.1, "low": None, "high": None})), (("0.0%", ""), say(interval(0.0, 0.0))),
        (("+10.0 pts", "−5.0 to +25.0"), say(interval(0.1, 0.15), "points")),
        (("0.742", "0.731 to 0.753"), say(interval(0.742, 0.011), "decimal")),
        ("a b", shorten(" a\n b ", 5)), ("abcd…", shorten("abcdef", 5)), ("\ufffd", clean("\ud800")), ("a\nb", clean("a\r\nb")),
    ],
)  # fmt: skip
def test_numbers_and_names_as_people_read_them(expected: object, found: object) -> None:
    assert expected == found


@pytest.mark.parametrize("render", RENDERERS)
def test_an_operating_point_names_the_tier_that_it_is_against(render: Callable[..., str]) -> None:
    document = two_tiers()
    document["operating_point"]["reference"] = "medium-rare"
    text = re.sub("<[^>]*>", "", render(document)).lower()
    assert "saving against medium-rare for all" in text
    assert "quality relative to medium-rare" in text
