"""TTG's own connection to Redis beside redis-py and valkey-py: ``python -m benchmarks.clients [--rounds N] [WHAT …]``.

- ``import``: CPU time and memory that the import adds to a bare interpreter, and to what a worker has imported anyway.
- ``ping``, ``task``: one command; one message through a queue (add, read, add its result of 1 kB, acknowledge), one
  after the other, on a unix socket and over TCP.
- ``batch``: 1,000 entries of 1 kB, one after the other and, where the client can, in one pipeline.
- ``payload``: 10 MB written and read.

The clients take turns, each round in another order, on one private server. Wall-clock time includes the server's; CPU
time is the client's alone, so that a busy machine disturbs it less. Prints a Markdown table: median (and range) over
the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.brokers import answers, dying_with_us, free_port, redis_binary, running, wait_for
from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Login
from ttg.brokers.redis.connection import Address, connect
from ttg.brokers.redis.keys import Keys
from ttg.brokers.redis.pool import Pool

Ask = Callable[..., Awaitable[Any]]
Figures = defaultdict[tuple[str, str, str], list[float]]

BESIDE = {
    "bare interpreter": "asyncio",
    "beside a worker's": "asyncio, ttg.worker.supervisor, ttg.brokers.base, ttg.brokers.addresses, ttg.brokers.tls",
}
IMPORTS = {
    "ours, pool": "ttg.brokers.redis.pool",
    "redis-py, client": "redis.asyncio",
    "valkey-py, client": "valkey.asyncio",
}
MESSAGES = 1_000
RESULT = b"r" * 1_000
PAYLOAD = b"p" * 10_000_000


# ------------------------------------------------------------------------------------------------ the clients


@asynccontextmanager
async def our_connection(url: str) -> AsyncIterator[Ask]:
    connection = await connect(Address.of(url, {}), Login())
    yield connection.ask
    connection.close()


@asynccontextmanager
async def our_pool(url: str) -> AsyncIterator[Ask]:
    pool = Pool(BrokerConfig(url), Keys("ttg"))
    yield pool.command
    await pool.close()


@asynccontextmanager
async def their_connection(library: str, url: str) -> AsyncIterator[Ask]:
    """The lowest level that has a name: one connection, replies as they come."""
    pool = importlib.import_module(f"{library}.asyncio").ConnectionPool.from_url(url, **options(library))
    connection = pool.make_connection()
    await connection.connect()

    async def ask(*words: object) -> Any:
        await connection.send_command(*words)
        return await connection.read_response()

    yield ask
    await connection.disconnect()


@asynccontextmanager
async def their_client(library: str, url: str) -> AsyncIterator[Ask]:
    client = client_of(library, url)
    yield client.execute_command
    await client.aclose()


def client_of(library: str, url: str) -> Any:
    client = getattr(importlib.import_module(f"{library}.asyncio"), library.capitalize()).from_url(
        url, **options(library)
    )
    client.response_callbacks.clear()  # raw replies, as ours
    return client


def options(library: str) -> dict[str, Any]:
    """Nothing is sent twice; RESP 2, as ours."""
    backoff = importlib.import_module(f"{library}.backoff").NoBackoff()
    return {"retry": importlib.import_module(f"{library}.asyncio.retry").Retry(backoff, 0), "protocol": 2}


def clients(libraries: list[str]) -> dict[str, Callable[[str], Any]]:
    found: dict[str, Callable[[str], Any]] = {"ours, connection": our_connection, "ours, pool": our_pool}
    for library in libraries:
        found[f"{library}-py, connection"] = partial(their_connection, library)
        found[f"{library}-py, client"] = partial(their_client, library)
    return found


# ------------------------------------------------------------------------------------------------ what is measured


async def ping(ask: Ask) -> None:
    await ask("PING")


async def task(ask: Ask) -> None:
    await ask("XADD", "tasks", "*", "task", RESULT)
    reply = await ask("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "tasks", ">")
    entry = reply[0][1][0][0]
    await ask("XADD", "results", "*", "result", RESULT)
    await ask("XACK", "tasks", "g", entry)
    await ask("XDEL", "tasks", entry)


async def one_at_a_time(figures: Figures, what: str, where: str, who: str, ask: Ask, turn: Ask) -> None:
    times, cpu = [], time.process_time()
    for _ in range(MESSAGES):
        began = time.perf_counter()
        await turn(ask)
        times.append(1e6 * (time.perf_counter() - began))
    used = 1e6 * (time.process_time() - cpu) / MESSAGES
    times.sort()
    for name, figure in (("p50 µs", times[MESSAGES // 2]), ("p99 µs", times[MESSAGES * 99 // 100]), ("CPU µs", used)):
        figures[f"{what}, {where}", name, who].append(figure)


async def timed(figures: Figures, what: str, who: str, work: Callable[[], Awaitable[None]]) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    await work()
    figures[what, "CPU ms", who].append(1e3 * (time.process_time() - cpu))
    figures[what, "ms", who].append(1e3 * (time.perf_counter() - began))


async def batch(figures: Figures, who: str, ask: Ask, url: str) -> None:
    async def single() -> None:
        for _ in range(MESSAGES):
            await ask("XADD", "batch", "*", "task", RESULT)

    await timed(figures, "1,000 × 1 kB, one by one", who, single)
    library = who.partition("-")[0]
    if who.endswith("client"):
        pipe = client_of(library, url).pipeline(transaction=False)

        async def together() -> None:
            for _ in range(MESSAGES):
                pipe.execute_command("XADD", "batch", "*", "task", RESULT)
            await pipe.execute()

        await ask("PING")
        await timed(figures, "1,000 × 1 kB, pipeline", who, together)
        await pipe.aclose()
    await ask("DEL", "batch")


async def payload(figures: Figures, who: str, ask: Ask) -> None:
    async def write() -> None:
        await ask("SET", "payload", PAYLOAD)

    async def read() -> None:
        assert len(await ask("GET", "payload")) == len(PAYLOAD)

    await timed(figures, "10 MB written", who, write)
    await timed(figures, "10 MB read", who, read)


async def one_round(figures: Figures, urls: dict[str, str], libraries: list[str], what: set[str]) -> None:
    for where, url in urls.items():
        for who, client in shuffled(clients(libraries)):
            async with client(url) as ask:
                await ask("FLUSHALL")
                await ask("XGROUP", "CREATE", "tasks", "g", "$", "MKSTREAM")
                for name, turn in (("ping", ping), ("task", task)):
                    if name in what:
                        await one_at_a_time(figures, name, where, who, ask, turn)
                if where == "unix":
                    await bulk(figures, who, ask, url, what)


async def bulk(figures: Figures, who: str, ask: Ask, url: str, what: set[str]) -> None:
    if "batch" in what:
        await batch(figures, who, ask, url)
    if "payload" in what:
        await payload(figures, who, ask)


def shuffled(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from random.sample(list(table.items()), len(table))


def imports(figures: Figures, libraries: list[str]) -> None:
    """What a process that imports more costs more than one that does not."""
    names = ["ours, pool", *(f"{library}-py, client" for library in libraries)]
    for what, before in BESIDE.items():
        cpu, kib = cost_of(before)
        for who, module in shuffled({name: IMPORTS[name] for name in names}):
            more_cpu, more_kib = cost_of(f"{before}, {module}")
            figures[f"import, {what}", "CPU ms", who].append(1e3 * (more_cpu - cpu))
            figures[f"import, {what}", "MiB", who].append((more_kib - kib) / 1024)


def cost_of(modules: str) -> tuple[float, int]:
    """CPU seconds of a process that imports ``modules``, and its memory in KiB when it has."""
    look = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
    process = subprocess.Popen([sys.executable, "-c", f"import {modules}\n{look}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"expected to import {modules}, which failed")
    return usage.ru_utime + usage.ru_stime, int(said)


# ------------------------------------------------------------------------------------------------ the program


def table(figures: Figures) -> str:
    who = sorted({key[2] for key in figures})
    lines = ["| what | figure | " + " | ".join(who) + " |", "| --- | --- |" + " ---: |" * len(who)]
    for what, name in dict.fromkeys(key[:2] for key in figures):
        cells = [cell(figures.get((what, name, each), [])) for each in who]
        lines.append(f"| {what} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    return f"{statistics.median(values):.4g} ({min(values):.4g}–{max(values):.4g})" if values else "–"


def main() -> int:
    args = parse()
    libraries = [name for name in ("redis", "valkey") if importlib.util.find_spec(name)]
    if "redis" not in libraries:
        print("Nothing to compare with: redis-py is not installed (pip install 'redis[hiredis]').", file=sys.stderr)
        return 0
    what, figures = set(args.what), Figures(list)
    folder, port = Path(tempfile.mkdtemp(prefix="ttg-clients-")), free_port()
    command = [*dying_with_us(), redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    try:
        with running([*command, "--unixsocket", str(folder / "socket")], folder):
            wait_for(lambda: answers(port, b"PING\r\n", b"+PONG"), f"the server on port {port}")
            urls = {"unix": f"unix://{folder}/socket", "TCP": f"redis://127.0.0.1:{port}"}
            for number in range(args.rounds):
                print(f"round {number + 1}", file=sys.stderr)
                if "import" in what:
                    imports(figures, libraries)
                asyncio.run(one_round(figures, urls, libraries, what))
    finally:
        shutil.rmtree(folder)
    print(table(figures))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = ("import", "ping", "task", "batch", "payload")
    parser.add_argument("what", nargs="*", default=choices, help=f"any of {', '.join(choices)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    if unknown := set(args.what) - set(choices):
        parser.error(f"expected any of {', '.join(choices)}, got {', '.join(sorted(unknown))}")
    return args


if __name__ == "__main__":
    sys.exit(main())
