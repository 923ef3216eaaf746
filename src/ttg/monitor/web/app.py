"""The dashboard's HTTP side (Starlette): the page, the live stream, tables and pictures, one way to change something.

Starlette and uvicorn are the optional extra ``dashboard``: parsing HTTP from browsers is better left to code that
thousands use. The metrics of workers and coordinators need no extra (:mod:`ttg.metrics`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ttg.clock import unix_time
from ttg.errors import TTGError
from ttg.metrics import CONTENT_TYPE
from ttg.monitor import prometheus
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.view import View, to_json, to_plain
from ttg.monitor.web.access import COOKIE, SECURITY_HEADERS, Access
from ttg.monitor.web.results import Page, ResultsSource, picture

STATIC = Path(__file__).parent / "static"
STREAM_EVERY_SECONDS = 1.0
WORKERS_STREAMED = 100
ROWS_AT_ONCE = 500
COOKIE_SECONDS = 30 * 86_400

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def make_app(
    snapshot: Snapshot,
    access: Access,
    results: ResultsSource | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> ASGI:
    """The dashboard over ``snapshot``, which somebody else keeps up to date; ``results`` shows tables and retries.

    Streams, which never end by themselves, end when ``stopping()``.
    """
    dashboard = Dashboard(snapshot, results, stopping)
    routes = [
        Route("/", dashboard.page),
        Route("/api/view", dashboard.view),
        Route("/api/stream", dashboard.stream),
        Route("/api/workers", dashboard.workers),
        Route("/api/timeline", dashboard.timeline),
        Route("/api/runs/{run}/table", dashboard.table),
        Route("/api/runs/{run}/picture", dashboard.picture),
        Route("/api/runs/{run}/retry", dashboard.retry, methods=["POST"]),
        Route("/metrics", dashboard.metrics),
        Route("/healthz", lambda request: PlainTextResponse("ok\n")),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes, exception_handlers={TTGError: _refuse})
    return guarded(app, access)


class RetryRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which cause to retry; see :meth:`ResultsSource.retry`."""

    kind: str
    error: str
    place: str


class Dashboard:
    """One method per address."""

    def __init__(self, snapshot: Snapshot, results: ResultsSource | None, stopping: Callable[[], bool]) -> None:
        self.snapshot = snapshot
        self.results = results
        self.stopping = stopping

    # -- live

    async def page(self, request: Request) -> Response:
        """The page itself."""
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def view(self, request: Request) -> Response:
        """The whole view, all workers included."""
        return _json(to_json(self._now()))

    async def stream(self, request: Request) -> Response:
        """Server-sent events, each with the sections of the view that changed; the first has all of them."""
        return StreamingResponse(self._sections(), media_type="text/event-stream")

    async def workers(self, request: Request) -> Response:
        """Workers whose name contains ``match``, a page of them."""
        match, offset = request.query_params.get("match", ""), _number(request, "offset", 0)
        found = [worker for worker in self._now().workers if match in worker.worker]
        shown = found[offset : offset + WORKERS_STREAMED]
        return _json(msgspec.json.encode({"total": len(found), "workers": shown}))

    async def timeline(self, request: Request) -> Response:
        """Workers over time: the last ``seconds`` (0: all) of those whose name contains ``match``."""
        seconds, match = _number(request, "seconds", 0), request.query_params.get("match", "")
        return _json(to_json(self.snapshot.timeline_at(unix_time(), seconds or None, match)))

    async def metrics(self, request: Request) -> Response:
        """Prometheus text of the same view."""
        return Response(prometheus.render(self._now()), headers={"Content-Type": CONTENT_TYPE})

    # -- results

    async def table(self, request: Request) -> Response:
        """A page of a run's table."""
        if self.results is None:
            return _json(to_json(Page([], [], 0)))
        page = await asyncio.to_thread(
            self.results.page,
            request.path_params["run"],
            offset=_number(request, "offset", 0),
            limit=min(_number(request, "limit", 50), ROWS_AT_ONCE),
            sort=request.query_params.get("sort", "index"),
            descending=request.query_params.get("order") == "descending",
        )
        return _json(to_json(page))

    async def picture(self, request: Request) -> Response:
        """A run's results as a picture; ``value``, ``across``, ``up`` choose columns."""
        if self.results is None:
            return _json(b'{"kind":"none","note":"results are not read here"}')
        chosen = {name: request.query_params.get(name, "") for name in ("value", "across", "up")}
        drawn = await asyncio.to_thread(picture, self.results, request.path_params["run"], **chosen)
        return _json(to_json(drawn))

    async def retry(self, request: Request) -> Response:
        """Submit the dead letters of one cause again."""
        if self.results is None:
            return PlainTextResponse("retrying is not possible from here: use `ttg retry`", status_code=409)
        try:
            cause = msgspec.json.decode(await request.body(), type=RetryRequest)
        except msgspec.MsgspecError as error:
            return PlainTextResponse(f"expected kind, error and place: {error}", status_code=400)
        count = await asyncio.to_thread(
            self.results.retry, request.path_params["run"], cause.kind, cause.error, cause.place
        )
        return _json(msgspec.json.encode({"retried": count}))

    # -- inside

    def _now(self) -> View:
        return self.snapshot.at(unix_time())

    async def _sections(self) -> AsyncIterator[bytes]:
        sent: dict[str, bytes] = {}
        while not self.stopping():
            encoded = {name: msgspec.json.encode(section) for name, section in _trimmed(self._now()).items()}
            changed = {name: msgspec.Raw(section) for name, section in encoded.items() if sent.get(name) != section}
            sent = encoded
            yield b"data: " + msgspec.json.encode(changed) + b"\n\n"
            await asyncio.sleep(STREAM_EVERY_SECONDS)


def _trimmed(view: View) -> dict[str, Any]:
    """The sections of ``view`` that every page gets every second: of many workers only the first."""
    sections: dict[str, Any] = to_plain(view)
    sections["workers"] = sections["workers"][:WORKERS_STREAMED]
    return sections


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _number(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() else default


async def _refuse(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), status_code=409)


# ---------------------------------------------------------------------------------------------- the guard


def guarded(app: ASGI, access: Access) -> ASGI:
    """``app`` behind ``access``: refuses, turns ``?token=`` into a cookie, adds the security headers."""

    async def guard(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request = Request(scope)
        offered = request.query_params.get("token", "")
        refusal = access.refusal(request.method, request.headers, request.cookies, offered)
        if refusal:
            await PlainTextResponse(refusal, status_code=403, headers=SECURITY_HEADERS)(scope, receive, send)
        elif offered:
            await _log_in(request, access)(scope, receive, send)
        else:
            await app(scope, receive, _with_headers(send))

    return guard


def _log_in(request: Request, access: Access) -> Response:
    """Into the cookie with it, so that the token does not stay in the address bar."""
    response = RedirectResponse(request.url.path, status_code=303, headers=SECURITY_HEADERS)
    response.set_cookie(COOKIE, access.token, max_age=COOKIE_SECONDS, httponly=True, samesite="strict")
    return response


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(SECURITY_HEADERS)
        await send(message)

    return send_with_headers
