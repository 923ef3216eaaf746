"""One headless Chromium for a module of tests of the page; skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from synthetic import Fleet

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
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on PATH")
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
    pytest.importorskip("starlette", reason="the dashboard's extra is not installed")
    from stage import Stage

    return Stage(Fleet(size=2_000, chunk=10, workers=4, kill_at=0.36, failing=9), fraction=0.62)
