"""Looking at the queues, at dead letters, and cleaning up: only keys of the namespace, by their exact names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from ttg.brokers.base import QueueStats
from ttg.brokers.redis.keys import GROUP, Key, Keys
from ttg.brokers.redis.logs import BEGINNING, MOST_BYTES, read_page
from ttg.brokers.redis.pool import Pool
from ttg.errors import BrokerRefused, MessageError
from ttg.messages import DeadLetter, RunRecord, decode

PAGE = 500
PAGE_BYTES = 4 << 20
CAUTIOUS_PAGE = 16

SIZE_COMMANDS = {"stream": "XLEN", "zset": "ZCARD", "hash": "HLEN"}


async def stats(pool: Pool, keys: Keys, silent_seconds: float) -> tuple[QueueStats, ...]:
    """The queues as they are now; a consumer that was silent for ``silent_seconds`` does not count."""
    names = (keys.tasks, keys.retry, keys.letters, keys.results, keys.events)
    reply = await pool.script("stats", (*names, keys.workers_seen), (GROUP, int(silent_seconds * 1000)))
    *sizes, leased, consumers = reply
    # An entry that a stranger deleted from the stream can still be in the pending list.
    leased = min(leased, sizes[0])
    tasks = QueueStats(str(keys.tasks), sizes[0], sizes[0] - leased, leased, consumers)
    return (tasks, *(QueueStats(str(name), size, size, 0) for name, size in zip(names[1:], sizes[1:], strict=True)))


async def take_dead_letters(pool: Pool, keys: Keys, identity: str, indices: set[int]) -> int:
    """Remove the letters of these indices of a run; returns how many."""
    ids = [entry_id async for entry_id, letter in _letters(pool, keys, identity) if letter.index in indices]
    pages = [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]
    return sum([await pool.command("XDEL", keys.letters, *page) for page in pages])


async def _letters(pool: Pool, keys: Keys, identity: str) -> AsyncIterator[tuple[bytes, DeadLetter]]:
    """Every letter of a run with its entry id; messages that were quarantined are no letters."""
    cursor = BEGINNING
    while page := await read_page(pool, keys.letters, cursor, PAGE, MOST_BYTES):
        for entry_id, flat in page:
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            with suppress(MessageError):
                if fields.get(b"identity") == identity.encode():
                    yield entry_id, decode(fields.get(b"letter", b""), DeadLetter)
        cursor = page[-1][0].decode()


# -- purging


async def purge_namespace(pool: Pool, keys: Keys, *, dry_run: bool) -> dict[str, int]:
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


async def purge_run(pool: Pool, keys: Keys, record: RunRecord, *, dry_run: bool) -> dict[str, int]:
    """Remove the tasks, retries, dead letters, results and the record of one run; nothing of another with its id."""
    only_count, identity = int(dry_run), record.identity
    counts = {
        keys.tasks: await _purge_log(pool, keys.tasks, identity, only_count, GROUP),
        keys.retry: await pool.script("purge_retries", (keys.retry,), (f"{identity} ", only_count)),
        keys.letters: await _purge_log(pool, keys.letters, identity, only_count),
        keys.results: await _purge_log(pool, keys.results, identity, only_count, start=record.results_from),
        keys.runs: await pool.script("forget_run", (keys.runs, keys.specs), (record.run, identity, only_count, "")),
    }
    return _told(keys, {key: count for key, count in counts.items() if count})


async def _purge_log(
    pool: Pool, key: str, identity: str, only_count: int, group: str = "", start: str | bytes = ""
) -> int:
    """In pages that a script looks through in milliseconds, whatever the size of an entry."""
    total, size = 0, await _mean_entry_bytes(pool, key)
    page, start = max(1, min(PAGE, PAGE_BYTES // size)), start or "-"
    while start:
        count, start = await pool.script("purge_log", (key,), (identity, start, page, only_count, group))
        total += count
    return total


async def _mean_entry_bytes(pool: Pool, key: str) -> int:
    try:
        used: int = await pool.command("MEMORY", "USAGE", key) or 0
    except BrokerRefused:  # an account may be forbidden to ask
        return PAGE_BYTES // CAUTIOUS_PAGE
    length: int = await pool.command("XLEN", key)
    return max(1, used // max(1, length))


def _told(keys: Keys, counts: Mapping[Key, int]) -> dict[str, int]:
    """What people are told: the queues and the runs, not our bookkeeping."""
    bookkeeping = {keys.specs, keys.workers, keys.workers_seen, keys.maintenance}
    return {key: count for key, count in counts.items() if key not in bookkeeping}
