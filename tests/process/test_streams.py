"""Onlookers that go, stop or are full: what they see is lost, what a run computes is not, and its exit code is true."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from workloads import value

from runs import apply_oracle, eventually

WORKLOADS = str(Path(__file__).with_name("workloads.py"))
SIZE = 200

READER_LEFT, CLOSED, FULL = "| true", ">&-", ">/dev/full"


def shell(text: str, home: Path) -> subprocess.CompletedProcess[str]:
    """``text`` in bash, where ``ttg`` is ours; the exit code is that of the first command."""
    script = f'ttg() {{ "{sys.executable}" -m ttg "$@"; }}\n{text}\nexit ${{PIPESTATUS[0]}}'
    command = ["bash", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment_of(home))


def environment_of(home: Path) -> dict[str, str]:
    return {**os.environ, "TTG_HOME": str(home), "CALLS_FILE": str(home / "calls")}


def of_slow(folder: Path) -> str:
    return f"run {WORKLOADS}:slow 'i=range(0,{SIZE})' --workers 1 --out {folder}"


def state(folder: Path) -> str:
    return str(json.loads((folder / "run.json").read_text())["state"])


@pytest.mark.parametrize("streams", ["2>&1 | head -1", ">&- 2>&- <&-", ">/dev/full 2>/dev/full"])
def test_a_run_goes_on_without_its_onlookers(tmp_path: Path, streams: str) -> None:
    done = shell(f"ttg {of_slow(tmp_path / 'run')} {streams}", tmp_path)
    assert done.returncode == 0, done.stderr
    apply_oracle(tmp_path / "run", SIZE, value, dead=set())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams") / "run"
    assert (
        shell(f"ttg run {WORKLOADS}:value 'i=range(0,9)' --workers 1 --quiet --out {folder}", folder.parent).stderr
        == ""
    )
    return folder


@pytest.mark.parametrize("command", ["results {} --format csv", "status {}", "--help"])
def test_what_was_asked_for_and_cannot_be_delivered_is_an_error(finished: Path, command: str) -> None:
    for there, code in ((READER_LEFT, 0), (CLOSED, 3), (FULL, 3)):
        done = shell(f"ttg {command.format(finished)} {there}", finished.parent)
        assert done.returncode == code, (there, done.stderr)
        assert done.stderr.count("\n") == (1 if code else 0), (there, done.stderr)
        assert ("expected to write to standard output" in done.stderr) == bool(code)


def test_a_report_that_nobody_reads_does_not_change_how_a_run_ended(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def f(i):\n    return 1 // i\n")
    run = f"ttg run {tmp_path}/f.py:f i=0,1 --retries 0 --workers 1 --json"
    assert shell(f"{run} --out {tmp_path}/1 | true", tmp_path).returncode == 5
    full = shell(f"{run} --out {tmp_path}/2 >/dev/full", tmp_path)
    assert full.returncode == 3
    assert "No space left on device" in full.stderr


class Terminal:
    """A terminal of one command, which leads its session; we are the window."""

    def __init__(self, home: Path) -> None:
        self.window, self.line = pty.openpty()
        self._home = home
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, words: str) -> subprocess.Popen[bytes]:
        command = ["bash", "-c", f"exec {sys.executable} -m ttg {words}"]
        environment = environment_of(self._home)
        self.process = subprocess.Popen(
            command, preexec_fn=_lead_session, env=environment, stdin=self.line, stdout=self.line, stderr=self.line
        )
        return self.process

    def close(self) -> None:
        for end in (self.window, self.line):
            with suppress(OSError):
                os.close(end)


def _lead_session() -> None:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it
    os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first terminal that a session opens is the one it belongs to


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()
    if terminal.process is not None:
        terminal.process.kill()
        terminal.process.wait()


def test_closing_the_terminal_drains(terminal: Terminal, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = terminal.start(of_slow(run).replace(f"{SIZE})", "9999)"))
    eventually((tmp_path / "calls").exists, "the function is called")
    terminal.close()
    assert process.wait(30) == 4
    assert state(run) == "interrupted"
    assert '"status": "drained"' in (run / "logs" / "worker-1.log").read_text()


def test_a_stopped_terminal_does_not_stop_a_run(terminal: Terminal, tmp_path: Path) -> None:
    run = tmp_path / "run"
    termios.tcflow(terminal.line, termios.TCOOFF)  # Ctrl-S
    process = terminal.start(of_slow(run))
    eventually(lambda: (run / "run.json").exists() and state(run) == "finished", "it goes on")
    termios.tcflow(terminal.line, termios.TCOON)
    assert process.wait(30) == 0
    assert b"200 of 200 results" in os.read(terminal.window, 1 << 16)
