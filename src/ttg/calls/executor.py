"""``ttg.Executor``: the standard library's executor, whose futures survive killed workers and name their culprit."""

from __future__ import annotations

import operator
import os
import pickle
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import Executor as StandardExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from types import FunctionType
from typing import Any

from ttg.calls.queue import Call
from ttg.calls.session import Session
from ttg.clock import unix_time
from ttg.errors import SettingsError
from ttg.function import Inputs
from ttg.function.packing import Packed
from ttg.function.sealed import key_of, seal
from ttg.function.signing import pickled_reference
from ttg.options import EntryPoint, choose
from ttg.run.api import python_path
from ttg.run.at_exit import Turn, at_exit
from ttg.run.config import CoordinatorConfig
from ttg.run.request import RunRequest, made_up_id, place_of_store, usable_cores, warm_for
from ttg.run.secret import with_secret
from ttg.settings import Settings, read_settings
from ttg.spec import SPEC_VERSION, Limits, RetryPolicy, RunSpec, new_identity
from ttg.stores import INLINE_BYTES
from ttg.worker.calls import INLINE, LARGE, PLAIN, CallRunner, function_from, pickled

SHUT = "cannot schedule new futures after shutdown"
SHUT_BY_EXIT = "cannot schedule new futures after interpreter shutdown"
RETRY_DELAY_MS = 200
"""Before a call whose process died is tried again, where it is."""

MOST_CALLS = 1 << 48


class Executor(StandardExecutor):
    """A ``concurrent.futures.Executor`` on TTG's workers.

    By itself it has a broker and ``max_workers`` slots on this machine (default: one per core), which live until
    :meth:`shutdown`; with ``broker`` (or ``TTG_BROKER``) calls go to the workers that were started for it elsewhere,
    with the same ``TTG_SECRET``, and ``max_workers`` is not needed. Inside :func:`ttg.workers`, and with neither, it
    uses the workers that are there.

    ``initializer(*initargs)`` is called once in each process before its first call; if it raises, the executor is
    broken. A call that takes longer than ``timeout`` or more memory than ``memory`` (texts such as ``"30s"``, ``"2G"``,
    or seconds and bytes) is ended. ``retries``: how often a call that raises, or whose process dies, is tried again
    (default: not at all). ``store``: a folder or ``s3://`` place that all machines share, for large arguments and
    results.

    Future and :meth:`submit`, :meth:`map`, :meth:`shutdown` are the standard ones. A call that raises gives the
    original exception, its traceback there as ``__cause__``. A call that ends its process fails with
    :class:`~ttg.errors.ProcessDied`, and neither its neighbours nor the executor with it. What was executed when a
    worker was lost is executed again: calls should bear that.

    Raises ``SettingsError`` for what cannot work, ``ValueError`` and ``TypeError`` as the standard executors do.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        broker: str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[Any] = (),
        timeout: float | str | None = None,
        memory: float | str | None = None,
        retries: int = 0,
        store: str | Path | None = None,
    ) -> None:
        max_workers = None if max_workers is None else operator.index(max_workers)
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        runner = partial(CallRunner, initializer=initializer, initargs=tuple(initargs))
        options = {"broker": broker, "timeout": timeout, "memory": memory, "retries": retries, "store": store}
        request, key = _request(max_workers, runner, options)
        self._max_workers = request.workers * request.slots or max_workers or usable_cores()
        self._key = key
        self._session = Session(request, key)
        self._session.start()
        self._shut = False
        self._lock = threading.Lock()
        _live.add(self._session)
        self._finalizer = weakref.finalize(self, Session.close, self._session)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``fn(*args, **kwargs)`` executed. Raises ``RuntimeError`` after :meth:`shutdown`, ``BrokenExecutor``
        when the executor is broken. What cannot be pickled is the future's exception."""
        return self.submit_packed(lambda: _packed(self._common(fn) if _is_of_main(fn) else fn, args, kwargs))

    def submit_packed(self, pack: Callable[[], Packed]) -> Future[Any]:
        """:meth:`submit` for function, positional and keyword arguments that ``pack`` gives."""
        future: Future[Any] = Future()
        with self._lock:
            self._check_open()
        try:
            call = self._call(future, pack())
        except Exception as error:
            future.set_running_or_notify_cancel()
            future.set_exception(error)
            return future
        with self._lock:
            self._check_open()
            self._session.queue.put(call)
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """``map(fn, *iterables)``, in order. Short calls travel together by themselves, so ``chunksize`` changes
        nothing. ``buffersize``: how many calls are made ahead of what was asked for; memory is bounded then."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        common: Any = self._common(fn)
        if buffersize is None:
            return super().map(common, *iterables, timeout=timeout)
        if sys.version_info >= (3, 14):
            return super().map(common, *iterables, timeout=timeout, buffersize=buffersize)
        deadline = None if timeout is None else time.monotonic() + timeout
        return _buffered(weakref.ref(self), common, zip(*iterables, strict=False), buffersize, deadline, self.submit)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more calls. ``wait``: until all are settled, and every process of this executor is gone."""
        with self._lock:
            self._shut = True
            if os.getpid() != self._session.pid:
                return
            self._session.close(cancel=cancel_futures)
        if wait:
            self._session.wait()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.kill_workers()
        self.shutdown()

    def kill_workers(self) -> None:
        """End at once: what runs fails with ``BrokenExecutor``, as does what waits."""
        with self._lock:
            self._shut = True
            self._session.kill()

    @property
    def is_broken(self) -> bool:
        """Whether it takes no more calls: it was shut down, or it broke."""
        return self._shut or self._session.broken is not None or self._session.ended.is_set()

    def slots_elsewhere(self) -> int:
        """Of all workers that were heard of; waits for the first ones."""
        return self._session.slots_elsewhere()

    def keep(self, packed: Packed) -> None:
        """Have an object where the workers find it by its name, until it is :meth:`release`\\ d."""
        self._session.keep(packed)

    def release(self, name: str) -> None:
        """See :meth:`keep`."""
        self._session.release(name)

    def __reduce__(self) -> Any:
        raise TypeError("an executor cannot be pickled: make another one where it is needed")

    def _check_open(self) -> None:
        if os.getpid() != self._session.pid:
            raise RuntimeError("this executor belongs to the process that this one was forked from: make another one")
        if _exiting:
            raise RuntimeError(SHUT_BY_EXIT)
        if self._shut:
            raise RuntimeError(SHUT)
        if self._session.broken is not None:
            raise BrokenExecutor(f"the executor is broken: {self._session.broken}") from self._session.broken

    def _call(self, future: Future[Any], packed: Packed) -> Call:
        if packed.size <= INLINE_BYTES and not packed.has_buffers:
            return Call(future, seal(self._key, INLINE + packed.stream))
        self._session.keep(packed)
        return Call(future, seal(self._key, LARGE + packed.name.encode()), packed.name)

    def _common(self, fn: Callable[..., Any]) -> Any:
        """``fn``, pickled once for many calls; what cannot be pickled is each call's matter."""
        try:
            data = pickled(fn)
        except Exception:
            return fn
        return Common(data) if len(data) <= INLINE_BYTES else fn


