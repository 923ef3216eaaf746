"""A run that is over: its dashboard from the folder, a dashboard that outlives it, a monitor that ends with it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from runs import eventually

FUNCTION = """
import os, time

def f(x, y):
    print(f"at {x}, {y}")
    if x == 2 and not os.path.exists(os.environ["MENDED"]):
        raise ValueError("\\x1b[31mred \\u202e" + str(x))
    return float("nan") if x == y == 0 else x * y

def slow(i):
    time.sleep(0.1)
    return i
"""
ENDING = re.compile(r"dashboard: stays at (\S+)")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a function and a run of it that is over: 12 parameters, 4 of them given up, two attempts each."""
    home = tmp_path_factory.mktemp("looking-back")
    (home / "sim.py").write_text(FUNCTION)
    words = ["run", "sim.py:f", "x=0,1,2", "y=0,1,2,3", "--run-id", "over", "--retries", "1", "--retry-delay", "100ms"]
    done = ttg(home, *words, "--workers", "1")
    assert done.returncode == 5, done.stderr
    return home


def environment_of(home: Path) -> dict[str, str]:
    return {**os.environ, "TTG_HOME": str(home / "home"), "MENDED": str(home / "mended")}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "ttg", *words]


def ttg(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=home, env=environment_of(home), capture_output=True, text=True, timeout=60
    )


@contextmanager
def dashboard(home: Path, *words: str) -> Iterator[str]:
    """The link that `ttg dashboard` prints, while it runs."""
    process = subprocess.Popen(
        command("dashboard", *words, "--port", "0"), cwd=home, env=environment_of(home), stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        yield process.stderr.readline().decode().removeprefix("dashboard: ").strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 0


def ask(link: str, path: str, body: Any = None) -> Any:
    """What the dashboard at ``link`` answers to somebody who has its token, in JSON."""
    return json.loads(asked(link, path, body))


def asked(link: str, path: str, body: Any = None) -> bytes:
    place = urlsplit(link)
    origin = f"http://{place.netloc}"
    headers = {"Authorization": f"Bearer {place.query.removeprefix('token=')}", "Origin": origin}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(origin + path, data, headers), timeout=60) as answer:
        data = answer.read()
    assert isinstance(data, bytes)
    return data


def test_a_run_that_is_over_is_opened_from_its_folder(home: Path) -> None:
    with dashboard(home, "over") as link:
        assert link.endswith("#run/over/overview")
        page = ask(link, "/api/runs/over")
        assert (page["view"]["done"], page["view"]["dead"], page["live"]) == (8, 4, False)
        assert page["view"]["chunks_settled"] > 0
        assert sum(page["throughput"]["rates"]) > 0
        assert "over" in [entry["view"]["run"] for entry in ask(link, "/api/runs")]
        bars = ask(link, "/api/runs/over/timeline")["bars"]
        assert sum(done + dead for _, _, _, done, _, dead, *_ in bars) == 12
        (cause,) = ask(link, "/api/runs/over/failures")
        assert (cause["dead"], cause["attempts"], cause["state"]) == (4, 8, "given up")
        assert [(row["index"], row["said"]) for row in cause["rows"]] == [(8 + y, f"at 2, {y}") for y in range(4)]
        picture = ask(link, "/api/runs/over/picture")
        assert (picture["x"], picture["marks"][0], picture["marks"][1]) == ([0, 1, 2], [2, 0, 1], [0, 0, 1])
        rows = asked(link, "/api/runs/over/download?format=csv").decode().splitlines()
        assert (len(rows), rows[0][:16]) == (1 + 8, '"index","x","y",')
        (log,) = ask(link, "/api/runs/over/logs")
        assert "at 2, 0" in log["text"]
        assert picture["note"] == "mean result over x and y; 4 given up, 1 NaN"


def test_a_failure_that_is_retried_from_the_page_is_mended(home: Path) -> None:
    run = ["run", "sim.py:f", "x=1,2", "y=0,1", "--run-id", "mend", "--retries", "0", "--workers", "1"]
    assert ttg(home, *run).returncode == 5
    with dashboard(home, "mend") as link:
        (cause,) = ask(link, "/api/runs/mend/failures")
        (home / "mended").touch()
        try:
            named = {name: cause[name] for name in ("error", "place")}
            assert ask(link, "/api/runs/mend/retry", named) == {"retried": 2}
            eventually(lambda: ask(link, "/api/runs/mend")["view"]["status"] == "finished", "the retry ends")
        finally:
            (home / "mended").unlink()
        (cause,) = ask(link, "/api/runs/mend/failures")
        assert (cause["dead"], cause["mended"], cause["attempts"], cause["state"]) == (0, 2, 2, "mended")
        assert ask(link, "/api/runs/mend")["failing"] == 0


