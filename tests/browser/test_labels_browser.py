"""The label page in a real browser: nothing cut off, nothing loaded, legible in both themes.

Run by `make test-browser`, which needs Chromium and its driver (CHROMIUM and CHROMEDRIVER may say where they are).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_labels import SAMPLES, document
from test_report_page import CONTRAST, CUT, OVERLAPS, SMALLEST, SPILLING, show

from eval.labels_page import render_labels_html

pytestmark = pytest.mark.browser

WIDTHS = (1280, 390)
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, as files."""
    folder = tmp_path_factory.mktemp("pages")
    for name in SAMPLES:
        (folder / f"{name}.html").write_text(render_labels_html(document(name, folder)), encoding="utf-8")
    return folder


each_page = pytest.mark.parametrize("name", SAMPLES)
each_width = pytest.mark.parametrize("width", WIDTHS)


@each_page
@each_width
def test_the_page_never_scrolls_sideways(browser: Any, folder: Path, name: str, width: int) -> None:
    show(browser, folder / f"{name}.html", width)
    assert width >= browser.execute_script("return document.documentElement.scrollWidth")
    assert [] == browser.execute_script(SPILLING)


def test_on_a_wide_screen_no_table_scrolls(browser: Any, folder: Path) -> None:
    show(browser, folder / "plausible.html", 1280)
    found = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
    )
    assert len(found) > 8
    assert {0} == set(found)


@pytest.mark.parametrize("name", ["plausible", "sampled", "censored", "worst"])
@each_width
def test_text_in_figures_is_whole_apart_and_large_enough(
    browser: Any, folder: Path, name: str, width: int
) -> None:
    show(browser, folder / f"{name}.html", width)
    assert [] == browser.execute_script(CUT)
    assert [] == browser.execute_script(OVERLAPS, 0.1)
    assert 9.5 <= browser.execute_script(SMALLEST)


@each_page
@pytest.mark.parametrize("theme", THEMES)
def test_all_text_has_contrast(browser: Any, folder: Path, name: str, theme: str) -> None:
    show(browser, folder / f"{name}.html", 1280, theme)
    assert [] == browser.execute_script(CONTRAST)


@each_page
def test_nothing_is_loaded_run_or_complained_of(browser: Any, folder: Path, name: str) -> None:
    browser.get_log("browser")
    show(browser, folder / f"{name}.html", 1280)
    assert [] == browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert 0 == browser.execute_script("return document.scripts.length")
    assert [] == browser.get_log("browser")
