"""TTG's workers behind joblib: ``import ttg.joblib`` registers the backend ``"ttg"``.

>>> import joblib, ttg.joblib
>>> with joblib.parallel_config("ttg", n_jobs=8):
...     joblib.Parallel()(joblib.delayed(pow)(number, 2) for number in range(3))
[0, 1, 4]

``broker="amqp://…"`` sends the calls to the workers that were started for that broker elsewhere; ``memory`` and
``store`` are those of :class:`ttg.Executor`. Workers are kept for the next call. Large arrays among the arguments are
sent once to each machine and mapped there; they cannot be written to, as in joblib itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any
from weakref import WeakSet

from joblib import cpu_count, register_parallel_backend
from joblib._parallel_backends import FallbackToBackend, SequentialBackend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase

from ttg.calls.executor import Executor
from ttg.calls.sharing import Sharing

_kept: dict[tuple[Any, ...], Executor] = {}
"""Executors by what they were made of. A program has one or two of them."""


class TTGBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What :func:`joblib.register_parallel_backend` is given."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    default_n_jobs = -1

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._executor: Executor | None = None
        self._wanted: tuple[int, Mapping[str, str], Mapping[str, Any]] = (1, {}, {})
        self._sharing: Sharing | None = None
        self._futures: set[Future[Any]] = set()
        _backends.add(self)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls are executed at once; -1 is one for each core, or for each slot that the broker has."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return int(n_jobs)
        if self.backend_kwargs.get("broker"):
            with _choosing:
                executor = _executor(0, {}, self.backend_kwargs)
            slots = executor.slots_elsewhere()
            return max(slots + 1 + n_jobs, 1)
        return int(max(cpu_count() + 1 + n_jobs, 1))

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None, **options: Any
    ) -> int:
        """Have workers, and say how many."""
        self.parallel = parallel
        options = {**self.backend_kwargs, **options}
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1 and not options.get("broker"):
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self._wanted = n_jobs, self._prepare_worker_env(n_jobs), options
        self._executor = None
        self._workers()
        return n_jobs

    def _workers(self) -> Executor:
        """Also when another ``Parallel`` of the same context, inside of this one, has ended or aborted meanwhile."""
        with _choosing:
            self._executor = self._executor or _executor(*self._wanted)
            return self._executor

    def start_call(self) -> None:
        """A call of ``Parallel`` begins: arrays that it has in common are sent once."""
        self._sharing = Sharing(self._workers())

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """A batch of calls."""
        sharing = self._sharing or Sharing(self._workers())
        future = sharing.submit(func)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """What the batch has returned, or what it raised."""
        return out.result()

    def stop_call(self) -> None:
        """The call of ``Parallel`` ends."""
        if self._sharing is not None:
            self._sharing.close()
            self._sharing = None

    def terminate(self) -> None:
        """The workers are kept for the next call."""
        self._executor = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End what runs, and take back what does not yet."""
        for future in list(self._futures):
            future.cancel()
        if self._futures and self._executor is not None:
            _forget(self._executor)
            self._executor.kill_workers()
            self._executor = None
            if ensure_ready:
                self.start_call()


_backends: WeakSet[TTGBackend] = WeakSet()
_choosing = threading.Lock()


def shutdown() -> None:
    """End the workers that are kept. A program that ends does that by itself."""
    while _kept:
        _kept.popitem()[1].shutdown()


def _executor(n_jobs: int, environment: Mapping[str, str], options: Mapping[str, Any]) -> Executor:
    """The one that is kept, or another one, for which those end that no backend uses now."""
    known = {name: options[name] for name in ("broker", "memory", "store", "timeout") if options.get(name) is not None}
    key = (0 if known.get("broker") else n_jobs, *sorted(environment.items()), *sorted(known.items()), os.getpid())
    found = _kept.get(key)
    if found is not None and not found.is_broken:
        return found
    used = [backend._executor for backend in _backends]
    for old, executor in [*_kept.items()]:
        if executor not in used:
            del _kept[old]
            executor.shutdown(wait=False)
    _kept[key] = Executor(n_jobs or None, initializer=_set_environment, initargs=(dict(environment),), **known)
    return _kept[key]


def _forget(executor: Executor) -> None:
    for key in [key for key, kept in _kept.items() if kept is executor]:
        del _kept[key]


def _set_environment(environment: Mapping[str, str]) -> None:
    """Before anything that reads it is imported: how many threads linear algebra may use."""
    os.environ.update(environment)


register_parallel_backend("ttg", TTGBackend)
