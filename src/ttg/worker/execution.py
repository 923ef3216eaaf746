"""The hot loop: call the function over a task, slice by slice, and make the report. Runs in the child.

A slice is about :data:`~ttg.worker.loading.SLICE_SECONDS` of work. Inside it nothing of ours runs per parameter:
``values.extend(map(f, …))`` loops in C and keeps what came before an exception; the ``map`` object then goes on behind
the culprit. Only when a call is slow enough that it does not matter is each one timed by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from time import perf_counter, sleep
from typing import IO, TYPE_CHECKING, Any

from ttg.errors import StoreError, TTGError
from ttg.messages import Failure, Files, Ranges, Stored, Task, indices_of, split_ranges
from ttg.messages.parameters import storable
from ttg.messages.ranges import index_at, without
from ttg.results.plain import Unencodable
from ttg.stores import INLINE_BYTES, Store
from ttg.worker.calls import CallResults, CallRunner
from ttg.worker.failures import failure_of, readable
from ttg.worker.loading import Columns, Loaded
from ttg.worker.marks import Marks
from ttg.worker.protocol import Report
from ttg.worker.scalars import ScalarResults, detached
from ttg.worker.workdirs import TooManyFiles, Workdirs

if TYPE_CHECKING:
    from ttg.worker.batches import Batches

BLOCK_ROWS = 1 << 13
"""Calls in one go: their results fit the processor's cache until they are packed."""
BATCH_ROWS = 1 << 15
"""Parameters in one vectorised call: each array of numbers takes 256 KiB, so that a few of them fit the cache."""
MARKED_CALL_SECONDS = 5e-4
"""Of calls that take longer, also what compiled code and programs that they start print is told apart."""
MAX_FAILURES = 1_000
MAX_PAYLOAD_BYTES = 15 << 20
"""Below the 16 MiB that RabbitMQ accepts by default, with room for headers."""
STORE_PATIENCE_SECONDS, STORE_PAUSE_SECONDS = 60.0, 0.5
"""How long a large result waits for its store at least, before others may try: only here it may be away."""
MAX_ROWS_BYTES = MAX_PAYLOAD_BYTES - (64 << 10)
"""What rows may take of it: Arrow's own headers must not make a full payload too large, or half of it is done again."""


