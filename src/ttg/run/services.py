"""What a coordinator offers beside its work: the dashboard and metrics, over their own connection to the broker."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from ttg.brokers import connect
from ttg.brokers.base import BrokerConfig
from ttg.clock import unix_time
from ttg.errors import SettingsError
from ttg.metrics import serve_metrics
from ttg.monitor import prometheus
from ttg.monitor.feed import Listener, feeding
from ttg.monitor.snapshot import Snapshot
from ttg.settings import Settings


@asynccontextmanager
async def serve(
    config: BrokerConfig,
    settings: Settings,
    *,
    dashboard: bool = False,
    metrics_port: int | None = None,
    metrics_host: str = "127.0.0.1",
    host: str = "127.0.0.1",
    port: int | None = None,
    token: str | None = None,
) -> AsyncIterator[str]:
    """While open: one feed from the broker, and on it the dashboard and ``/metrics``, as asked for.

    Yields the dashboard's address, or nothing. Raises ``SettingsError`` (address taken, extra not installed) and what
    opening a broker raises.
    """
    broker, snapshot = connect(config, f"monitor-{os.getpid()}"), Snapshot()
    await broker.open()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(feeding(broker, snapshot, _listener(settings, stack)))
        if metrics_port is not None:
            metrics = serve_metrics(metrics_port, lambda: prometheus.render(snapshot.at(unix_time())), metrics_host)
            await stack.enter_async_context(metrics)
        address = ""
        if dashboard:
            address = await stack.enter_async_context(_dashboard(config, snapshot, settings, host, port, token))
            print(f"dashboard: {address}", file=sys.stderr, flush=True)  # not logged: it may hold the token
        yield address


def _listener(settings: Settings, stack: AsyncExitStack) -> Listener:
    """Who hears of events beside the snapshot: OpenTelemetry, if it is wanted."""
    if settings.otlp_endpoint:
        from ttg.monitor.traces import traces_to

        if traces := traces_to(settings.otlp_endpoint):
            stack.callback(traces.close)
            return traces.saw
    return lambda event: None


@asynccontextmanager
async def _dashboard(
    config: BrokerConfig, snapshot: Snapshot, settings: Settings, host: str, port: int | None, token: str | None
) -> AsyncIterator[str]:
    """The web side is an extra; without it, say how to get it."""
    try:
        from ttg.monitor.web.server import serve_dashboard
    except ImportError as error:
        raise SettingsError("the dashboard needs its extra: pip install 'ttg-compute[dashboard]'") from error
    from ttg.run.browsing import Browser
    from ttg.run.retry_command import Retrier

    results = Browser(settings.home, Retrier(settings.home, _broker_for_retries(config)))
    async with serve_dashboard(snapshot, host=host, port=port, token=token, results=results) as address:
        yield address


def _broker_for_retries(config: BrokerConfig) -> dict[str, str]:
    """A broker on this machine's file system may belong to the run and be gone by then: a retry gets one of its own."""
    if config.url.startswith("unix://"):
        return {}
    command = {"TTG_CREDENTIALS_COMMAND": config.credentials_command} if config.credentials_command else {}
    return {"TTG_BROKER": config.url, "TTG_NAMESPACE": config.namespace, **command}
