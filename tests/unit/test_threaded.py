"""Who has Ctrl-C while a run goes on in a thread."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from ttg.errors import RunStopped
from ttg.run.live import LiveRun
from ttg.run.threaded import ThreadedRun


def test_ctrl_c_is_the_runs_own_from_before_it_begins_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def start(run: ThreadedRun) -> None:
        seen.append(signal.getsignal(signal.SIGINT))
        run.error = RunStopped("enough")
        run.ended.set()

    monkeypatch.setattr(ThreadedRun, "start", start)
    before = signal.getsignal(signal.SIGINT)
    request: Any = SimpleNamespace(spec=SimpleNamespace(run="r", size=1))
    with pytest.raises(RunStopped):
        LiveRun.to_its_end(request, lambda progress: None)
    assert seen != [before]
    assert signal.getsignal(signal.SIGINT) == before
