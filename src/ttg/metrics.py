"""Prometheus' text format, and the small HTTP server that offers it on coordinators and workers.

Names are ``ttg_…``, counters end in ``_total``, units are in the name; no parameter, chunk or task is ever a label.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ttg.errors import SettingsError
from ttg.messages import WorkerHeartbeat

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_SECONDS = 5.0

Labels = Mapping[str, str]


class RunFigures(Protocol):
    """What both a coordinator's report and a monitor's view say of a run."""

    @property
    def size(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def dead(self) -> int: ...
    @property
    def retrying(self) -> int: ...
    @property
    def chunks_settled(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def eta_seconds(self) -> float | None: ...


@dataclass(slots=True)
class Metric:
    """One family of samples. ``kind`` is ``gauge`` or ``counter``."""

    name: str
    kind: str
    help: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """Add one sample."""
        self.samples.append((labels, value))


def gauge(name: str, text: str, value: float | None = None) -> Metric:
    """A figure that goes up and down; with ``value`` its only sample."""
    return Metric(name, "gauge", text, [] if value is None else [({}, value)])


def counter(name: str, text: str, value: float | None = None) -> Metric:
    """A figure that only goes up; with ``value`` its only sample."""
    return Metric(name, "counter", text, [] if value is None else [({}, value)])


def exposition(metrics: Iterable[Metric]) -> str:
    """Prometheus text format 0.0.4 of ``metrics``; families without samples are left out."""
    return "".join(_family(metric) for metric in metrics if metric.samples)


def _family(metric: Metric) -> str:
    lines = [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
    lines += [f"{metric.name}{_labels(labels)} {value:.15g}" for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


# ---------------------------------------------------------------------------------------------- what they say


def worker_metrics(beat: WorkerHeartbeat) -> str:
    """A worker's own ``/metrics``, from what it says in its heartbeat."""
    slots = gauge("ttg_worker_slots", "Slots by what they do.")
    for state in ("starting", "idle", "busy", "stopping"):
        slots.add(sum(slot.state == state for slot in beat.slots), state=state)
    memory = beat.memory_bytes + sum(slot.memory_bytes for slot in beat.slots)
    return exposition(
        [
            counter("ttg_worker_parameters_total", "Parameters this worker finished.", beat.done),
            counter("ttg_worker_failures_total", "Failures of parameters on this worker.", beat.failed),
            counter("ttg_worker_tasks_total", "Chunks this worker settled.", beat.tasks),
            gauge("ttg_worker_leases", "Chunks this worker holds now.", len(beat.holding)),
            gauge("ttg_worker_memory_bytes", "Resident memory of the worker and its slots.", memory),
            gauge("ttg_worker_start_time_seconds", "When the worker started, Unix time.", beat.started),
            slots,
        ]
    )


def run_families(runs: Iterable[tuple[str, RunFigures]]) -> list[Metric]:
    """The families of runs, from their ledgers' figures."""
    size = gauge("ttg_run_parameters", "Parameters of the run.")
    done = counter("ttg_run_parameters_done_total", "Parameters with a result in the ledger.")
    dead = counter("ttg_run_parameters_dead_total", "Parameters given up after their last attempt.")
    retrying = gauge("ttg_run_parameters_retrying", "Parameters waiting for another attempt.")
    chunks = counter("ttg_run_chunks_settled_total", "Chunks the run settled.")
    rate = gauge("ttg_run_parameters_per_second", "Parameters settled per second.")
    eta = gauge("ttg_run_eta_seconds", "Estimated time until the run is finished.")
    for run, figures in runs:
        size.add(figures.size, run=run)
        done.add(figures.done, run=run)
        dead.add(figures.dead, run=run)
        retrying.add(figures.retrying, run=run)
        chunks.add(figures.chunks_settled, run=run)
        rate.add(figures.rate, run=run)
        if figures.eta_seconds is not None:
            eta.add(figures.eta_seconds, run=run)
    return [size, done, dead, retrying, chunks, rate, eta]


# ---------------------------------------------------------------------------------------------- the server


@contextlib.asynccontextmanager
async def serve_metrics(port: int, render: Callable[[], str], host: str = "127.0.0.1") -> AsyncIterator[int]:
    """While open, ``GET /metrics`` answers with ``render()`` and ``GET /healthz`` with ``ok``; yields the port.

    Port 0 takes a free one. Raises ``SettingsError`` when the port is taken.
    """
    try:
        server = await asyncio.start_server(
            lambda reader, writer: _answer(reader, writer, render), host, port, limit=16_384
        )
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise SettingsError(
            f"expected a free port for metrics, but {host}:{port} cannot be used ({reason}): choose another one"
        ) from error
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, render: Callable[[], str]) -> None:
    """One request, one answer, closed: all a scraper needs."""
    with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(REQUEST_SECONDS):
            request = await reader.readuntil(b"\r\n\r\n")
            status, body = _respond(request.split(b" ", 2)[:2], render)
            writer.write(_head(status, len(body)) + body)
            await writer.drain()
    writer.close()


def _head(status: str, length: int) -> bytes:
    fields = [f"HTTP/1.1 {status}", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {length}", "Connection: close"]
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


def _respond(request: list[bytes], render: Callable[[], str]) -> tuple[str, bytes]:
    match request:
        case [b"GET", b"/metrics"]:
            return "200 OK", render().encode()
        case [b"GET", b"/healthz"]:
            return "200 OK", b"ok\n"
        case [b"GET", _]:
            return "404 Not Found", b"expected /metrics or /healthz\n"
        case _:
            return "405 Method Not Allowed", b"expected GET\n"
