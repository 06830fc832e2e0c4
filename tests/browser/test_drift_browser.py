"""The drift page in a real browser: nothing cut off, nothing loaded, legible in both themes.

Run by `make test-browser`, which needs Chromium and its driver (CHROMIUM and CHROMEDRIVER may say where they are).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_drift import broken, moved, steady, untold, worst
from test_report_page import CONTRAST, CUT, OVERLAPS, SMALLEST, SPILLING, show

from eval.drift_page import render_drift_html, render_drift_svg

pytestmark = pytest.mark.browser

PAGES = {"moved": moved, "steady": steady, "broken": broken, "untold": untold, "worst": worst}
WIDTHS = (1280, 390)
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, as files."""
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        page = render_drift_html(make(), "Drift, week of 2 March 2026")
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
        (folder / f"{name}.svg").write_text(render_drift_svg(make()), encoding="utf-8")
    return folder


each_page = pytest.mark.parametrize("name", PAGES)
each_width = pytest.mark.parametrize("width", WIDTHS)


@each_page
@each_width
def test_the_page_never_scrolls_sideways(browser: Any, folder: Path, name: str, width: int) -> None:
    show(browser, folder / f"{name}.html", width)
    assert width >= browser.execute_script("return document.documentElement.scrollWidth")
    assert [] == browser.execute_script(SPILLING)


@pytest.mark.parametrize("name", ["moved", "broken", "worst"])
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


@pytest.mark.parametrize("theme", THEMES)
def test_the_figure_stands_alone(browser: Any, folder: Path, theme: str) -> None:
    page = folder / f"figure-{theme}.html"
    page.write_text(f"<!doctype html>{(folder / 'moved.svg').read_text(encoding='utf-8')}", encoding="utf-8")
    show(browser, page, 1280, theme)
    placed = OVERLAPS.replace("getBBox()", "getBoundingClientRect()")  # its parts are moved to their places
    assert [] == browser.execute_script(placed, 0.1)
    page.write_text('<!doctype html><img src="moved.svg">', encoding="utf-8")
    show(browser, page, 1280, theme)
    assert 0 < browser.execute_script("return document.images[0].naturalWidth")
