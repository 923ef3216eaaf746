"""Who works on the queue, and who is dead: two speeds of noticing.

A consumer has one connection that stands for it. Its client id, its name and the server's run id (client ids start anew
with the server) are registered under ``<namespace>.workers``. When ``CLIENT LIST`` no longer knows a registered
connection, and after a moment still knows none for its consumer, that consumer's tasks are given back: a connection may
break while its process lives, and such a consumer is back within the moment. That is only a fast hint: everything else
(frozen process, half-open network, a server that forbids ``CLIENT LIST``) is noticed when the lease runs out.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Credentials
from ttg.brokers.redis.batches import batches
from ttg.brokers.redis.connection import Connection, ServerError
from ttg.brokers.redis.keys import GROUP, Keys, Words
from ttg.brokers.redis.pool import Forbidden, Pool
from ttg.clock import loop_time, unix_time
from ttg.errors import AccessRefused, BrokerError, BrokerRefused
from ttg.messages import WorkerLost

MAINTENANCE_SECONDS = 0.25
"""How often an idle consumer looks after the queue, and about how long a dead neighbour goes unnoticed."""

BUSY_MAINTENANCE_SECONDS = 1.0
LONGEST_MAINTENANCE_SECONDS = 2.0
"""Who finds that others have just looked looks less often: a large fleet costs the server as much as a small one."""

ABSENT_SECONDS = 0.5
"""For so long a consumer without a connection may still come back."""

COME_BACK_SECONDS = 0.1
AT_MOST = 1000

T = TypeVar("T")

_LISTED = re.compile(rb"^id=(\d+) .*? name=(\S*) ", re.MULTILINE)
_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """``await work`` such that cancelling the caller lets it finish.

    A connection whose command was cancelled is closed, and the connection that stands for us must not go.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