@dataclass
class Execution:
    """One task being executed. The function takes one item of each column, or whole columns if ``vectorized``.
    ``unshared`` says why the run's store cannot be used here.
    """

    task: Task
    work: Loaded
    vectorized: bool = False
    marks: Marks = field(default_factory=Marks)
    store: Store | None = None
    unshared: str = ""
    executed: int = 0
    results: ScalarResults | Batches = field(init=False)
    seconds: list[float] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)
    call_seconds: float = 0.0
    stored: Stored | None = None

    def __post_init__(self) -> None:
        packs = not self.task.rows
        self.makes_calls = isinstance(self.work.function, CallRunner)
        self.values = CallResults(packs=False) if self.makes_calls else ScalarResults(packs=packs)
        self.batches = _batches(packs) if self.vectorized else None
        self.results = self.batches or self.values

    # -- running

    def run(
        self, checkpoint_seconds: float, announce: Callable[[int, int, float], None], stop: Callable[[], bool]
    ) -> None:
        """Work until the task is done, a bound is reached, or ``stop()`` says so between two slices."""
        if stop():
            return
        self.work.surroundings.restore()  # of another run
        rest = self.task.ranges
        while rest and not self._is_full():
            count = min(self._slice_size(), rest[0][1] - rest[0][0])
            if count < self.task.count:
                announce(self.executed, count, count * self.work.pace.call_seconds)
            self.marks.begin(self.task.run, rest[0][0], rest[0][0] + count - 1)
            taken = self._run_slice(rest[0][0], count)
            rest = split_ranges(rest, taken)[1]
            if not rest:
                return
            if perf_counter() - self.started >= checkpoint_seconds or stop():
                return

    def _slice_size(self) -> int:
        if self.task.bisect_depth or self.work.workdirs:
            return 1
        return self.work.pace.next_size(MAX_ROWS_BYTES - self.results.count * self.work.pace.row_bytes)

    def _is_full(self) -> bool:
        full = self.results.count * self.work.pace.row_bytes >= MAX_ROWS_BYTES
        full = full or (self.work.workdirs is not None and self.work.workdirs.is_full)
        return full or len(self.failures) >= MAX_FAILURES

    def _run_slice(self, start: int, count: int) -> int:
        """Execute ``count`` indices from ``start``; returns how many were, before the failures became too many."""
        rows, timed, failed = self.results.count, len(self.seconds), len(self.failures)
        began = perf_counter()
        self.work.surroundings.begin()
        taken = self._run_blocks(start, count)
        if (self._restore() | self._detach(self.results.count - rows)) and taken > 1:  # others may have seen it
            self.results.keep(rows)
            del self.seconds[timed:], self.failures[failed:]
            taken = self._run_blocks(start, count)
        elapsed = perf_counter() - began
        self._record_times(self.results.count - rows, elapsed / max(taken, 1))
        self.work.pace.saw(max(taken, 1), elapsed, self.results.row_bytes)
        self.call_seconds += elapsed
        self.executed += taken
        return taken

    def _run_blocks(self, start: int, count: int) -> int:
        taken = 0
        block = BATCH_ROWS if self.vectorized else count if self.work.pace.slow else BLOCK_ROWS
        while taken < count:
            size = min(block, count - taken)
            done = self._run_block(start + taken, size)
            taken += done
            if done < size:
                break
        return taken

    def _restore(self) -> bool:
        """Whether calls of this run were found to change their surroundings just now, for the first time."""
        changed = self.work.surroundings.restore()
        if not changed or self.work.one_by_one:
            return False
        self.work.one_by_one = True
        sys.stderr.write(f"ttg: a call changed {' and '.join(changed)}: each call starts from those of the run\n")
        return True

    def _detach(self, count: int) -> bool:
        """Whether calls of this run were found to return what later ones could change, for the first time."""
        if self.work.pace.detaches or self.batches is not None or not self.values.may_change(count):
            return False
        self.work.pace.detaches = True
        self.values.items[-1] = detached(self.values.items[-1])
        return True

    def _run_block(self, start: int, count: int) -> int:
        if self.batches is not None:
            return self._call_batch(self.batches, start, count)
        before = len(self.values.items)
        try:
            columns = self.work.columns_of(self.task, start, start + count)
        except TTGError as error:  # rows that cannot be read here
            count = min(count, MAX_FAILURES - len(self.failures))
            self.failures.extend(failure_of(error, index) for index in range(start, start + count))
            return count
        timed = self.work.pace.slow or self.work.one_by_one
        taken = self._call_timed(columns, start) if timed else self._call_mapped(columns, start, count)
        self.values.end_block(before)
        return taken

    def _call_mapped(self, columns: Columns, start: int, count: int) -> int:
        """The fast way: no work of ours per call."""
        values = self.values.items
        before = len(values) + len(self.failures)
        self.marks.now = lambda: start + len(values) + len(self.failures) - before
        results = map(self.work.function, *columns)
        if self.work.pace.detaches:
            results = map(detached, results)
        while (position := len(values) + len(self.failures) - before) < count and not self._too_many_failures():
            try:
                values.extend(results)
                if (position := len(values) + len(self.failures) - before) < count:
                    # extend() takes a StopIteration that the function raises for the end of the columns.
                    raise StopIteration("the function raised StopIteration")
            except BaseException as error:
                position = len(values) + len(self.failures) - before
                self._fail(error, start + position)
        return position

    def _call_timed(self, columns: Columns, start: int) -> int:
        """The same, with the time of each call."""
        self._fill_times()
        detaches = self.work.pace.detaches
        taken, last = 0, start - 1
        self.marks.now = lambda: last + taken
        marks_each = self.work.pace.call_seconds > MARKED_CALL_SECONDS and not self.work.prints_by_python
        for taken, arguments in enumerate(zip(*columns, strict=True), 1):
            if marks_each:
                self.marks.begin(self.task.run, last + taken, last + taken)
            began = perf_counter()
            try:
                value = self.work.function(*arguments)
                self.values.items.append(detached(value) if detaches else value)
                self.seconds.append(perf_counter() - began)
            except BaseException as error:
                self._fail(error, last + taken, perf_counter() - began)
                if self._too_many_failures():
                    break
            if self.work.one_by_one:
                self._restore()
        return taken

    def _call_batch(self, batches: Batches, start: int, count: int) -> int:
        """One call for all of them; a batch that fails is halved until the culprit stands alone."""
        try:
            # Computed again for each half: a function that failed may have changed its arrays.
            columns = self.work.columns_of(self.task, start, start + count)
            self.marks.begin(self.task.run, start, start + count - 1)
            batches.take(self._called(columns), count)
            return count
        except BaseException as error:
            if count == 1:
                self._fail(error, start)
                return 1
        half = count // 2
        taken = self._call_batch(batches, start, half)
        if taken < half or self._too_many_failures():
            return taken
        return half + self._call_batch(batches, start + half, count - half)

    def _called(self, columns: Columns) -> Any:
        self.work.surroundings.begin()
        try:
            return self.work.function(*columns)
        finally:
            self._restore()

    def _fail(self, error: BaseException, index: int, seconds: float = 0.0) -> None:
        if isinstance(error, TooManyFiles):
            self.failures.append(_unencodable(index, str(error), final=error.final))
        elif isinstance(error, Unencodable):
            self.failures.append(_unencodable(index, str(error)))
        else:
            self.failures.append(failure_of(error, index, seconds, target=self.work.spec.function.name))
            self.marks.failed(index)

    def _too_many_failures(self) -> bool:
        return len(self.failures) >= MAX_FAILURES

    # -- times

    def _fill_times(self) -> None:
        """From now on each row has a time of its own; those before get the mean of theirs."""
        missing = self.results.count - len(self.seconds)
        if missing:
            self.seconds.extend([self.call_seconds / max(self.executed, 1)] * missing)

    def _record_times(self, rows: int, mean_seconds: float) -> None:
        """Rows of an untimed slice in a task that is timed get their slice's mean."""
        if self.seconds and len(self.seconds) < self.results.count:
            self.seconds.extend([mean_seconds] * rows)

    # -- reporting

    def report(
        self, number: int, stop: Callable[[], bool] = lambda: True, tell: Callable[[str], None] = lambda text: None
    ) -> tuple[Report, bytes]:
        """The report and its payload. Until ``stop()``, a store that a large result needs is waited for; ``tell`` is
        told why."""
        files = self._pack_files(self.work.workdirs, stop, tell) if self.work.workdirs else None
        payload = self._encode(stop, tell)
        remaining = split_ranges(self.task.ranges, self.executed)[1]
        mean = self.call_seconds / self.executed if self.executed else 0.0
        busy = perf_counter() - self.started
        failures = tuple(sorted(self.failures, key=attrgetter("index")))
        return Report(number, self._done_indices(), failures, remaining, busy, mean, self.stored, files), payload

    def _encode(self, stop: Callable[[], bool], tell: Callable[[str], None]) -> bytes:
        while self.results.count:
            try:
                payload = self.results.payload(self.seconds or None, self._parameters())
            except Unencodable as error:
                self._reject_all(error.failures)
                continue
            unstored = self._store(payload)
            if unstored and self.results.count == 1 and len(payload) > MAX_PAYLOAD_BYTES:
                self._wait_for_store(payload, unstored, stop, tell)
            if self.stored or not self.results.count:
                return b""
            if len(payload) <= MAX_PAYLOAD_BYTES:
                return payload
            self._shrink(len(payload))
        return b""

    def _pack_files(self, workdirs: Workdirs, stop: Callable[[], bool], tell: Callable[[str], None]) -> Files | None:
        """What the calls have left. Where it needs a store that is not to be had, they are tried again."""
        with workdirs.packed(indices_of(self._done_indices())) as (indices, file):
            files = self._files_in(file, stop, tell) if indices else None
        workdirs.forget()
        return files

    def _files_in(self, file: IO[bytes], stop: Callable[[], bool], tell: Callable[[str], None]) -> Files | None:
        if file.seek(0, os.SEEK_END) <= INLINE_BYTES or self.store is None:
            file.seek(0)
            return Files(inline=file.read())
        import mmap

        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if unstored := self._store(data):
                self._wait_for_store(data, unstored, stop, tell)
        stored, self.stored = self.stored, None
        return Files(stored=stored) if stored else None

    def _store(self, payload: Any) -> str:
        """Put it into the run's store, if that is worth it; why it could not be."""
        if self.store is None or len(payload) <= INLINE_BYTES:
            return ""
        try:
            self.stored = self.store.put(payload)
        except StoreError as error:
            return str(error)
        return ""

    def _wait_for_store(
        self, payload: Any, unstored: str, stop: Callable[[], bool], tell: Callable[[str], None]
    ) -> None:
        """Put it there when it is well again, or has room. Who is to stop has done nothing, and so has who waited as
        long as the result took: others may have more luck, and nobody is charged."""
        began = perf_counter()
        patience = max(STORE_PATIENCE_SECONDS, began - self.started)
        told = ""
        while unstored and not stop() and perf_counter() - began < patience:
            if unstored != told:
                tell(f"waiting with a result of {len(payload) / (1 << 20):.1f} MiB: {unstored}")
                told = unstored
            sleep(STORE_PAUSE_SECONDS)
            unstored = self._store(payload)
        if unstored:
            self._keep(0)

    def _done_indices(self) -> Ranges:
        executed = split_ranges(self.task.ranges, self.executed)[0]
        return without(executed, {failure.index for failure in self.failures})

    def _parameters(self) -> dict[str, list[Any]]:
        """Columns of the parameters, where the collector cannot compute them."""
        if not self.task.rows or self.makes_calls:
            return {}
        columns: dict[str, list[Any]] = {name: [] for name in self.work.spec.names}
        for start, stop in self._done_indices():
            parts = self.work.parameters_of(self.task, start, stop)
            for column, part in zip(columns.values(), parts, strict=True):
                column.extend(storable(part))
        return columns

    def _reject_all(self, culprits: Sequence[tuple[int, str]]) -> None:
        """Rows that cannot be encoded become failures, as far as the report has room for them."""
        room = MAX_FAILURES - len(self.failures)
        if len(culprits) > room:
            self._keep(culprits[room][0])
        for position, reason in reversed(culprits[:room]):
            self._reject(position, reason)

    def _reject(self, position: int, reason: str, *, final: bool = True) -> None:
        self.failures.append(_unencodable(index_at(self._done_indices(), position), reason, final=final))
        self.results.drop(position)
        if self.seconds:
            del self.seconds[position]

    def _shrink(self, payload_bytes: int) -> None:
        """The payload is too large for a message: half of the rows run again later; a single row fails, for good
        unless a worker that shares the store could have it."""
        if self.results.count > 1:
            self._keep(self.results.count // 2)
            return
        size = f"{payload_bytes / (1 << 20):.1f} MiB"
        limit = f"expected a result of at most {MAX_PAYLOAD_BYTES >> 20} MiB without a store, got {size}"
        advice = f"{self.unshared};" if self.unshared else "give the run a --store, or"
        text = f"{limit}: {advice} write large results to files and return their names"
        self._reject(0, text, final=not self.unshared)

    def _keep(self, rows: int) -> None:
        """Forget all rows behind the first ``rows``, and the failures there: they remain to be done."""
        cut = index_at(self._done_indices(), rows)
        self.results.keep(rows)
        self.seconds = self.seconds[:rows]
        self.failures = [failure for failure in self.failures if failure.index < cut]
        self.executed = sum(max(0, min(stop, cut) - start) for start, stop in self.task.ranges)


def _batches(packs: bool) -> Batches:
    from ttg.worker.batches import Batches  # imports NumPy, which many runs never need

    return Batches(packs=packs)


def _unencodable(index: int, reason: str, *, final: bool = True) -> Failure:
    return Failure(index=index, kind="encoding", error="UnencodableResult", message=readable(reason), final=final)