def test_a_monitor_ends_with_the_run_and_never_cries_stale(home: Path) -> None:
    run = subprocess.Popen(
        command("run", "sim.py:slow", "i=range(0,30)", "--run-id", "watched", "--workers", "1", "--quiet"),
        cwd=home,
        env=environment_of(home),
    )
    eventually((home / "home" / "runs" / "watched").exists, "it has begun")
    seen = ttg(home, "monitor", "watched", "--watch", "100ms")
    assert run.wait(30) == 0
    assert (seen.returncode, "STALE" in seen.stdout) == (0, False), seen.stderr
    assert re.search(r"watched .* finished\n.* 30 of 30", seen.stdout[-1500:]), seen.stdout[-1500:]
    after = ttg(home, "monitor", "watched")  # without a broker, from its folder
    assert (after.returncode, "30 of 30" in after.stdout) == (0, True)


def test_a_run_is_watched_at_a_terminal_and_cancelled_from_its_page(home: Path) -> None:
    run = subprocess.Popen(
        command("run", "sim.py:slow", "i=range(0,5000)", "--run-id", "long", "--workers", "1", "--quiet"),
        cwd=home,
        env=environment_of(home),
    )
    eventually((home / "home" / "runs" / "long").exists, "it has begun")
    terminal = Terminal(home, "monitor", "long")
    terminal.read_until(re.compile("active.*q quit", re.DOTALL))
    terminal.type("q")
    assert terminal.close() == 0
    with dashboard(home, "long") as link:
        assert "run long is cancelled" in ask(link, "/api/runs/long/cancel", {})["said"]
        assert run.wait(60) == 4
        eventually(lambda: ask(link, "/api/runs/long")["view"]["status"] == "cancelled", "the page says so")


class Terminal:
    """A command on a terminal of its own, and what that was shown."""

    def __init__(self, home: Path, *words: str) -> None:
        self._window, line = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            command(*words), cwd=home, env=environment_of(home), stdin=line, stdout=line, stderr=line
        )
        os.close(line)

    def read_until(self, wanted: re.Pattern[str]) -> re.Match[str]:
        while not (found := wanted.search(self.shown)):
            assert self.read(), self.shown
        return found

    def read(self) -> bool:
        with suppress(OSError):  # the other end is closed
            self.shown += (some := os.read(self._window, 65_536)).decode(errors="replace")
            return bool(some)
        return False

    def type(self, text: str) -> None:
        os.write(self._window, text.encode())

    def close(self) -> int:
        while self.read():
            pass
        os.close(self._window)
        return self.process.wait(30)


def test_a_dashboard_at_a_terminal_stays_until_ctrl_c_and_leaves_the_exit_code_alone(home: Path) -> None:
    words = ("run", "sim.py:f", "x=2", "y=1,2", "--run-id", "stays", "--retries", "0", "--workers", "1", "--dashboard")
    terminal = Terminal(home, *words)
    link = terminal.read_until(ENDING)[1]
    assert "run stays finished with dead letters" in terminal.shown  # told before it stays
    page = ask(link, "/api/runs/stays")
    assert (page["view"]["status"], page["view"]["dead"]) == ("finished_with_dead_letters", 2)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() == 5
    assert "ttg dashboard stays" in terminal.shown


@pytest.mark.parametrize("words", ["failed over", "failed over --group", "status over", "monitor over"])
def test_a_terminal_gets_no_escape_sequence_of_a_function(home: Path, words: str) -> None:
    terminal = Terminal(home, *words.split())
    assert terminal.close() == 0
    assert "red 2" in terminal.shown
    assert "\x1b[31mred" not in terminal.shown
    assert "\u202e" not in terminal.shown


def test_a_pipe_gets_everything(home: Path) -> None:
    assert "\x1b[31mred \u202e2" in ttg(home, "failed", "show", "8", "over").stdout
