"""A web service whose asynchronous handlers await calls and runs: the event loop serves others meanwhile.

    pip install 'ttg-compute[dashboard]'
    python -m uvicorn --app-dir examples web_service:app --port 8000

    curl 'localhost:8000/pi?points=100000'       # one call
    curl 'localhost:8000/sweep?points=100000'    # a run; a line for each of its rows, as they are known

The workers are started once, with the service, so that a request waits for its own work only.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

import ttg


def estimate(points: int, seed: int) -> float:
    """Pi, from random points in a square."""
    chance = random.Random(seed)
    inside = sum(chance.random() ** 2 + chance.random() ** 2 < 1 for _ in range(points))
    return 4 * inside / points


async def one(request: Request) -> JSONResponse:
    """One call, by the executor."""
    points = int(request.query_params.get("points", "100000"))
    value = await asyncio.wrap_future(request.app.state.executor.submit(estimate, points, 1))
    return JSONResponse({"pi": value})


async def sweep(request: Request) -> StreamingResponse:
    """A run over seeds, with a table on disk; who asks sees its rows as they come."""
    points = int(request.query_params.get("points", "100000"))
    run = ttg.start(estimate, {"seed": range(20), "points": [points]})

    async def lines() -> AsyncIterator[str]:
        async for row in run:
            yield json.dumps({"seed": row["seed"], "pi": row["result"]}) + "\n"
        finished = await run
        yield json.dumps({"run": finished.id, "status": finished.status, "rows": len(finished)}) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Workers for as long as the service lives."""
    with ttg.workers(2), ttg.Executor() as app.state.executor:
        yield


app = Starlette(routes=[Route("/pi", one), Route("/sweep", sweep)], lifespan=lifespan)
