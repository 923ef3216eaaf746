"""What Prometheus scrapes: families of metrics, and the small HTTP server that offers them on coordinators and workers.

Names are ``ttg_…``, counters end in ``_total``, units are in the name; no parameter, chunk or task is ever a label.
``prometheus-client`` writes the format. Importing it takes 25 ms, so this module is imported where metrics are served;
without it, that raises ``SettingsError``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from ttg.errors import SettingsError
from ttg.messages import WorkerHeartbeat

try:
    from prometheus_client import generate_latest
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
except ImportError as error:
    raise SettingsError("metrics need prometheus-client: pip install prometheus-client") from error

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_SECONDS = 5.0
SLOT_STATES = ("starting", "idle", "busy", "stopping")


Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True)
class _Collected:
    """What one scrape gets: a collector, as prometheus-client calls it."""

    families: Iterable[Family]

    def collect(self) -> Iterable[Family]:
        return (family for family in self.families if family.samples)


def exposition(families: Iterable[Family]) -> str:
    """Prometheus text format 0.0.4 of ``families``; those without samples are left out."""
    text: bytes = generate_latest(cast(Any, _Collected(families)))
    return text.decode()


def gauge(name: str, text: str, value: float | None = None, *, labels: Sequence[str] = ()) -> GaugeMetricFamily:
    """A figure that goes up and down: its only ``value``, or one for each ``add_metric``."""
    return GaugeMetricFamily(name, text, value, labels or None)


def counter(name: str, text: str, value: float | None = None, *, labels: Sequence[str] = ()) -> CounterMetricFamily:
    """A figure that only goes up, or begins anew."""
    return CounterMetricFamily(name, text, value, labels or None)


def by_state(name: str, text: str, counts: Mapping[str, int], states: Iterable[str]) -> Family:
    """How many are in each of ``states``, 0 included: a series that comes and goes cannot be told from one missed."""
    family = gauge(name, text, labels=["state"])
    for state in states:
        family.add_metric([state], counts.get(state, 0))
    return family


# ---------------------------------------------------------------------------------------------- what they say


def worker_metrics(beat: WorkerHeartbeat) -> str:
    """A worker's own ``/metrics``, from what it says in its heartbeat."""
    states = Counter(slot.state for slot in beat.slots)
    memory = beat.memory_bytes + sum(slot.memory_bytes for slot in beat.slots)
    return exposition(
        [
            counter("ttg_worker_parameters_total", "Parameters this worker finished.", beat.done),
            counter("ttg_worker_failures_total", "Failures of parameters on this worker.", beat.failed),
            counter("ttg_worker_tasks_total", "Chunks this worker settled.", beat.tasks),
            gauge("ttg_worker_leases", "Chunks this worker holds now.", len(beat.holding)),
            gauge("ttg_worker_memory_bytes", "Resident memory of the worker and its slots.", memory),
            gauge("ttg_worker_start_time_seconds", "When the worker started, Unix time.", beat.started),
            by_state("ttg_worker_slots", "Slots of this worker by what they do.", states, SLOT_STATES),
        ]
    )


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
            method, target, *_ = [*request.split(b" ", 2), b""]
            status, body = _respond(method, target, render)
            writer.write(_head(status, len(body)) + body)
            await writer.drain()
    writer.close()


def _head(status: str, length: int) -> bytes:
    fields = [f"HTTP/1.1 {status}", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {length}", "Connection: close"]
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


def _respond(method: bytes, target: bytes, render: Callable[[], str]) -> tuple[str, bytes]:
    match method, target.partition(b"?")[0]:
        case b"GET", b"/metrics":
            return "200 OK", render().encode()
        case b"GET", b"/healthz":
            return "200 OK", b"ok\n"
        case b"GET", _:
            return "404 Not Found", b"expected /metrics or /healthz\n"
        case _:
            return "405 Method Not Allowed", b"expected GET\n"
