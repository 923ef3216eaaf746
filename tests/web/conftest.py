"""One headless Chromium for a module of tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from synthetic import Fleet
from tools import need_program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from stage import Stage

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")  # Playwright keeps an event loop in this thread while it is open
def browser() -> Iterator[Browser]:
    from playwright import sync_api

    program = need_program("chromium", "chromium-browser", "google-chrome", install="chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which any error of a script fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(10_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    unexpected = [text for text in complaints if "Failed to load resource" not in text and "ERR_" not in text]
    assert not unexpected


@pytest.fixture
def stage() -> Stage:
    """Four workers at 62 % of 200 chunks, one of them lost at 36 %, some parameters failing."""
    from stage import Stage

    return Stage(Fleet(size=2_000, chunk=10, workers=4, kill_at=0.36, failing=9), fraction=0.62)
