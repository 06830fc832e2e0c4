"""A headless Chromium; CHROMIUM and CHROMEDRIVER may say where it and its driver are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find(variable: str, *names: str) -> str:
    """Return the path of a program, or fail with what to install."""
    asked = os.environ.get(variable)
    for name in [asked] if asked else names:
        found = shutil.which(name)
        if found:
            return found
    pytest.fail(
        f"these tests need Chromium and its driver, and found no {asked or ' or '.join(names)}; install them "
        f"(Debian: apt-get install chromium chromium-driver) or say where it is in {variable}"
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = find("CHROMIUM", "chromium", "chromium-browser", "google-chrome")
    driver_file = find("CHROMEDRIVER", "chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_file))
    yield driver
    driver.quit()
