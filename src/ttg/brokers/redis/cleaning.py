"""Looking at the queues, at dead letters, and cleaning up: only keys of the namespace, by their exact names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

import msgspec

from ttg.brokers.base import QueueStats
from ttg.brokers.redis.keys import GROUP, Keys
from ttg.brokers.redis.pool import Pool
from ttg.errors import MessageError
from ttg.messages import DeadLetter, decode

PAGE = 500

SIZE_COMMANDS = {"stream": "XLEN", "zset": "ZCARD", "hash": "HLEN"}


async def stats(pool: Pool, keys: Keys, silent_seconds: float) -> tuple[QueueStats, ...]:
    """The queues as they are now; a consumer that was silent for ``silent_seconds`` does not count."""
    names = (keys.tasks, keys.retry, keys.letters, keys.results, keys.events)
    reply = await pool.script("stats", (*names, keys.workers_seen), (GROUP, int(silent_seconds * 1000)))
    *sizes, leased, consumers = reply
    # An entry that a stranger deleted from the stream can still be in the pending list.
    leased = min(leased, sizes[0])
    tasks = QueueStats(keys.tasks, sizes[0], sizes[0] - leased, leased, consumers)
    return (tasks, *(QueueStats(name, size, size, 0) for name, size in zip(names[1:], sizes[1:], strict=True)))


# -- dead letters


async def dead_letters(pool: Pool, keys: Keys, run: str | None, limit: int) -> list[DeadLetter]:
    """The oldest letters, of ``run`` if given."""
    found: list[DeadLetter] = []
    async for _, letter in _letters(pool, keys, run):
        if len(found) >= limit:
            break
        found.append(letter)
    return found


async def take_dead_letters(pool: Pool, keys: Keys, run: str, indices: Iterable[int] | None) -> int:
    """Remove letters of ``run``; returns how many."""
    wanted = None if indices is None else set(indices)
    ids = [entry_id async for entry_id, letter in _letters(pool, keys, run) if wanted is None or letter.index in wanted]
    pages = [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]
    return sum([await pool.command("XDEL", keys.letters, *page) for page in pages])


async def _letters(pool: Pool, keys: Keys, run: str | None) -> AsyncIterator[tuple[bytes, DeadLetter]]:
    """Every letter with its entry id; messages that were quarantined are no letters."""
    start = b"-"
    while page := await pool.command("XRANGE", keys.letters, start, "+", "COUNT", PAGE):
        for entry_id, flat in page:
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            with suppress(MessageError):
                if run is None or fields.get(b"run") == run.encode():
                    yield entry_id, decode(fields.get(b"letter", b""), DeadLetter)
        start = b"(" + page[-1][0]


# -- purging


async def purge_namespace(pool: Pool, keys: Keys, dry_run: bool) -> dict[str, int]:
    """Remove the keys of the namespace. A key of another type is somebody else's and stays."""
    counts = {}
    for key, kind in keys.types.items():
        if await pool.command("TYPE", key) != kind.encode():
            continue
        if kind in SIZE_COMMANDS:
            counts[key] = await pool.command(SIZE_COMMANDS[kind], key)
        if not dry_run:
            await pool.command("UNLINK", key)
    return _told(keys, counts)


async def purge_run(pool: Pool, keys: Keys, run: str, dry_run: bool) -> dict[str, int]:
    """Remove the tasks, retries, dead letters, results and the record of one run."""
    only_count = int(dry_run)
    prefix = b'{"run":' + msgspec.json.encode(run) + b","
    counts = {
        keys.tasks: await _purge_log(pool, keys.tasks, run, only_count, GROUP),
        keys.retry: await pool.script("purge_retries", (keys.retry,), (prefix, only_count)),
        keys.letters: await _purge_log(pool, keys.letters, run, only_count),
        keys.results: await _purge_log(pool, keys.results, run, only_count),
        keys.runs: await pool.command("HEXISTS", keys.runs, run),
    }
    if not dry_run:
        for key in (keys.runs, keys.runs_since):
            await pool.command("HDEL", key, run)
    return _told(keys, {key: count for key, count in counts.items() if count})


async def _purge_log(pool: Pool, key: str, run: str, only_count: int, group: str = "") -> int:
    total, start = 0, b"-"
    while start:
        count, start = await pool.script("purge_log", (key,), (run, start, PAGE, only_count, group))
        total += count
    return total


def _told(keys: Keys, counts: dict[str, int]) -> dict[str, int]:
    """What people are told: the queues and the runs, not our bookkeeping."""
    bookkeeping = {keys.runs_since, keys.workers, keys.workers_seen, keys.maintenance}
    return {key: count for key, count in counts.items() if key not in bookkeeping}
