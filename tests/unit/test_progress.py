"""Progress: figures, the line that shows them, and when it is said."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import pytest

from ttg.run.progress import Progress
from ttg.run.reporter import (
    PlainReporter,
    Silent,
    TerminalReporter,
    bar,
    describe,
    human_count,
    reporter_for,
)


def progress(done: int = 250, **changes: object) -> Progress:
    values = {
        "run": "r",
        "total": 1000,
        "done": done,
        "dead": 0,
        "retrying": 0,
        "rate": 50.0,
        "eta_seconds": 15.0,
        "workers": 2,
        "seconds": 5.0,
    }
    return Progress(**{**values, **changes})  # type: ignore[arg-type]


def test_a_paused_run_has_no_time_left() -> None:
    shown = describe(progress(paused=True, workers=0, note="3 under way: `ttg unpause r` goes on"))
    assert shown == "250/1,000, paused – 3 under way: `ttg unpause r` goes on"


def test_the_line_says_everything_that_is_the_case_and_nothing_else() -> None:
    assert describe(progress()) == "250/1,000, 50/s, ETA 15 s, 2 workers"
    shown = describe(progress(dead=3, retrying=7, workers=1, note="broker: away"))
    assert shown.endswith("1 worker, 3 failed, 7 retrying – broker: away")
    assert "done" in describe(progress(1000))
    assert describe(progress(dead=3, cause="KeyError: 'x' at sim.py:3 (f)")).endswith(
        "3 failed – KeyError: 'x' at sim.py:3 (f)"
    )


def test_without_a_rate_there_is_no_eta() -> None:
    assert describe(progress(rate=0.0, eta_seconds=None)) == "250/1,000, 2 workers"


def test_the_time_left_is_a_range_where_it_is_not_well_known_and_has_an_end() -> None:
    known = progress(
        eta_seconds=480.0,
        eta_least_seconds=420.0,
        eta_most_seconds=540.0,
        at=time.mktime((2026, 5, 4, 8, 32, 0, 0, 0, -1)),
    )
    assert describe(known) == "250/1,000, 50/s, ETA 7 to 9 min, ends about 08:40, 2 workers"
    assert bar(known, 60).endswith("250/1,000, 50/s, ETA 7 to 9 min, 2 workers")
    sure = replace(known, eta_least_seconds=470.0, eta_most_seconds=490.0)
    assert "ETA 8 min 00 s, ends about 08:40" in describe(sure)
    assert "ETA 3.5 to 5.1 h, ends about" in describe(
        replace(known, eta_seconds=4 * 3600.0, eta_least_seconds=3.5 * 3600, eta_most_seconds=5.1 * 3600)
    )
    assert "ends about Thu 08:32" in describe(replace(known, eta_seconds=3 * 86_400.0))


def test_before_anything_happened_the_line_says_what_it_waits_for() -> None:
    assert describe(progress(0, rate=0.0, workers=0)) == "0/1,000, waiting for workers"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_the_line_fits_any_terminal(width: int) -> None:
    line = bar(progress(250, note="broker away, trying again"), width)
    assert len(line) <= width
    assert " 25 %" in line


@pytest.mark.parametrize(
    ("width", "start"),
    [
        (90, " 31 %  310/1,000, 50/s, ETA 15 s, 2 workers, 60 failed – KeyError at sim.py:3 (f): no "),
        (80, " 31 %  310/1,000, 50/s, ETA 15 s, 60 failed – KeyError at sim.py:3 (f): no "),
        (65, " 31 %  310/1,000, 60 failed – KeyError at sim.py:3 (f): no "),
        (50, " 31 %  310/1,000 – KeyError at sim.py:3 (f): no "),
        (30, " 31 %  310/1,000 – KeyError"),
    ],
)
def test_a_narrow_line_spares_figures_rather_than_the_place_of_the_cause(width: int, start: str) -> None:
    line = bar(progress(250, dead=60, cause="KeyError at sim.py:3 (f): no such colour, nor a texture"), width)
    assert line.startswith(start)
    assert len(line) == width


def test_at_the_end_the_place_is_worth_more_than_that_it_is_the_end() -> None:
    line = bar(progress(940, dead=60, cause="KeyError at sim.py:3 (f): no"), 50)
    assert line == "100 %  1,000/1,000 – KeyError at sim.py:3 (f): no"


def test_a_hundred_per_cent_is_everything() -> None:
    assert "99 %" in bar(progress(total=1_000_000, done=999_999))


def test_the_bar_is_empty_at_first_and_full_at_last() -> None:
    assert bar(progress(0)).startswith("─" * 24 + "   0 %")
    assert bar(progress(1000)).startswith("━" * 24 + " 100 %")


def test_counts_read_well() -> None:
    assert [human_count(n) for n in (0, 1.5, 999, 1234567, 2.5e7, 2.5e9, 1e12)] == [
        "0",
        "1.5",
        "999",
        "1,234,567",
        "25.00 M",
        "2.50 G",
        "1.00 T",
    ]


def test_plain_lines_come_rarely_never_twice_and_always_at_the_end() -> None:
    stream, now = io.StringIO(), [0.0]
    report = PlainReporter(stream, clock=lambda: now[0])
    for now[0], done in ((0.0, 0), (1.0, 100), (5.5, 500), (11.0, 500), (11.1, 1000), (11.2, 1000)):
        report(progress(done))
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["0", "50", "100"]


def test_the_reporter_suits_the_stream() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(reporter_for(Terminal()), TerminalReporter)
    assert isinstance(reporter_for(io.StringIO()), PlainReporter)
    assert isinstance(reporter_for(Terminal(), quiet=True), Silent)
