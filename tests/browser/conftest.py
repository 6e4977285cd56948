"""Fixtures of the tests in a real browser: the system's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
# The tests of Docker images run as root, where Chromium's own sandbox does not start.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Yield a browser; skip the test where there is no Chromium."""
    if not PROGRAM:
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=PROGRAM, args=OPTIONS)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Yield an empty page of 1280 × 900 pixels; an error of a page's script fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(error))
    yield page
    context.close()
    assert errors == []
