"""A real Prometheus scrapes run, worker and dashboard; every panel is asked, with failures and a killed worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from prometheus_server import Prometheus, panels
from runs import TtgRun
from servers import RedisServer
from tools import need_program
from ttg.demo.local_rabbitmq import free_ports
from waiting import until

WORKLOADS = Path(__file__).parent / "failing_workloads.py"
SIZE, CHUNK, TOKEN = 120, 6, "a-token"
BUSY_FROM, LAST_CHUNK = 24, SIZE - CHUNK
QUERIES = panels() | {
    "failures": "sum by (kind) (max by (run, kind) (ttg_failures_total)) > 0",
    "chunks of the scraped worker": "sum(ttg_worker_tasks_total)",
}


@contextmanager
def program(ttg: TtgRun, *arguments: str) -> Iterator[None]:
    """Another `ttg`, until the end of the test."""
    other = TtgRun(ttg.folder, ttg.home, ttg.environment).start(*arguments)
    try:
        yield
    finally:
        os.kill(other.pid, signal.SIGTERM)
        other.wait()


def fetched(port: int, path: str) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except ConnectionError:
        return b""


def check_metrics(text: bytes) -> None:
    promtool = need_program("promtool", install="prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def figures(view: dict[str, Any]) -> dict[str, dict[tuple[str, ...], float]]:
    """What the panels of these titles must show, from the dashboard's own view."""
    run, queues = view["runs"][0], {queue["name"]: queue for queue in view["queues"]}
    tasks, states = queues["ttg.tasks"], dict.fromkeys(("alive", "silent", "lost", "stopped"), 0)
    (scraped,) = (worker for worker in view["workers"] if worker["worker"].startswith("scraped"))
    return {
        "failures": {(kind,): count for kind, count in run["failures"].items()},
        "chunks of the scraped worker": {(): scraped["tasks"]},
        "Progress A": {(run["run"],): (run["done"] + run["dead"]) / run["size"]},
        "Given up A": {(): run["dead"]},
        "Workers alive A": {(): view["workers_by_state"]["alive"]},
        "Workers lost A": {(): view["totals"]["worker_lost"]},
        "Broker A": {(): 1},
        "Queue depth A": {(name,): queue["messages"] for name, queue in queues.items() if name != "ttg.events"},
        "Unacknowledged chunks and consumers A": {("ttg.tasks",): tasks["unacknowledged"]},
        "Unacknowledged chunks and consumers B": {("ttg.tasks",): tasks["consumers"]},
        "Workers A": {(state,): count for state, count in (states | view["workers_by_state"]).items()},
    }


def test_prometheus_and_every_panel_tell_what_the_views_tell(ttg: TtgRun, valkey: RedisServer, tmp_path: Path) -> None:
    killed, asked = tmp_path / "killed", tmp_path / "asked"
    gates = {BUSY_FROM: str(killed), LAST_CHUNK: str(asked)}
    ttg.environment = {"TTG_BROKER": valkey.url, "GATES": json.dumps(gates)}
    ports = dict(zip(("worker", "dashboard", "run"), free_ports(3), strict=True))
    with ExitStack() as stack:
        stack.enter_context(program(ttg, "worker", "--metrics-port", str(ports["worker"]), "--name", "scraped"))
        dashboard = ["dashboard", "--port", str(ports["dashboard"]), "--token", TOKEN]
        stack.enter_context(program(ttg, *dashboard))
        seen = stack.enter_context(Prometheus(tmp_path / "prometheus", ports, TOKEN).running())
        ttg.start(
            *("run", f"{WORKLOADS}:troubled", f"i=range({SIZE})", "--workers", "2", "--chunk-size", str(CHUNK)),
            *("--retry-delay", "500ms", "--run-id", "troubled.1", "--out", str(ttg.folder)),
            *("--metrics-port", str(ports["run"])),
        )
        until(lambda: seen.ask('max(ttg_slots{state="busy"})').get((), 0), lambda busy: busy == 3, within_seconds=60)
        os.kill(ttg.workers()[0], signal.SIGKILL)
        killed.touch()
        _every_panel_answers(seen)
        _until_only_the_last_chunk_is_left(ports["dashboard"])
        for port in ports.values():
            check_metrics(fetched(port, "/metrics"))
        _compare(seen, ports["dashboard"])
        asked.touch()
        assert ttg.wait() == 5
        _compare_with_the_run_on_disk(ttg, seen)


def _every_panel_answers(seen: Prometheus) -> None:
    """At one time or another: some show a rate or a time left, which come and go."""
    silent = panels()

    def still_silent() -> list[str]:
        for title in [title for title, query in silent.items() if seen.ask(query)]:
            del silent[title]
        return list(silent)

    until(still_silent, lambda titles: not titles, within_seconds=60)


def viewed(port: int) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(fetched(port, "/api/view"))
    return view


def _until_only_the_last_chunk_is_left(port: int) -> None:
    def left() -> tuple[int, int, int]:
        view = viewed(port)
        run = view["runs"][0]
        return run["done"] + run["dead"], run["retrying"], view["totals"].get("worker_lost", 0)

    until(left, lambda state: state == (LAST_CHUNK, 0, 1), within_seconds=60)


def _compare(seen: Prometheus, port: int) -> None:
    def disagreements() -> dict[str, Any]:
        expected = figures(viewed(port))
        told = {title: seen.ask(QUERIES[title]) for title in expected}
        return {title: (told[title], expected[title]) for title in expected if told[title] != expected[title]}

    until(disagreements, lambda found: not found, within_seconds=60)
    assert seen.ask(QUERIES["failures"])["exception",] >= 4 * 3 - 1, (
        "of 7, 47 and 87; one may die untold with its worker"
    )
    memory, largest = (seen.ask(QUERIES[f"Memory of workers {letter}"])[()] for letter in "AB")
    assert memory > largest > 0
    alerts = 'count by (alertname) (ALERTS{alertstate="firing"})'
    once = {("TTGDeadLetters",): 1.0, ("TTGWorkerLost",): 1.0}
    until(lambda: seen.ask(alerts), lambda told: told == once, within_seconds=60)


def _compare_with_the_run_on_disk(ttg: TtgRun, seen: Prometheus) -> None:
    asked = [sys.executable, "-m", "ttg", "status", str(ttg.folder), "--json"]
    status = json.loads(subprocess.check_output(asked, env=os.environ | {"TTG_HOME": str(ttg.home)}))
    assert status["done"] + status["dead"] == SIZE
    told = {"parameters_done_total": status["done"], "parameters_dead": status["dead"], "active": 0}

    def seen_at_the_end() -> dict[str, float]:
        return {name: seen.ask(f"max by (run) (ttg_run_{name})")["troubled.1",] for name in told}

    until(seen_at_the_end, lambda figures: figures == told, within_seconds=60)
