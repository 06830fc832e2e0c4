"""The page of a report in a real browser: nothing cut off, nothing loaded, legible in both themes.

Run by `make test-browser`, which needs Chromium and its driver (CHROMIUM and CHROMEDRIVER may say where they are).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_report import bare, cannot_tell, histories, plausible, two_tiers, worst

from eval.report_histories import render_svg
from eval.report_html import render_html

pytestmark = pytest.mark.browser

PAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "plausible": plausible,
    "worst": worst,
    "cannot-tell": cannot_tell,
    "two-tiers": two_tiers,
    "bare": lambda: bare(plausible()),
}
WIDTHS = (1440, 820, 390)
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, as files."""
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_text(render_html(make()), encoding="utf-8")
    return folder


def show(browser: Any, page: Path, width: int, theme: str = "light") -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "screen", "features": [{"name": "prefers-color-scheme", "value": theme}]},
    )
    browser.get(page.as_uri())
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")


each_page = pytest.mark.parametrize("name", PAGES)
each_width = pytest.mark.parametrize("width", WIDTHS)

SPILLING = """
const wide = document.documentElement.clientWidth + 0.5;
return [...document.body.querySelectorAll('*')].filter(e => {
  if (e.closest('.scroll') && !e.classList.contains('scroll')) return false;
  if (e.closest('svg') && e.tagName !== 'svg') return false;
  const r = e.getBoundingClientRect();
  return r.width > 0 && (r.right > wide || r.left < -0.5);
}).map(e => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 40));
"""


@each_page
@each_width
def test_the_page_never_scrolls_sideways(browser: Any, folder: Path, name: str, width: int) -> None:
    show(browser, folder / f"{name}.html", width)
    assert width == browser.execute_script("return innerWidth")
    assert width >= browser.execute_script("return document.documentElement.scrollWidth")
    assert [] == browser.execute_script(SPILLING)


def test_on_a_wide_screen_no_table_scrolls(browser: Any, folder: Path) -> None:
    show(browser, folder / "plausible.html", 1440)
    widths = "return [...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
    found = browser.execute_script(widths)
    assert len(found) > 3
    assert {0} == set(found)


CUT = """
return [...document.querySelectorAll('svg[role=img]')].filter(s => s.getBoundingClientRect().width > 0).flatMap(s => {
  const v = s.viewBox.baseVal;
  return [...s.querySelectorAll('text')].filter(t => {
    const b = t.getBBox();
    return b.x < v.x - 0.5 || b.y < v.y - 0.5 || b.x + b.width > v.x + v.width + 0.5 || b.y + b.height > v.y + v.height + 0.5;
  }).map(t => t.textContent);
});
"""
OVERLAPS = """
return [...document.querySelectorAll('svg[role=img]')].filter(s => s.getBoundingClientRect().width > 0).flatMap(s => {
  const texts = [...s.querySelectorAll('text')], boxes = texts.map(t => t.getBBox()), found = [];
  for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
    const a = boxes[i], b = boxes[j];
    const across = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
    const down = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
    if (across > 1 && down > 1) {
      const share = across * down / Math.min(a.width * a.height, b.width * b.height);
      if (share > arguments[0]) found.push(texts[i].textContent + ' / ' + texts[j].textContent + ' ' + share.toFixed(2));
    }
  }
  return found;
});
"""
SMALLEST = """
return Math.min(...[...document.querySelectorAll('svg[role=img]')].filter(s => s.getBoundingClientRect().width > 0)
  .flatMap(s => [...s.querySelectorAll('text')].map(t =>
    parseFloat(getComputedStyle(t).fontSize) * s.getBoundingClientRect().width / s.viewBox.baseVal.width)));
"""


@pytest.mark.parametrize("name", ["plausible", "worst", "two-tiers"])
@each_width
def test_text_in_figures_is_whole_and_large_enough(browser: Any, folder: Path, name: str, width: int) -> None:
    show(browser, folder / f"{name}.html", width)
    assert [] == browser.execute_script(CUT)
    assert 9.5 <= browser.execute_script(SMALLEST)


@pytest.mark.parametrize(
    ("name", "allowed", "share"), [("plausible", 0, 0.1), ("two-tiers", 0, 0.1), ("worst", 6, 0.5)]
)
@each_width
def test_labels_in_figures_stand_apart(
    browser: Any, folder: Path, name: str, allowed: int, share: float, width: int
) -> None:
    show(browser, folder / f"{name}.html", width)
    overlaps = browser.execute_script(OVERLAPS, share)
    assert allowed >= len(overlaps), overlaps


