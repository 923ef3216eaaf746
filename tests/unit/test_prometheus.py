"""Metrics: valid for Prometheus, few labels, the same figures as every other view."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthetic import BEGAN, Fleet
from tools import need_program
from ttg.errors import SettingsError
from ttg.messages import Failure, ParametersFailed, RunRecord, RunStarted, WorkerHeartbeat
from ttg.metrics import counter, exposition, serve_metrics, worker_metrics
from ttg.monitor.prometheus import render
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.view import View

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"


def played(fleet: Fleet, until: float = 1.0) -> View:
    snapshot = Snapshot()
    for event in fleet.events():
        snapshot.fold(event)
        if fleet.settled_chunks > until * fleet.chunks:
            break
    snapshot.fold_stats(fleet.stats("rabbitmq"), fleet.now)
    snapshot.caught_up = True
    return snapshot.at(fleet.now)


def samples(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def promtool(*arguments: str, given: str = "") -> None:
    command = [need_program("promtool", install="prometheus"), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_metrics_are_the_views_figures() -> None:
    view = played(Fleet(kill_at=0.4, failing=10))
    found = samples(render(view))
    run, tasks = view.runs[0], view.queues[0]
    assert found[f'ttg_run_parameters_done_total{{run="{run.run}"}}'] == run.done
    assert found[f'ttg_run_parameters_dead{{run="{run.run}"}}'] == run.dead
    assert found['ttg_queue_messages{queue="ttg.tasks"}'] == tasks.messages
    assert found['ttg_queue_messages_unacknowledged{queue="ttg.tasks"}'] == tasks.unacknowledged
    assert found['ttg_workers{state="lost"}'] == 1
    assert found["ttg_tasks_taken_over_total"] == 1


def test_a_paused_run_is_not_at_work_so_that_nobody_is_called_for_its_standing_still() -> None:
    view = played(Fleet(), until=0.5)
    paused = replace(view, runs=[replace(view.runs[0], paused=True)])
    assert [samples(render(one))[f'ttg_run_active{{run="{view.runs[0].run}"}}'] for one in (view, paused)] == [1, 0]


def test_figures_of_an_absent_broker_are_left_out() -> None:
    fleet = Fleet()
    snapshot = Snapshot()
    snapshot.fold_stats(fleet.stats(), BEGAN)
    found = samples(render(snapshot.at(BEGAN + 60)))
    assert found["ttg_broker_connected"] == 0
    assert not any(name.startswith("ttg_queue") for name in found)


def test_the_past_is_no_news() -> None:
    """What is still being read would count up from nothing, and look like a storm of lost workers."""
    fleet, snapshot = Fleet(kill_at=0.4), Snapshot()
    for event in fleet.events():
        snapshot.fold(event)
    assert render(snapshot.at(fleet.now)) == ""
    snapshot.fold_stats(fleet.stats(), fleet.now)
    assert not [name for name in samples(render(snapshot.at(fleet.now))) if "_total" in name]


def test_a_run_of_which_nothing_was_said_yet_has_no_figures() -> None:
    record = RunRecord(run="r", identity="i", function="m:f", size=500)
    snapshot = Snapshot()
    snapshot.caught_up = True
    snapshot.fold_records([record], BEGAN)
    found = samples(render(snapshot.at(BEGAN)))
    assert 'ttg_run_active{run="r"}' in found
    assert 'ttg_run_parameters_done_total{run="r"}' not in found


def test_a_counter_of_results_does_not_fall_when_a_run_is_taken_up_again() -> None:
    fleet = Fleet(failing=10)
    snapshot = Snapshot()
    for event in fleet.events():
        snapshot.fold(event)
    done, dead = fleet.done, fleet.dead
    assert dead > 2
    started = RunStarted(at=fleet.now, source="c", run=fleet.run, function="m:f", size=fleet.size, settled=done + 2)
    snapshot.fold(started)
    run = snapshot.at(fleet.now).runs[0]
    assert (run.done, run.dead) == (done, 2), "the others are tried again"


def test_failures_are_counted_by_kind_from_the_beginning_and_without_end() -> None:
    snapshot = Snapshot()
    snapshot.caught_up = True
    snapshot.fold(RunStarted(at=BEGAN, source="c", run="r", function="m:f", size=500))
    assert samples(render(snapshot.at(BEGAN)))['ttg_failures_total{kind="exception",run="r"}'] == 0
    for place in range(500):
        sample = Failure(place, "exception", "ValueError", "no", place=f"m.py:{place}")
        event = ParametersFailed(at=BEGAN, source="w", worker="w", run="r", count=2, dead=0, sample=sample)
        snapshot.fold(event)
    found = samples(render(snapshot.at(BEGAN)))
    assert found['ttg_failures_total{kind="exception",run="r"}'] == 1000
    assert found['ttg_failures_total{kind="timeout",run="r"}'] == 0


def test_labels_are_few_and_never_a_parameter_or_a_chunk() -> None:
    text = render(played(Fleet(size=5_000, chunk=10, workers=50, failing=3)))
    assert set(re.findall(r"(\w+)=\"", text)) == {"queue", "run", "state", "kind"}
    assert len(text.splitlines()) < 120


def test_labels_are_escaped() -> None:
    metric = counter("ttg_x_total", "X.", labels=["run"])
    metric.add_metric(['a"b\\c\nd'], 1)
    assert exposition([metric]).splitlines()[-1] == r'ttg_x_total{run="a\"b\\c\nd"} 1.0'


def test_promtool_accepts_metrics_rules_and_configuration() -> None:
    fleet = Fleet(failing=10)
    heartbeat = fleet.heartbeat("w1")
    promtool("check", "metrics", given=render(played(Fleet(kill_at=0.4, failing=10))))
    promtool("check", "metrics", given=worker_metrics(heartbeat))
    promtool("check", "config", "--syntax-only", str(MONITORING / "prometheus.yml"))
    promtool("check", "rules", str(MONITORING / "rules.yml"))
    promtool("test", "rules", str(MONITORING / "rules_test.yml"))


def documented() -> set[str]:
    """The names in the tables of docs/monitoring.md."""
    rows = re.findall(r"^\| `(ttg_\w+)` \|", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    return set(rows)


def test_the_page_the_grafana_dashboard_and_the_alerts_know_the_metrics_that_exist() -> None:
    fleet = Fleet(kill_at=0.4, failing=10)
    text = render(played(fleet, until=0.5)) + worker_metrics(fleet.heartbeat("w1"))
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    assert documented() == known
    used = (MONITORING / "grafana/dashboards/ttg.json").read_text() + (MONITORING / "rules.yml").read_text()
    assert set(re.findall(r"\bttg_\w+", used)) <= known


# ---------------------------------------------------------------------------------------------- the endpoint


async def ask(port: int, request: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_the_endpoint_of_workers_and_coordinators() -> None:
    async with serve_metrics(0, lambda: "ttg_x 1\n") as port:
        assert (await ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).endswith("\r\n\r\nttg_x 1\n")
        assert (await ask(port, "GET /metrics?format=prometheus HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 200 OK")
        assert (await ask(port, "GET /healthz HTTP/1.0\r\n\r\n")).startswith("HTTP/1.1 200 OK")
        assert (await ask(port, "GET /else HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 404")
        assert (await ask(port, "POST /metrics HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 405")
        assert await ask(port, "GET /" + "x" * 20_000) == ""
        with pytest.raises(SettingsError, match="expected a free port for metrics"):
            await serve_metrics(port, str).__aenter__()


def test_a_worker_tells_of_itself() -> None:
    fleet = Fleet(workers=1, slots=2)
    beat: WorkerHeartbeat = fleet.heartbeat("w1")
    assert samples(worker_metrics(beat))['ttg_worker_slots{state="busy"}'] == 2
