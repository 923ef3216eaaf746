"""The verbs of the contract on Redis and Valkey Streams.

A task is a stream entry; whoever has it in the group's pending list owns it, for as long as it is not idle for a lease.
Giving a task back, for whatever reason, makes a fresh entry of it, so an old entry id can never be settled late.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from ttg.brokers.base import LETTERS_KEPT, Broker, BrokerConfig, BrokerStats, Delivery, ResultMessage, Settlement
from ttg.brokers.credentials import Credentials
from ttg.brokers.redis import checks, cleaning
from ttg.brokers.redis.batches import batches
from ttg.brokers.redis.keys import GROUP, Keys
from ttg.brokers.redis.logs import BEGINNING, Entry, LogReader, block, entries
from ttg.brokers.redis.membership import Membership, uninterrupted
from ttg.brokers.redis.pool import BLOCK_SECONDS, Forbidden, Pool
from ttg.brokers.redis.retention import Retention
from ttg.clock import loop_time, unix_time
from ttg.errors import AccessRefused, BrokerError, BrokerRefused, MessageError
from ttg.messages import (
    AnyEvent,
    MessageQuarantined,
    Outcome,
    ResultHeader,
    RunRecord,
    Task,
    decode,
    decode_event,
    encode,
)

DROP_AT_ONCE = 1000

CLOSE_SECONDS = 2.0
OLDEST_VERSION = {"redis": 7, "valkey": 8}


class RedisBroker(Broker):
    """A client of one Redis or Valkey server."""

    backend = "redis"

    def __init__(self, config: BrokerConfig, consumer: str) -> None:
        super().__init__(config, consumer)
        self._keys = Keys(config.namespace)
        self._credentials = Credentials(config, self.processes)
        self._pool = Pool(config, self._keys, credentials=self._credentials)
        self._membership = Membership(config, self._keys, consumer, self._credentials)
        self._maintaining: asyncio.Task[None] | None = None
        self._denied: AccessRefused | None = None
        self._idle = True
        self._version = ""
        self._read_up_to: dict[str | None, tuple[str, str]] = {}
        self._retention: dict[str, Retention] = {}
        self._results = LogReader(self._pool, lambda: self._keys.results, self._retention.clear, large=True)
        self._events = LogReader(self._pool, lambda: self._keys.events)
        self._abandoned: set[asyncio.Task[None]] = set()

    # -- lifecycle

    async def open(self) -> None:
        self._version = await self._find_version()
        await self._create_group()

    async def _find_version(self) -> str:
        """A user who may not ask for it is believed to have a server that is new enough."""
        try:
            return _checked_version(await self._pool.command("INFO", "server"), self.config)
        except Forbidden:
            return "redis"

    async def _create_group(self) -> None:
        try:
            await self._pool.command("XGROUP", "CREATE", self._keys.tasks, GROUP, "0", "MKSTREAM")
        except BrokerRefused as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def close(self) -> None:
        if self._maintaining is not None:
            self._maintaining.cancel()
        with suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._abandoned:
                    await self._pool.unblock()
                await asyncio.gather(*self._abandoned)
                await self._membership.leave()
        await self._membership.own.close()
        await self._pool.close()
        self._credentials.close()

    # -- runs

    async def find_run(self, run: str, *, fresh: bool = False) -> RunRecord | None:
        body = await self._pool.command("HGET", self._keys.runs, run)
        return _record(body) if body else None

    async def list_runs(self) -> list[RunRecord]:
        bodies = await self._pool.command("HVALS", self._keys.runs)
        return [record for body in bodies if (record := _record(body))]

    async def find_spec(self, record: RunRecord) -> bytes | None:
        spec: bytes | None = await self._pool.command("HGET", self._keys.specs, record.identity)
        return spec

    async def swap_run(self, old: RunRecord | None, new: RunRecord, spec: bytes | None = None) -> bool:
        seen = (old.identity, old.revision) if old else ("", 0)
        words = (new.run, *seen, encode(new), new.identity, spec or "")
        return bool(await self._pool.script("swap_run", (self._keys.runs, self._keys.specs), words))

    async def forget_run(self, record: RunRecord) -> None:
        keys, words = (self._keys.runs, self._keys.specs), (record.run, record.identity, 0, record.revision)
        if await self._pool.script("forget_run", keys, words):
            await cleaning.purge_run(self._pool, self._keys, record, dry_run=False)

    # -- tasks

    async def submit(self, tasks: Sequence[Task]) -> None:
        for batch in batches([[task.run, task.identity, encode(task)] for task in tasks]):
            await self._pool.script("submit", (self._keys.tasks,), batch)

    async def lease(self, limit: int, wait_seconds: float) -> list[Delivery]:
        deadline = loop_time() + wait_seconds
        while True:
            await self._membership.join()
            self._maintain()
            if self._denied:
                raise self._denied
            remaining = max(0.0, deadline - loop_time())
            entries = await self._read_tasks(limit, min(remaining, self._membership.pace_seconds, BLOCK_SECONDS))
            self._idle = not entries
            deliveries = [delivery for entry in entries if (delivery := await self._delivery(entry))]
            if deliveries or loop_time() >= deadline:
                return deliveries

    def _maintain(self) -> None:
        """Look after the queue in the background: it may take a moment to be sure that somebody is gone."""
        if self._maintaining is None or self._maintaining.done():
            self._maintaining = asyncio.get_running_loop().create_task(self._look_after_others())

    async def _look_after_others(self) -> None:
        # A server without room can still hand out tasks; promotion and takeover wait until it has room again. Whatever
        # else is the matter, the caller hears of by what he asks for; but some commands are used here only.
        self._denied = None
        try:
            await self._log(await self._membership.maintain(idle=self._idle))
        except AccessRefused as denied:
            self._denied = denied
        except BrokerError:
            pass

    async def _read_tasks(self, limit: int, wait_seconds: float) -> list[Entry]:
        """New entries for us. If the caller goes away meanwhile, they are given back as soon as they come."""
        reading = asyncio.ensure_future(self._read_group(limit, wait_seconds))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            giving_back = asyncio.ensure_future(self._give_back(reading))
            self._abandoned.add(giving_back)
            giving_back.add_done_callback(self._abandoned.discard)
            raise

    async def _read_group(self, limit: int, wait_seconds: float) -> list[Entry]:
        words = ("XREADGROUP", "GROUP", GROUP, self.consumer, "COUNT", limit, *block(wait_seconds))
        try:
            return entries(await self._pool.command(*words, "STREAMS", self._keys.tasks, ">"))
        except BrokerRefused as error:
            if "NOGROUP" not in str(error):
                raise
            # Somebody flushed the server or deleted the stream; the ledger will submit again what is missing.
            await self._create_group()
            return []

    async def _give_back(self, reading: asyncio.Future[list[Entry]]) -> None:
        with suppress(BrokerError):
            if ids := [entry_id for entry_id, _ in await reading]:
                await self._membership.give_back(self.consumer, ids)

    async def _delivery(self, entry: Entry) -> Delivery | None:
        entry_id, flat = entry
        fields = _fields(flat)
        try:
            task: Task = decode(fields.get(b"task", b""), Task)
        except MessageError as error:
            await self._quarantine(entry_id, error)
            return None
        return Delivery(task, entry_id, 1 + _whole(fields.get(b"deliveries", b"0")))

    async def _quarantine(self, entry_id: bytes, error: MessageError) -> None:
        keys = (self._keys.tasks, self._keys.letters)
        with suppress(BrokerError):
            await self._pool.script("quarantine", keys, (GROUP, entry_id, str(error)))
        await self._log([self._quarantined(self._keys.tasks, error)])

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        if not deliveries:
            return []
        ids = [delivery.token for delivery in deliveries]
        keys = (self._keys.tasks, self._keys.workers_seen)
        script = self._membership.own.script("renew", keys, (GROUP, self.consumer, *ids))
        return [deliveries[position] for position in await uninterrupted(script)]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        keys = self._keys
        touched = (keys.tasks, keys.retry, keys.letters, keys.results)
        settled: list[bool] = []
        for batch in batches([_settlement_words(settlement) for settlement in settlements]):
            reply = await self._pool.script("settle", touched, (GROUP, self.consumer, LETTERS_KEPT, *batch))
            settled.extend(map(bool, reply))
        return settled

    # -- logs

    async def read_results(
        self, after: str | None, limit: int, wait_seconds: float, identity: str | None = None
    ) -> list[ResultMessage]:
        known_after, read_up_to = self._read_up_to.get(identity, (None, ""))
        cursor = read_up_to if known_after == (after or "") else after or BEGINNING
        async for page in self._results.pages(cursor, limit, wait_seconds):
            found = [message for entry in page if (message := await self._result(entry, identity))]
            if found:
                self._read_up_to.pop(identity, None)
                if identity is not None:
                    self._retention.setdefault(identity, Retention()).saw(found)
                return found
            # Other runs' entries are not looked at again when the caller asks once more from the same place.
            self._read_up_to[identity] = (after or "", page[-1][0].decode())
        return []

    async def results_end(self) -> str:
        return await self._results.end()

    async def _result(self, entry: Entry, identity: str | None) -> ResultMessage | None:
        entry_id, flat = entry
        fields = _fields(flat)
        if identity is not None and fields.get(b"identity") != identity.encode():
            return None
        try:
            header: ResultHeader = decode(fields.get(b"header", b""), ResultHeader)
        except MessageError as error:
            await self._log([self._quarantined(self._keys.results, error)])
            return None
        return ResultMessage(entry_id.decode(), header, fields.get(b"payload", b""))

    async def trim_results(self, identity: str, up_to: str, keep_bytes: int) -> int:
        retention = self._retention.setdefault(identity, Retention())
        while ids := retention.droppable(up_to, keep_bytes, DROP_AT_ONCE):
            await self._pool.command("XDEL", self._keys.results, *ids)
            retention.dropped(len(ids))
            self._results.dropped(ids[-1])
        return retention.kept_bytes

    async def publish_events(self, events: Iterable[AnyEvent]) -> None:
        for bodies in batches([encode(event)] for event in events):
            await self._pool.script("publish_events", (self._keys.events,), (self.config.events_kept, *bodies))

    async def read_events(self, after: str | None, limit: int, wait_seconds: float) -> list[tuple[str, AnyEvent]]:
        async for page in self._events.pages(after or BEGINNING, limit, wait_seconds):
            if found := list(_decoded_events(page)):
                return found
        return []

    async def _log(self, events: Sequence[AnyEvent]) -> None:
        with suppress(BrokerError):
            await self.publish_events(events)

    def _quarantined(self, queue: str, error: MessageError) -> MessageQuarantined:
        return MessageQuarantined(at=unix_time(), source=self.consumer, queue=str(queue), reason=str(error))

    # -- dead letters, looking and cleaning

    async def take_dead_letters(self, identity: str, indices: Iterable[int]) -> int:
        return await cleaning.take_dead_letters(self._pool, self._keys, identity, set(indices))

    async def stats(self, *, logs: bool = True) -> BrokerStats:
        await self._pool.ready()
        queues = await cleaning.stats(self._pool, self._keys, self.config.lease_seconds)
        return BrokerStats(self.backend, self._version, queues)

    async def purge(self, record: RunRecord | None = None, *, dry_run: bool = False) -> dict[str, int]:
        await self._pool.ready()
        if record is None:
            return await cleaning.purge_namespace(self._pool, self._keys, dry_run=dry_run)
        return await cleaning.purge_run(self._pool, self._keys, record, dry_run=dry_run)

    async def diagnose(self) -> list[checks.Finding]:
        await self._pool.ready()
        return [("good", "version", await self._find_version(), ""), *await checks.diagnose(self._pool, self._keys)]


def _checked_version(info: bytes, config: BrokerConfig) -> str:
    """``redis 7.0.15`` or ``valkey 9.1.2``; raises ``BrokerRefused`` when the server is too old."""
    fields = dict(re.findall(r"^(\w+):(.*?)\r?$", info.decode(), re.MULTILINE))
    name = "valkey" if "valkey_version" in fields else "redis"
    version = fields[f"{name}_version"]
    if int(version.partition(".")[0]) < OLDEST_VERSION[name]:
        raise BrokerRefused(
            f"{config.masked_url} is {name} {version}: TTG needs Redis {OLDEST_VERSION['redis']} "
            f"or Valkey {OLDEST_VERSION['valkey']} or newer"
        )
    return f"{name} {version}"


def _settlement_words(settlement: Settlement) -> list[str | bytes | int]:
    outcome: Outcome = settlement.outcome
    pieces = (outcome.header.dead, outcome.retries, outcome.remainder)
    return [
        settlement.delivery.token,
        outcome.header.run,
        outcome.header.identity,
        encode(outcome.header),
        outcome.payload,
        outcome.retry_delay_ms,
        *map(len, pieces),
        *(encode(message) for piece in pieces for message in piece),
    ]


def _fields(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _whole(digits: bytes) -> int:
    return int(digits) if digits.isdigit() else 0


def _record(body: bytes) -> RunRecord | None:
    """A run's record; one that cannot be read is as good as none."""
    with suppress(MessageError):
        record: RunRecord = decode(body, RunRecord)
        return record
    return None


def _decoded_events(page: Iterable[Entry]) -> Iterator[tuple[str, AnyEvent]]:
    for entry_id, flat in page:
        with suppress(MessageError):
            yield entry_id.decode(), decode_event(_fields(flat).get(b"event", b""))
