"""The dashboard in a real browser: what a person sees, clicks and is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from stage import Stage, playing

from synthetic import Fleet

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


expect.set_options(timeout=15_000)

# The longest time between two frames during three seconds, in milliseconds.
LONGEST_PAUSE = """() => new Promise(done => {
  let last = performance.now(), longest = 0;
  const end = last + 3000;
  const tick = now => {
    longest = Math.max(longest, now - last);
    last = now;
    if (now < end) requestAnimationFrame(tick); else done(longest);
  };
  requestAnimationFrame(tick);
})"""


def open_page(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/#{name}")
    expect(page.locator("#link")).to_have_text("live")


def test_the_overview_shows_the_snapshots_figures(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, "overview")
        run = stage.snapshot.at(stage.fleet.now).runs[0]
        expect(page.locator(".run strong")).to_have_text(run.run)
        expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", f"{100 * run.fraction:g}")
        expect(page.locator(".figures")).to_contain_text(f"{run.done + run.dead:,} of {run.size:,}")
        tasks = page.get_by_role("table", name="Queues").get_by_role("row").filter(has_text="ttg.tasks").first
        expect(tasks).to_contain_text(f"{stage.snapshot.at(0).queues[0].messages}")
        expect(page.locator(".faults")).to_contain_text("worker w4 lost, 1 chunk taken over after 0.6 s")
        expect(page.locator("#throughput svg")).to_have_attribute("aria-label", re.compile("Throughput over time"))


def test_progress_moves_by_itself(page: Page) -> None:
    stage = Stage(Fleet(size=4_000, chunk=10, workers=4), fraction=0.2)
    with playing(stage, live=True) as address:
        open_page(page, address, "overview")
        before = page.get_by_role("progressbar").get_attribute("aria-valuenow")
        expect(page.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", before or "")


def test_the_timeline_has_bars_and_tells_of_each_by_keyboard(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, "timeline")
        expect(page.locator("#lanes")).to_have_text(re.compile(r"4 slots over .*, \d+ chunks, 1 worker lost"))
        page.locator("#lanes-chart canvas").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#lanes-chart .tip")).to_contain_text(re.compile(r"w\d: c\d+ · .* s · 10 done"))
        page.locator("#match").fill("w2")
        page.locator("#match").press("Enter")
        expect(page.locator("#lanes")).to_have_text(re.compile("^1 slot over"))


def test_failures_are_grouped_shown_and_retried(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, "failures")
        cause = page.locator(".cause").filter(has_text="ZeroDivisionError").first
        expect(cause.locator("pre")).to_contain_text("Traceback (most recent call last)")
        cause.get_by_role("button", name=re.compile("Retry")).click()
        expect(page.locator("#toast")).to_have_text("5 parameters submitted again")
    assert stage.results.retried == [
        (stage.fleet.run, "exception", "ZeroDivisionError", "pendulum.py:31 (simulate)"),
    ]


def test_an_opened_traceback_stays_open_while_figures_move(page: Page, stage: Stage) -> None:
    with playing(stage, live=True) as address:
        open_page(page, address, "failures")
        details = page.locator(".cause details").last
        details.locator("summary").click()
        page.evaluate(LONGEST_PAUSE)
        expect(details).to_have_attribute("open", "")


def test_results_are_sorted_paged_and_drawn(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, "results")
        table = page.get_by_role("table", name=re.compile("Results of"))
        expect(page.locator("#picture canvas")).to_have_attribute("aria-label", "mean period over length and damping")
        expect(table.locator("tbody tr")).to_have_count(25)
        table.get_by_role("button", name="period").click()
        expect(table.locator("th[aria-sort=ascending]")).to_have_text("period")
        table.get_by_role("button", name="period").click()
        expect(table.locator("th[aria-sort=descending]")).to_have_text("period")
        expect(table.locator("tbody tr").first).to_contain_text("2.5")
        page.get_by_role("button", name="next").click()
        expect(page.get_by_text("rows 26 to 50 of 1,000")).to_be_visible()


def test_every_page_is_reached_and_worked_by_keyboard(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, "overview")
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        for name in ("Overview", "Timeline", "Workers", "Failures", "Results"):
            link = page.get_by_role("link", name=name).first
            link.focus()
            page.keyboard.press("Enter")
            expect(link).to_have_attribute("aria-current", "page")


def test_light_and_dark_follow_the_system_and_the_switch(browser: Browser, stage: Stage) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    with playing(stage) as address:
        open_page(page, address, "overview")
        dark = background(page)
        page.locator("#theme").click()
        light = background(page)
        page.reload()
        assert background(page) == light
    context.close()
    assert sum(dark) < 120 < 600 < sum(light)


def background(page: Page) -> list[int]:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [int(part) for part in re.findall(r"\d+", colour)[:3]]


@pytest.mark.parametrize("name", ["overview", "timeline", "workers", "failures", "results"])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, stage: Stage, name: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    with playing(stage) as address:
        open_page(page, address, name)
        expect(page.locator("#page .card").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_a_broker_that_is_away_makes_the_page_say_stale_and_it_recovers(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, "overview")
        stage.snapshot.fold_outage("nobody answers at redis://broker")
        expect(page.locator("#banner")).to_contain_text("nobody answers at redis://broker")
        expect(page.locator("#link")).to_have_text("stale")
        stage.go_on()
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator("#banner")).to_be_hidden()


def test_a_dashboard_that_is_gone_makes_the_page_say_so(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, "overview")
    expect(page.locator("#link")).to_have_text("disconnected")
    expect(page.locator("#banner")).to_contain_text("What you see is old")


def test_a_thousand_workers_stay_responsive(page: Page) -> None:
    stage = Stage(Fleet(size=100_000, chunk=10, workers=1_000, kill_at=0.5), fraction=0.8)
    with playing(stage, live=True) as address:
        open_page(page, address, "timeline")
        expect(page.locator("#lanes")).to_have_text(re.compile("1,000 slots over .* shaded by time busy"))
        page.get_by_role("link", name="Workers").first.click()
        expect(page.get_by_text("1 to 100 of 1,000")).to_be_visible()
        longest = page.evaluate(LONGEST_PAUSE)
        assert longest < 500
