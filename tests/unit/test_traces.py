"""Spans of settled tasks, as an exporter gets them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ttg.messages import TaskSettled, TasksSettled, WorkerStopped
from ttg.monitor.traces import EXPORTER, Traces, traces_to

TASKS = (
    TaskSettled(run="r", task="r/0-9", slot=1, started=100.0, seconds=2.5, done=10),
    TaskSettled(run="r", task="r/10-19", slot=1, started=102.5, seconds=1.0, done=8, failed=2, attempt=2),
)


def test_each_settled_task_is_a_span_with_its_own_times() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider)
    traces.saw(WorkerStopped(at=1.0, source="w1", worker="w1", reason="finished", tasks=1, done=1))
    traces.saw(TasksSettled(at=103.5, source="w1", worker="w1", tasks=TASKS))
    good, bad = exporter.get_finished_spans()
    assert (good.start_time, good.end_time) == (100_000_000_000, 102_500_000_000)
    assert good.status.is_unset
    assert good.attributes is not None
    assert (good.attributes["ttg.task"], good.attributes["ttg.worker"]) == ("r/0-9", "w1")
    assert (bad.status.is_ok, bad.status.description) == (False, "2 failed, 0 given up")
    traces.close()


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    code = "import sys, ttg.run.services; assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_exporter_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, EXPORTER, None)
    assert traces_to("http://localhost:4318") is None
    assert "pip install 'ttg-compute[telemetry]'" in caplog.text
