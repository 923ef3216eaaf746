"""What a coordinator offers beside its work: the dashboard and metrics, over their own connection to the broker."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttg.brokers import connect
from ttg.brokers.base import BrokerConfig
from ttg.clock import loop_time, unix_time
from ttg.errors import SettingsError
from ttg.messages import RunStatus
from ttg.monitor.feed import Listener, feeding
from ttg.monitor.snapshot import Snapshot
from ttg.results.folder import RunFolder
from ttg.settings import Settings

if TYPE_CHECKING:
    from ttg.monitor.web.server import Site
    from ttg.run.browsing import Browser

STAY_SECONDS = 1800.0
LAST_NEWS_SECONDS = 3.0
LOOK_SECONDS = 0.1


@dataclass
class Services:
    """What is served: ``site`` is the dashboard, if one was asked for, of ``run`` in ``folder``, if it is of one."""

    snapshot: Snapshot
    site: Site | None = None
    run: str = ""
    folder: RunFolder | None = None

    async def hear_the_end(self) -> None:
        """The run has ended: see that the picture says so, and leave it so, for its broker may end as well."""
        deadline = loop_time() + LAST_NEWS_SECONDS
        await self._until(lambda: loop_time() >= deadline)

    async def until_over(self) -> None:
        """Until the run has ended, as is heard, or its folder says."""
        assert self.folder is not None
        folder = self.folder
        await self._until(lambda: folder.read_again().status is not RunStatus.ACTIVE)

    async def _until(self, over: Callable[[], bool]) -> None:
        while not self.snapshot.has_ended(self.run) and not over():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(LOOK_SECONDS)
        self.snapshot.close(unix_time())

    def tell_the_end(self, text: str, *, at_once: bool = False) -> None:
        """The last words of the page: when the dashboard ends, and ``at_once``, if the run has."""
        if self.site is not None:
            self.site.farewell.note = f"{text}. Later, `ttg dashboard {self.run}` opens it again." if at_once else ""
            self.site.farewell.text = f"{text}. The dashboard has ended: `ttg dashboard {self.run}` opens it again."

    async def stay(self, stop: asyncio.Event) -> None:
        """Serve on until ``stop``, or for :data:`STAY_SECONDS`, where somebody sits at a terminal."""
        if self.site is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return
        print(f"dashboard: stays at {self.site.link(self.run)}", file=sys.stderr)
        words = f"Ctrl-C ends it (otherwise in {STAY_SECONDS / 60:.0f} min); later: `ttg dashboard {self.run}`"
        print(f"           {words}", file=sys.stderr, flush=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), STAY_SECONDS)


@asynccontextmanager
async def serve(
    config: BrokerConfig | None,
    settings: Settings,
    *,
    dashboard: bool = False,
    metrics_port: int | None = None,
    metrics_host: str = "127.0.0.1",
    host: str = "127.0.0.1",
    port: int | None = None,
    token: str | None = None,
    run: str = "",
    folder: RunFolder | None = None,
    lasting: AsyncExitStack | None = None,
) -> AsyncIterator[Services]:
    """While open: one feed from the broker, if there is one, and on it the dashboard and ``/metrics``, as asked for.
    ``run`` is what the dashboard opens with, ``folder`` where that is. With ``lasting`` the dashboard ends with that,
    and so may outlive the broker.

    Raises ``SettingsError`` (address taken, extra not installed) and what opening a broker raises.
    """
    snapshot = Snapshot()
    snapshot.watched = config is not None
    async with AsyncExitStack() as stack:
        if config is not None:
            broker = connect(config, f"monitor-{os.getpid()}")
            await broker.open()
            await stack.enter_async_context(feeding(broker, snapshot, _listener(settings, stack)))
        if metrics_port is not None:
            await stack.enter_async_context(_metrics(snapshot, metrics_port, metrics_host))
        services = Services(snapshot, None, run, folder)
        if dashboard:
            from ttg.run.browsing import Browser  # imports Arrow
            from ttg.run.retry_command import Commands, Retrier

            environment = _broker_for_commands(config) if config else {}
            retrier, commands = Retrier(settings.home, environment), Commands(environment)
            source = Browser(settings.home, retrier, folder, commands)
            opening = _dashboard(snapshot, source, host, port, token)
            services.site = await (lasting or stack).enter_async_context(opening)
            print(f"dashboard: {services.site.link(run)}", file=sys.stderr, flush=True)  # not logged: it has the token
        yield services


def _metrics(snapshot: Snapshot, port: int, host: str) -> AbstractAsyncContextManager[int]:
    from ttg.metrics import serve_metrics
    from ttg.monitor import prometheus

    return serve_metrics(port, lambda: prometheus.render(snapshot.at(unix_time())), host)


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
    snapshot: Snapshot, source: Browser, host: str, port: int | None, token: str | None
) -> AsyncIterator[Site]:
    """The web side is an extra; without it, say how to get it."""
    try:
        from ttg.monitor.web.server import serve_dashboard
    except ImportError as error:
        raise SettingsError("the dashboard needs its extra: pip install 'ttg-compute[dashboard]'") from error
    async with serve_dashboard(snapshot, host=host, port=port, token=token, source=source) as site:
        yield site


def _broker_for_commands(config: BrokerConfig) -> dict[str, str]:
    """A broker on this machine's file system may belong to the run and be gone by then: a retry gets one of its own."""
    if config.url.startswith("unix://"):
        return {}
    command = {"TTG_CREDENTIALS_COMMAND": config.credentials_command} if config.credentials_command else {}
    return {"TTG_BROKER": config.url, "TTG_NAMESPACE": config.namespace, **command}
