"""A coordinator for calls, on an event loop of its own thread, with broker and workers if it is to have its own."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from dataclasses import replace
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from msgspec import structs

from ttg.calls.errors import Resolution
from ttg.calls.queue import Call, CallQueue, begins
from ttg.errors import TTGError
from ttg.function import signed_store, with_pickles
from ttg.function.packing import Packed
from ttg.messages import RunStatus
from ttg.run.events import Event
from ttg.run.processes import broker_and_workers
from ttg.run.refusing_workers import HEARD_OF_SECONDS
from ttg.run.request import RunRequest
from ttg.run.scratch import Scratch
from ttg.stores import Store, open_store

if TYPE_CHECKING:
    from ttg.run.coordinator import Coordinator

log = logging.getLogger("ttg.calls")

OUTPUT_SECONDS = 5.0
"""How long the last lines of calls may take to be written where nobody reads them."""


class Session:
    """From :meth:`start` until the queue is closed and empty, or something final goes wrong: then ``broken`` says what,
    and what is open fails with it. ``ended`` is set when nothing of it is left."""

    def __init__(self, request: RunRequest, key: bytes) -> None:
        self._scratch = Scratch("calls")
        self.folder = self._scratch.path
        self.ended = Event()
        self.broken: BaseException | None = None
        self.pid = os.getpid()
        self._resolutions: queue.SimpleQueue[tuple[Call, Resolution] | None] = queue.SimpleQueue()
        inputs = self.folder / "inputs"
        place = request.store or str(self.folder / "store")
        try:
            inputs.mkdir()
            ref = Store.create(place, named=request.store is not None)
        except BaseException:
            self._scratch.remove()
            raise
        ref = signed_store(ref, request.spec.identity, request.settings.secret)
        self._store = open_store(ref)
        self.queue = CallQueue(request.spec.identity, key, inputs, request.slots, self._later)
        spec: Any = structs.replace(request.spec, store=ref)
        source: Any = self.queue
        self._echo, echo_fd = os.pipe()
        os.set_blocking(echo_fd, False)
        self._request = replace(request, spec=spec, space=source, echo_fd=echo_fd)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._coordinator: Coordinator | None = None
        self._woken = threading.Lock()
        self._futures = threading.Thread(target=self._resolve_all, name="ttg-futures", daemon=True)
        self._output = threading.Thread(target=self._show_output, name="ttg-output", daemon=True)
        self._writing, self._counting = threading.Lock(), threading.Lock()
        self._users: Counter[str] = Counter()

    def start(self) -> None:
        """Returns at once. When what is to be kept cannot be, nothing is left of the session."""
        try:
            for packed in self._request.inputs.values():
                self.keep(packed)
            spec = with_pickles(self._request.spec, self.queue.inputs.joinpath)
            self._request = replace(self._request, spec=spec)
        except BaseException:
            self._clear()
            os.close(self._echo)
            raise
        self._futures.start()
        self._output.start()
        threading.Thread(target=self._main, name="ttg-calls", daemon=True).start()

    def close(self, *, cancel: bool = False) -> None:
        """No more calls will come; those that nobody has begun may be cancelled."""
        self.queue.close(cancel=cancel)

    def kill(self) -> None:
        """End at once."""
        self.broken = self.broken or RuntimeError("its workers were killed")
        self.close(cancel=True)
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._kill)

    def _kill(self) -> None:
        assert self._coordinator is not None
        if self._coordinator.workers is not None:
            self._coordinator.workers.kill()
        self._coordinator.stop(RunStatus.CANCELLED)

    def slots_elsewhere(self) -> int:
        """Of all workers that were heard of, after :data:`HEARD_OF_SECONDS` at most."""
        deadline = monotonic() + HEARD_OF_SECONDS
        while monotonic() < deadline and not self.ended.is_set():
            if self._coordinator is not None and len(self._coordinator.fleet):
                return self._coordinator.fleet.slots
            sleep(0.02)
        return 1

    def wait(self) -> None:
        """Until :attr:`ended`; what hangs on a future cannot wait for that. Ctrl-C meanwhile ends it at once."""
        if threading.current_thread() is not self._futures:
            try:
                self.ended.wait()
            except KeyboardInterrupt:
                self.kill()
                raise

    def keep(self, packed: Packed) -> None:
        """Have an object where the workers find it."""
        path = self.queue.inputs / packed.name
        with self._writing:
            if not self._is_used_again(packed.name):
                packed.write(path)
                self._store.add_file(packed.name, path)
                with self._counting:  # not while it is written: futures are not resolved while this is held
                    self._users[packed.name] = 1

    def _is_used_again(self, name: str) -> bool:
        with self._counting:
            if known := name in self._users:
                self._users[name] += 1
        return known

    def release(self, name: str) -> None:
        """One user less of what was kept; without any it goes."""
        with self._counting:
            self._users[name] -= 1
            if self._users[name]:
                return
            del self._users[name]
            with suppress(TTGError, OSError):
                (self.queue.inputs / name).unlink()
                self._store.remove([name])

    # -- the coordinator's thread

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self.broken = self.broken or error
        finally:
            self._end()

    async def _run(self) -> None:
        async with broker_and_workers(self._request, self.folder, discard=lambda: True) as (broker, server, workers):
            from ttg.run.coordinator import Coordinator

            options = replace(self._request.options, expected_slots=max(1, self._request.workers * self._request.slots))
            source: Any = self.queue
            coordinator = Coordinator(
                self._request.spec,
                source,
                source,
                broker,
                options,
                workers=workers,
                restart_broker=server.ensure if server else self._request.warm.ensure if self._request.warm else None,
            )
            self._loop, self._coordinator = asyncio.get_running_loop(), coordinator
            self.queue.on_empty = lambda: coordinator.stop(RunStatus.FINISHED)
            self.queue.wake = self._wake
            self._on_wake()
            if self.broken is not None:  # it was killed before there was anything to kill
                self._kill()
            status = await coordinator.run()
            if self.queue.pending:
                raise BrokenExecutor(f"the calls were ended from outside: {status}")

    def _wake(self) -> None:
        """From any thread: there is more to do. The loop is woken once for many calls."""
        if self._loop is not None and self._woken.acquire(blocking=False):
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._on_wake)

    def _on_wake(self) -> None:
        if self._woken.locked():
            self._woken.release()
        assert self._coordinator is not None
        self._coordinator.submission.wake()
        self.queue.check_end()

    def _end(self) -> None:
        error = self.broken
        for call in self.queue.abandon():
            self._later(call, _raising(error))
        try:
            self._clear()
            self._output.join(OUTPUT_SECONDS)
        finally:  # somebody waits for these
            self._resolutions.put(None)
            self._futures.join()
            self.ended.set()

    def _clear(self) -> None:
        """Nothing is needed any more of what lies here, or in a store that was named."""
        assert self._request.echo_fd is not None
        os.close(self._request.echo_fd)  # so that the output ends
        if self._request.store is not None:
            with suppress(TTGError):
                self._store.clear()
        self._scratch.remove()

    def _show_output(self) -> None:
        """What calls print, where this program prints."""
        with open(self._echo, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(Exception):  # whatever this program has for its output; nobody reads it
                    sys.stdout.write(line)
                    sys.stdout.flush()

    # -- the futures' thread: what callers hang on their futures must not hold up the coordinator

    def _later(self, call: Call, resolution: Resolution) -> None:
        self._resolutions.put((call, resolution))

    def _resolve_all(self) -> None:
        while (item := self._resolutions.get()) is not None:
            try:
                _resolve(*item)
            except BaseException:  # of a callback, or the program has settled the future itself
                log.exception("settling %r", item[0].future)
            if name := item[0].name:
                self.release(name)
            del item


def _raising(error: BaseException | None) -> Callable[[], Any]:
    def resolve() -> Any:
        raise BrokenExecutor(f"the executor ended before this call: {error}") from error

    return resolve


def _resolve(call: Call, resolution: Resolution) -> None:
    future = call.future
    if not begins(future):
        return
    try:
        value = resolution()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(value)