CONTRAST = """
const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const parse = s => (s.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const under = e => {
  for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const seen = new Map();
for (const e of document.body.querySelectorAll('*')) {
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
  if (e.getBoundingClientRect().width === 0 || ['title', 'desc'].includes(e.tagName)) continue;
  const style = getComputedStyle(e), drawn = e instanceof SVGElement;
  const a = light(parse(drawn ? style.fill : style.color)), b = light(under(drawn ? e.ownerSVGElement.parentElement : e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) seen.set(e.tagName + '.' + (e.getAttribute('class') || '') + ' ' + ratio.toFixed(2), 1);
}
return [...seen.keys()];
"""


@pytest.mark.parametrize("name", ["plausible", "worst", "cannot-tell", "two-tiers"])
@pytest.mark.parametrize("theme", THEMES)
def test_all_text_has_contrast(browser: Any, folder: Path, name: str, theme: str) -> None:
    show(browser, folder / f"{name}.html", 1440, theme)
    assert [] == browser.execute_script(CONTRAST)


def test_the_check_of_contrast_can_fail(browser: Any, folder: Path) -> None:
    show(browser, folder / "plausible.html", 1440)
    browser.execute_script("document.querySelector('h1').style.color = '#999'")
    assert 1 <= len(browser.execute_script(CONTRAST))


def test_the_themes_differ(browser: Any, folder: Path) -> None:
    grounds = []
    for theme in THEMES:
        show(browser, folder / "plausible.html", 1440, theme)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert "rgb(255, 255, 255)" == grounds[0]
    assert grounds[0] != grounds[1]


@each_page
def test_nothing_is_loaded_run_or_complained_of(browser: Any, folder: Path, name: str) -> None:
    browser.get_log("browser")
    show(browser, folder / f"{name}.html", 1440)
    assert [] == browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert 0 == browser.execute_script("return document.scripts.length")
    assert [] == browser.get_log("browser")


def test_the_policy_forbids_what_a_name_might_smuggle_in(browser: Any, folder: Path) -> None:
    show(browser, folder / "plausible.html", 1440)
    browser.execute_script(
        "const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i);"
        "const s = document.createElement('script'); s.textContent = 'window.smuggled = 1'; document.body.append(s);"
    )
    assert browser.execute_script("return window.smuggled === undefined")
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


@pytest.mark.parametrize("name", ["plausible", "two-tiers", "cannot-tell"])
def test_a_printed_sheet_holds_the_tables(browser: Any, folder: Path, name: str) -> None:
    show(browser, folder / f"{name}.html", 718)  # A4 within Chromium's margins
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert 718 >= browser.execute_script("return document.documentElement.scrollWidth")


@each_width
def test_one_size_of_each_figure_is_shown(browser: Any, folder: Path, width: int) -> None:
    show(browser, folder / "plausible.html", width)
    shown = browser.execute_script(
        "return ['wide', 'narrow'].map(c => [...document.querySelectorAll('svg.' + c)]"
        ".filter(s => s.getBoundingClientRect().width > 0).length)"
    )
    assert ([4, 0] if width > 896 else [0, 4]) == shown


@pytest.mark.parametrize(("wide", "width"), [(True, 830), (False, 830), (False, 390)])
@pytest.mark.parametrize("theme", THEMES)
def test_the_figure_of_histories_reads(
    browser: Any, tmp_path: Path, wide: bool, width: int, theme: str
) -> None:
    page = tmp_path / "figure.html"
    fitting = "<style>body { margin: 8px } svg { max-width: 100%; height: auto }</style>"
    page.write_text(f"<!doctype html>{fitting}{render_svg(histories(), wide=wide)}", encoding="utf-8")
    show(browser, page, width, theme)
    assert [] == browser.execute_script(CUT)
    assert [] == browser.execute_script(OVERLAPS, 0.02)
    assert 9.5 <= browser.execute_script(SMALLEST)
    page.with_suffix(".svg").write_text(render_svg(histories(), wide=wide), encoding="utf-8")
    page.write_text('<!doctype html><img src="figure.svg">', encoding="utf-8")
    show(browser, page, width, theme)
    assert 0 < browser.execute_script("return document.images[0].naturalWidth")


def test_the_keyboard_reaches_tables_and_shows_where_it_is(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(browser, folder / "plausible.html", 390)
    ActionChains(browser).send_keys(Keys.TAB).perform()
    focused = (
        "return [document.activeElement.className, getComputedStyle(document.activeElement).outlineStyle]"
    )
    assert ["scroll", "solid"] == browser.execute_script(focused)


def test_prompts_open_without_a_script(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.by import By

    show(browser, folder / "two-tiers.html", 1440)
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = false")
    prompt = browser.find_element(By.CSS_SELECTOR, "tr.prompt pre")
    assert not prompt.is_displayed()
    browser.find_element(By.CSS_SELECTOR, "tr.prompt summary").click()
    assert prompt.is_displayed()
