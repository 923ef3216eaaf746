"""The dashboard's HTTP side (Starlette): the page, the live stream, tables and pictures, one way to change something.

Starlette and uvicorn are the optional extra ``dashboard``: parsing HTTP from browsers is better left to code that
thousands use.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ttg.clock import unix_time
from ttg.errors import InputError, TTGError
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.view import View, to_json
from ttg.monitor.web.access import SECURITY_HEADERS, Access
from ttg.monitor.web.compare import compare
from ttg.monitor.web.results import picture
from ttg.monitor.web.runs import RunPages
from ttg.monitor.web.sections import Farewell, Sections
from ttg.monitor.web.source import Page, Retrial, RunsSource

STATIC = Path(__file__).parent / "static"
STREAM_EVERY_SECONDS = 1.0
WORKERS_SHOWN = 100
ROWS_AT_ONCE = 500
COOKIE_SECONDS = 30 * 86_400
ALIVE = "/healthz"
PIECE_BYTES = 1 << 18
VERBS = ("cancel", "pause", "unpause", "drain")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def make_app(
    snapshot: Snapshot, access: Access, source: RunsSource | None = None, farewell: Farewell | None = None
) -> ASGI:
    """The dashboard over ``snapshot``, which somebody else keeps up to date; ``source`` reads folders of runs and
    retries. Streams, which never end by themselves, end with ``farewell``.
    """
    dashboard = Dashboard(snapshot, source, farewell or Farewell())
    routes = [
        Route("/", dashboard.page),
        Route("/api/view", dashboard.view),
        Route("/api/stream", dashboard.stream),
        Route("/api/workers", dashboard.workers),
        Route("/api/timeline", dashboard.timeline),
        Route("/api/runs", dashboard.runs),
        Route("/api/compare", dashboard.compare),
        Route("/api/runs/{run}", dashboard.run),
        Route("/api/runs/{run}/timeline", dashboard.run_timeline),
        Route("/api/runs/{run}/failures", dashboard.failures),
        Route("/api/runs/{run}/table", dashboard.table),
        Route("/api/runs/{run}/picture", dashboard.picture),
        Route("/api/runs/{run}/download", dashboard.download),
        Route("/api/runs/{run}/logs", dashboard.logs),
        Route("/api/runs/{run}/retry", dashboard.retry, methods=["POST"]),
        Route("/api/runs/{run}/{verb:str}", dashboard.control, methods=["POST"]),
        Route("/metrics", dashboard.metrics),
        Route(ALIVE, lambda request: PlainTextResponse("ok\n")),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes, exception_handlers={TTGError: _refuse})
    return guarded(app, access)


class Dashboard:
    """One method per address."""

    def __init__(self, snapshot: Snapshot, source: RunsSource | None, farewell: Farewell) -> None:
        self.snapshot = snapshot
        self.source = source
        self.pages = RunPages(snapshot, source)
        self.farewell = farewell

    # -- live

    async def page(self, request: Request) -> Response:
        """The page itself."""
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def view(self, request: Request) -> Response:
        """The whole view, all workers included."""
        return _json(to_json(self._now()))

    async def stream(self, request: Request) -> Response:
        """Server-sent events: the sections that changed, at first all of them; those of the page of ``run``, too."""
        run = request.query_params.get("run", "")
        return StreamingResponse(self._events(run), media_type="text/event-stream")

    async def workers(self, request: Request) -> Response:
        """Workers whose name contains ``match``, a page of them."""
        match, offset = request.query_params.get("match", ""), _number(request, "offset", 0)
        found = [worker for worker in self._now().workers if match in worker.worker]
        shown = found[offset : offset + WORKERS_SHOWN]
        return _json(msgspec.json.encode({"total": len(found), "workers": shown}))

    async def timeline(self, request: Request) -> Response:
        """Workers over time: the last ``seconds`` (0: all) of those whose name contains ``match``."""
        seconds, match = _number(request, "seconds", 0), request.query_params.get("match", "")
        return _json(to_json(self.snapshot.timeline_at(unix_time(), seconds or None, match)))

    async def metrics(self, request: Request) -> Response:
        """Prometheus text of the same view."""
        from ttg.metrics import CONTENT_TYPE
        from ttg.monitor import prometheus

        return Response(prometheus.render(self._now()), headers={"Content-Type": CONTENT_TYPE})

    # -- runs

    async def runs(self, request: Request) -> Response:
        """All runs, of folders and of the broker."""
        return _json(msgspec.json.encode(await asyncio.to_thread(self.pages.entries)))

    async def run(self, request: Request) -> Response:
        """One run; see :class:`~ttg.monitor.web.runs.RunDetail`."""
        return _json(to_json(await asyncio.to_thread(self.pages.detail, request.path_params["run"])))

    async def compare(self, request: Request) -> Response:
        """Runs beside each other: ``run``, several times; ``value`` and ``across`` choose columns."""
        runs, chosen = request.query_params.getlist("run"), _chosen(request, "value", "across")
        return _json(to_json(await asyncio.to_thread(compare, self.pages, runs, **chosen)))

    async def run_timeline(self, request: Request) -> Response:
        """As :meth:`timeline`, over the time of one run."""
        seconds, match = _number(request, "seconds", 0), request.query_params.get("match", "")
        run = request.path_params["run"]
        return _json(to_json(await asyncio.to_thread(self.pages.timeline, run, seconds or None, match)))

    async def failures(self, request: Request) -> Response:
        """What failed in a run, by cause."""
        found = await asyncio.to_thread(self.pages.failures, request.path_params["run"])
        return _json(msgspec.json.encode(found))

    async def table(self, request: Request) -> Response:
        """A page of a run's table."""
        if self.source is None:
            return _json(to_json(Page([], [], 0)))
        page = await asyncio.to_thread(
            self.source.page,
            request.path_params["run"],
            offset=_number(request, "offset", 0),
            limit=min(_number(request, "limit", 50), ROWS_AT_ONCE),
            sort=request.query_params.get("sort", "index"),
            descending=request.query_params.get("order") == "descending",
        )
        return _json(to_json(page))

    async def picture(self, request: Request) -> Response:
        """A run's results as a picture; ``value``, ``across``, ``up`` choose columns, ``held`` (``NAME:PLACE``, several
        times) holds further parameters."""
        if self.source is None:
            return _json(b'{"kind":"none","note":"results are not read here"}')
        held = {}
        for text in request.query_params.getlist("held"):
            name, _, place = text.rpartition(":")
            held[name] = int(place) if place.isascii() and place.isdecimal() else -1
        chosen = _chosen(request, "value", "across", "up")
        drawn = await asyncio.to_thread(picture, self.source, request.path_params["run"], held=held, **chosen)
        return _json(to_json(drawn))

    async def download(self, request: Request) -> Response:
        """The whole table, in the ``format`` that is asked for."""
        run, wanted = request.path_params["run"], request.query_params.get("format", "csv")
        file = await asyncio.to_thread(self._exported, run, wanted)
        named = f"attachment; filename*=UTF-8''{quote(run, safe='')}.{quote(wanted, safe='')}"
        headers = {"Content-Disposition": named}
        return StreamingResponse(_pieces(file), media_type="application/octet-stream", headers=headers)

    def _exported(self, run: str, wanted: str) -> IO[bytes]:
        """In a file first, so that an error can still be told."""
        if self.source is None:
            raise InputError("results are not read here")
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the answer reads it
        self.source.export(run, wanted, file)
        file.seek(0)
        return file

    async def logs(self, request: Request) -> Response:
        """What the run's local workers said last."""
        tails = await asyncio.to_thread(self.source.logs, request.path_params["run"]) if self.source else []
        return _json(msgspec.json.encode(tails))

    async def control(self, request: Request) -> Response:
        """End the run, pause it, go on with it, or let a ``worker`` of it leave."""
        run, verb = request.path_params["run"], request.path_params["verb"]
        if verb not in VERBS:
            return PlainTextResponse(f"expected one of {', '.join(VERBS)}, got {verb!r}", status_code=404)
        if self.source is None:
            return PlainTextResponse(f"this is not possible from here: use `ttg {verb}`", status_code=409)
        worker = request.query_params.get("worker", "") if verb == "drain" else ""
        said = await asyncio.to_thread(self.source.control, verb, run, worker)
        return _json(msgspec.json.encode({"said": said}))

    async def retry(self, request: Request) -> Response:
        """Submit dead letters again; see :class:`~ttg.monitor.web.source.Retrial`."""
        if self.source is None:
            return PlainTextResponse("retrying is not possible from here: use `ttg retry`", status_code=409)
        try:
            which = msgspec.json.decode(await request.body(), type=Retrial)
        except msgspec.MsgspecError as error:
            return PlainTextResponse(f"expected index, or error and place: {error}", status_code=400)
        count = await asyncio.to_thread(self.source.retry, request.path_params["run"], which)
        return _json(msgspec.json.encode({"retried": count}))

    # -- inside

    def _now(self) -> View:
        return self.snapshot.at(unix_time())

    async def _events(self, run: str) -> AsyncIterator[bytes]:
        """A message when something has changed, and now and then one that says that we are here."""
        stream = Sections(self.pages, run, self.farewell)
        while not self.farewell.ending():
            if text := await stream.changes():
                yield b"data: " + text + b"\n\n"
            await asyncio.sleep(STREAM_EVERY_SECONDS)
        yield b"data: " + await stream.changes(last=True) + b"\n\n"


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _chosen(request: Request, *names: str) -> dict[str, str]:
    return {name: request.query_params.get(name, "") for name in names}


def _number(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() else default


async def _refuse(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), status_code=409)


# ---------------------------------------------------------------------------------------------- the guard


def guarded(app: ASGI, access: Access) -> ASGI:
    """``app`` behind ``access``: refuses, turns the page's ``?token=`` into a cookie, adds the security headers."""

    async def guard(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request = Request(scope)
        offered = request.query_params.get("token", "")
        refusal = access.refusal(request.method, request.headers, request.cookies, offered)
        if request.url.path == ALIVE:
            await app(scope, receive, _with_headers(send))
        elif refusal:
            await PlainTextResponse(refusal, status_code=403, headers=SECURITY_HEADERS)(scope, receive, send)
        elif offered and request.url.path == "/":
            await _log_in(access)(scope, receive, send)
        else:
            await app(scope, receive, _with_headers(send))

    return guard


def _log_in(access: Access) -> Response:
    """Into the cookie with it, so that the token does not stay in the address bar."""
    response = RedirectResponse("/", status_code=303, headers=SECURITY_HEADERS)
    response.set_cookie(access.cookie, access.token, max_age=COOKIE_SECONDS, httponly=True, samesite="strict")
    return response


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(SECURITY_HEADERS)
        await send(message)

    return send_with_headers
