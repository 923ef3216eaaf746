"""One job, measured: private broker, driver process, memory sampled, everything ended by its id afterwards."""

from __future__ import annotations

import json
import os
import queue
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.brokers import broker
from benchmarks.driver import STARTED_VARIABLE
from benchmarks.environment import ROOT, peer_python
from benchmarks.functions import PROGRESS_VARIABLE
from benchmarks.job import Job, Measurement
from benchmarks.peers import PEERS
from benchmarks.processes import MARK_VARIABLE, PeakMemory, kill_all, members

LOG_TAIL_LINES = 3


def measure(job: Job, repeat: int) -> Measurement:
    """Never raises for what a contender does: failing, hanging and wrong values are findings."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    mark = secrets.token_hex(8)
    os.environ[MARK_VARIABLE] = mark
    try:
        with broker(PEERS[job.peer].broker, folder / "broker") as url:
            return drive(replace(job, broker=url, folder=str(folder)), repeat, mark)
    except (OSError, TimeoutError) as error:
        return Measurement(job, repeat, "failed", detail={"error": str(error)})
    finally:
        kill_all(members(mark))
        shutil.rmtree(folder, ignore_errors=True)


def drive(job: Job, repeat: int, mark: str) -> Measurement:
    """Run the driver to its last word or to the time limit."""
    log = Path(job.folder, "driver.log")
    sampler = PeakMemory(mark)
    found: dict[str, dict[str, Any]] = {}
    with log.open("wb") as stream:
        process = start_driver(job, stream)
        if job.workload == "memory":
            sampler.start()
        for event in events_of(process, job.timeout_seconds):
            found[event["event"]] = event
            if event["event"] == "collected":
                sampler.stop()
    sampler.stop()
    process.kill()
    process.wait()
    result = judge(job, repeat, found, tails(log.parent))
    result.peak_pss_mib = sampler.mib or None
    return result


def start_driver(job: Job, log: Any) -> subprocess.Popen[bytes]:
    interpreter = peer_python() if PEERS[job.peer].installed else Path(sys.executable)
    environment = os.environ | {
        STARTED_VARIABLE: str(time.monotonic()),
        PROGRESS_VARIABLE: str(Path(job.folder, "progress")),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "TTG_HOME": str(Path(job.folder, "ttg-home")),
        "RAY_TMPDIR": job.folder,
    }
    command = [str(interpreter), "-m", "benchmarks.driver", job.to_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=job.folder)


def events_of(process: subprocess.Popen[bytes], timeout_seconds: float) -> Iterator[dict[str, Any]]:
    """The driver's events until ``checked``, until it ends, or until the time is up (then an event ``timeout``)."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    assert process.stdout is not None
    threading.Thread(target=pump, args=(process.stdout, lines), daemon=True).start()
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            yield {"event": "timeout"}
            return
        if not line:
            return
        yield (event := json.loads(line))
        if event["event"] == "checked":
            return


def pump(stream: Any, lines: queue.SimpleQueue[bytes]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(b"")


def judge(job: Job, repeat: int, found: dict[str, dict[str, Any]], log_tail: str) -> Measurement:
    """Turn what the driver said into a finding."""
    detail = {name: event for name, event in found.items() if name in ("first", "killed", "checked")}
    if "checked" in found:
        status = "wrong" if found["checked"]["wrong"] else "ok"
        return Measurement(job, repeat, status, seconds_of(job, found), detail=detail)
    status = "timeout" if "timeout" in found else "failed"
    return Measurement(job, repeat, status, detail=detail | {"error": log_tail})


def seconds_of(job: Job, found: dict[str, dict[str, Any]]) -> float:
    event = "first" if job.workload == "start" and "first" in found else "collected"
    return float(found[event]["seconds"])


def tails(folder: Path) -> str:
    """The last lines of the driver's log and of the first worker's."""
    logs = [log for log in (folder / "driver.log", folder / "worker-0.log") if log.exists()]
    lines = [log.read_text(errors="replace").strip().splitlines()[-LOG_TAIL_LINES:] for log in logs]
    return " | ".join(line for each in lines for line in each)
