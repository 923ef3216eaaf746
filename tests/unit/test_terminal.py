"""What the terminal shows: complete, right, and no wider than 80 columns."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console, RenderableType

from synthetic import Fleet
from ttg.monitor.screen import Screen
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.terminal import render
from ttg.monitor.view import View, to_json
from ttg.monitor.words import as_broker, as_bytes, as_duration, as_rate


def view_of(fleet: Fleet, chunks: int, later: float = 0.5) -> View:
    snapshot = Snapshot()
    for event in fleet.events():
        snapshot.fold(event)
        snapshot.fold_stats(fleet.stats(), fleet.now)
        if fleet.settled_chunks >= chunks:
            break
    return snapshot.at(fleet.now + later)


def text_of(view: View, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(view))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_everything_worth_knowing_is_there() -> None:
    text = text_of(view_of(Fleet(size=1_000, chunk=10, kill_at=0.3, failing=9), chunks=60))
    assert "TTG  redis 7.2" in text
    assert "pendulum-7f3a  pendulum.py:simulate  active" in text
    assert "of 1,000" in text
    assert "queue              messages  consumers  ready  unacknowledged" in text
    assert "ttg.tasks.retry" in text
    assert "worker w3 lost, 1 chunk taken over after 0.6 s" in text
    assert "ZeroDivisionError: float division by zero" in text
    assert "Workers · 2 alive, 1 lost" in text
    assert "failing: ZeroDivisionError at pendulum.py:31 (simulate): float division by zero" in text


@pytest.mark.parametrize("width", [60, 80, 132])
@pytest.mark.parametrize("workers", [3, 500])
def test_no_line_is_wider_than_the_terminal(width: int, workers: int) -> None:
    text = text_of(view_of(Fleet(size=20_000, chunk=10, workers=workers, kill_at=0.3), chunks=1_000), width)
    assert max(map(len, text.splitlines())) <= width
    assert len(text.splitlines()) < 60


class Drawn:
    """A screen of 80 × 24 and what is on it."""

    def __init__(self, height: int = 24) -> None:
        self.console = Console(file=io.StringIO(), width=80, height=height, force_terminal=True, color_system=None)
        self.screen = Screen(self.console, self._update)

    def _update(self, picture: RenderableType) -> None:
        self.console.file = io.StringIO()
        self.console.print(picture, end="")
        self.text = self.console.file.getvalue()

    def after(self, view: View, *keys: bytes) -> str:
        for key in keys:
            self.screen.press(key)
        self.screen.draw(view)
        return self.text


@pytest.mark.parametrize("workers", [3, 500])
def test_a_small_screen_keeps_what_matters_and_names_the_keys(workers: int) -> None:
    drawn = Drawn()
    lines = drawn.after(view_of(Fleet(size=20_000, workers=workers, kill_at=0.3, failing=9), chunks=1_000)).splitlines()
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in (
        "pendulum-7f3a",
        "of 20,000",
        "peak",
        "OverflowError",
        "1 lost",
        " taken over after 0.6 s",
        "ttg.tasks.retry",
    ):
        assert word in text
    assert lines[-1].startswith("q quit")


def test_a_screen_that_is_too_small_scrolls() -> None:
    drawn, view = Drawn(height=10), view_of(Fleet(size=20_000, kill_at=0.3, failing=9), chunks=1_000)
    assert drawn.after(view).startswith("TTG  redis 7.2")
    top = drawn.after(view, b"j").splitlines()
    assert top[0].startswith("pendulum-7f3a")
    assert "lines 2–10 of" in top[-1]
    end = drawn.after(view, b"G").splitlines()
    assert end[-2].startswith("ttg.tasks")
    assert drawn.after(view, b" ").splitlines() == end  # there is no more
    assert drawn.after(view, b"g").startswith("TTG")


def test_keys_choose_a_run_and_quit() -> None:
    snapshot = Snapshot()
    for name in ("first", "second"):
        fleet = Fleet(run=name, failing=9)
        for event in fleet.events():
            snapshot.fold(event)
    drawn, view = Drawn(height=40), snapshot.at(fleet.now)
    both = drawn.after(view)
    assert both.index("second  pendulum.py") < both.index("first  pendulum.py")
    assert "Tab run (all 2)" in both
    chosen = drawn.after(view, b"\t")
    assert "first  pendulum.py" not in chosen
    assert "Tab run (1 of 2)" in chosen
    assert "second  pendulum.py" not in drawn.after(view, b"n")
    assert drawn.after(view, b"\t") == both
    assert not drawn.screen.quits
    drawn.screen.press(b"q")
    assert drawn.screen.quits


def test_nothing_is_stale_before_the_first_answer() -> None:
    snapshot = Snapshot()
    snapshot.fold_outage("nobody answers at redis://h")
    text = text_of(snapshot.at(0.0))
    assert "waiting for the broker's first answer" in text
    assert "STALE" not in text
    assert "nobody answers at redis://h" in text


def test_old_figures_are_called_stale() -> None:
    assert "STALE: the broker has not answered for 1 min 30 s" in text_of(view_of(Fleet(), chunks=20, later=90))


def test_before_anything_happened_it_says_what_to_do() -> None:
    assert "start one with `ttg run`" in text_of(Snapshot().at(0.0))


def test_json_is_the_same_view() -> None:
    view = view_of(Fleet(), chunks=50)
    assert json.loads(to_json(view))["runs"][0]["done"] == view.runs[0].done


def test_figures_read_well() -> None:
    assert [as_duration(s) for s in (0.64, 12, 200, 7_500, 100_000, None)] == [
        "0.6 s",
        "12 s",
        "3 min 20 s",
        "2 h 05 min",
        "1 d 3 h",
        "?",
    ]
    assert [as_rate(r) for r in (0, 0.254, 31.24, 5_120, 1.234e6)] == ["0.0", "0.25", "31.2", "5,120", "1.23 M"]
    assert [as_bytes(b) for b in (0, 9_300, 61_000_000, 1.23e9)] == ["–", "9.3 kB", "61 MB", "1.2 GB"]
    assert [as_broker("redis", "7.2"), as_broker("redis", "valkey 9.1")] == ["redis 7.2", "valkey 9.1"]
