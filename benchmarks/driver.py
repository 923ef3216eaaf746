"""One measurement in its own process: ``python -m benchmarks.driver JOB`` (JSON), run by the contender's interpreter.

Prints JSON lines: ``first`` when the first value is there, ``collected`` with the seconds when all are,
``checked`` with the number of wrong values. Whatever else is printed, by whomever, goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO

from benchmarks.job import Job
from benchmarks.peers import PEERS
from benchmarks.peers.base import Contender, executions

STARTED_VARIABLE = "BENCH_STARTED"
"""Monotonic seconds (one clock for the whole machine) at which this command was started."""

PROGRESS_POLL_SECONDS = 0.002

KILL_PAUSE_SECONDS = 0.05
"""Half a call: workers run nearly in step, and one that is killed between two calls has nothing to lose."""


class Events:
    """The driver's answers, on the original standard output."""

    def __init__(self) -> None:
        self.stream: IO[str] = os.fdopen(os.dup(1), "w", buffering=1)
        self.began = float(os.environ[STARTED_VARIABLE])
        self.first_seen = False
        os.dup2(2, 1)

    def say(self, event: str, **details: float) -> None:
        print(json.dumps({"event": event, **details}), file=self.stream)

    def first(self) -> None:
        if not self.first_seen:
            self.first_seen = True
            self.say("first", seconds=self.elapsed())

    def elapsed(self) -> float:
        return time.monotonic() - self.began


def main() -> None:
    job = Job.from_json(sys.argv[1])
    events = Events()
    contender: Contender = importlib.import_module(PEERS[job.peer].driver).contender(job)
    with contender:
        if job.timing == "client":
            contender.wait_until_up()
            events.say("collected", seconds=time_attached_client(job))
            events.say("checked", wrong=0)
        else:
            measure(job, contender, events)


def measure(job: Job, contender: Contender, events: Events) -> None:
    """Steady: the clock starts when the workers are up. Cold: it has been running since the command was started."""
    if job.timing == "steady":
        contender.wait_until_up()
    if job.timing == "steady" or contender.own_command:
        events.began = time.monotonic()
    if job.kill_at:
        in_background(lambda: kill_when_due(job, contender, events))
    contender.collect(events.first)
    events.say("collected", seconds=events.elapsed())
    events.say("checked", wrong=contender.count_wrong(), executions=executions() if job.kill_at else job.count)


def in_background(action: Callable[[], None]) -> None:
    threading.Thread(target=action, daemon=True).start()


def kill_when_due(job: Job, contender: Contender, events: Events) -> None:
    while executions() < job.count * (job.kill_at or 0):
        time.sleep(PROGRESS_POLL_SECONDS)
    time.sleep(KILL_PAUSE_SECONDS)
    contender.kill_one_worker()
    events.say("killed", seconds=events.elapsed(), executions=executions())


def time_attached_client(job: Job) -> float:
    """A fresh client command against workers that are up: seconds from its start to its first value."""
    attached = replace(job, timing="attached")
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.driver", attached.to_json()]
    environment = os.environ | {STARTED_VARIABLE: str(started)}
    client = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True, text=True)
    first = next(json.loads(line) for line in client.stdout.splitlines() if '"first"' in line)
    return float(first["seconds"])


if __name__ == "__main__":
    main()