def _packed(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
    """What pickle knows without asking anybody takes a tenth of the time."""
    known = (
        isinstance(fn, Common) and PLAIN.issuperset(map(type, args)) and PLAIN.issuperset(map(type, kwargs.values()))
    )
    return Packed((fn, args, kwargs), partial(pickle.dumps, protocol=5) if known else None)


def _is_of_main(fn: Any) -> bool:
    """Whether it travels by value, and its globals are to stay from call to call as those of other functions do."""
    return isinstance(fn, FunctionType) and fn.__module__ == "__main__" and fn.__closure__ is None


class Common:
    """A function that many calls have in common. Workers keep it by its pickle."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> Any:
        return function_from, (self._data,)


def _buffered(
    executor: weakref.ref[Executor],
    fn: Any,
    arguments: Iterator[tuple[Any, ...]],
    size: int,
    deadline: float | None,
    submit: Callable[..., Future[Any]],
) -> Iterator[Any]:
    """As Python 3.14 has it."""
    futures = deque(submit(fn, *args) for args in islice(arguments, size))
    del submit

    def results() -> Iterator[Any]:
        try:
            while futures:
                if (alive := executor()) is not None and (args := next(arguments, None)) is not None:
                    futures.append(alive.submit(fn, *args))
                del alive
                future = futures.popleft()
                try:
                    yield future.result(None if deadline is None else deadline - time.monotonic())
                finally:
                    future.cancel()
                    del future
        finally:
            for future in futures:
                future.cancel()

    return results()


def _request(
    max_workers: int | None, runner: Callable[..., CallRunner], options: Mapping[str, Any]
) -> tuple[RunRequest, bytes]:
    chosen = choose(EntryPoint.API_RUN, {name: value for name, value in options.items() if value is not None})
    settings = read_settings()
    warm = warm_for(chosen) if max_workers is None else None
    url = warm.url if warm else chosen.broker or settings.broker_url
    settings = warm.settings if warm else _signing(settings, url)
    assert settings.secret is not None
    identity = new_identity()
    inputs: Inputs = {}
    function = pickled_reference(
        runner(identity, retries=chosen.retries or 0), "ttg", "Executor", settings.secret, inputs
    )
    spec = RunSpec(
        run=made_up_id("executor"),
        function=function,
        space={"space": "rows", "names": ("call",), "count": MOST_CALLS, "fingerprint": ""},
        size=0,
        names=("call",),
        retry=RetryPolicy(chosen.retries or 0, RETRY_DELAY_MS),
        limits=Limits(chosen.timeout, chosen.memory),
        created=unix_time(),
        version=SPEC_VERSION,
        identity=identity,
    )
    request = RunRequest(
        spec=spec,
        space=None,  # type: ignore[arg-type]
        settings=settings,
        out=Path(),
        broker_url=url,
        workers=warm.count if warm else 0 if url else 1,
        slots=warm.slots if warm else max_workers or usable_cores(),
        options=CoordinatorConfig(keep_result_bytes=0, keep_seconds=60.0, single=True),
        python_path=python_path(),
        inputs=inputs,
        store=place_of_store(spec, chosen.store, settings.store),
        warm=warm,
    )
    return request, key_of(settings.secret, identity)


def _signing(settings: Settings, url: str | None) -> Settings:
    if url and not settings.secret:
        raise SettingsError(
            "calls that travel through a broker must be signed: set TTG_SECRET here and for the workers, to one text "
            "that only they know"
        )
    return with_secret(settings)


_live: weakref.WeakSet[Session] = weakref.WeakSet()
_exiting = False


def _at_exit() -> None:
    """What was submitted is finished, and processes end, before the interpreter does. After Ctrl-C nothing is finished:
    the calls do not hear of it, and may take hours."""
    global _exiting
    _exiting = True
    sessions = [session for session in _live if session.pid == os.getpid()]
    for session in sessions:
        session.kill() if _interrupted() else session.close()
    for session in sessions:
        session.wait()


def _interrupted() -> bool:
    return issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt)


at_exit(Turn.CALLS_AND_RUNS, _at_exit)
