"""The server that memory clients share: namespaces, the bells that wake waiting clients, and the hooks for faults.

A simulation plugs its faults in here: :attr:`MemoryServer.fate` decides about each call, :attr:`MemoryServer.travel`
delays requests and replies, the methods under "faults" do what their names say.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from weakref import WeakValueDictionary

from ttg.brokers.memory.state import Namespace
from ttg.clock import loop_time


class Fate(Enum):
    """What happens to one call."""

    DONE = "done"
    REQUEST_LOST = "request lost: not executed, the connection breaks"
    REPLY_LOST = "reply lost: executed, the connection breaks"
    FULL = "the server takes no more data: not executed"
    READ_ONLY = "the server takes no writes: not executed, the connection stays"
    REFUSED = "the server refuses what it took before: not executed, the connection stays"
    STALLED = "the queue does not confirm: not executed, which is noticed after a while"
    SILENT = "the queue delivers nothing, as if it were empty"


class Bell:
    """Wakes coroutines that wait for something to appear; first come, first woken."""

    def __init__(self) -> None:
        self.rings = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def ring(self, count: int | None = None) -> None:
        """Wake ``count`` waiters (``None``: all)."""
        if count == 0:
            return
        self.rings += 1
        for _ in range(len(self._waiting) if count is None else min(count, len(self._waiting))):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, seconds: float, rings: int) -> None:
        """Return when woken, after ``seconds``, or at once if it rang since ``rings`` was read."""
        if self.rings != rings:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait((waiter,), timeout=seconds)
        except asyncio.CancelledError:
            if waiter.done():
                self.ring(1)
            raise
        finally:
            if not waiter.done():
                self._waiting.remove(waiter)


@dataclass(slots=True, eq=False)
class Bells:
    """One bell per queue that is waited on."""

    tasks: Bell
    results: Bell
    events: Bell


async def _no_delay(consumer: str) -> None:
    await asyncio.sleep(0)


def _always_done(consumer: str, verb: str) -> Fate:
    return Fate.DONE


_named: WeakValueDictionary[str, MemoryServer] = WeakValueDictionary()


class MemoryServer:
    """The state that clients share. Hooks for faults and delays: ``fate(consumer, verb)``, ``travel(consumer)``."""

    def __init__(self) -> None:
        self.fate: Callable[[str, str], Fate] = _always_done
        self.travel: Callable[[str], Awaitable[None]] = _no_delay
        self.down = False
        self._namespaces: dict[str, tuple[Namespace, Bells]] = {}
        self._drops: dict[str, int] = {}

    @classmethod
    def named(cls, url: str) -> MemoryServer:
        """The server behind a ``memory://name`` URL, one per process; it lives as long as somebody holds it."""
        server = _named.get(url)
        if server is None:
            server = _named[url] = cls()
        return server

    def namespace(self, name: str) -> Namespace:
        """Everything under one prefix."""
        return self._rooms(name)[0]

    def bells(self, name: str) -> Bells:
        """The bells of one namespace; ring them after changing it from outside."""
        return self._rooms(name)[1]

    def _rooms(self, name: str) -> tuple[Namespace, Bells]:
        if name not in self._namespaces:
            self._namespaces[name] = (Namespace(), Bells(Bell(), Bell(), Bell()))
        return self._namespaces[name]

    # -- faults

    def drops(self, consumer: str) -> int:
        """How often the connection of ``consumer`` was dropped."""
        return self._drops.get(consumer, 0)

    def drop_connection(self, consumer: str) -> None:
        """Break the connection of ``consumer``: what it waits for fails, and others take its tasks over."""
        self._drops[consumer] = self.drops(consumer) + 1
        for namespace, _ in self._namespaces.values():
            namespace.expire(consumer, loop_time())
            namespace.consumers.discard(consumer)
        self._ring_all()

    def lose_everything(self) -> None:
        """Forget all data, as a restart without persistence does; connections stay."""
        for name, (_, bells) in self._namespaces.items():
            self._namespaces[name] = (Namespace(), bells)
        self._ring_all()

    def snapshot(self, name: str) -> Namespace:
        """A namespace as it is now, for :meth:`restore`."""
        return copy.deepcopy(self.namespace(name))

    def restore(self, name: str, old: Namespace, queues: Iterable[str]) -> None:
        """Queues (``tasks``, ``results``, ``events``, ``runs``) hold what they held in ``old``: a failover that loses
        the last seconds; with an empty ``Namespace``: they were deleted and made again. Connections stay."""
        self.namespace(name).restore(old, queues)
        self._ring_all()

    def redeliver(self, name: str, consumer: str) -> None:
        """Deliver again what ``consumer`` holds, although it lives."""
        self.bells(name).tasks.ring(self.namespace(name).redeliver(consumer))

    def stop(self) -> None:
        """Refuse every call until :meth:`start`; data stay."""
        self.down = True
        for consumer in {name for namespace, _ in self._namespaces.values() for name in namespace.consumers}:
            self.drop_connection(consumer)

    def start(self) -> None:
        """Accept calls again."""
        self.down = False

    def _ring_all(self) -> None:
        for _, bells in self._namespaces.values():
            for bell in (bells.tasks, bells.results, bells.events):
                bell.ring()
