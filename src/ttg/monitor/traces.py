"""OpenTelemetry traces, for those who have a collector: one span per settled task, from the events of the workers.

Nothing of OpenTelemetry is imported unless an endpoint is configured. Spans carry no parameters.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from ttg.messages import AnyEvent, TaskSettled, TasksSettled

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
EXPORTER_PACKAGE = "opentelemetry-exporter-otlp-proto-http"
NANOSECONDS = 1_000_000_000

log = logging.getLogger(__name__)


class Traces:
    """Turns events into spans of ``provider``; other events than settled tasks are passed over."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("ttg")

    def saw(self, event: AnyEvent) -> None:
        """A worker settled some tasks, perhaps."""
        if isinstance(event, TasksSettled):
            for task in event.tasks:
                self._span(event.worker, task)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _span(self, worker: str, task: TaskSettled) -> None:
        from opentelemetry.trace import StatusCode

        span = self._tracer.start_span(
            "task",
            start_time=int(task.started * NANOSECONDS),
            attributes={
                "ttg.run": task.run,
                "ttg.task": task.task,
                "ttg.worker": worker,
                "ttg.slot": task.slot,
                "ttg.attempt": task.attempt,
                "ttg.deliveries": task.deliveries,
                "ttg.parameters.done": task.done,
                "ttg.parameters.failed": task.failed,
                "ttg.parameters.dead": task.dead,
            },
        )
        if task.failed or task.dead:
            span.set_status(StatusCode.ERROR, f"{task.failed} failed, {task.dead} given up")
        span.end(int((task.started + task.seconds) * NANOSECONDS))


def traces_to(endpoint: str) -> Traces | None:
    """Traces sent to the OTLP/HTTP collector at ``endpoint`` (``http://host:4318``); ``None``, and a warning, where
    OpenTelemetry is not installed: the variable may be there for others."""
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = import_module(EXPORTER).OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    except ImportError as error:
        log.warning(
            "no traces are sent to %s: %s: pip install 'ttg-compute[telemetry]' %s", endpoint, error, EXPORTER_PACKAGE
        )
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": "ttg"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Traces(provider)
