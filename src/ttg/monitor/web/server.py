"""Runs the dashboard inside an event loop that belongs to somebody else: ``ttg dashboard``, ``ttg run --dashboard``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import uvicorn

from ttg.errors import SettingsError
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.web.access import Access
from ttg.monitor.web.app import make_app
from ttg.monitor.web.sections import Farewell
from ttg.monitor.web.source import RunsSource

USUAL_PORT = 8080
CLOSING_SECONDS = 3


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: Ctrl-C is the command's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Site:
    """A dashboard that is served. ``address`` is a link, with the token; ``farewell`` is for the end."""

    address: str
    farewell: Farewell

    def link(self, run: str = "") -> str:
        """The address to open, of the page of ``run`` if one is named."""
        return self.address + (f"#run/{quote(run, safe='')}/overview" if run else "")


@contextlib.asynccontextmanager
async def serve_dashboard(
    snapshot: Snapshot,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    token: str | None = None,
    source: RunsSource | None = None,
) -> AsyncIterator[Site]:
    """While open, the dashboard over ``snapshot`` (which somebody feeds) is served.

    ``port``: 8080 or, if that is taken, any free one; 0 takes any. ``token`` is made up if not given. Raises
    ``SettingsError`` when the address cannot be used.
    """
    access, farewell = Access.by(token), Farewell()
    listener = _listen(host, port)
    app = make_app(snapshot, access, source, farewell)
    server = _Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=CLOSING_SECONDS
        )
    )
    farewell.ending = lambda: server.should_exit
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Site(_address(listener, access), farewell)
    finally:
        server.should_exit = True
        await serving


def _listen(host: str, port: int | None) -> socket.socket:
    if port is not None:
        return _listen_on(host, port)
    with contextlib.suppress(SettingsError):
        return _listen_on(host, USUAL_PORT)
    return _listen_on(host, 0)


def _listen_on(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise SettingsError(
            f"expected a free address for the dashboard, but {host}:{port} cannot be used ({reason}): "
            "choose another --port, or 0 for any"
        ) from error


def _address(listener: socket.socket, access: Access) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + f"?token={access.token}"