class Membership:
    """This consumer's place among the others: registered while its connection lives, and looking after theirs."""

    def __init__(self, config: BrokerConfig, keys: Keys, consumer: str, credentials: Credentials | None = None) -> None:
        self._config = config
        self._keys = keys
        self._consumer = consumer
        self._name = quote(f"{config.namespace}:{consumer}", safe=":._-{}")
        self._server_run_id = ""
        self._may_list_clients = True
        self._last_round = -math.inf
        self.pace_seconds = MAINTENANCE_SECONDS
        self._is_member = False
        self._coming_back: asyncio.Task[None] | None = None
        self.own = Pool(config, keys, self._on_connect, credentials)

    async def join(self) -> None:
        """Be registered, if it is not so already: before anything is held."""
        if not self._is_member:
            await uninterrupted(self.own.command("PING"))
            self._is_member = True

    def _on_lost(self) -> None:
        """Others are about to take us for dead: come back as fast as can be."""
        if self._is_member and self._coming_back is None:
            self._coming_back = asyncio.get_running_loop().create_task(self._come_back())
            self._coming_back.add_done_callback(lambda _task: setattr(self, "_coming_back", None))

    async def _come_back(self) -> None:
        deadline = loop_time() + self._config.lease_seconds
        while self._is_member and loop_time() < deadline:
            with suppress(BrokerError):
                await self.own.command("PING")
                return
            await asyncio.sleep(COME_BACK_SECONDS)

    async def _on_connect(self, connection: Connection) -> None:
        """Register a new connection as the one that stands for this consumer."""
        connection.on_lost = self._on_lost
        self._server_run_id = await _run_id(connection)
        # Without a registration (no permission, no memory) others wait for the lease: slower, not wrong.
        with suppress(ServerError):
            await connection.ask("CLIENT", "SETNAME", self._name)
            registration = f"{connection.id} {self._server_run_id} {self._name}"
            await connection.ask("HSET", self._keys.workers, self._consumer, registration)

    async def leave(self) -> None:
        """Give back what this consumer holds, and be forgotten; nothing if it was not registered."""
        if not self._is_member:
            return
        self._is_member = False
        while (await self.give_back(self._consumer, forget=True))[0] == AT_MOST:
            pass

    async def give_back(
        self,
        owner: str,
        ids: Sequence[bytes] = (),
        *,
        idle_ms: int = 0,
        registration: bytes = b"",
        forget: bool = False,
    ) -> tuple[int, int]:
        """Requeue tasks of ``owner``; returns how many, and the longest time in ms that one had been idle."""
        keys = (self._keys.tasks, self._keys.workers, self._keys.workers_seen)
        arguments: Words = (GROUP, owner, idle_ms, AT_MOST, registration, int(forget), *ids)
        count, longest_ms = await uninterrupted(self.own.script("give_back", keys, arguments))
        return count, longest_ms

    # -- looking after the others

    async def maintain(self, *, idle: bool) -> list[WorkerLost]:
        """If it is time to: promote due retries, and take tasks over from dead and silent consumers; returns which.

        ``idle``: this consumer has nothing to do, so it looks more often.
        """
        now = loop_time()
        if now - self._last_round < max(self.pace_seconds, 0.0 if idle else BUSY_MAINTENANCE_SECONDS):
            return []
        self._last_round = now
        here = self._keys
        keys = (here.maintenance, here.tasks, here.retry, here.workers, here.workers_seen)
        pause_ms = int(MAINTENANCE_SECONDS * 800)
        arguments = (pause_ms, GROUP, int(self._config.lease_seconds * 1000), AT_MOST, self._consumer)
        reply = await uninterrupted(self.own.script("maintain", keys, arguments))
        if reply is None:
            self.pace_seconds = min(2 * self.pace_seconds, LONGEST_MAINTENANCE_SECONDS)
            return []
        self.pace_seconds = max(self.pace_seconds / 2, MAINTENANCE_SECONDS)
        silent, registrations = reply
        return [*await self._reclaim_dead(_pairs(registrations)), *await self._reclaim_expired(silent)]

    async def _reclaim_expired(self, silent: Sequence[bytes]) -> list[WorkerLost]:
        """Take over what silent consumers did not renew."""
        lease_ms = int(self._config.lease_seconds * 1000)
        found = [(owner.decode(), await self.give_back(owner.decode(), idle_ms=lease_ms)) for owner in silent]
        return [self._lost(owner, taken, "lease") for owner, taken in found if taken[0] and owner != self._consumer]

    async def _reclaim_dead(self, registrations: Mapping[bytes, bytes]) -> list[WorkerLost]:
        """Take over everything from consumers whose connection is gone, and does not come back."""
        others = {owner: entry for owner, entry in registrations.items() if owner.decode() != self._consumer}
        await self._forget_silent(others)
        absent = others.keys() - await self._living(others)
        if not absent:
            return []
        await asyncio.sleep(ABSENT_SECONDS)
        lost = []
        for owner in absent:
            taken = await self.give_back(owner.decode(), registration=others[owner], forget=True)
            lost.append(self._lost(owner.decode(), taken, "connection"))
        return [event for event in lost if event.tasks]

    async def _forget_silent(self, registrations: Mapping[bytes, bytes]) -> None:
        """Those of an earlier life of the server that hold nothing that was renewed since: a living one registers
        again as soon as it is connected again."""
        lease_ms = int(self._config.lease_seconds * 1000)
        for owner, registration in registrations.items():
            if registration.split(b" ", 2)[1] != self._server_run_id.encode():
                await self.give_back(owner.decode(), idle_ms=lease_ms, registration=registration, forget=True)

    async def _living(self, registrations: Mapping[bytes, bytes]) -> set[bytes]:
        """Those consumers whose connection exists, or of which this server cannot tell."""
        parsed = {owner: entry.split(b" ", 2) for owner, entry in registrations.items()}
        here = {owner: (part[0], part[2]) for owner, part in parsed.items() if part[1] == self._server_run_id.encode()}
        listed = await self._list_clients([client_id for client_id, _ in here.values()])
        if listed is None:
            return set(registrations)
        return {owner for owner in registrations if owner not in here or here[owner] in listed}

    async def _list_clients(self, ids: Sequence[bytes]) -> set[tuple[bytes, bytes]] | None:
        """(id, name) of those of the connections ``ids`` that exist; ``None``: the server does not say."""
        if not ids:
            return set()
        if not self._may_list_clients:
            return None
        listed: set[tuple[bytes, bytes]] = set()
        try:
            for some in batches([client_id] for client_id in ids):
                listed.update(_LISTED.findall(await uninterrupted(self.own.command("CLIENT", "LIST", "ID", *some))))
        except BrokerRefused as error:
            if isinstance(error, AccessRefused) and not isinstance(error, Forbidden):
                raise  # a refused login says nothing of the command
            self._may_list_clients = False
            return None
        return listed

    def _lost(self, owner: str, taken: tuple[int, int], how: str) -> WorkerLost:
        return WorkerLost(
            at=unix_time(),
            source=self._consumer,
            worker=owner,
            tasks=taken[0],
            after_seconds=taken[1] / 1000,
            how=how,
        )


async def _run_id(connection: Connection) -> str:
    """Of the server's life; empty, for everybody, where users may not ask for it."""
    with suppress(ServerError):
        if found := _RUN_ID.search(await connection.ask("INFO", "server")):
            return found.group(1).decode()
    return ""


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
