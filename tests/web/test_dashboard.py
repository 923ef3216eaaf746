"""The dashboard in a real browser: what a person sees, clicks and is told."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from playwright.sync_api import expect
from stage import TOKEN, Stage, playing

from synthetic import Fleet
from ttg.messages import RunRecord, RunStatus
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.web.source import Retrial, RunOnDisk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page


expect.set_options(timeout=15_000)
RUN_TABS = ("overview", "timeline", "failures", "results")

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
    page.goto(f"{address}/?token={TOKEN}#{name}")
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
    stage.lie_on_disk()
    page.on("dialog", lambda dialog: dialog.accept())
    with playing(stage) as address:
        open_page(page, address, "failures")
        cause = page.locator(".cause").filter(has_text="ZeroDivisionError").first
        expect(cause.locator("pre")).to_contain_text("Traceback (most recent call last)")
        cause.get_by_role("button", name=re.compile("Retry")).click()
        expect(page.locator("#toast")).to_have_text("5 parameters submitted again")
        cause.get_by_text("Which parameters").click()
        cause.get_by_role("button", name="Retry index 17").click()
        expect(page.locator("#toast")).to_have_text("1 parameter submitted again")
        page.get_by_role("button", name=re.compile("Retry all 10 parameters")).click()
        expect(page.locator("#toast")).to_have_text("5 parameters submitted again")
    of_cause = Retrial(error="ZeroDivisionError", place="pendulum.py:31 (simulate)")
    assert [which for _, which in stage.results.retried] == [of_cause, Retrial(index=17), Retrial()]


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
        expect(page.locator("#picture canvas")).to_have_attribute(
            "aria-label", re.compile("^mean period over length and damping")
        )
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
        for name in ("Overview", "Runs", "Timeline", "Workers"):
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


@pytest.mark.parametrize("name", ["overview", "runs", "timeline", "workers", "failures", "results"])
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
    with playing(stage, suddenly=True) as address:
        open_page(page, address, "overview")
    expect(page.locator("#link")).to_have_text("disconnected")
    expect(page.locator("#banner")).to_contain_text("what you see is old")


def test_a_dashboard_that_ends_says_goodbye_and_is_not_called_lost(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, f"run/{stage.fleet.run}/overview")
        expect(page.locator("#run-throughput svg")).to_be_visible()
    expect(page.locator("#note")).to_have_text("The show is over.")
    expect(page.locator(".figures")).to_be_visible()
    expect(page.locator("#link")).to_have_text("ended")
    expect(page.locator("#banner")).to_be_hidden()


# ---------------------------------------------------------------------------------------------- runs


def test_a_run_is_found_in_the_list_and_opened_and_back_and_reload_keep_the_choices(page: Page, stage: Stage) -> None:
    stage.lie_on_disk()
    other = replace(stage.results.on_disk[0].view, run="swing", function="swing.py:swing", started=1.0, dead=0)
    stage.results.on_disk.append(RunOnDisk(other, "", "/data/swing", []))
    with playing(stage) as address:
        open_page(page, address, "runs")
        names = page.get_by_role("table", name="All runs").locator("tbody td.run")
        expect(names).to_have_text([stage.fleet.run, "swing"])
        page.get_by_role("button", name="started").click()
        expect(names).to_have_text(["swing", stage.fleet.run])
        page.locator("#find-run").fill("pendulum.py")
        expect(names).to_have_text([stage.fleet.run])
        page.reload()
        expect(names).to_have_text([stage.fleet.run])
        page.get_by_role("link", name=stage.fleet.run).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Run {stage.fleet.run}")
        page.get_by_role("link", name="Results").click()
        page.locator("select[data-choose=across]").select_option("damping")
        expect(page.locator("#picture canvas")).to_have_attribute("aria-label", re.compile("over damping and length"))
        page.reload()
        expect(page.locator("#picture canvas")).to_have_attribute("aria-label", re.compile("over damping and length"))
        page.go_back()
        expect(page.locator("#picture canvas")).to_have_attribute("aria-label", re.compile("over length and damping"))
        page.go_back()
        expect(page.get_by_role("heading", name="Throughput")).to_be_visible()


def test_runs_that_are_checked_in_the_list_are_compared(page: Page, stage: Stage) -> None:
    stage.lie_on_disk()
    facts = [("seed", "0"), ("length", "linspace(0.1, 2.5, 25)")]
    one = replace(stage.results.on_disk[0], facts=[*facts, ("retries", "3")], pace=(10, 100, 40, 70))
    other = replace(one, view=replace(one.view, run="a,b/c"), facts=[*facts, ("retries", "5")])
    stage.results.on_disk = [one, other]
    with playing(stage) as address:
        open_page(page, address, "runs")
        expect(page.locator("svg.spark")).to_have_count(2)
        for run in (stage.fleet.run, "a,b/c"):
            page.get_by_role("checkbox", name=f"compare {run}").check()
        page.get_by_role("link", name="Compare 2 runs").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Compare {stage.fleet.run}, a,b/c")
        expect(page.locator("#compared svg .trace")).to_have_count(2)
        expect(page.locator("#compared .legend span")).to_have_text([stage.fleet.run, "a,b/c"])
        expect(page.locator("tr.differs")).to_have_text(["≠retries35"])
        page.locator("select[data-choose=across]").select_option("damping")
        page.reload()
        expect(page.locator("#compared svg")).to_have_attribute("aria-label", "mean period over damping")
        page.go_back()
        page.go_back()
        expect(page.get_by_role("checkbox", name="compare a,b/c")).to_be_checked()


def test_a_run_that_is_over_is_complete_without_a_broker(page: Page, stage: Stage) -> None:
    stage.lie_on_disk()
    view, chunks = stage.results.on_disk[0].view, stage.results.kept[stage.fleet.run].chunks
    stage.snapshot = Snapshot()
    stage.snapshot.watched = False
    with playing(stage) as address:
        page.goto(f"{address}/?token={TOKEN}#run/{stage.fleet.run}/overview")
        expect(page.locator("#link")).to_have_text("from folders")
        expect(page.locator(".figures")).to_contain_text(f"{view.done + view.dead:,} of {view.size:,}")
        expect(page.locator("#run-throughput svg")).to_be_visible()
        expect(page.locator(".faults")).to_contain_text("worker w4 lost, 1 chunk taken over after 0.6 s")
        expect(page.locator(".facts")).to_contain_text("/data/runs/pendulum")
        page.get_by_role("link", name="Timeline").click()
        expect(page.locator("#lanes")).to_have_text(re.compile(rf"4 slots over .*, {chunks} chunks, 1 worker lost"))
        page.get_by_role("link", name="Failures").click()
        cause = page.locator(".cause").first
        expect(cause).to_contain_text("7 parameters, 28 attempts, 2 mended since")
        cause.get_by_text("Which parameters").click()
        expect(cause.get_by_role("table")).to_contain_text("length is red")
        page.get_by_role("link", name="Results").click()
        expect(page.get_by_role("table", name=re.compile("Results of")).locator("tbody tr")).to_have_count(25)


def test_a_run_is_paused_and_cancelled_and_a_worker_drained_only_when_that_is_confirmed(
    page: Page,
) -> None:
    stage = Stage(Fleet(size=40_000, chunk=10, workers=4), fraction=0.1)
    run, answers = stage.fleet.run, list[str]()

    def answer(dialog: Dialog) -> None:
        answers.append(dialog.message)
        if len(answers) == 1:
            dialog.dismiss()
        else:
            dialog.accept()

    page.on("dialog", answer)
    with playing(stage, live=True) as address:
        page.goto(f"{address}/?token={TOKEN}#run/{stage.fleet.run}/overview")
        button = page.get_by_role("button", name="Cancel the run")
        button.click()
        expect(button).to_be_enabled()
        button.click()
        expect(page.locator("#toast")).to_have_text(f"cancel {run}: done")
        assert stage.results.controlled == [("cancel", run, "")]
        page.get_by_role("button", name="Pause the run").click()
        expect(page.locator("#toast")).to_have_text(f"pause {run}: done")
        pause_it(stage)
        expect(page.locator(".run .pill")).to_have_text("paused")
        page.get_by_role("button", name="Go on with the run").click()
        expect(page.locator("#toast")).to_have_text(f"unpause {run}: done")
        page.get_by_role("link", name="Workers").click()
        page.get_by_role("row", name="w2").get_by_role("button", name="Drain w2").click()
        expect(page.locator("#toast")).to_have_text(f"drain {run}: done")
    assert stage.results.controlled[1:] == [("pause", run, ""), ("unpause", run, ""), ("drain", run, "w2")]
    assert len(answers) == 5
    assert all(f"run {run}" in question for question in answers)
    assert "worker w2" in answers[-1]


def pause_it(stage: Stage) -> None:
    state = stage.snapshot.runs.states[stage.fleet.run]
    state.record = RunRecord(run=state.run, paused=True, lease_seconds=600.0)
    state.renewed = stage.fleet.now


def test_a_table_is_downloaded_and_logs_are_looked_at(page: Page, stage: Stage) -> None:
    stage.lie_on_disk()
    with playing(stage) as address:
        open_page(page, address, "results")
        for name in ("csv", "parquet"):
            with page.expect_download() as download:
                page.get_by_role("link", name=f"download {name}").click()
            assert download.value.path().read_text() == f"{name} of {stage.fleet.run}"
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="copy as Python").click()
        expect(page.locator("#toast")).to_have_text("Copied")
        assert 'ttg.open_run("/data/runs/pendulum")' in page.evaluate("navigator.clipboard.readText()")
        page.get_by_text("In Python").click()
        expect(page.get_by_text('ttg.open_run("/data/runs/pendulum")')).to_be_visible()
        page.locator(".tabs.inner").get_by_role("link", name="Overview").click()
        page.get_by_text("What the workers said last").click()
        expect(page.locator("#said pre")).to_have_text("slot 0 pendulum[17]: swinging wildly")


def test_the_skip_link_leads_to_the_page_that_is_open(page: Page, stage: Stage) -> None:
    with playing(stage) as address:
        open_page(page, address, "workers")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        expect(page.get_by_role("table", name="Workers")).to_be_visible()


def test_a_failure_that_a_retry_mended_is_called_mended(page: Page, stage: Stage) -> None:
    stage.lie_on_disk(RunStatus.FINISHED)
    with playing(stage) as address:
        page.goto(f"{address}/?token={TOKEN}#run/{stage.fleet.run}/failures")
        expect(page.locator(".cause .pill").first).to_have_text("mended")
        expect(page.locator(".tabs .badge")).to_have_count(0)


def test_a_heat_map_is_read_by_keyboard_and_tells_what_failed(page: Page, stage: Stage) -> None:
    stage.results.given_up = {"length": [0.1, 3.0], "damping": [0.0, 0.0]}
    stage.results.axis_to = 3.0
    with playing(stage) as address:
        open_page(page, address, "results")
        expect(page.locator("#picture .legend")).to_have_text("given upnot computed")
        canvas = page.locator("#picture canvas")
        canvas.focus()
        for _ in range(40):
            canvas.press("ArrowRight")
        for _ in range(40):
            canvas.press("ArrowDown")
        expect(page.locator("#picture .tip")).to_have_text("length 3, damping 0: given up")


def test_an_idle_page_is_sent_next_to_nothing() -> None:
    stage = Stage(Fleet(size=200, chunk=10, workers=4), fraction=1.0)
    for event in stage.log:  # its end, and the workers' farewells
        stage.snapshot.fold(event)
    with playing(stage, live=True) as address:
        question = urllib.request.Request(f"{address}/api/stream", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(question, timeout=20) as stream:
            events = (json.loads(line.removeprefix(b"data: ")) for line in stream if line.strip())
            assert {"runs", "queues", "depths", "throughput", "faults"} <= next(events).keys()
            assert [next(events).keys() for _ in range(3)] == [{"at"}] * 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page_and_each_has_its_heading(browser: Browser, stage: Stage, scheme: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    stage.lie_on_disk()
    stage.results.on_disk.append(
        replace(stage.results.on_disk[0], view=replace(stage.results.on_disk[0].view, run="b"))
    )
    pages = [f"run/{stage.fleet.run}/{tab}" for tab in RUN_TABS]
    with playing(stage) as address:
        page.goto(f"{address}/?token={TOKEN}")
        for name in ("overview", "runs", "timeline", "workers", *pages, f"compare/{stage.fleet.run},b"):
            page.goto(f"{address}/#{name}")
            expect(page.locator("#page .card").first).to_be_visible()
            expect(page.get_by_role("heading", level=1)).to_have_count(1)
            found = Axe().run(page)
            assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    context.close()


def test_a_thousand_workers_stay_responsive(page: Page) -> None:
    stage = Stage(Fleet(size=100_000, chunk=10, workers=1_000, kill_at=0.5), fraction=0.8)
    with playing(stage, live=True) as address:
        open_page(page, address, "timeline")
        expect(page.locator("#lanes")).to_have_text(re.compile("1,000 slots over .* shaded by time busy"))
        page.get_by_role("link", name="Workers").first.click()
        expect(page.get_by_text("1 to 100 of 1,000")).to_be_visible()
        longest = page.evaluate(LONGEST_PAUSE)
        assert longest < 500
